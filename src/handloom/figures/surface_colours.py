"""The colours of an object's surface, gathered from the photographs in which it is seen."""

import numpy as np
from jaxtyping import UInt8
from scipy.spatial import cKDTree

from handloom.figures.hold_sequence import OBJECT_RGB, HoldSequence
from handloom.figures.mesh_picture import one_colour, take_picture, vertex_normals

_FRAMES = 24
_DEPTH_SLACK = 0.01
"""How far behind the visible surface a vertex may lie and still be seen, as a share of the surface's depth."""
_LEAST_FACING = 0.2


def surface_colours(sequence: HoldSequence) -> UInt8[np.ndarray, "vertices 3"]:
    """A colour for each vertex of the object: the mean over at most 24 frames in which the vertex is seen.

    Seen means turned towards the camera, and hidden neither by the object nor by the hand; frames count with the
    squared cosine at which they look. A vertex that is never seen takes over its nearest neighbour's colour.
    """
    chosen = sequence.usable[:: -(-len(sequence.usable) // _FRAMES)]
    colours = np.zeros((len(sequence.object_vertices_m), 3))
    weights = np.zeros(len(colours))
    for frame in chosen:
        image = sequence.picture(frame)
        height, width = image.shape[:2]
        vertices = sequence.object_cam_m(frame)
        object_mesh = one_colour(vertices, sequence.object_faces, OBJECT_RGB)
        hand_mesh = one_colour(sequence.hand_vertices_cam_m[frame], sequence.hand_faces, OBJECT_RGB)
        picture = take_picture([object_mesh, hand_mesh], sequence.intrinsics, height, width)
        pixels = vertices @ sequence.intrinsics.T
        column, row = np.rint(pixels[:, :2] / np.maximum(pixels[:, 2:], 1e-6)).astype(int).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (vertices[:, 2] > 0)
        column, row = column.clip(0, width - 1), row.clip(0, height - 1)
        facing = -(vertex_normals(vertices, sequence.object_faces) * vertices).sum(1) / np.linalg.norm(vertices, axis=1)
        of_object, depth = picture.mesh[row, column] == 0, picture.depth_m[row, column]
        seen = inside & (facing > _LEAST_FACING) & of_object & (vertices[:, 2] <= depth * (1 + _DEPTH_SLACK))
        weight = np.where(seen, facing**2, 0.0)
        colours += weight[:, None] * image[row, column]
        weights += weight
    known = weights > 0
    if not known.any():
        return np.tile(np.array(OBJECT_RGB, np.uint8), (len(colours), 1))
    colours[known] /= weights[known, None]
    _, nearest = cKDTree(sequence.object_vertices_m[known]).query(sequence.object_vertices_m[~known])
    colours[~known] = colours[known][nearest]
    return colours.round().astype(np.uint8)
