"""Shape error of a reconstructed cube against a perfect one, after the best similarity alignment.

    python tools/measure_cube.py results/hold/cube/phase3/predictions.npz [--side-mm 84] [--seed 0]

Prints the chamfer distance and F-scores as HOLD defines them (facts/hold.md 4; `any_scale`, as one camera does not know
the size), the side that the reconstruction gives the cube, and per face of the cube in how many frames it faces the
camera, how far its surface is from the mesh and how far the mesh is from it. Faces that never face the camera are
invented by any method; the last lines are of the seen ones alone. Occlusion by other things is not regarded.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from handloom.evaluation.frame_meshes import PREDICTIONS
from handloom.evaluation.icp import Aligned, align_meshes, surface_samples
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.seeds import numpy_generator

SUBDIVISIONS = 5
CUBE_SAMPLES, MESH_SAMPLES = 30_000, 200_000
NORMALS = np.concatenate([np.eye(3), -np.eye(3)])
FACE_NAMES = ("+x", "+y", "+z", "-x", "-y", "-z")


@dataclass(frozen=True)
class FaceErrors:
    """One face of the cube and what of the mesh lies next to it, in millimetres of the true cube."""

    name: str
    seen_frames: int
    to_mesh_mm: Float[np.ndarray, " samples"]
    from_mesh_mm: Float[np.ndarray, " samples"]


def cube_mesh(side_m: float) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """A cube about the origin, vertices spread evenly over its faces."""
    mesh = trimesh.creation.box((side_m, side_m, side_m))
    for _ in range(SUBDIVISIONS):
        mesh = mesh.subdivide()
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces)


def into_cube(
    aligned: Aligned, points_m: Float[np.ndarray, "points 3"], vertices_m: Float[np.ndarray, "vertices 3"]
) -> Float[np.ndarray, "points 3"]:
    """Points of the reconstruction's frame in the cube's, whose centre is the origin."""
    return aligned.scale * (points_m - vertices_m.mean(0)) @ aligned.rotation.T + aligned.translation_m


def faces_seen(cameras_m: Float[np.ndarray, "frames 3"], side_m: float) -> Bool[np.ndarray, "frames 6"]:
    """Which faces each camera centre lies in front of."""
    return cameras_m @ NORMALS.T > side_m / 2


def distance_to_cube(points_m: Float[np.ndarray, "points 3"], side_m: float) -> Float[np.ndarray, " points"]:
    """Distances to the surface of a cube about the origin, from outside and inside, in metres."""
    beyond = np.abs(points_m) - side_m / 2
    return np.where(beyond.max(1) > 0, np.linalg.norm(np.maximum(beyond, 0), axis=1), -beyond.max(1))


def face_errors(
    mesh_m: Float[np.ndarray, "samples 3"], side_m: float, seen: Bool[np.ndarray, "frames 6"], seed: int
) -> list[FaceErrors]:
    """Distances both ways between each face and samples of the mesh; a sample belongs to the face it lies towards."""
    cube = surface_samples(*cube_mesh(side_m), CUBE_SAMPLES, numpy_generator(seed, "cube"))
    to_mesh, from_mesh = cKDTree(mesh_m).query(cube)[0], distance_to_cube(mesh_m, side_m)
    cube_face, mesh_face = ((points @ NORMALS.T).argmax(1) for points in (cube, mesh_m))
    return [
        FaceErrors(name, int(seen[:, face].sum()), 1e3 * to_mesh[cube_face == face], 1e3 * from_mesh[mesh_face == face])
        for face, name in enumerate(FACE_NAMES)
    ]


def described(faces: list[FaceErrors]) -> str:
    """Mean distances both ways and shares within 5 and 10 mm."""
    to_mesh, from_mesh = (
        np.concatenate(parts) for parts in zip(*((f.to_mesh_mm, f.from_mesh_mm) for f in faces), strict=True)
    )
    precision = {reach: 100 * (from_mesh < reach).mean() for reach in (5, 10)}
    recall = {reach: 100 * (to_mesh < reach).mean() for reach in (5, 10)}
    f_score = {
        reach: 2 * precision[reach] * recall[reach] / max(precision[reach] + recall[reach], 1e-9) for reach in (5, 10)
    }
    return (
        f"cube to mesh {to_mesh.mean():5.2f} mm, mesh to cube {from_mesh.mean():5.2f} mm, "
        f"F5 {f_score[5]:5.1f} %, F10 {f_score[10]:5.1f} %"
    )


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--side-mm", type=float, default=84.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    side_m = chosen.side_mm / 1e3
    arrays, _ = read_arrays(chosen.predictions, PREDICTIONS)
    vertices, faces, poses = (arrays[name] for name in ("object_vertices_m", "object_faces", "cam_from_object"))
    vertices = vertices.astype(float)
    aligned = align_meshes(vertices, faces, *cube_mesh(side_m), seed=chosen.seed, any_scale=True)
    cameras = -np.einsum("fij,fi->fj", poses[:, :3, :3], poses[:, :3, 3])
    seen = faces_seen(into_cube(aligned, cameras, vertices), side_m)
    samples = surface_samples(vertices, faces, MESH_SAMPLES, numpy_generator(chosen.seed, "mesh"))
    errors = face_errors(into_cube(aligned, samples, vertices), side_m, seen, chosen.seed)

    print(f"chamfer {aligned.chamfer_cm2:.3f} cm2, F5 {aligned.f5_pct:.1f} %, F10 {aligned.f10_pct:.1f} %")
    print(
        f"side of the cube in the reconstruction: {chosen.side_mm / aligned.scale:.1f} mm, true {chosen.side_mm:g} mm"
    )
    for error in sorted(errors, key=lambda one: -one.seen_frames):
        print(
            f"face {error.name}: faces the camera in {error.seen_frames:3d} of {len(seen)} frames, {described([error])}"
        )
    print(f"all faces:  {described(errors)}")
    print(f"seen faces: {described([error for error in errors if error.seen_frames])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
