"""Light that a hollow thing's walls pass on to each other: without it the inside of a mug is black, which none is.

The irradiance E of a diffuse surface is the light that comes from elsewhere and what it gets from itself,

    E_i = E_direct,i + sum_j F_ij rho_j E_j,

with the reflectance rho and the share F_ij of i's cosine-weighted hemisphere that j fills (Goral et al., SIGGRAPH
1984). F depends on the shape only: it is found once for all poses.
"""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, Int
from scipy.sparse import csr_array

_RAYS = 200
"""Of a vertex, evenly spread: few enough would be a pattern of their own on the wall."""
_BOUNCES = 8
_OFFSET_M = 1e-4


@dataclass(frozen=True)
class Interreflection:
    """F as a sparse matrix, and the reflectance of every vertex."""

    share: csr_array
    reflectance: Float[np.ndarray, "vertices channels"]

    def lit(self, direct: Float[np.ndarray, "vertices channels"]) -> Float[np.ndarray, "vertices channels"]:
        """All light at the vertices, after eight bounces."""
        light = direct
        for _ in range(_BOUNCES):
            light = direct + self.share @ (self.reflectance * light)
        return light


def interreflection(
    vertices_m: Float[np.ndarray, "vertices 3"],
    normals: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    reflectance: Float[np.ndarray, "vertices channels"],
) -> Interreflection:
    """F from rays of every vertex, as dense as the cosine is large."""
    count = len(vertices_m)
    scene = EmbreeScene()
    TriangleMesh(scene, vertices_m.astype(np.float32), faces.astype(np.int32))
    number = np.arange(_RAYS) + 0.5
    radius, turn = np.sqrt(number / _RAYS), np.pi * (1 + np.sqrt(5)) * number
    local = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], -1)
    helper = np.where(np.abs(normals[:, :1]) < 0.7, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(normals, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    frame = np.stack([first, np.cross(normals, first), normals], 1)
    directions = np.einsum("rk,vkd->vrd", local, frame).reshape(-1, 3).astype(np.float32)
    origins = np.repeat(vertices_m + _OFFSET_M * normals, _RAYS, 0).astype(np.float32)
    hits = scene.run(origins, directions, output=1)
    met = np.flatnonzero(hits["primID"] >= 0)
    second, third = hits["u"][met], hits["v"][met]
    weight = np.stack([1 - second - third, second, third], 1) / _RAYS
    columns = faces[hits["primID"][met]]
    rows = np.repeat(met // _RAYS, 3)
    share = csr_array((weight.ravel().astype(np.float32), (rows, columns.ravel())), shape=(count, count))
    return Interreflection(share, reflectance.astype(np.float32))
