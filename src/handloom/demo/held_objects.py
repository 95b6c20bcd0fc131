"""Unknown objects of HOLD's demo: surfaces of signed distances, painted so that no two places look alike."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, Int
from numpy.random import Generator
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from torch import Tensor

from handloom.demo.interreflection import interreflection
from handloom.demo.people import Person, random_person
from handloom.demo.pictures import single_threaded
from handloom.demo.plan import HELD_OBJECTS, ObjectKind
from handloom.demo.renderer import PaintedSurface, Topology
from handloom.demo.textures import photograph_patch, random_colour
from handloom.runtime.config.sequences import DemoSequence, DemoSequencesSettings
from handloom.runtime.files import whole_folder, write_text
from handloom.runtime.seeds import numpy_generator

Vertices = Float[np.ndarray, "vertices 3"]
Faces = Int[np.ndarray, "faces 3"]
Texels = Float[np.ndarray, "texels 3"]
Distance = Callable[[Float[Tensor, "*batch 3"]], Float[Tensor, "*batch"]]

TEXTURE_PX = 1024  # holds all charts of the largest object
_VOXEL_M = 0.0025  # finer than any rounding of the shapes
_TEXEL_M = 0.0003
"""Half of what a pixel of the demo's pictures sees of the object."""
_GAP_PX = 3
"""Between two charts of the texture: colour runs on so far beyond their edges."""
_GLAZE, _THROUGH_GLAZE, _GLAZED_M = 0.20, 0.85, 0.004
"""Reflectance of a mug's glaze, the share of the paint that shows through it, and how deep in the wall it begins."""
_EXTENT_M = 0.088
"""Half the side of a cube that holds any of the objects."""


def render_held_object(demo: DemoSequencesSettings, sequence: DemoSequence, model: Path) -> None:
    """Stage: write a YCB-style model of what is held in a sequence into the folder `model` (models/{sequence})."""
    with single_threaded(), whole_folder(model) as folder:
        _, _, thing = cast(demo, sequence)
        write_textured_obj(folder / "textured_simple.obj", thing)


def cast(demo: DemoSequencesSettings, sequence: DemoSequence) -> tuple[Generator, Person, PaintedSurface]:
    """Who holds what in a sequence, and the random stream that goes on with how."""
    stream = numpy_generator(demo.seed, "hold", sequence)
    person = random_person(stream)
    return stream, person, unknown_object(stream, HELD_OBJECTS[sequence][1])


def distance_m(kind: ObjectKind, points_m: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Signed distance (metres, negative inside) of points in the object's frame; a lower bound near smooth joins."""
    return _DISTANCES[kind](points_m)


def outer_distance_m(kind: ObjectKind, points_m: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """The same of an object whose hollow is full: fingers stay outside."""
    return _mug_outside(points_m) if kind == "mug" else distance_m(kind, points_m)


def unknown_object(generator: Generator, kind: ObjectKind) -> PaintedSurface:
    """The object's mesh (marching cubes on a grid of 2.5 mm) and its paint."""
    vertices, faces = _surface(kind)
    uv, texel_face, texel_corners = _unwrapped(vertices, faces)
    painted = texel_face >= 0
    corners = vertices[faces[texel_face[painted]]]
    points = np.einsum("tkd,tk->td", corners, texel_corners[painted])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    texture = np.full((TEXTURE_PX, TEXTURE_PX, 3), 0.5, np.float32)
    paint = _paint(generator, points, normals)
    if kind == "mug":
        paint = _glazed(paint, points)
    texture[painted] = paint
    # Colour runs on beyond the charts' edges, so that rounding at a seam never picks the filler.
    texture = _bled(texture, painted)
    topology = Topology(faces, len(vertices))
    gloss = float(generator.uniform(0.02, 0.08))
    light = None
    if kind == "mug":
        face, texel = texel_face[painted], paint
        count = np.maximum(np.bincount(face, minlength=len(faces)), 1)
        of_face = np.stack([np.bincount(face, channel, len(faces)) / count for channel in texel.T], 1)
        light = interreflection(vertices, topology.normals(vertices), faces, topology.at_vertices(of_face))
    return PaintedSurface(vertices, topology, uv, texture, gloss, interreflection=light)


def _length(vector: Tensor) -> Tensor:
    return (vector.square().sum(-1) + 1e-14).sqrt()


def _rounded_box(points: Tensor, half_m: tuple[float, float, float], rounding_m: float) -> Tensor:
    beyond = points.abs() - points.new_tensor(half_m) + rounding_m
    return _length(beyond.clamp(min=0)) + beyond.amax(-1).clamp(max=0) - rounding_m


def _rounded_cylinder(points: Tensor, radius_m: Tensor | float, half_height_m: float, rounding_m: float) -> Tensor:
    radial = _length(points[..., :2]) - radius_m + rounding_m
    axial = points[..., 2].abs() - half_height_m + rounding_m
    beyond = torch.stack([radial, axial], -1)
    return _length(beyond.clamp(min=0)) + beyond.amax(-1).clamp(max=0) - rounding_m


def _capsule(points: Tensor, start_m: tuple[float, ...], end_m: tuple[float, ...], radius_m: float) -> Tensor:
    start, end = points.new_tensor(start_m), points.new_tensor(end_m)
    along = end - start
    place = (((points - start) @ along) / along.square().sum()).clamp(0, 1)
    return _length(points - start - place[..., None] * along) - radius_m


def _joined(first: Tensor, second: Tensor, blend_m: float) -> Tensor:
    """Smooth union (Quilez): the edge between the two is filled over `blend_m`."""
    near = (blend_m - (first - second).abs()).clamp(min=0) / blend_m
    return torch.minimum(first, second) - near.square() * blend_m / 4


def _jug(points: Tensor) -> Tensor:
    """A jug with lid, knob and handle: a waisted body of 10 cm, the handle's loop on the side of x."""
    height = (points[..., 2] / 0.050).clamp(-1, 1)
    body = _rounded_cylinder(points, 0.0330 - 0.0035 * torch.cos(np.pi * height), 0.050, 0.006)
    knob = _length(points - points.new_tensor([0.0, 0.0, 0.058])) - 0.012
    bars = ((0.025, 0.032), (0.062, 0.026), (0.066, -0.004), (0.030, -0.032))
    whole = _joined(body, knob, 0.006)
    for (x, z), (next_x, next_z) in pairwise(bars):
        whole = _joined(whole, _capsule(points, (x, 0.0, z), (next_x, 0.0, next_z), 0.0075), 0.005)
    return whole


def _carton(points: Tensor) -> Tensor:
    """A box with rounded edges, 5.6 x 4.0 x 12.4 cm."""
    return _rounded_box(points, (0.028, 0.020, 0.062), 0.004)


def _parcel(points: Tensor) -> Tensor:
    """A box for two hands, one at each end of z: 6.0 x 4.0 x 17 cm, rounded edges."""
    return _rounded_box(points, (0.030, 0.020, 0.085), 0.004)


def _lamp(points: Tensor) -> Tensor:
    """A bent lamp: a handle along z and a head across its end."""
    handle = _capsule(points, (0.0, 0.0, -0.055), (0.0, 0.0, 0.035), 0.019)
    head = _rounded_box(points - points.new_tensor([0.016, 0.0, 0.050]), (0.046, 0.026, 0.022), 0.008)
    return _joined(handle, head, 0.012)


def _mug(points: Tensor) -> Tensor:
    """An open mug without a handle, 8.2 cm high and 7 cm wide: a hollow of 7.4 cm between walls of 5.5 mm."""
    hollow = _rounded_cylinder(points - points.new_tensor([0.0, 0.0, 0.061]), 0.0295, 0.094, 0.004)
    return torch.maximum(_mug_outside(points), -hollow)


def _mug_outside(points: Tensor) -> Tensor:
    return _rounded_cylinder(points, 0.035, 0.041, 0.003)


_DISTANCES: dict[ObjectKind, Distance] = {"jug": _jug, "carton": _carton, "lamp": _lamp, "mug": _mug, "parcel": _parcel}


def _surface(kind: ObjectKind) -> tuple[Vertices, Faces]:
    axis = torch.arange(-_EXTENT_M, _EXTENT_M + _VOXEL_M / 2, _VOXEL_M, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    distance = distance_m(kind, grid).numpy()
    vertices, faces, _, _ = marching_cubes(distance, 0.0, spacing=(_VOXEL_M,) * 3, gradient_direction="descent")
    return vertices.astype(np.float64) - _EXTENT_M, faces.astype(np.int32)


def _unwrapped(
    vertices: Vertices, faces: Faces
) -> tuple[Float[np.ndarray, "faces 3 2"], Int[np.ndarray, "size size"], Float[np.ndarray, "size size 3"]]:
    """Texture coordinates, and per texel its face (-1: none) and place in it.

    Connected faces that look along the same of the six axis directions form a chart, laid flat along that axis.
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normal).argmax(1)
    direction = 2 * axis + (np.take_along_axis(normal, axis[:, None], 1)[:, 0] > 0)
    chart = _charts(faces, direction)
    plane = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    flat = np.take_along_axis(corners, plane[:, None].repeat(3, 1), 2) / _TEXEL_M
    count = chart.max() + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, chart, flat.min(1))
    np.maximum.at(high, chart, flat.max(1))
    place = _packed(np.ceil(high - low).astype(int) + _GAP_PX)
    pixels = flat - low[chart][:, None] + place[chart][:, None] + _GAP_PX / 2
    texel_face, texel_corners = _rasterised(pixels)
    return (pixels / TEXTURE_PX).astype(np.float32), texel_face, texel_corners


def _charts(faces: Faces, direction: Int[np.ndarray, " faces"]) -> Int[np.ndarray, " faces"]:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(edges.T)
    edges, owner = edges[order], owner[order]
    same = (edges[1:] == edges[:-1]).all(1)
    first, second = owner[:-1][same], owner[1:][same]
    alike = direction[first] == direction[second]
    graph = coo_array((np.ones(alike.sum()), (first[alike], second[alike])), shape=(len(faces),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def _packed(sizes: Int[np.ndarray, "charts 2"]) -> Int[np.ndarray, "charts 2"]:
    """Places of rectangles on shelves from left to right, the tallest first. The texture is large enough for ours."""
    places = np.zeros_like(sizes)
    column = row = shelf = 0
    for chart in np.argsort(-sizes[:, 1], kind="stable"):
        width, height = sizes[chart]
        if column + width > TEXTURE_PX:
            column, row, shelf = 0, row + shelf, 0
        places[chart] = column, row
        column, shelf = column + width, max(shelf, height)
    if row + shelf > TEXTURE_PX:
        raise RuntimeError(f"the charts need {row + shelf} rows of texture, there are {TEXTURE_PX}")
    return places


def _rasterised(
    pixels: Float[np.ndarray, "faces 3 2"],
) -> tuple[Int[np.ndarray, "size size"], Float[np.ndarray, "size size 3"]]:
    """Which flat triangle covers each texel's centre, and where: rays cast straight at the flat triangles."""
    flat = np.zeros((len(pixels) * 3, 3), np.float32)
    flat[:, :2] = pixels.reshape(-1, 2)
    scene = EmbreeScene()
    TriangleMesh(scene, flat, np.arange(len(flat), dtype=np.int32).reshape(-1, 3))
    centre = np.arange(TEXTURE_PX) + 0.5
    column, row = np.meshgrid(centre, centre)
    origins = np.stack([column, row, np.full_like(row, -1.0)], -1).reshape(-1, 3).astype(np.float32)
    hits = scene.run(origins, np.tile(np.array([0, 0, 1], np.float32), (len(origins), 1)), output=1)
    second, third = hits["u"], hits["v"]
    shape = (TEXTURE_PX, TEXTURE_PX)
    corners = np.stack([1 - second - third, second, third], -1).reshape(*shape, 3)
    return hits["primID"].astype(np.int64).reshape(shape), corners


def _paint(generator: Generator, points: Texels, normals: Texels) -> Texels:
    """Patches, then photographs stuck on from six sides, then blots of three sizes: detail at every scale."""
    colour = _patches(generator, points, None, spacing_m=0.020, reach_m=np.inf, share=1.0)
    for axis in range(3):
        for sign in (-1.0, 1.0):
            _stick_photograph(generator, colour, points, normals, axis, sign)
    for spacing, reach, share in ((0.014, 0.0045, 0.5), (0.0075, 0.0024, 0.6), (0.0045, 0.0014, 0.6)):
        colour = _patches(generator, points, colour, spacing_m=spacing, reach_m=reach, share=share)
    grain = generator.normal(0, 0.04, (len(points), 1))
    return np.clip(colour * (1 + grain), 0.02, 0.8).astype(np.float32)


def _glazed(paint: Texels, points: Texels) -> Texels:
    """The inside of a mug under a light glaze, through which the paint is seen."""
    depth_m = _mug_outside(torch.from_numpy(points)).numpy()
    inside = depth_m < -_GLAZED_M
    return np.where(inside[:, None], _GLAZE + _THROUGH_GLAZE * paint, paint).astype(np.float32)


def _patches(
    generator: Generator, points: Texels, below: Texels | None, *, spacing_m: float, reach_m: float, share: float
) -> Texels:
    """Random seeds in space, one per `spacing`^3; a texel takes the colour of its nearest seed within its reach."""
    low, high = points.min(0) - 0.01, points.max(0) + 0.01
    count = max(8, int(np.prod((high - low) / spacing_m)))
    seeds = generator.uniform(low, high, (count, 3))
    colours = np.stack([random_colour(generator, 0.9) for _ in range(count)])
    reach = reach_m * generator.uniform(0.6, 1.5, count) if np.isfinite(reach_m) else np.full(count, np.inf)
    reach[generator.random(count) > share] = -1.0
    distance, nearest = cKDTree(seeds).query(points)
    inside = distance < reach[nearest]
    result = colours[nearest] if below is None else below.copy()
    result[inside] = colours[nearest[inside]]
    return result


def _stick_photograph(
    generator: Generator, colour: Texels, points: Texels, normals: Texels, axis: int, sign: float
) -> None:
    """Lay a piece of a photograph over the surface that looks along one direction, leaving a rim of the paint below."""
    chosen = np.flatnonzero(sign * normals[:, axis] > 0.62)
    if not len(chosen):
        return
    plane = [other for other in range(3) if other != axis]
    place = points[chosen][:, plane]
    low, high = place.min(0), place.max(0)
    unit = (place - low) / np.maximum(high - low, 1e-6)
    photograph = photograph_patch(generator, 160, 160)
    row, column = (np.clip(unit * 160, 0, 159).astype(int)).T
    # A rim of paint stays, and the photograph is toned by chance: two sides never look alike.
    kept = (np.abs(unit - 0.5) < 0.44).all(1)
    colour[chosen[kept]] = 0.25 * colour[chosen[kept]] + 0.75 * photograph[row[kept], column[kept]]


def _bled(texture: Float[np.ndarray, "size size 3"], painted: np.ndarray) -> Float[np.ndarray, "size size 3"]:
    filled, known = texture.copy(), painted.astype(np.float32)
    for _ in range(2):
        weight = cv2.blur(known, (3, 3))
        around = cv2.blur(filled * known[..., None], (3, 3)) / np.maximum(weight, 1e-6)[..., None]
        fresh = (known == 0) & (weight > 1e-3)
        filled[fresh], known[fresh] = around[fresh], 1.0
    return filled


def write_textured_obj(path: Path, thing: PaintedSurface) -> None:
    """Write a YCB-style model: Wavefront OBJ (metres, origin as posed), its material, and `texture_map.png`."""
    uv = thing.texture_uv.reshape(-1, 2)
    corner = np.arange(len(uv)).reshape(-1, 3) + 1
    lines = [f"mtllib {path.name}.mtl", "usemtl material_0"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in thing.vertices_m]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in uv]
    lines += [
        "f " + " ".join(f"{vertex + 1}/{texture}" for vertex, texture in zip(*pair, strict=True))
        for pair in zip(thing.topology.faces.tolist(), corner.tolist(), strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")
    write_text(path.with_name(f"{path.name}.mtl"), "newmtl material_0\nKd 1 1 1\nmap_Kd texture_map.png\n")
    srgb = (255 * np.clip(thing.texture, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)
    Image.fromarray(srgb).save(path.with_name("texture_map.png"), compress_level=3)
