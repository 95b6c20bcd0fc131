"""A page for each reconstructed sequence with an orbitable 3D view, in one file that needs no network.

The viewer is a small WebGL script (`handloom/data/mesh_viewer.js`). Vertices are stored as 16-bit steps (within a
hundredth of a millimetre for a mesh of a metre), poses in float32, photographs as small JPEGs; all in base64.
"""

import base64
import io
import json
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from handloom.figures.hold_sequence import HAND_RGB, HoldSequence, read_hold_sequence
from handloom.figures.surface_colours import surface_colours
from handloom.runtime.files import write_text

SCRIPT = "mesh_viewer.js"
_PHOTO_WIDTH_PX = 320
_PHOTO_QUALITY = 72
_STYLE = """
body { font-family: system-ui, sans-serif; margin: 1.5em; color: #222; max-width: 80em; }
.views { display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start; }
canvas { flex: 2 1 30em; min-width: 20em; border: 1px solid #ccc; touch-action: none; cursor: grab; }
img { flex: 1 1 16em; max-width: 26em; border: 1px solid #ccc; }
.controls { display: flex; flex-wrap: wrap; gap: 1em; align-items: center; margin: .8em 0; }
input[type=range] { flex: 1 1 20em; }
p { color: #555; }
"""


def write_mesh_page(predictions: Path, frames: Path, frames_json: Path, output: Path, *, sequence: str) -> None:
    """Stage: write the page of a sequence; files as `read_hold_sequence` takes them. Raises as that does."""
    found = read_hold_sequence(predictions, frames, frames_json)
    write_text(output, page(found, sequence))


def page(found: HoldSequence, title: str) -> str:
    """The page as HTML; frames without hand or object are left out."""
    scene = scene_data(found)
    script = resources.files("handloom.data").joinpath(SCRIPT).read_text(encoding="utf-8")
    switches = "".join(
        f'<label><input type="checkbox" id="show-{mesh["name"]}" checked> {mesh["name"]}</label>'
        for mesh in scene["meshes"]
    )
    width, height = scene["size_px"]
    left_out = len(found.names) - len(found.usable)
    note = f" {left_out} frames could not be reconstructed and are left out." if left_out else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>HOLD: {escape(title)}</title>\n'
        f"<style>{_STYLE}canvas {{ aspect-ratio: {width} / {height}; }}</style></head>\n<body>\n"
        f"<h1>HOLD: {escape(title)}</h1>\n"
        f"<p>Drag to turn, shift-drag to move, scroll to zoom.{note} "
        '<span id="message"></span></p>\n<div class="views"><canvas id="view"></canvas>'
        '<img id="photo" alt="photograph of the frame"></div>\n'
        '<div class="controls"><button id="play">Play</button><button id="reset">Camera\'s view</button>'
        f'<input type="range" id="frame" min="0" value="0" aria-label="frame"><span id="name"></span>{switches}</div>\n'
        # "</" would end the element early.
        f'<script type="application/json" id="scene">{json.dumps(scene).replace("</", "<" + chr(92) + "/")}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def scene_data(found: HoldSequence) -> dict[str, Any]:
    """What the viewer's script reads."""
    usable = found.usable
    photos = [found.picture(frame) for frame in usable]
    height, width = photos[0].shape[:2]
    hand_colours = np.tile(np.array(HAND_RGB, np.uint8), (found.hand_vertices_cam_m.shape[1], 1))
    poses = found.cam_from_object[usable][:, :3].astype("<f4")
    middle = usable[len(usable) // 2]
    centre = np.concatenate([found.object_cam_m(middle), found.hand_vertices_cam_m[middle]]).mean(0)
    focal = found.intrinsics[[0, 1], [0, 1]] * 2 / np.array([width, height])
    return {
        "names": [found.names[frame] for frame in usable],
        "photos": [_photo(photo) for photo in photos],
        "size_px": [width, height],
        "focal": focal.tolist(),
        "centre": centre.tolist(),
        "meshes": [
            {
                **_mesh("object", found.object_vertices_m[None], found.object_faces, surface_colours(found)),
                "poses": _text(poses),
            },
            _mesh("hand", found.hand_vertices_cam_m[usable], found.hand_faces, hand_colours),
        ],
    }


def _mesh(
    name: str,
    vertices_m: Float[np.ndarray, "shapes vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    colours_u8: UInt8[np.ndarray, "vertices 3"],
) -> dict[str, Any]:
    """A mesh as the script reads it: v = step * steps + centre."""
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
        "faces": _text(faces.astype("<u4")),
        "colours": _text(colours_u8),
        "poses": None,
    }


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _photo(image_u8: UInt8[np.ndarray, "height width 3"]) -> str:
    image = Image.fromarray(image_u8)
    image.thumbnail((_PHOTO_WIDTH_PX, _PHOTO_WIDTH_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_PHOTO_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
