"""Meshes and poses of a reconstructed sequence in files that other software reads: GLB, PLY, npz and JSON.

Everything is in metres. `object.*` is in the object's own frame; `hand.*` and `scene.glb` are of one frame. PLY files
keep the OpenCV camera's axes (x right, y down, z forward); GLB files are y up by their standard, so there y and z
change sign. Poses are OpenCV's: x_cam = R x_object + t.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8

from handloom.figures.hold_sequence import HAND_RGB, HoldSequence, read_hold_sequence
from handloom.figures.surface_colours import surface_colours
from handloom.runtime.artifacts import Header, write_arrays
from handloom.runtime.files import atomic_path, write_json

KIND = "hold_poses"
_GLB_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class ExportFiles:
    """The files of an export, all in one folder."""

    folder: Path

    @property
    def meshes(self) -> dict[str, Path]:
        """The mesh files by name."""
        names = ("object.glb", "object.ply", "hand.glb", "hand.ply", "scene.glb")
        return {name: self.folder / name for name in names}

    @property
    def poses_npz(self) -> Path:
        """Poses as arrays."""
        return self.folder / "poses.npz"

    @property
    def poses_json(self) -> Path:
        """The same as text."""
        return self.folder / "poses.json"


def export_meshes(predictions: Path, frames: Path, frames_json: Path, folder: Path, *, code: str = "") -> ExportFiles:
    """Stage: write the coloured meshes and the poses of a sequence into a folder.

    Files as `read_hold_sequence` takes them; the hand is that of the middle usable frame. Raises as that does.
    """
    sequence = read_hold_sequence(predictions, frames, frames_json)
    files = ExportFiles(folder)
    shown = sequence.usable[len(sequence.usable) // 2]
    colours = surface_colours(sequence)
    hand_m = sequence.hand_vertices_cam_m[shown]
    hand_colours = np.tile(np.array(HAND_RGB, np.uint8), (len(hand_m), 1))
    thing = coloured_mesh(sequence.object_vertices_m, sequence.object_faces, colours)
    hand = coloured_mesh(hand_m, sequence.hand_faces, hand_colours)
    placed = coloured_mesh(sequence.object_cam_m(shown), sequence.object_faces, colours)
    for name, meshes in (("object", {"object": thing}), ("hand", {"hand": hand})):
        write_ply(files.meshes[f"{name}.ply"], meshes[name])
        write_glb(files.meshes[f"{name}.glb"], meshes)
    write_glb(files.meshes["scene.glb"], {"object": placed, "hand": hand})
    _write_poses(files, sequence, sequence.names[shown], code)
    return files


def coloured_mesh(
    vertices_m: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    colours_u8: UInt8[np.ndarray, "vertices 3"],
) -> trimesh.Trimesh:
    """A mesh with vertex colours, its vertices in the given order."""
    opaque = np.column_stack([colours_u8, np.full(len(colours_u8), 255, np.uint8)])
    return trimesh.Trimesh(vertices_m, faces, vertex_colors=opaque, process=False)


def write_ply(path: Path, mesh: trimesh.Trimesh) -> None:
    """Write a mesh as binary PLY."""
    with atomic_path(path) as temporary:
        mesh.export(str(temporary), file_type="ply")


def write_glb(path: Path, meshes: dict[str, trimesh.Trimesh]) -> None:
    """Write named meshes in OpenCV's axes as one GLB file, y up."""
    scene = trimesh.Scene()
    for name, mesh in meshes.items():
        scene.add_geometry(mesh.copy().apply_transform(_GLB_FROM_OPENCV), geom_name=name, node_name=name)
    with atomic_path(path) as temporary:
        scene.export(str(temporary), file_type="glb")


def _write_poses(files: ExportFiles, sequence: HoldSequence, shown: str, code: str) -> None:
    arrays = {
        "names": np.array(sequence.names),
        "intrinsics": sequence.intrinsics,
        "cam_from_object": sequence.cam_from_object,
        "hand_joints_cam_m": sequence.hand_joints_cam_m,
    }
    header = Header(KIND, units="m", frame="camera (OpenCV)", joint_order="SNAP", code=code)
    write_arrays(files.poses_npz, arrays, header)
    usable = set(sequence.usable)
    write_json(
        files.poses_json,
        {
            "units": "m",
            "frame": "OpenCV camera: x right, y down, z forward; x_cam = R x_object + t",
            "joint_order": "SNAP: wrist, then thumb, index, middle, ring, pinky from base to tip",
            "intrinsics": sequence.intrinsics.tolist(),
            "meshes_are_of": shown,
            "frames": [
                {
                    "name": name,
                    "cam_from_object": sequence.cam_from_object[frame].tolist() if frame in usable else None,
                    "hand_joints_cam_m": _or_none(sequence.hand_joints_cam_m[frame]) if frame in usable else None,
                }
                for frame, name in enumerate(sequence.names)
            ],
        },
    )


def _or_none(values: np.ndarray) -> list[list[float]] | None:
    return values.tolist() if np.isfinite(values).all() else None
