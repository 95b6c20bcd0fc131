"""A small ray caster: embree finds the first surface, light is computed once per vertex and shared by all cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from handloom.demo.interreflection import Interreflection
from handloom.geometry.camera import project

Vector = Float[np.ndarray, "3"]
Matrix = Float[np.ndarray, "3 3"]
Extrinsics = Float[np.ndarray, "3 4"]
"""camera_from_world: X_cam = R X_world + t, metres."""

NEAR_M = 0.02
"""Nearer surfaces are not seen: they would be inside the camera."""
_OFFSET_M = 1.5e-3
"""Shadow rays start so far above a surface that it does not shade itself."""


class Topology:
    """Triangles of a mesh, with what can be computed once for all its poses."""

    def __init__(self, faces: Int[np.ndarray, "faces 3"], vertex_count: int) -> None:
        self.faces = np.ascontiguousarray(faces, dtype=np.int32)
        rows = self.faces.T.reshape(-1)
        columns = np.tile(np.arange(len(faces)), 3)
        self._vertex_from_face = csr_array(
            (np.ones(len(rows), np.float32), (rows, columns)), shape=(vertex_count, len(faces))
        )

    def normals(self, vertices: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "vertices 3"]:
        """Unit vertex normals, weighted by face area."""
        a, b, c = (vertices[self.faces[:, corner]] for corner in range(3))
        normals = self._vertex_from_face @ np.cross(b - a, c - a).astype(np.float32)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def at_vertices(self, of_faces: Float[np.ndarray, "faces channels"]) -> Float[np.ndarray, "vertices channels"]:
        """The mean over each vertex's faces."""
        count = self._vertex_from_face.sum(1)
        mean: np.ndarray = (self._vertex_from_face @ of_faces) / np.maximum(count, 1.0)[:, None]
        return mean


@dataclass(frozen=True)
class Mesh:
    """A surface in the scene: vertices (metres), reflectance per vertex, and optionally a texture it is multiplied by.

    `labels` tells faces apart in the mask; `texture_uv` holds the three corners of each face in [0, 1).
    """

    topology: Topology
    vertices: Float[np.ndarray, "vertices 3"]
    albedo: Float[np.ndarray, "vertices channels"]
    labels: Int[np.ndarray, " faces"]
    gloss: float = 0.05
    texture: Float[np.ndarray, "size size channels"] | None = None
    texture_uv: Float[np.ndarray, "faces 3 2"] | None = None
    interreflection: Interreflection | None = None


@dataclass(frozen=True)
class PaintedSurface:
    """A rigid surface in its own frame (metres); `texture` is reflectance, whose first row belongs to v = 0."""

    vertices_m: Float[np.ndarray, "vertices 3"]
    topology: Topology
    texture_uv: Float[np.ndarray, "faces 3 2"]
    texture: Float[np.ndarray, "size size 3"]
    gloss: float
    interreflection: Interreflection | None = field(default=None, kw_only=True)
    """Of a hollow thing; it is left out of those that have none."""

    def mesh(self, world_from_object: Matrix, origin_m: Vector, *, label: int = 0, grey: bool = False) -> Mesh:
        """The surface placed in the world: x_world = R x_object + origin."""
        vertices = self.vertices_m @ world_from_object.T + origin_m
        texture = self.texture.mean(-1, keepdims=True) if grey else self.texture
        albedo = np.ones((len(vertices), texture.shape[-1]), np.float32)
        labels = np.full(len(self.topology.faces), label)
        return Mesh(self.topology, vertices, albedo, labels, self.gloss, texture, self.texture_uv, self.interreflection)


@dataclass(frozen=True)
class Environment:
    """Light from a few directions of the sphere, radiance per channel; a sharp lamp is a close group of strong ones."""

    directions: Float[np.ndarray, "lights 3"]
    radiance: Float[np.ndarray, "lights channels"]


@dataclass(frozen=True)
class View:
    """What one camera sees of a scene inside `rows` x `columns` of its image."""

    rows: slice
    columns: slice
    radiance: Float[np.ndarray, "height width channels"]
    label: Int[np.ndarray, "height width"]
    depth_m: Float[np.ndarray, "height width"]

    @cached_property
    def mask(self) -> np.ndarray:
        """Where a surface was hit."""
        return np.isfinite(self.depth_m)

    def depth_at(self, pixels: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
        """Depth (metres) of the surface at the nearest pixel of each (column, row); infinite where there is none."""
        column = np.rint(pixels[:, 0]).astype(int) - self.columns.start
        row = np.rint(pixels[:, 1]).astype(int) - self.rows.start
        height, width = self.depth_m.shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        depth = np.full(len(pixels), np.inf)
        depth[inside] = self.depth_m[row[inside], column[inside]]
        return depth

    def cover(self, picture: Float[np.ndarray, "rows columns channels"]) -> None:
        """Lay what is seen over the whole image's radiance, in place."""
        picture[self.rows, self.columns][self.mask] = self.radiance[self.mask]


class Scene:
    """Lit meshes that can be looked at from any camera."""

    def __init__(self, meshes: Sequence[Mesh], environment: Environment) -> None:
        self.environment = environment
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
        self.vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
        faces = [mesh.topology.faces + start for mesh, start in zip(meshes, starts[:-1], strict=True)]
        self.faces = np.concatenate(faces).astype(np.int32)
        self.labels = np.concatenate([mesh.labels for mesh in meshes])
        self.normals = np.concatenate([mesh.topology.normals(mesh.vertices) for mesh in meshes])
        self.albedo = np.concatenate([mesh.albedo for mesh in meshes]).astype(np.float32)
        self.gloss = np.concatenate([np.full(len(mesh.vertices), mesh.gloss, np.float32) for mesh in meshes])
        textures: list[np.ndarray] = []
        layers, texture_uv = [], []
        for mesh in meshes:
            uv, layer = np.zeros((len(mesh.labels), 3, 2)), -1
            if mesh.texture is not None and mesh.texture_uv is not None:
                uv, layer = mesh.texture_uv, len(textures)
                textures.append(mesh.texture)
            texture_uv.append(uv)
            layers.append(np.full(len(mesh.labels), layer))
        self._textures = np.stack(textures).astype(np.float32) if textures else None
        self._layer, self._texture_uv = np.concatenate(layers), np.concatenate(texture_uv).astype(np.float32)
        self._tracer = EmbreeScene()
        TriangleMesh(self._tracer, self.vertices, self.faces)
        self._lit = self._visible_light()
        light = self._lit @ self.environment.radiance.astype(np.float32)
        for mesh, start in zip(meshes, starts[:-1], strict=True):
            if mesh.interreflection is not None:
                own = slice(start, start + len(mesh.vertices))
                light[own] = mesh.interreflection.lit(light[own])
        self._diffuse = self.albedo * light

    def _visible_light(self) -> Float[np.ndarray, "vertices lights"]:
        """Wrapped cosine of every light at every vertex, zero in its shadow.

        The wrap lets light creep around the terminator, as it does in skin.
        """
        directions = self.environment.directions.astype(np.float32)
        cosine = self.normals @ directions.T
        lit = np.clip((cosine + 0.15) / 1.15, 0.0, None).astype(np.float32)
        vertex, light = np.nonzero(cosine > -0.15)
        origins = self.vertices[vertex] + _OFFSET_M * self.normals[vertex]
        free = self._tracer.run(
            np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions[light]), query="OCCLUDED"
        )
        lit[vertex, light] *= np.asarray(free) != 0
        return lit

    def _vertex_radiance(self, camera_centre: Vector) -> Float[np.ndarray, "vertices channels"]:
        """Diffuse light plus a broad highlight (Blinn's half vector, exponent 24) towards the camera."""
        view = camera_centre - self.vertices
        view /= np.linalg.norm(view, axis=1, keepdims=True)
        strongest = np.argsort(self.environment.radiance.sum(1))[-2:]
        radiance = self._diffuse.copy()
        for light in strongest:
            half = view + self.environment.directions[light].astype(np.float32)
            half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
            shine = np.clip((self.normals * half).sum(1), 0.0, 1.0) ** 24 * (self._lit[:, light] > 0) * self.gloss
            radiance += shine[:, None] * self.environment.radiance[light].astype(np.float32)
        return radiance

    def window(self, camera_from_world: Extrinsics, intrinsics: Matrix, width: int, height: int) -> tuple[slice, slice]:
        """The rows and columns of the image that the scene's vertices can cover."""
        camera = self.vertices @ camera_from_world[:, :3].T + camera_from_world[:, 3]
        camera = camera[camera[:, 2] > NEAR_M]
        if len(camera) == 0:
            return slice(0, 0), slice(0, 0)
        pixels = project(camera, intrinsics)
        first = np.clip(np.floor(pixels.min(0)), 0, (width, height)).astype(int)
        last = np.clip(np.ceil(pixels.max(0)) + 1, 0, (width, height)).astype(int)
        return slice(int(first[1]), int(last[1])), slice(int(first[0]), int(last[0]))

    def view(self, camera_from_world: Extrinsics, intrinsics: Matrix, width: int, height: int) -> View:
        """Cast one ray through the centre (an integer coordinate) of every pixel that the scene may cover."""
        rows, columns = self.window(camera_from_world, intrinsics, width, height)
        rotation = camera_from_world[:, :3]
        centre = (-rotation.T @ camera_from_world[:, 3]).astype(np.float32)
        directions = ray_directions(rotation, intrinsics, rows, columns)
        shape = directions.shape[:2]
        flat = np.ascontiguousarray(directions.reshape(-1, 3))
        channels = self.albedo.shape[1]
        radiance = np.zeros((len(flat), channels), np.float32)
        depth = np.full(len(flat), np.inf, np.float32)
        label = np.zeros(len(flat), np.int32)
        if len(flat):
            origins = np.ascontiguousarray(np.broadcast_to(centre, flat.shape))
            hits = self._tracer.run(origins, flat, output=1)
            hit = np.flatnonzero((hits["primID"] >= 0) & (hits["tfar"] > NEAR_M))
            face = hits["primID"][hit]
            second, third = hits["u"][hit], hits["v"][hit]
            corners = np.stack([1 - second - third, second, third], axis=1)
            at_vertices = self._vertex_radiance(centre)
            radiance[hit] = self._shade(at_vertices, face, corners)
            depth[hit] = hits["tfar"][hit]
            label[hit] = self.labels[face]
        return View(
            rows, columns, radiance.reshape(*shape, channels), label.reshape(shape), depth.reshape(shape).astype(float)
        )

    def _shade(
        self, at_vertices: np.ndarray, face: np.ndarray, corners: Float[np.ndarray, "hits 3"]
    ) -> Float[np.ndarray, "hits channels"]:
        colour = np.einsum("hkc,hk->hc", at_vertices[self.faces[face]], corners)
        if self._textures is not None:
            layer = self._layer[face]
            chosen = np.flatnonzero(layer >= 0)
            uv = np.einsum("hkd,hk->hd", self._texture_uv[face[chosen]], corners[chosen])
            size = self._textures.shape[1]
            cell = np.clip((uv * size).astype(np.int32), 0, size - 1)
            colour[chosen] *= self._textures[layer[chosen], cell[:, 1], cell[:, 0]]
        return colour


def pinhole(focal_x: float, focal_y: float, centre_x: float, centre_y: float) -> Matrix:
    """The matrix of a camera whose pixels have their centres at whole numbers."""
    return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])


def ray_directions(
    rotation: Matrix, intrinsics: Matrix, rows: slice, columns: slice
) -> Float[np.ndarray, "height width 3"]:
    """World directions of the pixels' rays, of length 1 along the optical axis: a hit's distance is its depth."""
    column = np.arange(columns.start, columns.stop, dtype=np.float32)
    row = np.arange(rows.start, rows.stop, dtype=np.float32)
    inverse = (rotation.T @ np.linalg.inv(intrinsics)).astype(np.float32)
    return column[None, :, None] * inverse[:, 0] + row[:, None, None] * inverse[:, 1] + inverse[:, 2]


def project_from_world(
    points_m: Float[np.ndarray, "*batch 3"], camera_from_world: Extrinsics, intrinsics: Matrix
) -> tuple[Float[np.ndarray, "*batch 2"], Float[np.ndarray, "*batch 3"]]:
    """Pixels (column, row) of world points, and the points in the camera's frame (metres)."""
    camera = points_m @ camera_from_world[:, :3].T + camera_from_world[:, 3]
    return project(camera, intrinsics), camera


def inside_image(
    pixels: Float[np.ndarray, "points 2"], points_cam_m: Float[np.ndarray, "points 3"], width: int, height: int
) -> Bool[np.ndarray, " points"]:
    """Which points lie at least 5 cm before the camera and project into its image."""
    return ((pixels >= 0) & (pixels <= [width - 1, height - 1])).all(1) & (points_cam_m[:, 2] > 0.05)
