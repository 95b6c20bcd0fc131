"""HO3D-v3's annotations reach us in OpenCV axes, and what is missing, hostile or of another hand is told apart."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.datasets import hold_truth
from handloom.datasets.frames import read_frames
from handloom.datasets.ho3d import read_object_model, read_sequence
from handloom.datasets.hold_truth import HoldTruth, write_truth
from handloom.datasets.video import extract_frames
from handloom.hand.models import open_hand
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.errors import InputError

from .ho3d_files import CAMERA, FLIP, FRAMES, SequenceWriter


@pytest.fixture
def writer(tmp_path: Path) -> SequenceWriter:
    writer = SequenceWriter(tmp_path / "HO3D_v3")
    writer.write()
    return writer


def truth_of(writer: SequenceWriter, **settings: object) -> HoldTruth:
    """The truth of the frames that are extracted first."""
    out = writer.root / "out"
    places = out / "frames", out / "frames.json"
    extract_frames(writer.folder, FrameSettings(kind="ho3d", **settings), *places)
    write_truth(writer.folder, *places, out / "truth.npz")
    return HoldTruth.load(out / "truth.npz")


def test_hand_and_object_are_flipped_from_opengl_to_opencv(writer: SequenceWriter) -> None:
    sequence = read_sequence(writer.folder)
    assert sequence.valid.all()
    assert sequence.names == tuple(f"{frame:04d}.jpg" for frame in range(FRAMES))
    np.testing.assert_array_equal(sequence.intrinsics, CAMERA)
    hands = sequence.skinned_hands(open_hand())
    np.testing.assert_allclose(hands.vertices_m.numpy(), writer.vertices @ FLIP, atol=2e-6)
    np.testing.assert_allclose(sequence.hand_joints_cam_m, writer.keypoints @ FLIP, atol=1e-12)
    for frame in range(FRAMES):
        pose = sequence.cam_from_object[frame]
        points = writer.corners @ pose[:3, :3].T + pose[:3, 3]
        np.testing.assert_allclose(points, writer.object_points_gl(frame) @ FLIP, atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_hand_parameters_alone_give_the_hand_in_the_cameras_frame(writer: SequenceWriter) -> None:
    """The root turns about the wrist at rest, not the origin: rotating the parameters must allow for it."""
    hand = read_sequence(writer.folder).skinned_hands(open_hand().to(dtype=torch.float64))
    np.testing.assert_allclose(hand.vertices_m.numpy(), writer.vertices @ FLIP, atol=2e-6)


def test_frames_without_annotation_are_invalid_not_errors(writer: SequenceWriter) -> None:
    writer.write_meta(1, dict.fromkeys(writer.meta(1)))
    (writer.folder / "meta" / "0002.pkl").unlink()
    sequence = read_sequence(writer.folder)
    assert sequence.valid.tolist() == [True, False, False, True]
    assert np.isnan(sequence.cam_from_object[1:3]).all()
    truth = truth_of(writer)
    assert truth.valid.tolist() == [True, False, False, True]
    assert np.isnan(truth.hand_joints_cam_m[1:3]).all()
    assert np.isfinite(truth.hand_vertices_cam_m[[0, 3]]).all()


def test_a_sequence_without_any_annotation_has_no_truth(writer: SequenceWriter) -> None:
    shutil.rmtree(writer.folder / "meta")
    assert not read_sequence(writer.folder).valid.any()
    with pytest.raises(InputError, match="no frame is annotated"):
        truth_of(writer)
    out = writer.root / "out"
    assert read_frames(out / "frames", out / "frames.json").intrinsics is None
    assert not (out / "truth.npz").exists()


class _Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


def test_a_hostile_annotation_runs_nothing(writer: SequenceWriter) -> None:
    trace = writer.root / "trace"
    writer.write_meta(0, {**writer.meta(0), "objName": _Hostile(trace)})
    with pytest.raises(InputError, match=r"0000\.pkl: cannot be read as a pickle of numbers and arrays .*not allowed"):
        read_sequence(writer.folder)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"handPose": np.zeros(45)}, "'handPose', but 48 numbers"),
        ({"handJoints3D": np.zeros(3)}, "'handJoints3D', but 63 numbers"),
        ({"objTrans": "nowhere"}, "'objTrans', but 3 numbers"),
        ({"handTrans": np.array([0.0, np.nan, 1.0])}, "'handTrans' holds a value that is no number"),
        ({"camMat": np.eye(3)}, "camMat changes between frames"),
        ({"objName": "003_cracker_box"}, "expected one object per sequence"),
    ],
)
def test_annotations_of_another_format_are_refused(writer: SequenceWriter, change: dict, message: str) -> None:
    writer.write_meta(1, {**writer.meta(1), **change})
    with pytest.raises(InputError, match=message):
        read_sequence(writer.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda label: {"camMat": np.zeros((3, 3))}, r"camMat is no camera matrix: its last rows"),
        (lambda label: {"camMat": np.array(CAMERA) * [[-1], [1], [1]]}, r"camMat .*focal lengths"),
        (
            lambda label: {"handJoints3D": 1000 * label["handJoints3D"]},
            "'handJoints3D': .*millimetres taken for metres",
        ),
        (lambda label: {"handJoints3D": 0 * label["handJoints3D"]}, "'handJoints3D': all its joints are in one point"),
        (lambda label: {"objTrans": 1000 * label["objTrans"]}, "'objTrans': .*millimetres taken for metres"),
        (lambda label: {"objRot": np.full((3, 1), 90.0)}, r"'objRot': holds a rotation vector 156 long.*degrees"),
    ],
)
def test_annotations_of_other_units_or_of_nothing_are_refused(
    writer: SequenceWriter, change: Callable[[dict], dict], message: str
) -> None:
    for frame in range(FRAMES):
        label = writer.meta(frame)
        writer.write_meta(frame, {**label, **change(label)})
    with pytest.raises(InputError, match=rf"000\d\.pkl: {message}"):
        read_sequence(writer.folder)


@pytest.mark.parametrize(
    ("size", "words"), [(100.0, "millimetres taken for metres"), (0.0, "the object's diagonal is 0 m")]
)
def test_an_object_that_no_hand_holds_is_refused(tmp_path: Path, size: float, words: str) -> None:
    (tmp_path / "025_mug").mkdir()
    text = f"v 0 0 0\nv {size} 0 0\nv 0 {size} 0\nf 1 2 3\n"
    (tmp_path / "025_mug" / "textured_simple.obj").write_text(text)
    with pytest.raises(InputError, match=words):
        read_object_model(tmp_path, "025_mug")


def test_an_annotation_that_is_no_dict_is_refused(writer: SequenceWriter) -> None:
    writer.write_meta(0, [1, 2])
    with pytest.raises(InputError, match="holds list"):
        read_sequence(writer.folder)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rgb: no such folder"):
        read_sequence(tmp_path)


def test_truth_holds_the_chosen_frames_only(writer: SequenceWriter) -> None:
    truth = truth_of(writer, first=1, every=2)
    assert truth.names.tolist() == ["0001.jpg", "0003.jpg"]
    np.testing.assert_allclose(truth.hand_joints_cam_m, (writer.keypoints @ FLIP)[[1, 3]], atol=2e-6)
    np.testing.assert_allclose(truth.object_vertices_m, writer.corners)
    assert truth.object_faces.tolist() == [[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]]


def test_frames_of_another_sequence_have_no_truth(writer: SequenceWriter) -> None:
    truth_of(writer)
    (writer.folder / "rgb" / "0003.jpg").unlink()
    places = writer.root / "out" / "frames", writer.root / "out" / "frames.json", writer.root / "out" / "truth.npz"
    with pytest.raises(InputError, match=r"rgb: lacks the frame 0003\.jpg \(1 in all\)"):
        write_truth(writer.folder, *places)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: {"v_template": 1.2 * model.v_template}, "made with another hand model: set `mano`"),
        (
            lambda model: {"shapedirs": model.shapedirs[..., :4]},
            "has 10 hand shape coefficients, but the hand model takes 4",
        ),
    ],
)
def test_annotations_of_another_hand_model_are_noticed(
    writer: SequenceWriter, monkeypatch: pytest.MonkeyPatch, change: Callable, message: str
) -> None:
    """MANO's pose on the embedded hand (or the reverse) gives a plausible hand at the wrong place."""
    other = replace(open_hand(), **change(open_hand()))
    monkeypatch.setattr(hold_truth, "configured_hands", lambda _: {"right": other})
    with pytest.raises(InputError, match=message):
        truth_of(writer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3 1\n", "other than three corners"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "names vertex 9 of 3"),
        ("v 0 0 zero\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "cannot be read as a triangle mesh"),
        ("# empty\n", "0 vertices"),
    ],
)
def test_damaged_object_models_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "025_mug").mkdir()
    (tmp_path / "025_mug" / "textured_simple.obj").write_text(content)
    with pytest.raises(InputError, match=message):
        read_object_model(tmp_path, "025_mug")


def test_a_missing_model_and_a_name_that_leaves_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file.*YCB-Video models"):
        read_object_model(tmp_path, "025_mug")
    with pytest.raises(InputError, match="is no plain name"):
        read_object_model(tmp_path, "../025_mug")
