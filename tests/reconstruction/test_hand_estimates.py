"""Squares, views and heat maps go back to the full image, and frames without a hand are counted or an error."""

import cv2
import numpy as np
import pytest
import torch

from handloom.estimators.detnet.targets import heat_map_target
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.detnet_hands import DetNetEstimator, heat_centres
from handloom.reconstruction.found_hands import FoundHands
from handloom.reconstruction.hand_estimates import estimate_hands
from handloom.reconstruction.hand_squares import HandFrame, mask_squares, ray_rotations, turned_crops
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.errors import InputError

SETTINGS = HandEstimationSettings(views=3)


def _video(folder, hands):
    """Frames with a bright square for a hand; `hands` gives its left upper corner or None."""
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for index, corner in enumerate(hands):
        image, mask = np.full((120, 160, 3), 60, np.uint8), np.zeros((120, 160), np.uint8)
        if corner is not None:
            x, y = corner
            image[y : y + 40, x : x + 30], mask[y : y + 40, x : x + 30] = 200, 150
        cv2.imwrite(str(folder / "frames" / f"{index:04d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{index:04d}.png"), mask)
    return folder / "frames", folder / "masks"


def test_heat_centres_are_finer_than_cells():
    centres = torch.tensor([[3.0, 4.0], [2.0, 5.0]])
    heat, _ = heat_map_target(centres, 8)
    one = heat_centres(heat[:1].expand(21, -1, -1)[None])
    torch.testing.assert_close(one[0, 0], (centres[0] + 0.5) / 8, atol=1e-3, rtol=0)
    # Half of the heat one cell on: the centre moves, but not by a whole cell.
    shifted, _ = heat_map_target(centres[:1] + torch.tensor([1.0, 0.0]), 8)
    between = heat_centres((0.6 * heat[:1] + 0.4 * shifted).expand(21, -1, -1)[None])
    step = float(8 * (between[0, 0, 0] - one[0, 0, 0]))
    assert 0.2 < step < 0.6


def test_turned_crops_show_the_same_points():
    image = np.zeros((200, 240, 3), np.uint8)
    cv2.circle(image, (130, 90), 6, (255, 255, 255), -1)
    centre, turns = np.array([120.0, 100.0]), np.array([-0.8, 0.0, 0.5])
    crops, maps = turned_crops(image, centre, 100.0, 64, turns, np.array([1.0, 0.9, 1.1]), 0)
    for crop, matrix in zip(crops, maps, strict=True):
        rows, columns = np.nonzero(crop[..., 0] > 100)
        expected = matrix[:, :2] @ [130, 90] + matrix[:, 2]
        np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.5)


def test_the_forearm_is_left_out(tmp_path):
    mask = np.zeros((200, 200), np.uint8)
    mask[20:60, 80:110] = 50
    mask[40:80, 70:120], mask[80:200, 85:105] = 150, 150
    path = tmp_path / "0000.png"
    cv2.imwrite(str(path), mask)
    whole = mask_squares([path], "right", 60, None)
    cut = mask_squares([path], "right", 60, 0.75)
    assert cut.side_px[0] < 0.75 * whole.side_px[0]
    assert cut.centre_px[0, 1] < whole.centre_px[0, 1]


def test_rays_turn_the_axis_onto_the_squares_centre():
    intrinsics = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    centre = np.array([[160.0, 120.0], [310.0, 60.0]])
    rotations = ray_rotations(centre, intrinsics)
    torch.testing.assert_close(rotations[0], torch.eye(3, dtype=torch.float64))
    ray = intrinsics @ rotations[1].numpy() @ [0, 0, 1]
    np.testing.assert_allclose(ray[:2] / ray[2], centre[1])


def test_a_left_hand_is_the_mirror_image_of_a_right_one(tmp_path):
    """Flipping the picture and the side flips joints and key points; a whole-pixel grid allows the crops to agree."""
    frames, masks = _video(tmp_path, [(60, 30)])
    image = cv2.imread(str(frames / "0000.png"))
    image[35:50, 62:70] = (30, 120, 90)  # something that is not symmetric
    cv2.imwrite(str(frames / "0000.png"), image)
    flipped = tmp_path / "flipped.png"
    cv2.imwrite(str(flipped), image[:, ::-1])
    squares = mask_squares([masks / "0000.png"], "right", 60, None)
    estimator = DetNetEstimator.of(HandEstimationSettings(views=1, blank="nothing"))
    right = estimator([HandFrame(frames / "0000.png", None)], squares, "right")
    other = squares._replace(centre_px=np.array([[159.0, 0.0]]) + squares.centre_px * [-1, 1])
    left = estimator([HandFrame(flipped, None)], other, "left")
    torch.testing.assert_close(left.joints, right.joints * torch.tensor([-1.0, 1.0, 1.0]), atol=2e-3, rtol=0)
    mirrored = torch.stack([159.0 - right.keypoints_px[..., 0], right.keypoints_px[..., 1]], -1)
    torch.testing.assert_close(left.keypoints_px, mirrored, atol=0.1, rtol=0)


def test_stage_counts_frames_without_a_hand(tmp_path):
    frames, masks = _video(tmp_path, [(50, 30), None, (60, 40), (70, 30)])
    settings = SETTINGS.model_copy(update={"lowest_confidence": 0.0})
    estimate_hands(settings, open_hand(), frames, masks, None, None, tmp_path / "hands.npz")
    arrays, header = read_arrays(tmp_path / "hands.npz", "hand_estimates")
    assert arrays["found"].tolist() == [True, False, True, True]
    assert header.extra["missing"] == "1"
    assert np.isnan(arrays["joints_cam"][1]).all()
    assert (arrays["confidence"][1] == 0).all()
    assert np.isfinite(arrays["joints_cam"][[0, 2, 3]]).all()
    np.testing.assert_allclose(arrays["joints_cam"][0, 0], 0, atol=1e-7)


def test_key_points_are_where_an_estimator_puts_them(tmp_path):
    """Any network behind the protocol will do: here one that knows."""
    frames, masks = _video(tmp_path, [(50, 30), (60, 40)])

    def knowing(given, squares, side):
        assert side == "right"
        centre = torch.from_numpy(squares.centre_px)[:, None].expand(-1, 21, -1)
        offsets = torch.linspace(0, 1, 21, dtype=torch.float64)[None, :, None].expand(len(given), -1, 3)
        return FoundHands(offsets, centre, torch.ones(len(given), 21, dtype=torch.float64))

    estimate_hands(SETTINGS, open_hand(), frames, masks, None, None, tmp_path / "hands.npz", estimator=knowing)
    arrays, _ = read_arrays(tmp_path / "hands.npz", "hand_estimates")
    np.testing.assert_allclose(arrays["keypoints_px"][0, 0], [64.5, 49.5])
    bone = np.linalg.norm(arrays["joints_cam"][:, 9], axis=-1)
    np.testing.assert_allclose(bone, 0.095, atol=0.003)


@pytest.mark.parametrize("hands", [[None, None, None], [(50, 30), None, None]])
def test_too_few_hands_are_an_error(tmp_path, hands):
    frames, masks = _video(tmp_path, hands)
    with pytest.raises(InputError, match="no right hand in"):
        estimate_hands(SETTINGS, open_hand(), frames, masks, None, None, tmp_path / "hands.npz")


def test_a_frame_without_its_mask_is_an_error(tmp_path):
    frames, masks = _video(tmp_path, [(50, 30), (60, 40)])
    (masks / "0001.png").unlink()
    with pytest.raises(InputError, match=r"lacks the masks of 1 frames \(0001.png\)"):
        estimate_hands(SETTINGS, open_hand(), frames, masks, None, None, tmp_path / "hands.npz")
