"""Things to hold: boxes, cylinders, ellipsoids and bottles, with paint, and a distance to close fingers by."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from handloom.demo.renderer import Mesh, Topology
from handloom.demo.textures import object_texture

Kind = Literal["box", "cylinder", "ellipsoid", "bottle"]
KINDS: tuple[Kind, ...] = ("box", "cylinder", "ellipsoid", "bottle")


@dataclass(frozen=True)
class HeldObject:
    """An object in its own frame (long axis z, metres), its half extents, and its paint in red, green, blue."""

    kind: Kind
    half_extent_m: Float[np.ndarray, "3"]
    vertices_m: Float[np.ndarray, "vertices 3"]
    topology: Topology
    texture_uv: Float[np.ndarray, "faces 3 2"]
    texture: Float[np.ndarray, "size size 3"]
    gloss: float

    def distance_m(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """Signed distance of points to the surface, negative inside (an approximation for ellipsoids)."""
        if self.kind == "box":
            beyond = np.abs(points_m) - self.half_extent_m
            outside = np.linalg.norm(np.maximum(beyond, 0), axis=-1)
            return outside + np.minimum(beyond.max(-1), 0)
        if self.kind == "ellipsoid":
            unit = np.linalg.norm(points_m / self.half_extent_m, axis=-1)
            steep = np.linalg.norm(points_m / self.half_extent_m**2, axis=-1)
            return unit * (unit - 1) / np.maximum(steep, 1e-6)
        radial = np.linalg.norm(points_m[..., :2], axis=-1) - self.half_extent_m[0]
        axial = np.abs(points_m[..., 2]) - self.half_extent_m[2]
        outside = np.hypot(np.maximum(radial, 0), np.maximum(axial, 0))
        return outside + np.minimum(np.maximum(radial, axial), 0)

    def mesh(self, rotation: Float[np.ndarray, "3 3"], centre_m: Float[np.ndarray, "3"], *, grey: bool) -> Mesh:
        """The object placed in the world."""
        vertices = self.vertices_m @ rotation.T + centre_m
        texture = self.texture.mean(-1, keepdims=True) if grey else self.texture
        albedo = np.ones((len(vertices), texture.shape[-1]), np.float32)
        labels = np.full(len(self.topology.faces), 0)
        return Mesh(self.topology, vertices, albedo, labels, self.gloss, texture, self.texture_uv)


def random_object(generator: np.random.Generator, *, smallest_m: float = 0.010, largest_m: float = 0.04) -> HeldObject:
    """An object whose grasped radius lies between the two bounds, longer along z."""
    kind = KINDS[int(generator.integers(len(KINDS)))]
    radius = generator.uniform(smallest_m, largest_m)
    length = generator.uniform(max(0.025, 0.8 * radius), 0.10)
    if kind == "box":
        half = np.array([radius, radius * generator.uniform(0.5, 1.4), length])
        vertices, faces, uv = _box(half)
    elif kind == "ellipsoid":
        half = np.array([radius, radius * generator.uniform(0.7, 1.3), max(radius, 0.7 * length)])
        profile = np.linspace(0, np.pi, 13)
        vertices, faces, uv = _revolved(np.sin(profile), -np.cos(profile), half)
    else:
        half = np.array([radius, radius, length])
        if kind == "cylinder":
            radii, heights = np.array([0, 0.95, 1, 1, 1, 0.95, 0]), np.array([-1, -1, -0.97, 0, 0.97, 1, 1.0])
        else:
            radii = np.array([0, 0.9, 1, 1, 0.95, 0.6, 0.35, 0.33, 0.4, 0.4, 0])
            heights = np.array([-1, -1, -0.95, 0.2, 0.4, 0.6, 0.72, 0.82, 0.83, 1, 1.0])
        vertices, faces, uv = _revolved(radii, heights, half)
    return HeldObject(
        kind=kind,
        half_extent_m=half,
        vertices_m=vertices,
        topology=Topology(faces, len(vertices)),
        texture_uv=uv.astype(np.float32),
        texture=object_texture(generator),
        gloss=float(generator.uniform(0.02, 0.25)),
    )


def _revolved(
    radii: np.ndarray, heights: np.ndarray, half: np.ndarray, around: int = 20
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], Float[np.ndarray, "f 3 2"]]:
    """A surface of revolution about z, scaled by `half`; its caps are rings of radius zero."""
    turn = 2 * np.pi * np.arange(around) / around
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    vertices = np.concatenate(
        [radii[:, None, None] * ring, np.broadcast_to(heights[:, None, None], (len(radii), around, 1))], axis=-1
    )
    low = np.arange(len(radii) - 1)[:, None] * around
    here, ahead = np.arange(around)[None], (np.arange(around)[None] + 1) % around
    faces = np.concatenate(
        [
            np.stack(np.broadcast_arrays(low + here, low + ahead, low + around + ahead), -1).reshape(-1, 3),
            np.stack(np.broadcast_arrays(low + here, low + around + ahead, low + around + here), -1).reshape(-1, 3),
        ]
    )
    u = np.broadcast_to(np.arange(around) / around, (len(radii) - 1, around)).reshape(-1)
    v = np.broadcast_to((heights[:-1, None] + 1) / 2, (len(radii) - 1, around)).reshape(-1)
    v_up = np.broadcast_to((heights[1:, None] + 1) / 2, (len(radii) - 1, around)).reshape(-1)
    u_right = u + 1 / around
    uv = np.concatenate(
        [
            np.stack([np.stack([u, v], -1), np.stack([u_right, v], -1), np.stack([u_right, v_up], -1)], 1),
            np.stack([np.stack([u, v], -1), np.stack([u_right, v_up], -1), np.stack([u, v_up], -1)], 1),
        ]
    )
    return vertices.reshape(-1, 3) * half, faces, np.clip(uv, 0, 0.999)


def _box(half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box whose six sides have their own vertices, so that its edges stay sharp, each cut into 4 x 4 squares."""
    grid = np.linspace(-1, 1, 5)
    first, second = (axis.reshape(-1) for axis in np.meshgrid(grid, grid, indexing="ij"))
    cell = (np.arange(4)[:, None] * 5 + np.arange(4)[None]).reshape(-1)
    square = np.concatenate([np.stack([cell, cell + 5, cell + 6], -1), np.stack([cell, cell + 6, cell + 1], -1)])
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.zeros((25, 3))
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, first, second
            faces.append((square if sign > 0 else square[:, ::-1]) + 25 * len(vertices))
            vertices.append(side * half)
            uv = np.stack([(first + 1) / 2, (second + 1) / 2], -1)[faces[-1] - 25 * (len(vertices) - 1)]
            uvs.append(np.clip(uv, 0, 0.999))
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(uvs)
