"""Contact sheet, mesh files, poses and page of a reconstructed sequence hold what was reconstructed."""

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
from PIL import Image

from handloom.figures.hold_overlay import cells, draw_hold_overlay
from handloom.figures.hold_sequence import read_hold_sequence
from handloom.figures.mesh_export import KIND, export_meshes
from handloom.figures.mesh_page import write_mesh_page
from handloom.figures.surface_colours import surface_colours
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .hold_files import FAILED, FRAMES, GREEN, HEIGHT_PX, INTRINSICS, RED, WIDTH_PX, HoldFiles, block, write_sequence


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> HoldFiles:
    return write_sequence(tmp_path_factory.mktemp("sequence"))


def test_surface_colours_are_those_of_the_photographs(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    colours = surface_colours(sequence).astype(float)
    _, _, true = block()
    red = (true == RED).all(1)
    inner = np.abs(sequence.object_vertices_m[:, 0]) > 0.015  # not at the seam
    assert (colours[red & inner].argmax(1) == 0).mean() > 0.97
    assert (colours[~red & inner].argmax(1) == 1).mean() > 0.97
    assert GREEN[1] * 0.5 < np.median(colours[~red & inner, 1]) < GREEN[1] * 1.05


def test_contact_sheet_is_drawn_headless_and_reproducibly(files: HoldFiles, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_hold_overlay(*files.inputs, tmp_path / name, sequence="block", rows=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1000
        assert np.asarray(image.convert("RGB")).std() > 20


def test_overlay_lies_where_the_photograph_shows_the_hand_and_the_object(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    image, overlay, *around, alone = cells(sequence, 0, surface_colours(sequence), 0.3)
    seen = (image != [120, 120, 200]).any(2)
    changed = (overlay != image).any(2)
    assert (changed & ~seen).sum() == 0
    assert changed.sum() > 0.9 * seen.sum()
    for picture in (*around, alone):
        assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert 0.03 < (picture < 250).any(2).mean() < 0.8


def test_meshes_and_poses_are_exported(files: HoldFiles, tmp_path: Path) -> None:
    found = export_meshes(*files.inputs, tmp_path / "export")
    vertices, faces, _ = block()
    ply = trimesh.load_mesh(found.meshes["object.ply"], process=False)
    np.testing.assert_allclose(ply.vertices, vertices, atol=1e-6)
    np.testing.assert_array_equal(ply.faces, faces)
    assert np.unique(ply.visual.vertex_colors, axis=0).shape[0] > 5
    scene = trimesh.load_scene(found.meshes["scene.glb"], process=False)
    assert set(scene.geometry) == {"object", "hand"}
    assert scene.geometry["hand"].vertices[:, 2].max() < -0.3  # y up, z towards the viewer
    np.testing.assert_allclose(
        trimesh.load_scene(found.meshes["object.glb"], process=False).bounds[1], [0.04, 0.03, 0.03], atol=1e-5
    )
    arrays, header = read_arrays(found.poses_npz, KIND)
    assert (header.units, header.joint_order) == ("m", "SNAP")
    assert arrays["cam_from_object"].shape == (FRAMES, 4, 4)
    poses = read_json(found.poses_json)
    assert [frame["cam_from_object"] is None for frame in poses["frames"]] == [row == FAILED for row in range(FRAMES)]
    np.testing.assert_allclose(poses["frames"][1]["cam_from_object"], arrays["cam_from_object"][1])
    np.testing.assert_allclose(poses["intrinsics"], INTRINSICS)


def scene_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.DOTALL)
    assert found
    scene: dict[str, Any] = json.loads(found.group(1))
    return scene


def test_page_holds_the_meshes_and_asks_for_nothing_else(files: HoldFiles, tmp_path: Path) -> None:
    write_mesh_page(*files.inputs, tmp_path / "block.html", sequence="a <block>")
    page = (tmp_path / "block.html").read_text()
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
def test_page_s_script_draws_every_frame_without_errors(files: HoldFiles, tmp_path: Path) -> None:
    write_mesh_page(*files.inputs, tmp_path / "block.html", sequence="block")
    page = (tmp_path / "block.html").read_text()
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


def test_sequences_that_do_not_belong_together_are_refused(files: HoldFiles, tmp_path: Path) -> None:
    arrays, _ = read_arrays(files.predictions, "hold_predictions")
    no_camera = {**arrays, "intrinsics": np.full((3, 3), np.nan)}
    write_arrays(tmp_path / "p.npz", no_camera, Header("hold_predictions"))
    with pytest.raises(InputError, match="intrinsics holds NaN"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
    strangers = {**arrays, "names": np.array([f"other{row}" for row in range(FRAMES)])}
    write_arrays(tmp_path / "p.npz", strangers, Header("hold_predictions"))
    with pytest.raises(InputError, match="does not list"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
    nothing = {**arrays, "cam_from_object": np.full((FRAMES, 4, 4), np.nan)}
    write_arrays(tmp_path / "p.npz", nothing, Header("hold_predictions"))
    with pytest.raises(InputError, match="nothing to show"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
