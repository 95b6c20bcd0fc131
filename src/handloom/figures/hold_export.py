"""A reconstructed sequence in files that other software reads: GLB, PLY, npz, JSON, and a page with an orbitable view.

Everything is in metres. `object.*` is in the object's own frame; `hand.*` and `scene.glb` are of one frame. PLY files
keep the OpenCV camera's axes (x right, y down, z forward); GLB files are y up by their standard. Poses are OpenCV's:
x_cam = R x_object + t.

The page is one file that needs no network; its viewer is a small WebGL script (`handloom/data/mesh_viewer.js`).
Vertices are stored as 16-bit steps (within a hundredth of a millimetre for a mesh of a metre), poses in float32,
photographs as small WebPs; all in base64.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.figures.gltf import coloured_mesh, write_glb
from handloom.figures.hold_sequence import HoldSequence, read_hold_sequence
from handloom.figures.mesh_picture import PaintedMesh
from handloom.figures.overview import advice
from handloom.hand.joints import Side
from handloom.runtime.artifacts import Artifact
from handloom.runtime.files import atomic_path, write_json, write_text

_SCRIPT = "mesh_viewer.js"
_PHOTO_WIDTH_PX, _PHOTO_QUALITY = 280, 40  # small, as one page holds all frames
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 1em auto; padding: 0 1em; color: #222; max-width: 80em; }
h1 { font-size: 1.3em; } h2 { font-size: 1.1em; }
.poor { color: #b02020; font-weight: 600; } .fair { color: #9a6a00; font-weight: 600; }
.views { display: grid; grid-template-columns: 2fr 1fr; gap: 1em; align-items: start; }
canvas, img { width: 100%; box-sizing: border-box; border: 1px solid #ccc; }
canvas { touch-action: none; cursor: grab; }
.controls { display: flex; flex-wrap: wrap; gap: .5em 1em; align-items: center; margin: .8em 0; }
button { padding: .4em 1em; }
input[type=range] { flex: 1 1 12em; }
#length { font-weight: bold; color: #b00; }
p, details { color: #555; }
@media (max-width: 40em) { .views { grid-template-columns: 1fr; } }
"""
_HELP = """<details><summary>Mouse, fingers, keys</summary><p>Drag to turn, shift-drag or two fingers to move, scroll or
pinch to zoom. <kbd>space</kbd> play, <kbd>left</kbd> <kbd>right</kbd> step, with shift turn,
<kbd>+</kbd> <kbd>-</kbd> zoom, <kbd>c</kbd> camera's view, <kbd>o</kbd> object, <kbd>h</kbd> hand, <kbd>u</kbd> unseen
parts, <kbd>m</kbd> measure: tap two points. Lengths are as sure as the object's size, of which the quality table
tells.</p></details>
"""


@dataclass(frozen=True)
class ExportedPoses(
    Artifact,
    kind="hold_poses",
    units="m",
    frame="camera (OpenCV)",
    joint_order="SNAP",
    may_be_nan=("cam_from_object", "hand_joints_cam_m"),
):
    """Where the object and a hand's joints are in every frame; NaN in one that was not reconstructed."""

    names: np.ndarray
    intrinsics: Float[np.ndarray, "3 3"]
    cam_from_object: Float[np.ndarray, "frames 4 4"]
    hand_joints_cam_m: Float[np.ndarray, "frames 21 3"]
    side: Side = "right"


def export_hold(
    predictions: Path,
    frames: Path,
    frames_json: Path,
    object_glb: Path,
    object_ply: Path,
    hand_glb: Path,
    hand_ply: Path,
    scene_glb: Path,
    poses_npz: Path,
    poses_json: Path,
    page: Path,
    *,
    sequence: str,
    masks: Path | None = None,
    quality: Path | None = None,
    code: str = "",
) -> None:
    """Stage: write the coloured meshes, the poses and the page of a sequence.

    Inputs are as `read_hold_sequence` takes them; hands are those of the middle usable frame, two in one file.
    """
    found = read_hold_sequence(predictions, frames, frames_json, masks)
    shown = found.usable[len(found.usable) // 2]
    dense = found.dense()
    thing = PaintedMesh(dense.object_vertices_m, dense.object_faces, *dense.object_paint)
    hands = found.hands(shown)
    for meshes, glb, ply in (({"object": thing}, object_glb, object_ply), (hands, hand_glb, hand_ply)):
        write_glb(glb, meshes)
        with atomic_path(ply) as temporary:
            trimesh.util.concatenate([coloured_mesh(mesh) for mesh in meshes.values()]).export(
                str(temporary), file_type="ply"
            )
    write_glb(scene_glb, {"object": dense.painted_object(shown), **hands})
    poses = {
        each.side: ExportedPoses(
            found.names, found.intrinsics, found.cam_from_object, each.hand_joints_cam_m, each.side
        )
        for each in found.each.values()
    }
    ExportedPoses.save_each(poses_npz, poses, code=code)
    write_json(poses_json, poses_as_text(found, found.names[shown]))
    write_text(page, page_text(found, sequence, [] if quality is None else advice(quality)))


def poses_as_text(found: HoldSequence, shown: str) -> dict[str, Any]:
    """Poses as JSON values with all that is needed to read them; None for what was not reconstructed."""
    usable = set(found.usable)

    def known(values: np.ndarray) -> list[Any]:
        """Per frame the values, None where it was not reconstructed."""
        return [
            each.tolist() if frame in usable and np.isfinite(each).all() else None for frame, each in enumerate(values)
        ]

    # One hand's joints, or those of each hand under its side.
    joints_of = {each.side: known(each.hand_joints_cam_m) for each in found.each.values()}
    joints: list[Any] = joints_of[found.side]
    if found.other is not None:
        joints = [dict(zip(joints_of, both, strict=True)) for both in zip(*joints_of.values(), strict=True)]
    frames = zip(found.names.tolist(), known(found.cam_from_object), joints, strict=True)
    return {
        "units": "m",
        "frame": "OpenCV camera: x right, y down, z forward; x_cam = R x_object + t",
        "hand": " and ".join(joints_of),
        "joint_order": "SNAP: wrist, then thumb, index, middle, ring, pinky from base to tip",
        "intrinsics": found.intrinsics.tolist(),
        "meshes_are_of": shown,
        "frames": [
            {"name": name, "cam_from_object": pose, "hand_joints_cam_m": places} for name, pose, places in frames
        ],
    }


def page_text(found: HoldSequence, title: str, advice_html: Sequence[str] = ()) -> str:
    """The page as HTML; frames without hand or object are left out. `advice_html` is what to film better."""
    scene = scene_data(found)
    script = resources.files("handloom.data").joinpath(_SCRIPT).read_text(encoding="utf-8")
    boxes = {f"show-{mesh['name']}": mesh["name"] for mesh in scene["meshes"]}
    boxes |= {"show-unseen": "unseen parts striped", "measure": "measure"}
    switches = "".join(
        f'<label><input type="checkbox" id="{key}"{"" if key == "measure" else " checked"}> {words}</label>'
        for key, words in boxes.items()
    )
    width, height = scene["size_px"]
    size_mm = " x ".join(f"{1000 * side:.0f}" for side in _box_sides_m(found.object_vertices_m))
    left_out = len(found.names) - len(found.usable)
    told = (
        f"<h2>What to trust less, or film better</h2><ul><li>{'<li>'.join(advice_html)}</ul>\n" if advice_html else ""
    )
    note = f" {left_out} frames could not be reconstructed and are left out." if left_out else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>HOLD: {escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}canvas {{ aspect-ratio: {width} / {height}; }}</style></head>\n<body>\n"
        f"<h1>HOLD: {escape(title)}</h1>\n"
        f"<p>The object measures {size_mm} mm.{note} "
        '<span id="message"></span></p>\n<div class="views"><canvas id="view"></canvas>'
        '<img id="photo" alt="photograph of the frame"></div>\n'
        '<div class="controls"><button id="play">Play</button><button id="reset">Camera\'s view</button>'
        '<input type="range" id="frame" min="0" value="0" aria-label="frame"><span id="name"></span></div>\n'
        f'<div class="controls">{switches}<span id="length" role="status"></span></div>\n'
        f"{_HELP}{told}"
        # "</" would end the element early.
        f'<script type="application/json" id="scene">{json.dumps(scene).replace("</", "<" + chr(92) + "/")}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _box_sides_m(vertices_m: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "3"]:
    """Sides of the smallest box around a mesh, the longest first."""
    return np.sort(trimesh.bounds.oriented_bounds(vertices_m)[1])[::-1]


def scene_data(found: HoldSequence) -> dict[str, Any]:
    """What the viewer's script reads."""
    usable = found.usable
    photos = [found.picture(frame) for frame in usable]
    height, width = photos[0].shape[:2]
    poses = found.cam_from_object[usable][:, :3].astype("<f4")
    middle = usable[len(usable) // 2]
    points = [found.object_cam_m(middle), *(each.hand_vertices_cam_m[middle] for each in found.each.values())]
    centre = np.concatenate(points).mean(0)
    focal = found.intrinsics[[0, 1], [0, 1]] * 2 / np.array([width, height])
    return {
        "names": [found.names[frame] for frame in usable],
        "photos": [_photo(photo) for photo in photos],
        "size_px": [width, height],
        "focal": focal.tolist(),
        "centre": centre.tolist(),
        "meshes": [
            _mesh("object", found.painted_object(middle), found.object_vertices_m[None]) | {"poses": _text(poses)},
            *(
                _mesh(name, mesh, found.each[name].hand_vertices_cam_m[usable])
                for name, mesh in found.hands(middle).items()
            ),
        ],
    }


def _mesh(name: str, painted: PaintedMesh, vertices_m: Float[np.ndarray, "shapes vertices 3"]) -> dict[str, Any]:
    """A mesh in one or several shapes as the script reads it: v = step * steps + centre."""
    low, high = vertices_m.min((0, 1)), vertices_m.max((0, 1))
    centre = (low + high) / 2
    step = max(float((high - low).max()) / 2 / 32767, 1e-9)
    steps = np.rint((vertices_m - centre) / step).clip(-32767, 32767)
    return {
        "name": name,
        "count": vertices_m.shape[1],
        "steps": _text(steps.astype("<i2")),
        "step": step,
        "centre": centre.tolist(),
        "faces": _text(painted.faces.astype("<u4")),
        "colours": _text(painted.colours_u8),
        "seen": None if painted.seen is None else _text(painted.seen.astype("u1")),
        "poses": None,
    }


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _photo(image_u8: UInt8[np.ndarray, "height width 3"]) -> str:
    image = Image.fromarray(image_u8)
    image.thumbnail((_PHOTO_WIDTH_PX, _PHOTO_WIDTH_PX))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_PHOTO_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
