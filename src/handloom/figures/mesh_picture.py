"""Pictures of meshes: embree finds the surface behind every pixel, a lamp at the camera lights it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Int, UInt8

Points = Float[np.ndarray, "points 3"]
Vertices = Float[np.ndarray, "vertices 3"]
Faces = Int[np.ndarray, "faces 3"]

_AMBIENT = 0.35
"""Light on a face that is seen edge on, so that silhouettes are not black."""
_NOTHING = -1


@dataclass(frozen=True)
class PaintedMesh:
    """A mesh in the camera's frame (metres) with a colour for each vertex."""

    vertices_m: Vertices
    faces: Faces
    colours_u8: UInt8[np.ndarray, "vertices 3"]
    seen: Bool[np.ndarray, " vertices"] | None = None
    """Vertices that some photograph shows, where that is known."""

    def turned(self, centre_m: Float[np.ndarray, "3"], angle_rad: float) -> "PaintedMesh":
        """Turned as by `turned_about`."""
        return replace(self, vertices_m=turned_about(self.vertices_m, centre_m, angle_rad))


@dataclass(frozen=True)
class MeshPicture:
    """What a camera sees of meshes."""

    rgb_u8: UInt8[np.ndarray, "height width 3"]
    mesh: Int[np.ndarray, "height width"]
    """Which mesh lies behind the pixel, -1 for none."""
    depth_m: Float[np.ndarray, "height width"]
    """Infinite where there is none."""

    @property
    def covered(self) -> Bool[np.ndarray, "height width"]:
        """Where there is any mesh."""
        return self.mesh != _NOTHING


def one_colour(vertices_m: Vertices, faces: Faces, rgb: tuple[int, int, int]) -> PaintedMesh:
    """A mesh painted in one colour."""
    colours = np.tile(np.array(rgb, dtype=np.uint8), (len(vertices_m), 1))
    return PaintedMesh(vertices_m, faces, colours)


def take_picture(
    meshes: Sequence[PaintedMesh],
    intrinsics: Float[np.ndarray, "3 3"],
    height_px: int,
    width_px: int,
    background: tuple[int, int, int] = (255, 255, 255),
) -> MeshPicture:
    """Look at meshes with a camera at the origin (OpenCV axes); pixel centres have integer coordinates.

    Light falls off with the angle between surface and ray, the same on both sides of a face.
    """
    starts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in meshes)])
    vertices = np.concatenate([np.zeros((0, 3)), *(mesh.vertices_m for mesh in meshes)]).astype(np.float32)
    faces = np.concatenate(
        [np.zeros((0, 3), np.int64), *(mesh.faces + start for mesh, start in zip(meshes, starts[:-1], strict=True))]
    )
    colours = np.concatenate([np.zeros((0, 3)), *(mesh.colours_u8 for mesh in meshes)]).astype(np.float32)
    owner = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])

    rays = _rays(intrinsics, height_px, width_px)
    rgb = np.tile(np.array(background, np.float32), (len(rays), 1))
    found = np.full(len(rays), _NOTHING)
    depth = np.full(len(rays), np.inf)
    if len(faces):
        scene = EmbreeScene()
        TriangleMesh(scene, vertices, np.ascontiguousarray(faces, np.int32))
        hits = scene.run(np.zeros_like(rays), rays, output=1)
        hit = np.flatnonzero(hits["primID"] >= 0)
        face = hits["primID"][hit]
        second, third = hits["u"][hit], hits["v"][hit]
        corners = np.stack([1 - second - third, second, third], axis=1)[..., None]
        normal = (vertex_normals(vertices, faces)[faces[face]] * corners).sum(1)
        ray = rays[hit] / np.linalg.norm(rays[hit], axis=1, keepdims=True)
        facing = np.abs((normal * ray).sum(1)) / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
        light = (_AMBIENT + (1 - _AMBIENT) * facing)[:, None]
        rgb[hit] = (colours[faces[face]] * corners).sum(1) * light
        found[hit] = owner[face]
        depth[hit] = hits["tfar"][hit]  # rays have length 1 along the axis
    shape = (height_px, width_px)
    return MeshPicture(rgb.clip(0, 255).astype(np.uint8).reshape(*shape, 3), found.reshape(shape), depth.reshape(shape))


def laid_over(
    image_u8: UInt8[np.ndarray, "height width 3"], picture: MeshPicture, opacity: float = 0.65
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture over a photograph, where there is a mesh."""
    share = opacity * picture.covered[..., None]
    return np.asarray((1 - share) * image_u8 + share * picture.rgb_u8).round().astype(np.uint8)


def turned_about(points_m: Points, centre_m: Float[np.ndarray, "3"], angle_rad: float) -> Points:
    """Points turned about the vertical (y) through a centre, as if one walked around them."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return np.asarray((points_m - centre_m) @ turn.T + centre_m)


def framed_camera(points_m: Points, height_px: int, width_px: int, margin: float = 0.1) -> Float[np.ndarray, "3 3"]:
    """Intrinsics with which a camera at the origin sees all the points in the middle; they must lie before it."""
    tangents = points_m[:, :2] / np.maximum(points_m[:, 2:], 1e-6)
    low, high = tangents.min(0), tangents.max(0)
    size = np.array([width_px, height_px])
    focal = float((size * (1 - 2 * margin) / np.maximum(high - low, 1e-6)).min())
    middle = (size - 1) / 2 - focal * (low + high) / 2
    return np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])


def vertex_normals(vertices: Vertices, faces: Faces) -> Vertices:
    """Unit normals weighted by face area; zero for a vertex without faces."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    of_face = np.cross(b - a, c - a).astype(np.float64)
    return np.asarray(trimesh.geometry.mean_vertex_normals(len(vertices), faces, of_face))


def _rays(intrinsics: np.ndarray, height_px: int, width_px: int) -> Float[np.ndarray, "pixels 3"]:
    row, column = np.indices((height_px, width_px)).reshape(2, -1)
    pixels = np.stack([column, row, np.ones_like(row)], axis=1)
    return np.ascontiguousarray(pixels @ np.linalg.inv(intrinsics).T, dtype=np.float32)
