"""AssemblyHands' train split as training samples: the same hands and the same crops as adaptation and test see."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from handloom.datasets.box_crops import crop_intrinsics as intrinsics_of_crops
from handloom.datasets.box_crops import mirrored_keypoints, network_image, project_in_crop, squares_around, warp_crop
from handloom.datasets.training_samples import (
    AssemblyHandsTraining,
    load_samples,
    prepare_assembly_hands,
    write_samples,
)
from handloom.estimators.detnet.augmentation import no_augmentation, sample_images, sample_keypoints
from handloom.runtime.images import read_grey

from .assembly_hands_files import SplitWriter

INPUT_PX = 64


@pytest.fixture
def train_split(split: SplitWriter) -> SplitWriter:
    """The small data set as a train split, with smooth images and a hand that shows too few joints."""
    split.split = "train"
    split.annotations[3]["joint_valid"][21:33] = [0] * 12  # 9 valid joints are left of the left hand
    split.write()
    smooth = gaussian_filter(np.random.default_rng(2).standard_normal((480, 636)), 12)
    grey = (127 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    for number, path in enumerate(sorted((split.root / "images").rglob("*.png"))):
        Image.fromarray(np.roll(grey, 30 * number, axis=1)).save(path)
    return split


def test_hands_of_all_cameras_with_ten_valid_joints(train_split):
    hands = AssemblyHandsTraining(train_split.dataset)
    assert len(hands) == 2 * 2 * 4 * 2 - 1
    right, left = hands.hand(0), hands.hand(1)
    assert (right.is_left, left.is_left) == (False, True)
    assert right.side_px == 1.75 * 100
    assert right.centre_px.tolist() == [350, 240]
    assert right.joints_cam_m.shape == (21, 3)
    assert 0.3 < right.joints_cam_m[:, 2].mean() < 0.7


def test_training_crops_agree_with_the_crops_of_adaptation(train_split, tmp_path):
    chosen = {"dataset": "assembly_hands", "settings": train_split.dataset, "input_px": INPUT_PX}
    prepare_assembly_hands(tmp_path / "a.npz", **chosen)
    samples = load_samples(tmp_path / "a.npz")
    assert samples.image_u8.shape[1:] == (96, 96, 1)
    plain = no_augmentation(len(samples))
    crops = torch.from_numpy(samples.images(np.arange(len(samples))).copy())
    images = sample_images(crops, plain, field_px=64.0, input_px=INPUT_PX)
    keypoints = sample_keypoints(torch.from_numpy(samples.keypoints_px), plain, crop_px=96, field_px=64.0).numpy()

    annotations = AssemblyHandsTraining(train_split.dataset)._hands
    squares = squares_around(annotations.bbox_px)
    focal_px, principal_point_px = intrinsics_of_crops(annotations.intrinsics_px, squares)
    expected = project_in_crop(annotations.joints_cam_m, focal_px, principal_point_px)
    # corners and sides are rounded on their own: one image pixel is about 1.5 pixels of the 256-pixel crop
    np.testing.assert_allclose(keypoints, mirrored_keypoints(expected, annotations.is_left), atol=2.5)
    for row in range(0, len(samples), 3):
        crop = warp_crop(read_grey(annotations.image_path(row)), squares.corner_px[row], int(squares.side_px[row]))
        seen = network_image(crop, is_left=bool(annotations.is_left[row]), input_px=INPUT_PX) / 255 - 0.5
        assert np.abs(images[row, 0].numpy() - seen).mean() < 0.02
        np.testing.assert_allclose(samples.joints_m[row, :, 2], annotations.joints_cam_m[row, :, 2])
        side = -1 if annotations.is_left[row] else 1
        np.testing.assert_allclose(samples.joints_m[row, :, 0], side * annotations.joints_cam_m[row, :, 0])


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_bad_image_is_named_and_only_its_hands_left_out(train_split, tmp_path, capsys, damage):
    path = train_split.root / "images" / train_split.images[1]["file_name"]
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    hands = AssemblyHandsTraining(train_split.dataset)
    write_samples(tmp_path / "a.npz", hands, dataset="assembly_hands", crop_px=96)
    assert load_samples(tmp_path / "a.npz").row.tolist() == [row for row in range(len(hands)) if row not in (2, 3)]
    told = capsys.readouterr().err
    words = "no such image" if damage == "missing" else "cannot be decoded"
    assert [f"left out: hand {row}: {path}: {words}" in told for row in (2, 3)] == [True, True]
