"""HO3D-v3's annotations reach us in OpenCV axes, and what is missing, hostile or of another hand is told apart."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.datasets.dataset_masks import dataset_masks, labels_from_ho3d
from handloom.datasets.frames_file import read_frames_file
from handloom.datasets.ho3d import read_sequence
from handloom.datasets.hold_truth import write_truth
from handloom.datasets.video import extract_frames
from handloom.datasets.ycb_models import read_object_model
from handloom.hand.mano import skin
from handloom.hand.open_hand import open_hand
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

from .ho3d_files import CAMERA, FLIP, FRAMES, SIZE, SequenceWriter


@pytest.fixture
def writer(tmp_path: Path) -> SequenceWriter:
    writer = SequenceWriter(tmp_path / "HO3D_v3")
    writer.write()
    return writer


@pytest.fixture
def settings(writer: SequenceWriter) -> SequenceSettings:
    return SequenceSettings(kind="ho3d", path=str(writer.folder))


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
    rotvec, translation, shape = read_sequence(writer.folder).hand_poses(open_hand())
    hand = skin(
        open_hand().to(dtype=torch.float64),
        pose_rotvec=torch.from_numpy(rotvec),
        shape=torch.from_numpy(shape),
        translation_m=torch.from_numpy(translation),
    )
    np.testing.assert_allclose(hand.vertices_m.numpy(), writer.vertices @ FLIP, atol=2e-6)


def test_frames_without_annotation_are_invalid_not_errors(writer: SequenceWriter, settings: SequenceSettings) -> None:
    writer.write_meta(1, dict.fromkeys(writer.meta(1)))
    (writer.folder / "meta" / "0002.pkl").unlink()
    sequence = read_sequence(writer.folder)
    assert sequence.valid.tolist() == [True, False, False, True]
    assert np.isnan(sequence.cam_from_object[1:3]).all()
    out = writer.root / "out"
    extract_frames(settings, out / "frames", out / "frames.json")
    write_truth(settings, open_hand(), out / "frames.json", out / "truth.npz")
    truth, _ = read_arrays(out / "truth.npz", "hold_truth")
    assert truth["valid"].tolist() == [True, False, False, True]
    assert np.isnan(truth["hand_joints_cam_m"][1:3]).all()
    assert np.isfinite(truth["hand_vertices_cam_m"][[0, 3]]).all()


def test_a_sequence_without_any_annotation_has_no_truth(writer: SequenceWriter, settings: SequenceSettings) -> None:
    shutil.rmtree(writer.folder / "meta")
    assert not read_sequence(writer.folder).valid.any()
    out = writer.root / "out"
    extract_frames(settings, out / "frames", out / "frames.json")
    assert read_frames_file(out / "frames.json").intrinsics is None
    with pytest.raises(InputError, match="no frame is annotated"):
        write_truth(settings, open_hand(), out / "frames.json", out / "truth.npz")
    assert not (out / "truth.npz").exists()


class _Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


def test_a_hostile_annotation_runs_nothing(writer: SequenceWriter) -> None:
    trace = writer.root / "trace"
    writer.write_meta(0, {**writer.meta(0), "objName": _Hostile(trace)})
    with pytest.raises(InputError, match=r"0000\.pkl: is no pickle of numbers and arrays .*not allowed"):
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


def test_an_annotation_that_is_no_dict_is_refused(writer: SequenceWriter) -> None:
    writer.write_meta(0, [1, 2])
    with pytest.raises(InputError, match="holds list"):
        read_sequence(writer.folder)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        read_sequence(tmp_path)


def test_truth_holds_the_chosen_frames_only(writer: SequenceWriter, settings: SequenceSettings) -> None:
    chosen = settings.model_copy(update={"first": 1, "every": 2})
    out = writer.root / "out"
    extract_frames(chosen, out / "frames", out / "frames.json")
    write_truth(chosen, open_hand(), out / "frames.json", out / "truth.npz")
    truth, header = read_arrays(out / "truth.npz", "hold_truth")
    assert truth["names"].tolist() == ["0001.jpg", "0003.jpg"]
    assert (header.units, header.joint_order) == ("m", "SNAP")
    np.testing.assert_allclose(truth["hand_joints_cam_m"], (writer.keypoints @ FLIP)[[1, 3]], atol=2e-6)
    np.testing.assert_allclose(truth["object_vertices_m"], writer.corners)
    assert truth["object_faces"].tolist() == [[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]]


def test_annotations_of_another_hand_model_are_noticed(writer: SequenceWriter, settings: SequenceSettings) -> None:
    """MANO's pose on the embedded hand (or the reverse) gives a plausible hand at the wrong place."""
    out = writer.root / "out"
    extract_frames(settings, out / "frames", out / "frames.json")
    model = open_hand()
    other = replace(model, v_template=1.2 * model.v_template)
    with pytest.raises(InputError, match="made with another hand model: set `mano`"):
        write_truth(settings, other, out / "frames.json", out / "truth.npz")
    fewer = replace(model, shapedirs=model.shapedirs[..., :4])
    with pytest.raises(InputError, match="has 10 hand shape coefficients, but the hand model takes 4"):
        write_truth(settings, fewer, out / "frames.json", out / "truth.npz")


def test_only_ho3d_has_a_truth(tmp_path: Path) -> None:
    video = SequenceSettings(kind="video", path="a.mp4")
    with pytest.raises(InputError, match="only ho3d sequences have a truth"):
        write_truth(video, open_hand(), tmp_path / "frames.json", tmp_path / "truth.npz")


def test_quarter_size_segmentations_become_labels_of_the_frames_size(
    writer: SequenceWriter, settings: SequenceSettings
) -> None:
    out = writer.root / "out"
    extract_frames(settings, out / "frames", out / "frames.json")
    dataset_masks(settings, out / "frames.json", out / "masks")
    assert sorted(path.name for path in (out / "masks").iterdir()) == [f"{frame:04d}.png" for frame in range(FRAMES)]
    labels = read_grey(out / "masks" / "0002.png")
    assert labels.shape == (SIZE[1], SIZE[0])
    assert (labels[8:24, 12:28] == 50).all()
    assert (labels[24:36, 12:28] == 150).all()
    assert (labels > 0).sum() == 16 * (16 + 12)


def test_blue_is_the_hand_and_any_other_colour_the_object() -> None:
    colours = np.array([[[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]]], np.uint8)
    assert labels_from_ho3d(colours).tolist() == [[0, 150, 50, 50]]


def test_a_missing_segmentation_and_masks_without_a_hand_are_named(
    writer: SequenceWriter, settings: SequenceSettings
) -> None:
    out = writer.root / "out"
    extract_frames(settings, out / "frames", out / "frames.json")
    (writer.folder / "seg" / "0003.png").rename(writer.root / "kept.png")
    with pytest.raises(InputError, match=r"seg/0003\.png: no such mask"):
        dataset_masks(settings, out / "frames.json", out / "masks")
    for frame in range(FRAMES):
        (writer.folder / "seg" / f"{frame:04d}.png").write_bytes((writer.folder / "rgb" / "0000.jpg").read_bytes())
    with pytest.raises(InputError, match="none of the 4 masks shows the object"):
        dataset_masks(settings, out / "frames.json", out / "masks")
    assert not (out / "masks").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3 1\n", "other than three corners"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "names vertex 9 of 3"),
        ("v 0 0 zero\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "no triangle mesh"),
        ("# empty\n", "0 vertices"),
    ],
)
def test_damaged_object_models_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "025_mug").mkdir()
    (tmp_path / "025_mug" / "textured_simple.obj").write_text(content)
    with pytest.raises(InputError, match=message):
        read_object_model(tmp_path, "025_mug")


def test_a_missing_model_and_a_name_that_leaves_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such object model"):
        read_object_model(tmp_path, "025_mug")
    with pytest.raises(InputError, match="is no plain name"):
        read_object_model(tmp_path, "../025_mug")
