"""Other methods' files: the answers that facts/comparisons.md 3.4 names, and every way a file can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handloom.evaluation.hold_scores import score_hold_sequence
from handloom.evaluation.interchange import joints_from_vertices, read_interchange, score_interchange
from handloom.hand.open_hand import open_hand
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .sequence_files import FRAMES, sequence_arrays, write_predictions, write_truth

Arrays = dict[str, np.ndarray]


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
    folder: Path, arrays: Arrays, truth: Arrays, protocol: Any = "faithful", method: str | None = "iHOI"
) -> dict[str, Any]:
    np.savez(folder / "ihoi.npz", allow_pickle=False, **arrays)
    score_interchange(
        folder / "ihoi.npz",
        write_truth(folder / "truth.npz", truth),
        open_hand(),
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
    score_hold_sequence(
        write_predictions(tmp_path / "predictions.npz", shifted),
        write_truth(tmp_path / "truth.npz", annotation),
        tmp_path / "hold.json",
        tmp_path / "hold.csv",
        sequence="block",
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
    with pytest.raises(InputError, match="no such interchange file"):
        read_interchange(path, open_hand())
    np.savez(path, fnames=np.array([object()]))
    with pytest.raises(InputError, match="without pickles"):
        read_interchange(path, open_hand())
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="without pickles"):
        read_interchange(path, open_hand())
