"""Other methods' files: known answers, every way a file can be wrong, and docs/interchange.md's recipes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.evaluation.hold_scores import score_hold
from handloom.evaluation.interchange import joints_from_vertices, read_interchange, score_interchange
from handloom.hand.models import open_hand
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .sequence_files import FRAMES, sequence_arrays, write_predictions, write_truth

Arrays = dict[str, np.ndarray]
PAGE = Path(__file__).parents[2] / "docs" / "interchange.md"


@pytest.fixture(scope="module")
def truth() -> Arrays:
    return sequence_arrays()


def exchange(truth: Arrays, *, scale: float = 1, wrist: tuple[float, float, float] = (0, 0, 0)) -> Arrays:
    """The ground truth as a method would write it; the object scaled about its middle, the hand shifted."""
    motion = truth["cam_from_object"]
    points = scale * truth["object_vertices_m"] @ motion[:, :3, :3].swapaxes(1, 2) + motion[:, None, :3, 3]
    faces = truth["object_faces"]
    return {
        "fnames": truth["names"],
        "hand_verts": truth["hand_vertices_cam_m"] + np.array(wrist),
        "obj_verts": points.reshape(-1, 3),
        "obj_vert_ptr": np.arange(FRAMES + 1) * points.shape[1],
        "obj_faces": np.tile(faces, (FRAMES, 1)),
        "obj_face_ptr": np.arange(FRAMES + 1) * len(faces),
        "frame": np.array("camera"),
        "units": np.array("m"),
        "method": np.array("iHOI"),
        "weights_id": np.array("mow"),
    }


def score(
    folder: Path, arrays: Arrays | None, truth: Arrays, protocol: Any = "faithful", method: str = "iHOI"
) -> dict[str, Any]:
    """The scores of `ihoi.npz`, which holds the arrays or, without them, lies there."""
    if arrays is not None:
        np.savez(folder / "ihoi.npz", allow_pickle=False, **arrays)
    score_interchange(
        folder / "ihoi.npz",
        write_truth(folder / "truth.npz", truth),
        folder / "scores.json",
        folder / "frames.csv",
        sequence="block",
        protocol=protocol,
        seed=1,
        method=method,
        restarts=3,
    )
    scores: dict[str, Any] = read_json(folder / "scores.json")
    return scores


@pytest.mark.parametrize("protocol", ["faithful", "per_frame"])
def test_identity_gives_0_0_100_0(tmp_path: Path, truth: Arrays, protocol: str) -> None:
    scores = score(tmp_path, exchange(truth), truth, protocol)
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-6)
    assert scores["f10_pct"] == pytest.approx(100, abs=1e-4)
    assert scores["chamfer_hand_cm2"] == pytest.approx(0, abs=1e-6)
    assert scores["coverage_pct"] == 100
    assert (scores["method"], scores["variant"]) == ("iHOI", "mow")


def test_a_wrist_offset_changes_only_what_is_relative_to_the_wrist(tmp_path: Path, truth: Arrays) -> None:
    scores = score(tmp_path, exchange(truth, wrist=(0, 0.002, 0)), truth)
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-6)
    assert scores["mrrpe_mm"] == pytest.approx(2, abs=1e-3)
    # Every vertex moves by 2 mm and stays nearest to itself.
    assert scores["chamfer_hand_cm2"] == pytest.approx(2 * 0.2**2, rel=0.02)


def test_a_scale_changes_cd_h_but_not_cd(tmp_path: Path, truth: Arrays) -> None:
    scores = score(tmp_path, exchange(truth, scale=1.06), truth)
    assert scores["chamfer_cm2"] < 0.02
    assert scores["f5_pct"] == pytest.approx(100, abs=0.01)
    assert scores["aligned_scale"] == pytest.approx(1 / 1.06, abs=0.01)
    assert scores["chamfer_hand_cm2"] > 0.05


def test_wrist_relative_files_score_the_same(tmp_path: Path, truth: Arrays) -> None:
    arrays = exchange(truth, wrist=(0, 0.003, 0), scale=1.03)
    expected = score(tmp_path, arrays, truth)
    wrist = np.einsum("v,fvd->fd", open_hand().J_regressor[0].numpy(), arrays["hand_verts"])
    moved = {**arrays, "frame": np.array("wrist_relative_camera"), "hand_verts": arrays["hand_verts"] - wrist[:, None]}
    moved["obj_verts"] = arrays["obj_verts"] - np.repeat(wrist, np.diff(arrays["obj_vert_ptr"]), axis=0)
    found = score(tmp_path, moved, truth)
    for name in ("mpjpe_mm", "chamfer_hand_cm2", "mrrpe_mm", "f5_hand_pct"):
        assert found[name] == pytest.approx(expected[name], abs=1e-4), name


def test_one_block_of_faces_serves_all_frames(tmp_path: Path, truth: Arrays) -> None:
    arrays = {**exchange(truth), "obj_faces": truth["object_faces"]}
    arrays["obj_face_ptr"] = np.array([0, len(truth["object_faces"])])
    assert score(tmp_path, arrays, truth, "per_frame")["chamfer_cm2"] == pytest.approx(0, abs=1e-6)


def test_failed_and_missing_frames_lower_the_coverage(tmp_path: Path, truth: Arrays) -> None:
    arrays = exchange(truth)
    vertices, faces = (int(np.diff(arrays[name])[0]) for name in ("obj_vert_ptr", "obj_face_ptr"))
    arrays["hand_verts"][1] = np.nan
    arrays["obj_vert_ptr"] = np.array([0, 1, 2, 2]) * vertices
    arrays["obj_face_ptr"] = np.array([0, 1, 2, 2]) * faces
    arrays |= {"fnames": truth["names"][:3], "hand_verts": arrays["hand_verts"][:3]}
    arrays |= {"obj_verts": arrays["obj_verts"][: 2 * vertices], "obj_faces": arrays["obj_faces"][: 2 * faces]}
    scores = score(tmp_path, arrays, truth)
    assert scores["coverage_pct"] == 25
    assert read_interchange(tmp_path / "ihoi.npz", open_hand()).failed.tolist() == [False, True, True]
    assert scores["remark"] == (
        "1 of 4 annotated frames are not in the file (frame 0003); 2 frames failed (frames 0001, 0002)"
    )


def test_a_frame_without_annotation_is_not_missed(tmp_path: Path, truth: Arrays) -> None:
    arrays = exchange(truth)
    vertices, faces = (int(np.diff(arrays[name])[0]) for name in ("obj_vert_ptr", "obj_face_ptr"))
    for name, rows in (("fnames", 1), ("hand_verts", 1), ("obj_verts", vertices), ("obj_faces", faces)):
        arrays[name] = arrays[name][:-rows]
    for name in ("obj_vert_ptr", "obj_face_ptr"):
        arrays[name] = arrays[name][:-1]
    scores = score(tmp_path, arrays, truth | {"valid": np.array([True, True, True, False])})
    assert scores["coverage_pct"] == 100
    assert "remark" not in scores


def test_our_own_predictions_score_the_same_through_a_file(tmp_path: Path, truth: Arrays) -> None:
    """HOLD's row and another method's row are made by one scorer: the same meshes, the same numbers, digit by digit."""
    hand, shifted = open_hand(), dict(truth)
    shifted["cam_from_object"] = truth["cam_from_object"].copy()
    shifted["cam_from_object"][:, :3, 3] += [0.004, -0.003, 0.002]
    shifted["hand_vertices_cam_m"] = 1.03 * truth["hand_vertices_cam_m"]
    annotation = dict(truth)
    for arrays in (shifted, annotation):  # the file's joints come from vertices, so these must
        arrays["hand_joints_cam_m"] = joints_from_vertices(hand, arrays["hand_vertices_cam_m"].astype(np.float64))
    score_hold(
        write_predictions(tmp_path / "predictions.npz", shifted),
        write_truth(tmp_path / "truth.npz", annotation),
        tmp_path / "hold.json",
        tmp_path / "hold.csv",
        sequence="block",
        phase="phase3",
        protocol="faithful",
        seed=1,
        restarts=3,
    )
    expected = read_json(tmp_path / "hold.json")
    found = score(tmp_path, exchange(shifted), annotation)
    assert expected["mpjpe_mm"] > 1
    assert expected["chamfer_hand_cm2"] > 0.1
    assert {name: found[name] for name in expected if name not in ("method", "variant")} == {
        name: value for name, value in expected.items() if name not in ("method", "variant")
    }


def test_signs_of_a_wrong_convention_are_told_with_the_score(tmp_path: Path, truth: Arrays) -> None:
    """Such a file is well formed, so it is scored; the row says what is odd."""
    wrist = np.einsum("v,fvd->fd", open_hand().J_regressor[0].numpy(), truth["hand_vertices_cam_m"])
    arrays = exchange(truth, wrist=(0, 0, 0))
    relative = {**arrays, "frame": np.array("wrist_relative_camera")}
    relative["hand_verts"] = arrays["hand_verts"] - wrist[:, None]
    relative["obj_verts"] = arrays["obj_verts"] - np.repeat(wrist, np.diff(arrays["obj_vert_ptr"]), axis=0)
    for signs, name in (([1, -1, -1], "OpenGL"), ([-1, -1, 1], "PyTorch3D"), ([-1, 1, 1], "left hand")):
        turned = {part: relative[part] * signs for part in ("hand_verts", "obj_verts")}
        assert name in score(tmp_path, relative | turned, truth)["remark"]
    assert "the object is 8 times as large" in score(tmp_path, exchange(truth, scale=8), truth)["remark"]
    far = {**relative, "obj_verts": arrays["obj_verts"] + [0, 0, 0.4]}
    assert "frames 0000, 0001, 0002, 0003: the object is more than 0.5 m" in score(tmp_path, far, truth)["remark"]
    strangers = {**arrays, "fnames": np.array(["0000", "0001", "0002", "rgb/0003.png"])}
    assert (
        "1 frames of the file are not the sequence's (frame rgb/0003.png)"
        in score(tmp_path, strangers, truth)["remark"]
    )
    assert "remark" not in score(tmp_path, arrays, truth)


def test_a_file_of_another_method_or_sequence_is_refused(tmp_path: Path, truth: Arrays) -> None:
    with pytest.raises(InputError, match=r"states the method 'iHOI', but hold\.interchange names it under DiffHOI"):
        score(tmp_path, exchange(truth), truth, method="DiffHOI")
    with pytest.raises(InputError, match=r"ihoi.npz: predicted frames a, b, c, ...: none is among the 4 frames"):
        score(tmp_path, {**exchange(truth), "fnames": np.array(list("abcd"))}, truth)


def test_a_failed_file_still_makes_a_row(tmp_path: Path, truth: Arrays) -> None:
    arrays = exchange(truth)
    arrays["hand_verts"] = np.full_like(arrays["hand_verts"], np.nan)
    scores = score(tmp_path, arrays, truth)
    assert (scores["coverage_pct"], scores["mpjpe_mm"]) == (0, None)
    assert "4 frames failed" in scores["remark"]


def _set(name: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.asarray(value)})


def _scaled(name: str, factor: float) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: arrays[name] * factor})


def _edit(name: str, index: Any, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_scaled("hand_verts", 1000), "frames 0000, 0001, 0002, 0003: the hand is not .* are these millimetres"),
        (_scaled("obj_verts", 1000), "frames 0000, .*: the object is not .* are these millimetres"),
        (_scaled("hand_verts", 100), "are these centimetres"),
        (_scaled("hand_verts", 10), "DiffHOI's joint frame"),
        (_scaled("hand_verts", 5), "iHOI's normalised cube"),
        (_set("hand_verts", np.zeros((4, 778, 3))), r"hand_verts has shape .* MANO's vertices: set `mano`"),
        (_set("units", ["m"]), r"units is <U1 of shape \(1,\), expected one text"),
        (_set("units", "mm"), "units is 'mm', expected 'm'"),
        (_set("frame", "opengl"), "frame is 'opengl', expected one of camera, wrist_relative_camera"),
        (_edit("hand_verts", (slice(None), 7, 2), -0.001), "frames .*: the hand is behind the camera"),
        (_set("frame", "wrist_relative_camera"), "frames .*: the wrist is not at the origin"),
        (_edit("hand_verts", (2, 5, 1), np.nan), "frame 0002: hand_verts is NaN in part"),
        (_edit("hand_verts", (1, 5, 1), np.inf), "frame 0001: hand_verts is infinite"),
        (_edit("obj_faces", (3, 1), 99999), "frame 0000: obj_faces names a vertex"),
        (_edit("obj_vert_ptr", 2, 0), "obj_vert_ptr must rise"),
        (_set("obj_face_ptr", [0, 1, 2]), "obj_face_ptr has shape"),
        (_edit("fnames", 1, "0000"), "frame 0000 more than once"),
        (_set("hand_verts", np.zeros((4, 21, 3))), r"hand_verts has shape \(4, 21, 3\), expected \(4, 1609, 3\)"),
        (_set("obj_faces", np.zeros((5, 3))), "obj_faces is float64, expected integers"),
        (lambda arrays: arrays.pop("weights_id"), "lacks weights_id"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused_row_by_row(
    tmp_path: Path, truth: Arrays, spoil: Callable[[Arrays], None], message: str
) -> None:
    arrays = exchange(truth)
    spoil(arrays)
    np.savez(tmp_path / "ihoi.npz", allow_pickle=False, **arrays)
    with pytest.raises(InputError, match=message):
        read_interchange(tmp_path / "ihoi.npz", open_hand())


def test_all_problems_are_named_at_once(tmp_path: Path, truth: Arrays) -> None:
    arrays = exchange(truth)
    _edit("hand_verts", (2, 5, 1), np.nan)(arrays)
    _scaled("obj_verts", 1000)(arrays)
    np.savez(tmp_path / "ihoi.npz", allow_pickle=False, **arrays)
    with pytest.raises(InputError) as raised:
        read_interchange(tmp_path / "ihoi.npz", open_hand())
    assert str(raised.value).count("\n  - ") == 2


def test_missing_pickled_and_cut_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file; expected an interchange file"):
        read_interchange(path, open_hand())
    np.savez(path, fnames=np.array([object()]))
    with pytest.raises(InputError, match="an npz without pickles"):
        read_interchange(path, open_hand())
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="an npz without pickles"):
        read_interchange(path, open_hand())


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """The names that the page's Python blocks define."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # our own page
    return names


def rigid(seed: int, scale: float = 1) -> np.ndarray:
    chance = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = scale * Rotation.random(random_state=chance).as_matrix()
    pose[:3, 3] = chance.normal(size=3)
    return pose


def moved(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def object_cam(truth: Arrays, frame: int) -> np.ndarray:
    return moved(truth["object_vertices_m"], truth["cam_from_object"][frame])


def expect_perfect(scores: dict[str, Any]) -> None:
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert scores["chamfer_cm2"] == pytest.approx(0, abs=1e-4)
    assert scores["chamfer_hand_cm2"] == pytest.approx(0, abs=1e-4)
    assert scores["f10_pct"] == pytest.approx(100, abs=1e-3)
    assert scores["mrrpe_mm"] == pytest.approx(0, abs=1e-3)


def test_ihoi_s_hand_frame_becomes_wrist_relative(tmp_path: Path, recipe: dict[str, Any], truth: Arrays) -> None:
    """Whatever depth and scale its weak camera gives, only the rotation counts."""
    write: Callable[..., None] = recipe["write_interchange"]
    frames = {}
    for frame, name in enumerate(truth["names"]):
        pose = rigid(frame, scale=1.7)
        turn = pose[:3, :3] / 1.7
        wrist = open_hand().J_regressor[0].double().numpy() @ truth["hand_vertices_cam_m"][frame]
        hand, thing = (
            (points - wrist) @ turn + recipe["REST_WRIST_M"]
            for points in (truth["hand_vertices_cam_m"][frame], object_cam(truth, frame))
        )
        frames[str(name)] = recipe["ihoi_frame"](hand, thing, truth["object_faces"], pose)
    write(tmp_path / "ihoi.npz", "iHOI", "mow", "wrist_relative_camera", frames)
    scores = score(tmp_path, None, truth)
    expect_perfect(scores)
    assert scores["coverage_pct"] == 100
    assert "remark" not in scores


def test_diffhoi_s_object_frame_becomes_the_camera_s(tmp_path: Path, recipe: dict[str, Any], truth: Arrays) -> None:
    """10 units to a metre; the last frame has no pose."""
    object_from_j = rigid(9, scale=0.1)  # one shape in j
    vertices_j = moved(truth["object_vertices_m"].astype(np.float64), np.linalg.inv(object_from_j))
    frames: dict[str, Any] = {}
    for frame, name in enumerate(truth["names"]):
        cam_from_j = truth["cam_from_object"][frame] @ object_from_j
        cam_from_hand = rigid(20 + frame)
        hand_h = moved(truth["hand_vertices_cam_m"][frame], np.linalg.inv(cam_from_hand))
        j_from_cam = np.linalg.inv(cam_from_j)
        j_from_hand = j_from_cam @ cam_from_hand
        frames[str(name)] = recipe["diffhoi_frame"](hand_h, vertices_j, truth["object_faces"], j_from_cam, j_from_hand)
    frames[str(truth["names"][-1])] = None
    recipe["write_interchange"](tmp_path / "ihoi.npz", "DiffHOI", "ddpm2d", "camera", frames)
    scores = score(tmp_path, None, truth, method="DiffHOI")
    expect_perfect(scores)
    assert scores["coverage_pct"] == pytest.approx(100 * (FRAMES - 1) / FRAMES)
    assert scores["remark"] == f"1 frames failed (frame {truth['names'][-1]})"
    assert scores["variant"] == "ddpm2d"
    assert read_interchange(tmp_path / "ihoi.npz", open_hand()).failed.tolist() == [False] * (FRAMES - 1) + [True]


def test_the_page_lists_every_array_of_the_file(recipe: dict[str, Any], tmp_path: Path) -> None:
    frames = {"0000": (np.zeros((778, 3)), np.zeros((4, 3)), np.zeros((2, 3), int)), "0001": None}
    recipe["write_interchange"](tmp_path / "ihoi.npz", "iHOI", "mow", "camera", frames)
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    with np.load(tmp_path / "ihoi.npz") as arrays:
        assert set(arrays.files) == table
        assert arrays["hand_verts"].shape == (2, 778, 3)
        assert arrays["obj_vert_ptr"].tolist() == [0, 4, 4]
