"""GLB files, glTF's binary form: still meshes with colours, and a hand's skeleton as it moves.

GLB is in metres, y up and z towards the viewer, so y and z change sign against the OpenCV camera.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handloom.figures.mesh_picture import PaintedMesh
from handloom.figures.skeleton import BONE_RGB
from handloom.figures.style import Rgb
from handloom.hand.joints import SNAP_BONES, SNAP_NAMES
from handloom.runtime.files import write_bytes

_GLTF_FROM_OPENCV = np.array([1.0, -1.0, -1.0])
_JOINT_M, _BONE_M = 0.006, 0.004
"""Radii of the balls and sticks: thinner than a finger, so that joints of a fist can be told apart."""
_WRIST_RGB = (200, 200, 200)
_COMPONENT = {"float32": 5126, "uint32": 5125}
"""glTF's numbers for the types of an array's elements."""
_STEP_S = 1 / 30
"""Between poses that have the same time."""


def coloured_mesh(mesh: PaintedMesh) -> trimesh.Trimesh:
    """A mesh with opaque vertex colours and, where known, the attribute `seen`, its vertices in the given order."""
    opaque = np.column_stack([mesh.colours_u8, np.full(len(mesh.colours_u8), 255, np.uint8)])
    known: dict[str, Any] = {} if mesh.seen is None else {"seen": mesh.seen.astype(np.uint8)}
    return trimesh.Trimesh(mesh.vertices_m, mesh.faces, vertex_colors=opaque, vertex_attributes=known, process=False)


def write_glb(path: Path, meshes: dict[str, PaintedMesh]) -> None:
    """Write named meshes in OpenCV's axes as one GLB file: linear colours, as glTF has them, on a rough material.

    What no photograph shows has 0 in the vertex attribute `_SEEN`.
    """
    file = _Buffers()
    shapes = []
    for name, mesh in meshes.items():
        vertices = mesh.vertices_m * _GLTF_FROM_OPENCV
        shape = _primitive(file, trimesh.Trimesh(vertices, mesh.faces, process=False))
        shape["attributes"]["COLOR_0"] = file.add(_linear(mesh.colours_u8).astype(np.float32))
        if mesh.seen is not None:
            shape["attributes"]["_SEEN"] = file.add(mesh.seen.astype(np.float32))
        shapes.append({"name": name, "primitives": [shape | {"material": 0}]})
    document = _document([{"name": shape["name"], "mesh": number} for number, shape in enumerate(shapes)], shapes)
    document["materials"] = [_material((255, 255, 255), roughness=0.9)]
    write_bytes(path, file.glb(document))


def rising(times_s: Float[np.ndarray, " poses"]) -> Float[np.ndarray, " poses"]:
    """Times from 0 on, strictly increasing as glTF demands; equal ones become a thirtieth of a second."""
    steps = np.diff(times_s)
    return np.concatenate([[0.0], np.cumsum(np.where(steps > 0, steps, _STEP_S))])


def animated_glb(joints_m: Float[np.ndarray, "poses 21 3"], times_s: Float[np.ndarray, " poses"]) -> bytes:
    """glTF 2.0 binary with one node a joint, named as in SNAP, and one a bone, and the animation `motion` of them.

    Joints are along OpenCV's axes, times rise. Source: the glTF 2.0 specification's chapters "Buffers and Buffer
    Views", "Animations" and "GLB File Format".
    """
    joints_m = joints_m * _GLTF_FROM_OPENCV
    file = _Buffers()
    ball = trimesh.creation.icosphere(subdivisions=1, radius=1.0)
    stick = trimesh.creation.cylinder(radius=1.0, height=1.0, sections=8)
    shapes = [_primitive(file, shape) for shape in (ball, stick)]
    nodes: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    times = file.add(times_s.astype(np.float32), bounds=True)
    materials = [_material(colour) for colour in (_WRIST_RGB, *BONE_RGB)]
    meshes = [{"primitives": [shape | {"material": number}]} for shape in shapes for number in range(len(materials))]

    def add_node(name: str, mesh: int, still: dict[str, Any], moving: dict[str, np.ndarray]) -> None:
        for path, values in moving.items():
            channels.append({"sampler": len(samplers), "target": {"node": len(nodes), "path": path}})
            samplers.append({"input": times, "output": file.add(values.astype(np.float32))})
        first = {path: values[0].tolist() for path, values in moving.items()}
        nodes.append({"name": name, "mesh": mesh, **still, **first})

    for joint, name in enumerate(SNAP_NAMES):
        add_node(name, joint, {"scale": [_JOINT_M] * 3}, {"translation": joints_m[:, joint]})
    for parent, child in SNAP_BONES:
        moving = _sticks(joints_m[:, parent], joints_m[:, child])
        add_node(f"{SNAP_NAMES[parent]}-{SNAP_NAMES[child]}", len(materials) + child, {}, moving)
    document = _document(nodes, meshes)
    document |= {
        "materials": materials,
        "animations": [{"name": "motion", "channels": channels, "samplers": samplers}],
    }
    return file.glb(document)


def _document(nodes: list[dict[str, Any]], meshes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "asset": {"version": "2.0", "generator": "handloom"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
    }


def _sticks(start_m: Float[np.ndarray, "poses 3"], end_m: Float[np.ndarray, "poses 3"]) -> dict[str, np.ndarray]:
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
    return {"translation": (start_m + end_m) / 2, "rotation": turn, "scale": scale}


def _primitive(file: "_Buffers", mesh: trimesh.Trimesh) -> dict[str, Any]:
    position = file.add(np.asarray(mesh.vertices, np.float32), bounds=True)
    attributes = {"POSITION": position, "NORMAL": file.add(np.asarray(mesh.vertex_normals, np.float32))}
    return {"attributes": attributes, "indices": file.add(mesh.faces.astype(np.uint32).ravel())}


def _linear(srgb_u8: np.ndarray) -> np.ndarray:
    """Linear light of sRGB's values (IEC 61966-2-1)."""
    value = np.asarray(srgb_u8) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _material(rgb: Rgb, roughness: float = 0.7) -> dict[str, Any]:
    colour = [*_linear(np.array(rgb)).tolist(), 1.0]
    return {"pbrMetallicRoughness": {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": roughness}}


class _Buffers:
    """Arrays one after the other in the file's one buffer."""

    def __init__(self) -> None:
        self.content = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, *, bounds: bool = False) -> int:
        """Append numbers or rows of vectors, float32 or uint32; their accessor's number."""
        content, view = values.tobytes(), len(self.views)
        self.views.append({"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)})
        component, kind = _COMPONENT[values.dtype.name], "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        accessor = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
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
