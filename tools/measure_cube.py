"""Shape error of a reconstructed cube against a perfect one, after the best similarity alignment.

    python tools/measure_cube.py results/hold/cube [--phase phase3] [--side-mm 84] [--seed 0]

The first line is HOLD's own metric (its `code/src/utils/icp.py`): chamfer distance and F-scores of the whole mesh
against the whole cube, with `any_scale`, as one camera does not know the size. Sides that no frame shows are invented
by any method. Therefore a cube is also fitted to the SfM points, which lie on its seen faces only; the lines after it
tell for each face of that cube in how many frames it lies towards the camera and how far it is from the mesh, in true
millimetres.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from handloom.datasets.hand_and_object import HoldPredictions
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.evaluation.icp import align_meshes, surface_samples
from handloom.reconstruction.tracks import SequencePoses
from handloom.runtime.seeds import numpy_generator

SUBDIVISIONS = 5
SAMPLES = 100_000
STARTS = 40
OUTLIER_SHARE = 0.015
SEEN_COSINE = 0.17
NORMALS = np.concatenate([np.eye(3), -np.eye(3)])
FACE_NAMES = ("+x", "+y", "+z", "-x", "-y", "-z")


@dataclass(frozen=True)
class PlacedCube:
    """A cube in some frame: `rotation` has its axes as columns; lengths in that frame's unit."""

    rotation: Float[np.ndarray, "3 3"]
    centre: Float[np.ndarray, "3"]
    side: float

    def inside_axes(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Points in the cube's own axes, its centre the origin and its side 1."""
        return (points - self.centre) @ self.rotation / self.side


def cube_mesh(side_m: float) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """A cube about the origin with many vertices spread evenly over its faces."""
    mesh = trimesh.creation.box((side_m, side_m, side_m))
    for _ in range(SUBDIVISIONS):
        mesh = mesh.subdivide()
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces)


def distance_to_cube(points: Float[np.ndarray, "points 3"], side: float) -> Float[np.ndarray, " points"]:
    """Distances to the surface of a cube about the origin, positive outside, in the points' unit."""
    beyond = np.abs(points) - side / 2
    return np.where(beyond.max(1) > 0, np.linalg.norm(np.maximum(beyond, 0), axis=1), beyond.max(1))


def fit_cube(points: Float[np.ndarray, "points 3"], seed: int) -> PlacedCube:
    """The cube whose surface is nearest to points of at least four of its faces, few of which may be wrong.

    Three faces about a corner would not tell the size.
    Soft-L1 least squares of the distances from 40 random rotations; the best counts.
    """
    centre, size = np.median(points, axis=0), float(np.median(np.ptp(points, axis=0)))
    unit = (points - centre) / size

    def residuals(x: np.ndarray) -> np.ndarray:
        return distance_to_cube((unit - x[3:6]) @ Rotation.from_rotvec(x[:3]).as_matrix(), x[6])

    starts = Rotation.random(STARTS, rng=numpy_generator(seed, "cube")).as_rotvec()
    fits = [least_squares(residuals, [*start, 0, 0, 0, 0.7], loss="soft_l1", f_scale=OUTLIER_SHARE) for start in starts]
    best = min(fits, key=lambda fit: fit.cost).x
    return PlacedCube(Rotation.from_rotvec(best[:3]).as_matrix(), centre + size * best[3:6], size * abs(best[6]))


def faces_seen(cameras: Float[np.ndarray, "frames 3"]) -> Int[np.ndarray, "6"]:
    """In how many frames the camera is at least 10 degrees above each face of a cube of side 1."""
    towards = cameras[:, None] - NORMALS / 2
    cosine = (towards * NORMALS).sum(-1) / np.linalg.norm(towards, axis=-1)
    return (cosine > SEEN_COSINE).sum(0)


def main(arguments: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--phase", default="phase3")
    parser.add_argument("--side-mm", type=float, default=84.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    found = HoldPredictions.load(chosen.sequence / chosen.phase / "predictions.npz")
    vertices, faces = found.object_vertices_m.astype(float), found.object_faces
    cube = cube_mesh(chosen.side_mm / 1e3)
    whole = align_meshes(vertices, faces, *cube, seed=chosen.seed, any_scale=True)
    print(f"whole cube: chamfer {whole.chamfer_cm2:.3f} cm2, F5 {whole.f5_pct:.1f} %, F10 {whole.f10_pct:.1f} %")

    aligned = SequencePoses.load(chosen.sequence / "aligned.npz").object
    points = ObjectPoses.load(chosen.sequence / "object_poses.npz").points_object
    points_m = float(aligned.scale) * points.astype(float)
    placed = fit_cube(points_m, chosen.seed)
    off = chosen.side_mm * np.abs(distance_to_cube(placed.inside_axes(points_m), 1.0))
    print(
        f"SfM points: {len(off)}, median {np.median(off):.2f} mm from a cube, 90 % within {np.quantile(off, 0.9):.2f} "
        f"mm; its side is {1e3 * placed.side:.1f} mm before alignment, true {chosen.side_mm:g} mm"
    )
    rotation, translation = (value.double().numpy() for value in (aligned.rotation, aligned.translation_m))
    frames = faces_seen(placed.inside_axes(-np.einsum("fij,fi->fj", rotation, translation)))
    mesh = placed.inside_axes(surface_samples(vertices, faces, SAMPLES, numpy_generator(chosen.seed, "mesh")))
    samples = surface_samples(*cube_mesh(1.0), SAMPLES, numpy_generator(chosen.seed, "cube samples"))
    distance = chosen.side_mm * cKDTree(mesh).query(samples)[0]
    face_of = (samples @ NORMALS.T).argmax(1)
    for face in np.argsort(-frames, kind="stable"):
        own = distance[face_of == face]
        print(
            f"  face {FACE_NAMES[face]}, towards the camera in {frames[face]:3d} of {len(rotation)} frames: "
            f"{own.mean():5.1f} mm from the mesh on average, {100 * (own < 5).mean():3.0f} % within 5 mm, "
            f"{100 * (own < 10).mean():3.0f} % within 10 mm"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
