"""The rendered AssemblyHands-ego has the real headsets' geometry, the original layout, and labels on its hands."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handloom.datasets import AssemblyHandsSettings
from handloom.datasets.assembly_hands import HEADSET_CAMERAS, read_annotations
from handloom.datasets.invalid_list import list_invalid
from handloom.datasets.views import HandCrops
from handloom.demo import headsets as stage
from handloom.demo.headsets import HEADSETS, RenderedSequence, gather_assembly_split, render_assembly_sequence
from handloom.demo.plan import assembly_sequences
from handloom.estimators.detnet.hands import crop_views
from handloom.hand.joints import SNAP_FROM_ASSEMBLY_HANDS
from handloom.runtime.config.sources import DemoSettings
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
# Angles of R_gt in S2DHand's R_config.json.
REAL_ANGLES_DEG = {
    "headset1": (165.4, 95.8, 79.3, 80.2, 96.7, 20.4),
    "headset2": (165.7, 96.1, 80.2, 79.7, 95.5, 19.8),
}


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


def test_the_reader_of_the_real_data_set_reads_it(assembly_root: Path, tmp_path: Path) -> None:
    settings = AssemblyHandsSettings(root=str(assembly_root))
    assert len(read_annotations(settings, "val")) > 50
    invalid, *files = (tmp_path / name for name in ("invalid.txt", "crops.npz", "labels.npz"))
    list_invalid([], invalid, dataset=settings, split="val")
    chosen = {"split": "val", "headset": "headset1", "camera": 1, "input_px": 64, "field_of_view_deg": 100.0}
    crop_views(invalid, *files, dataset=settings, **chosen)
    assert HandCrops.load(files[0]).image_u8.std() > 10


def test_most_hands_have_ten_valid_joints_and_some_joints_are_hidden(tiny: DemoSettings, assembly_root: Path) -> None:
    valid = np.concatenate(
        [
            RenderedSequence.load(assembly_root / "sequences" / f"{plan.name}.npz").joint_valid.reshape(-1, 21)
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
        pixels, _ = stage.project_from_world(joints_m, camera_from_world, intrinsics)
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
    joints = RenderedSequence.load(path).joints_world_mm
    return float(np.linalg.norm(joints[0, 11] - joints[0, 20]))


def test_an_interrupted_rendering_leaves_nothing(tiny: DemoSettings, monkeypatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(stage, "write_picture", fail)
    plan = assembly_sequences(tiny, "val")[0]
    with pytest.raises(OSError, match="no space"):
        render_assembly_sequence(tiny, "val", plan.name, tmp_path / "images", tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_unplanned_sequence_and_a_foreign_annotation_file_are_refused(tiny: DemoSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nowhere' is not in the val split"):
        render_assembly_sequence(tiny, "val", "nowhere", tmp_path / "images", tmp_path / "a.npz")
    with pytest.raises(InputError, match="no such file"):
        gather_assembly_split([tmp_path / "a.npz"], tmp_path / "d.json", tmp_path / "c.json", tmp_path / "j.json")


def test_calibration_is_that_of_the_sequences_headset(tiny: DemoSettings, assembly_root: Path) -> None:
    calibration = _json(assembly_root, "ego_calib")["calibration"]
    for plan in assembly_sequences(tiny, "val"):
        names = [f"{name}_mono10bit" for name in HEADSET_CAMERAS[plan.headset]]
        assert list(calibration[plan.name]["intrinsics"]) == names
        for cameras in calibration[plan.name]["extrinsics"].values():
            rotation = np.array([cameras[name] for name in names])[:, :, :3]
            np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-9)
            assert (np.linalg.det(rotation) > 0).all()


def _pair_rotations(name: str) -> Rotation:
    """R12 = R_w2c,1 R_w2c,2^T of the six pairs, for a head that is turned somehow."""
    rig = HEADSETS[name]
    head = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    cameras = rig.cameras_from_world(head[None], np.array([[0.1, 0.2, 0.3]]))[0, :, :, :3]
    return Rotation.from_matrix(np.stack([cameras[a] @ cameras[b].T for a, b in PAIRS]))


@pytest.mark.parametrize("name", HEADSETS)
def test_relative_rotations_are_those_of_the_real_headset(name: str) -> None:
    angles = np.degrees(_pair_rotations(name).magnitude())
    assert np.abs(angles - REAL_ANGLES_DEG[name]).max() < 1.0


@pytest.mark.parametrize("name", HEADSETS)
def test_no_camera_and_no_pair_is_aligned_with_an_axis(name: str) -> None:
    """AssemblyHands' toolkit splits K R by an RQ decomposition, which exact zeros in R turn into a reflection."""
    rotations = np.concatenate([HEADSETS[name].camera_from_head, _pair_rotations(name).as_matrix()])
    assert np.abs(rotations).min() > 1e-4
    # A turn about one coordinate axis has an entry of 1.
    assert np.abs(rotations).max() < 0.9999


@pytest.mark.parametrize("name", HEADSETS)
def test_extrinsics_put_each_camera_where_the_rig_says(name: str) -> None:
    rig = HEADSETS[name]
    head = Rotation.random(rng=np.random.default_rng(5)).as_matrix()
    position = np.array([0.3, -0.2, 0.5])
    extrinsics = rig.cameras_from_world(head[None], position[None])[0]
    centres = -np.einsum("cji,cj->ci", extrinsics[:, :, :3], extrinsics[:, :, 3])
    np.testing.assert_allclose((centres - position) @ head.T, rig.camera_position_m, atol=1e-12)
