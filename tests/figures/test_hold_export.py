"""Mesh files, poses and page of a reconstructed sequence hold what was reconstructed."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from handloom.figures.hold_export import ExportedPoses, export_hold
from handloom.figures.hold_sequence import read_hold_sequence
from handloom.runtime.files import read_json

from ..browser import looked_at, needs_chromium
from .hold_files import FAILED, FRAMES, INTRINSICS, HoldFiles, block

EXPORT = ("object.glb", "object.ply", "hand.glb", "hand.ply", "scene.glb", "poses.npz", "poses.json", "scene.html")


@pytest.fixture(scope="module")
def exported(files: HoldFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all that is exported."""
    folder = tmp_path_factory.mktemp("export")
    export_hold(*files.inputs, *(folder / name for name in EXPORT), sequence="a <block>")
    return folder


def test_meshes_and_poses_are_exported(exported: Path) -> None:
    vertices, faces, _ = block()
    ply = trimesh.load_mesh(exported / "object.ply", process=False)
    np.testing.assert_allclose(ply.vertices[: len(vertices)], vertices, atol=1e-6)
    assert len(ply.vertices) > 40_000, "as dense as pixels, for the colours"
    assert len(ply.faces) % len(faces) == 0
    seen = ply.metadata["_ply_raw"]["vertex"]["data"]["seen"]
    assert 0.2 < seen.mean() < 1, "the block is seen from the front only"
    assert np.unique(ply.visual.vertex_colors, axis=0).shape[0] > 5
    glb = (exported / "scene.glb").read_bytes()
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert "_SEEN" in document["meshes"][0]["primitives"][0]["attributes"]
    scene = trimesh.load_scene(exported / "scene.glb", process=False)
    assert set(scene.geometry) == {"object", "hand"}
    assert scene.geometry["hand"].vertices[:, 2].max() < -0.3  # y up, z towards the viewer
    np.testing.assert_allclose(
        trimesh.load_scene(exported / "object.glb", process=False).bounds[1], [0.04, 0.03, 0.03], atol=1e-5
    )
    arrays = ExportedPoses.load(exported / "poses.npz")
    assert arrays.cam_from_object.shape == (FRAMES, 4, 4)
    poses = read_json(exported / "poses.json")
    assert [frame["cam_from_object"] is None for frame in poses["frames"]] == [row == FAILED for row in range(FRAMES)]
    np.testing.assert_allclose(poses["frames"][1]["cam_from_object"], arrays.cam_from_object[1])
    np.testing.assert_allclose(poses["intrinsics"], INTRINSICS)


def scene_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.DOTALL)
    assert found
    scene: dict[str, Any] = json.loads(found.group(1))
    return scene


def test_page_holds_the_meshes_and_asks_for_nothing_else(files: HoldFiles, exported: Path) -> None:
    page = (exported / "scene.html").read_text()
    assert "a &lt;block&gt;" in page
    assert not re.search(r"https?://|src=\"(?!data:)|<link|import\s*\(|fetch\(", page)
    assert "1 frames could not be reconstructed" in page
    scene = scene_of(page)
    assert len(scene["photos"]) == len(scene["names"]) == FRAMES - 1
    assert f"shot{FAILED}" not in scene["names"]
    sequence = read_hold_sequence(*files.inputs)
    thing, hand = scene["meshes"]
    for mesh, expected in ((thing, sequence.object_vertices_m[None]), (hand, sequence.hand_vertices_cam_m[:4])):
        steps = np.frombuffer(base64.b64decode(mesh["steps"]), "<i2").reshape(-1, mesh["count"], 3)
        np.testing.assert_allclose(steps * mesh["step"] + mesh["centre"], expected, atol=1e-5)
    faces = np.frombuffer(base64.b64decode(thing["faces"]), "<u4").reshape(-1, 3)
    np.testing.assert_array_equal(faces, sequence.object_faces)
    poses = np.frombuffer(base64.b64decode(thing["poses"]), "<f4").reshape(-1, 3, 4)
    np.testing.assert_allclose(poses, sequence.cam_from_object[sequence.usable, :3], atol=1e-6)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")
def test_page_s_script_draws_every_frame_without_errors(exported: Path, tmp_path: Path) -> None:
    page = (exported / "scene.html").read_text()
    script = page.rsplit("<script>", 1)[1].split("</script>")[0]
    stub = Path(__file__).with_name("browser_stub.js").read_text()
    (tmp_path / "scene.json").write_text(json.dumps(scene_of(page)))
    (tmp_path / "run.js").write_text(stub + script + "\nreport();\n")
    done = subprocess.run(
        ["node", "run.js"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["draws"] >= 4  # two meshes, at start and after the last frame
    # In the camera's view the scene's middle is in the middle of the screen and before the camera.
    x, y, w = report["middle"]
    assert abs(x / w) < 1e-3
    assert abs(y / w) < 1e-3
    assert w > 0
    # What lies to the right and below in the photograph does so on the screen (y of the screen is up).
    assert report["right"][0] / report["right"][2] > 0.01
    assert report["below"][1] / report["below"][2] < -0.01
    assert report["label"] == "shot4"


_USED = """
  const view = document.getElementById("view"), gl = view.getContext("webgl"), by = (id) => document.getElementById(id);
  const press = (key, more) => window.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true, ...more }));
  const draws = () => { // the share of the view that is not background, right after it was drawn
    window.dispatchEvent(new Event("resize"));
    const pixels = new Uint8Array(4 * view.width * view.height);
    gl.readPixels(0, 0, view.width, view.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let drawn = 0, striped = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      if (Math.abs(pixels[i] - 247) > 3) drawn++;
      if (pixels[i] > pixels[i + 1] + 40 && pixels[i + 2] > pixels[i + 1] + 30) striped++;
    }
    return [drawn, striped].map((count) => count / (view.width * view.height));
  };
  const tap = (x, y) => {
    view.setPointerCapture = () => {};
    const rect = view.getBoundingClientRect(), at = { clientX: rect.x + x, clientY: rect.y + y, pointerId: 1 };
    for (const kind of ["pointerdown", "pointerup"]) view.dispatchEvent(new PointerEvent(kind, at));
  };
  const whole = draws();
  press("h"); const thing = draws();
  press("o"); const nothing = draws();
  press("o"); press("u"); const unstriped = draws();
  press("ArrowRight"); const second = by("name").textContent;
  press("ArrowLeft"); press("ArrowLeft"); const last = by("name").textContent;
  press("ArrowRight"); press(" "); await wait(0.5); press(" ");
  const played = by("frame").value, paused = by("play").textContent;
  press("c"); while (by("frame").value !== "0") press("ArrowRight");
  press("m"); tap(MIDDLE - 10, HEIGHT); tap(MIDDLE + 10, HEIGHT);
  const length = by("length").textContent;
  press("ArrowLeft", { shiftKey: true }); draws();
  return { whole, thing, nothing, unstriped, second, last, played, paused, length, turned: by("length").textContent,
           photo: by("photo").naturalWidth, width: view.clientWidth,
           overflow: document.documentElement.scrollWidth - innerWidth,
           stacked: by("photo").getBoundingClientRect().top > view.getBoundingClientRect().top };
"""


@needs_chromium
@pytest.mark.parametrize(("width_px", "stacked"), [(390, True), (1280, False)])
def test_a_browser_draws_plays_and_measures_on_a_phone_and_on_a_desk(
    exported: Path, tmp_path: Path, width_px: int, stacked: bool
) -> None:
    script = _USED.replace("MIDDLE", "0.37 * view.clientWidth").replace("HEIGHT", "0.45 * view.clientHeight")
    found = looked_at(exported / "scene.html", script, tmp_path, width_px)
    assert found["whole"][0] > found["thing"][0] > 0.02, "hand and object are drawn"
    assert found["nothing"][0] == 0
    assert found["thing"][1] > found["unstriped"][1] == 0, "what no photograph shows is striped"
    assert (found["second"], found["last"]) == ("shot1", "shot4")
    assert found["played"] != "0"
    assert found["paused"] == "Play"
    assert found["length"] == found["turned"]
    assert found["photo"] == 120
    assert found["overflow"] <= 0
    assert found["stacked"] == stacked
    # 20 pixels on the block's front, 0.37 m before the camera of focal length 2.5 half widths.
    assert float(found["length"].removesuffix(" mm")) == pytest.approx(370 * 20 / (2.5 * found["width"] / 2), abs=0.06)
