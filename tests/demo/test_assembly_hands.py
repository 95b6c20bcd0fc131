"""The rendered AssemblyHands-ego has the original layout, and its labels lie on the hands of its pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from handloom.datasets.assembly_hands import read_annotations
from handloom.datasets.views import crop_hands
from handloom.demo import assembly_hands as stage
from handloom.demo.assembly_hands import gather_assembly_split, render_assembly_sequence
from handloom.demo.rig import HEADSETS
from handloom.demo.sequences import assembly_sequences
from handloom.hand.joints import SNAP_FROM_ASSEMBLY_HANDS
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.datasets import AssemblyHandsSettings, DemoSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey


def _json(root: Path, kind: str) -> dict:
    return json.loads((root / "annotations" / "val" / f"assemblyhands_val_{kind}_v1-1.json").read_text())


def test_annotation_files_have_the_original_keys(assembly_root: Path) -> None:
    data = _json(assembly_root, "ego_data")
    assert set(data["images"][0]) == {"id", "file_name", "width", "height", "seq_name", "camera", "frame_idx"}
    for annotation in data["annotations"]:
        assert set(annotation) == {"id", "image_id", "bbox", "joint_valid"}
        assert set(annotation["bbox"]) == {"right", "left"}
        assert len(annotation["joint_valid"]) == 42
        assert set(annotation["joint_valid"]) <= {0, 1}
    calibration = _json(assembly_root, "ego_calib")["calibration"]
    joints = _json(assembly_root, "joint_3d")["annotations"]
    for image in data["images"]:
        sequence, frame, camera = image["seq_name"], f"{image['frame_idx']:06d}", f"{image['camera']}_mono10bit"
        assert image["file_name"] == f"ego_images_rectified/val/{sequence}/{camera}/{frame}.jpg"
        assert np.shape(calibration[sequence]["intrinsics"][camera]) == (3, 3)
        assert np.shape(calibration[sequence]["extrinsics"][frame][camera]) == (3, 4)
        assert np.shape(joints[sequence][frame]["world_coord"]) == (42, 3)


def test_pictures_are_grey_and_as_large_as_stated(assembly_root: Path) -> None:
    for image in _json(assembly_root, "ego_data")["images"]:
        picture = read_grey(assembly_root / "images" / image["file_name"])
        assert picture.shape == (image["height"], image["width"]) == (480, 636)
        assert picture.std() > 5
        assert (picture > 250).mean() < 0.2


def test_skeleton_names_42_joints_whose_chains_end_at_the_wrists(assembly_root: Path) -> None:
    text = (assembly_root / "annotations" / "skeleton.txt").read_text()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    parents = {int(number): int(parent) for _, number, parent in rows}
    assert sorted(parents) == list(range(42))
    assert [parents[joint] for joint in (0, 1, 2, 3, 20)] == [1, 2, 3, 20, -1]
    assert [parents[joint] for joint in (21, 24, 41)] == [22, 41, -1]


def test_the_reader_of_the_real_data_set_reads_it(assembly_root: Path) -> None:
    hands = read_annotations(AssemblyHandsSettings(root=str(assembly_root)), "val")
    assert len(hands) > 50
    crops = crop_hands(hands[hands.joint_valid.sum(1) >= 10], input_px=64, bad_fraction=0.0)
    assert crops.image_u8.std() > 10


def test_most_hands_have_ten_valid_joints_and_some_joints_are_hidden(tiny: DemoSettings, assembly_root: Path) -> None:
    valid = np.concatenate(
        [
            read_arrays(assembly_root / "sequences" / f"{plan.name}.npz", stage.KIND)[0]["joint_valid"].reshape(-1, 21)
            for plan in assembly_sequences(tiny, "val")
        ]
    )
    assert (valid.sum(1) >= 10).mean() >= 0.85
    assert 0.5 < valid.mean() < 0.98


def test_boxes_hold_the_joints_that_are_in_the_picture(assembly_root: Path) -> None:
    hands = read_annotations(AssemblyHandsSettings(root=str(assembly_root)), "val")
    pixels = hands.keypoints_px
    inside = ((pixels >= 0) & (pixels <= [635, 479])).all(-1)
    low, high = hands.bbox_px[:, None, :2] - 1, hands.bbox_px[:, None, 2:] + 1
    assert ((pixels >= low) & (pixels <= high)).all(-1)[inside].all()
    assert (hands.bbox_px[:, 2:] > hands.bbox_px[:, :2]).all()


def test_joints_project_onto_rendered_hands_of_the_right_side(tiny: DemoSettings, monkeypatch, tmp_path: Path) -> None:
    """Mask labels at the joints' pixels: right hands show 18-33, left hands 2-17 unless something hides them."""
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    annotate = stage._annotate

    def spy(joints_m, camera_from_world, intrinsics, view):
        pixels, _ = stage.project(joints_m, camera_from_world, intrinsics)
        labels = np.zeros((480, 636), int)
        labels[view.rows, view.columns] = view.label
        column, row = np.rint(pixels).astype(int).T
        inside = (column >= 0) & (column < 636) & (row >= 0) & (row < 480)
        hand = np.repeat([0, 1], 21)
        seen.append((hand[inside], labels[row[inside], column[inside]], np.flatnonzero(inside)))
        return annotate(joints_m, camera_from_world, intrinsics, view)

    monkeypatch.setattr(stage, "_annotate", spy)
    plan = assembly_sequences(tiny, "train")[0]
    render_assembly_sequence(tiny, "train", plan.name, tmp_path / "images", tmp_path / "a.npz")
    hand, label, joint = (np.concatenate(part) for part in zip(*seen, strict=True))
    bones = np.array(SNAP_FROM_ASSEMBLY_HANDS)
    inner = ~np.isin(joint % 21, bones[[4, 8, 12, 16, 20]])  # a tip's pixel may fall just beside the finger
    right = (label >= 18) & (label <= 33)
    left = (label >= 2) & (label <= 17)
    assert (right | left | (label == 1))[inner].mean() > 0.8
    for side, own, other in ((0, right, left), (1, left, right)):
        assert own[inner & (hand == side)].mean() > 0.6
        assert other[inner & (hand == side)].mean() < 0.25


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    tiny: DemoSettings, assembly_root: Path, tmp_path: Path
) -> None:
    plan = assembly_sequences(tiny, "val")[0]
    for name, settings in (("again", tiny), ("other", tiny.model_copy(update={"seed": 12}))):
        render_assembly_sequence(settings, "val", plan.name, tmp_path / name, tmp_path / f"{name}.npz")
    first = assembly_root / "images" / "ego_images_rectified" / "val" / plan.name
    pictures = sorted(path.relative_to(first) for path in first.rglob("*.jpg"))
    assert len(pictures) == 4 * len(plan.frames)
    assert all((first / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in pictures)
    assert all((first / path).read_bytes() != (tmp_path / "other" / path).read_bytes() for path in pictures)
    npz = (assembly_root / "sequences" / f"{plan.name}.npz").read_bytes()
    assert npz == (tmp_path / "again.npz").read_bytes()


def test_train_and_val_show_different_people(tiny: DemoSettings, assembly_root: Path, tmp_path: Path) -> None:
    train = assembly_sequences(tiny, "train")
    bones = []
    for plan in train:
        render_assembly_sequence(tiny, "train", plan.name, tmp_path / plan.name, tmp_path / f"{plan.name}.npz")
        bones.append(_bone_mm(tmp_path / f"{plan.name}.npz"))
    bones += [_bone_mm(assembly_root / "sequences" / f"{plan.name}.npz") for plan in assembly_sequences(tiny, "val")]
    assert all(60 < bone < 130 for bone in bones)
    assert len({round(bone, 1) for bone in bones}) == len(bones)


def _bone_mm(path: Path) -> float:
    joints = read_arrays(path, stage.KIND)[0]["joints_world_mm"]
    return float(np.linalg.norm(joints[0, 11] - joints[0, 20]))


def test_an_interrupted_rendering_leaves_nothing(tiny: DemoSettings, monkeypatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(stage, "write_grey_jpeg", fail)
    plan = assembly_sequences(tiny, "val")[0]
    with pytest.raises(OSError, match="no space"):
        render_assembly_sequence(tiny, "val", plan.name, tmp_path / "images", tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_unplanned_sequence_and_a_foreign_annotation_file_are_refused(tiny: DemoSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nowhere' is not in the val split"):
        render_assembly_sequence(tiny, "val", "nowhere", tmp_path / "images", tmp_path / "a.npz")
    with pytest.raises(InputError, match="no such file"):
        gather_assembly_split(tiny, "val", [tmp_path / "a.npz"], tmp_path / "val")


def test_calibration_is_that_of_the_sequences_headset(tiny: DemoSettings, assembly_root: Path) -> None:
    calibration = _json(assembly_root, "ego_calib")["calibration"]
    for plan in assembly_sequences(tiny, "val"):
        names = [f"{name}_mono10bit" for name in HEADSETS[plan.headset].camera_names]
        assert list(calibration[plan.name]["intrinsics"]) == names
        for cameras in calibration[plan.name]["extrinsics"].values():
            rotation = np.array([cameras[name] for name in names])[:, :, :3]
            np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-9)
            assert (np.linalg.det(rotation) > 0).all()
