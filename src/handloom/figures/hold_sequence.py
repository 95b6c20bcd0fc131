"""A reconstructed sequence as the figures show it: the frames' pictures, the camera, hand and object in each frame."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import trimesh
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from handloom.datasets.frames import read_frames
from handloom.datasets.hand_and_object import HandAndObject, HoldPredictions
from handloom.datasets.masks import OBJECT, mask_files, read_labels
from handloom.figures.mesh_picture import PaintedMesh, one_colour, take_picture, vertex_normals
from handloom.geometry.camera import project
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

HAND_RGB, LEFT_RGB, OBJECT_RGB = (229, 178, 140), (140, 196, 120), (86, 150, 200)
"""Of a single hand or the right one, of the left one beside it, of the object."""
_COLOUR_FRAMES = 24
"""Enough for every side of an object that is turned once around; each costs a picture of the meshes."""
_DEPTH_SLACK = 0.01
"""How far behind the visible surface a vertex may lie and still be seen, as a share of the surface's depth."""
_LEAST_FACING = 0.2
"""Cosine of the angle to the camera below which a photograph smears over the surface."""
_FACING_POWER = 8
_RIM_PX = 2
"""So far within a mask's edge colours are the object's alone."""
_RIM = np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)
_DENSE_VERTICES = 40_000
"""Cut once more where there are fewer: 160 000 at most, less than a millimetre apart on what a hand holds."""


@dataclass(frozen=True)
class HoldSequence(HandAndObject):
    """What `predictions.npz`, the frames and the camera tell; metres, OpenCV camera."""

    intrinsics: Float[np.ndarray, "3 3"]
    pictures: list[Path]
    masks: list[Path] | None = None
    """Label images of the frames, where they are known: what a photograph shows of the object."""
    other: HandAndObject | None = None
    """The second hand, if there is one."""

    @property
    def each(self) -> dict[str, HandAndObject]:
        """Every hand by its name: `hand` alone, or `right-hand` and `left-hand`."""
        if self.other is None:
            return {"hand": self}
        return {f"{each.side}-hand": each for each in (self, self.other)}

    @property
    def usable(self) -> list[int]:
        """Frames whose hands and object are finite."""
        places = [self.cam_from_object, *(each.hand_vertices_cam_m for each in self.each.values())]
        finite = np.stack([np.isfinite(values).all((1, 2)) for values in places]).all(0)
        return [int(frame) for frame in np.flatnonzero(finite)]

    def object_cam_m(self, frame: int) -> Float[np.ndarray, "vertices 3"]:
        """The object's vertices in a frame's camera."""
        pose = self.cam_from_object[frame]
        return np.asarray(self.object_vertices_m @ pose[:3, :3].T + pose[:3, 3])

    def picture(self, frame: int) -> UInt8[np.ndarray, "height width 3"]:
        """The photograph of a frame."""
        return read_rgb(self.pictures[frame])

    def meshes(self, frame: int) -> list[PaintedMesh]:
        """Object and hands in a frame's camera, each in one colour."""
        thing = one_colour(self.object_cam_m(frame), self.object_faces, OBJECT_RGB)
        return [thing, *self.hands(frame).values()]

    def hands(self, frame: int) -> dict[str, PaintedMesh]:
        """The hands in a frame's camera, by name."""
        return {
            name: one_colour(each.hand_vertices_cam_m[frame], each.hand_faces, colour)
            for (name, each), colour in zip(self.each.items(), (HAND_RGB, LEFT_RGB), strict=False)
        }

    def painted_object(self, frame: int) -> PaintedMesh:
        """The object in a frame's camera, in the colours of the photographs."""
        return PaintedMesh(self.object_cam_m(frame), self.object_faces, *self.object_paint)

    @property
    def object_colours(self) -> UInt8[np.ndarray, "vertices 3"]:
        """A colour for each vertex of the object."""
        return self.object_paint[0]

    def dense(self) -> "HoldSequence":
        """The same with the object's faces cut into four until its vertices are as dense as pixels, for its colours."""
        vertices, faces = self.object_vertices_m, self.object_faces
        while len(vertices) < _DENSE_VERTICES:
            vertices, faces = trimesh.remesh.subdivide(vertices, faces)
        return replace(self, object_vertices_m=vertices, object_faces=faces)

    @cached_property
    def object_paint(self) -> tuple[UInt8[np.ndarray, "vertices 3"], Bool[np.ndarray, " vertices"]]:
        """A colour for each vertex of the object, the mean over at most 24 frames that show it; and which any shows.

        Shown means turned towards the camera, and hidden neither by the object nor by the hand; of the hand the masks
        tell, as the posed one lies a finger's width beside the real one. Frames count with the
        eighth power of the cosine at which they look: the straightest decide, and seams between them are blended. A
        vertex that is never shown takes over its nearest neighbour's colour.
        """
        sums = np.zeros((len(self.object_vertices_m), 3))
        weights = np.zeros(len(sums))
        for frame in self.usable[:: -(-len(self.usable) // _COLOUR_FRAMES)]:
            image = self.picture(frame)
            height, width = image.shape[:2]
            vertices = self.object_cam_m(frame)
            meshes = self.meshes(frame) if self.masks is None else self.meshes(frame)[:1]
            picture = take_picture(meshes, self.intrinsics, height, width)
            place = project(vertices, self.intrinsics, nearest=1e-6)
            column, row = np.rint(place).astype(int).T
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (vertices[:, 2] > 0)
            column, row = column.clip(0, width - 1), row.clip(0, height - 1)
            facing = -(vertex_normals(vertices, self.object_faces) * vertices).sum(1) / np.linalg.norm(vertices, axis=1)
            of_object, depth = picture.mesh[row, column] == 0, picture.depth_m[row, column]
            if self.masks is not None:
                labels = read_labels(self.masks[frame], (width, height))
                of_object &= cv2.erode((labels == OBJECT).astype(np.uint8), _RIM, borderValue=1)[row, column] > 0
            seen = inside & (facing > _LEAST_FACING) & of_object & (vertices[:, 2] <= depth * (1 + _DEPTH_SLACK))
            weight = np.where(seen, facing**_FACING_POWER, 0.0)
            sums += weight[:, None] * _between_pixels(image, place)
            weights += weight
        known = weights > 0
        if not known.any():
            return np.tile(np.array(OBJECT_RGB, np.uint8), (len(sums), 1)), known
        colours = sums / np.where(known, weights, 1.0)[:, None]
        _, nearest = cKDTree(self.object_vertices_m[known]).query(self.object_vertices_m[~known])
        colours[~known] = colours[known][nearest]
        return colours.round().astype(np.uint8), known


def _between_pixels(image: UInt8[np.ndarray, "height width 3"], place: Float[np.ndarray, "points 2"]) -> np.ndarray:
    """Colours at (column, row), interpolated; beyond the image those of its edge."""
    at = place[:, ::-1].T
    return np.stack([map_coordinates(image[..., c].astype(float), at, order=1, mode="nearest") for c in range(3)], 1)


def read_hold_sequence(predictions: Path, frames: Path, frames_json: Path, masks: Path | None = None) -> HoldSequence:
    """Put the files of a sequence together.

    `frames` is the folder of `%04d.png` that `frames_json` lists, `masks` that of its label images. Raises InputError
    when a predicted frame has no picture, no frame is usable, or the predictions hold no finite camera.
    """
    found, *others = HoldPredictions.load_each(predictions).values()
    taken = read_frames(frames, frames_json)
    row_of = {name: row for row, name in enumerate(taken.names)}
    strangers = [name for name in found.names if name not in row_of]
    if strangers:
        raise InputError(
            f"{predictions}: predicts {len(strangers)} frames that {frames_json} does not list ({strangers[0]}, ...); "
            "extract the frames of the same sequence"
        )
    wide = {"f": np.float64, "i": np.int64}
    arrays = {
        name: value.astype(wide.get(value.dtype.kind, value.dtype))
        for name, value in vars(found).items()
        if isinstance(value, np.ndarray)
    }
    rows = [row_of[name] for name in found.names]
    labels = None if masks is None else mask_files(masks, taken)
    sequence = HoldSequence(
        **arrays,
        side=found.side,
        pictures=[taken.pictures[row] for row in rows],
        masks=None if labels is None else [labels[row] for row in rows],
        other=others[0] if others else None,
    )
    if not sequence.usable:
        raise InputError(f"{predictions}: has no frame with both hand and object; there is nothing to show")
    return sequence
