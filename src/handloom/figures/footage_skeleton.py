"""The fused poses as one GLB file: a ball for every joint and a stick for every bone, moving as they were filmed.

GLB is y up and z towards the viewer, so y and z change sign against the OpenCV camera. Metres.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.figures.painted_skeleton import FINGER_RGB
from handloom.footage.poses_file import read_poses
from handloom.hand.joints import SNAP_BONES, SNAP_NAMES
from handloom.runtime.files import atomic_path

_JOINT_M, _BONE_M = 0.006, 0.004
_WRIST_RGB = (200, 200, 200)
_FLIP = np.array([1.0, -1.0, -1.0])
_FLOAT, _UNSIGNED = 5126, 5125
_STEP_S = 1 / 30


def write_skeleton(poses_npz: Path, output: Path) -> None:
    """Stage: write the animated skeleton of poses.npz."""
    poses = read_poses(poses_npz)
    with atomic_path(output) as temporary:
        temporary.write_bytes(animated_glb(poses.joints_m * _FLIP, rising(poses.times_left_s)))


def rising(times_s: Float[np.ndarray, " poses"]) -> Float[np.ndarray, " poses"]:
    """Times from 0 on, strictly increasing as glTF demands; equal ones become a thirtieth of a second."""
    steps = np.diff(times_s)
    return np.concatenate([[0.0], np.cumsum(np.where(steps > 0, steps, _STEP_S))])


def animated_glb(joints_m: Float[np.ndarray, "poses 21 3"], times_s: Float[np.ndarray, " poses"]) -> bytes:
    """glTF 2.0 binary with one node a joint, named as in SNAP, and one a bone, and the animation `motion` of them.

    Source: glTF 2.0 specification, sections 3.6 (buffers), 3.11 (animations) and 4.4 (GLB).
    """
    file = _Buffers()
    ball = trimesh.creation.icosphere(subdivisions=1, radius=1.0)
    stick = trimesh.creation.cylinder(radius=1.0, height=1.0, sections=8)
    shapes = [_primitive(file, shape) for shape in (ball, stick)]
    nodes: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    times = file.add(times_s.astype(np.float32), "SCALAR", _FLOAT, bounds=True)
    colours = (_WRIST_RGB, *FINGER_RGB)
    materials = [_material(colour) for colour in colours]
    meshes = [{"primitives": [shape | {"material": number}]} for shape in shapes for number in range(len(materials))]

    def move(node: int, path: str, values: np.ndarray, kind: str) -> None:
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": times, "output": file.add(values.astype(np.float32), kind, _FLOAT)})

    for joint, name in enumerate(SNAP_NAMES):
        nodes.append({"name": name, "mesh": joint, "scale": [_JOINT_M] * 3, "translation": joints_m[0, joint].tolist()})
        move(len(nodes) - 1, "translation", joints_m[:, joint], "VEC3")
    for parent, child in SNAP_BONES:
        middle, turn, scale = _sticks(joints_m[:, parent], joints_m[:, child])
        first = {"translation": middle[0].tolist(), "rotation": turn[0].tolist(), "scale": scale[0].tolist()}
        nodes.append({"name": f"{SNAP_NAMES[parent]}-{SNAP_NAMES[child]}", "mesh": len(materials) + child, **first})
        for path, values, kind in (
            ("translation", middle, "VEC3"),
            ("rotation", turn, "VEC4"),
            ("scale", scale, "VEC3"),
        ):
            move(len(nodes) - 1, path, values, kind)
    document = {
        "asset": {"version": "2.0", "generator": "handloom"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "animations": [{"name": "motion", "channels": channels, "samplers": samplers}],
    }
    return file.glb(document)


def _sticks(
    start_m: Float[np.ndarray, "poses 3"], end_m: Float[np.ndarray, "poses 3"]
) -> tuple[Float[np.ndarray, "poses 3"], Float[np.ndarray, "poses 4"], Float[np.ndarray, "poses 3"]]:
    """Middle, quaternion (x, y, z, w, the nearer of both signs to the one before) and scale of a stick along z."""
    along = end_m - start_m
    length = np.linalg.norm(along, axis=1)
    unit = along / np.maximum(length, 1e-9)[:, None]
    # The shortest turn from z to the bone: axis z x d = (-y, x, 0).
    across = np.stack([-unit[:, 1], unit[:, 0], np.zeros(len(unit))], 1)
    sine = np.linalg.norm(across, axis=1)
    axis = np.where(sine[:, None] > 1e-9, across / np.maximum(sine, 1e-9)[:, None], [1.0, 0.0, 0.0])
    turn = Rotation.from_rotvec(axis * np.arctan2(sine, unit[:, 2])[:, None]).as_quat()
    flips = np.sign((turn[1:] * turn[:-1]).sum(1))
    turn[1:] *= np.cumprod(np.where(flips == 0, 1.0, flips))[:, None]
    scale = np.stack([np.full(len(length), _BONE_M), np.full(len(length), _BONE_M), length], 1)
    return (start_m + end_m) / 2, turn, scale


def _primitive(file: "_Buffers", mesh: trimesh.Trimesh) -> dict[str, Any]:
    attributes = {
        "POSITION": file.add(np.asarray(mesh.vertices, np.float32), "VEC3", _FLOAT, bounds=True),
        "NORMAL": file.add(np.asarray(mesh.vertex_normals, np.float32), "VEC3", _FLOAT),
    }
    return {"attributes": attributes, "indices": file.add(mesh.faces.astype(np.uint32).ravel(), "SCALAR", _UNSIGNED)}


def _material(rgb: tuple[int, int, int]) -> dict[str, Any]:
    linear = [float((value / 255) ** 2.2) for value in rgb]
    return {"pbrMetallicRoughness": {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}}


class _Buffers:
    """Arrays one after the other in the file's one buffer."""

    def __init__(self) -> None:
        self.content = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, kind: str, component: int, *, bounds: bool = False) -> int:
        """Append an array; its accessor's number."""
        content = values.tobytes()
        self.views.append({"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)})
        accessor = {"bufferView": len(self.views) - 1, "componentType": component, "count": len(values), "type": kind}
        if bounds:
            flat = values.reshape(len(values), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(accessor)
        self.content += content  # every array's elements have four bytes, so all stay aligned
        return len(self.accessors) - 1

    def glb(self, document: dict[str, Any]) -> bytes:
        """The whole file."""
        lists = {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": len(self.content)}]}
        text = json.dumps(document | lists).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + len(self.content)
        header = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON")
        return header + text + struct.pack("<I4s", len(self.content), b"BIN\0") + self.content
