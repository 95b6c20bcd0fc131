"""DetNet on squares of frames: its key points, left hands, what masks hide, and the crops that it is taught with."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handloom.datasets.box_crops import network_image, squares_around, warp_crop
from handloom.estimators.detnet import SHIPPED, DetNetHandSettings
from handloom.estimators.detnet.hands import DetNetHands, cut_boxes, heat_centres, load
from handloom.estimators.detnet.targets import heat_map_target
from handloom.estimators.hands.search import HandFrame
from handloom.estimators.hands.squares import Squares
from handloom.hand.joints import Side
from handloom.hand.models import open_hand
from handloom.runtime.assets import checkpoint_path

SQUARE = Squares(np.array([[74.5, 49.5]]), np.array([80.0]), np.zeros(1))
RANDOM = np.random.default_rng(0)


def shipped(views: int = 1) -> DetNetHands:
    return load(checkpoint_path(SHIPPED), None, DetNetHandSettings(views=views), open_hand(), "cpu")


@pytest.fixture
def picture() -> np.ndarray:
    """Blobs without any symmetry, of 160 x 120 pixels."""
    noise = cv2.GaussianBlur(RANDOM.normal(size=(120, 160, 3)), (0, 0), 6)
    return (128 + 60 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def written(folder: Path, name: str, picture: np.ndarray) -> Path:
    cv2.imwrite(str(folder / name), picture[..., ::-1] if picture.ndim == 3 else picture)
    return folder / name


def test_heat_centres_are_finer_than_cells() -> None:
    centres = torch.tensor([[3.0, 4.0], [2.0, 5.0]])
    heat, _ = heat_map_target(centres, 8)
    one = heat_centres(heat[:1].expand(21, -1, -1)[None])
    torch.testing.assert_close(one[0, 0], (centres[0] + 0.5) / 8, atol=1e-3, rtol=0)
    # Half of the heat one cell on: the centre moves, but not by a whole cell.
    shifted, _ = heat_map_target(centres[:1] + torch.tensor([1.0, 0.0]), 8)
    between = heat_centres((0.6 * heat[:1] + 0.4 * shifted).expand(21, -1, -1)[None])
    assert 0.2 < float(8 * (between[0, 0, 0] - one[0, 0, 0])) < 0.6


@pytest.mark.parametrize("views", [1, 3])
def test_a_left_hand_is_the_mirror_image_of_a_right_one(tmp_path: Path, picture: np.ndarray, views: int) -> None:
    """Flipping the picture and the side flips joints and key points; a whole-pixel grid allows the crops to agree."""
    network = shipped(views)
    frames = [HandFrame(written(tmp_path, name, p)) for name, p in (("r.png", picture), ("l.png", picture[:, ::-1]))]
    right = network.answer(frames[:1], SQUARE, "right")
    other = SQUARE._replace(centre_px=np.array([[159.0, 0.0]]) + SQUARE.centre_px * [-1, 1])
    left = network.answer(frames[1:], other, "left")
    np.testing.assert_allclose(left.joints, right.joints * [-1.0, 1.0, 1.0], atol=2e-3)
    np.testing.assert_allclose(left.keypoints_px, right.keypoints_px * [-1, 1] + [159.0, 0.0], atol=0.1)
    np.testing.assert_allclose(left.confidence, right.confidence, atol=1e-3)


def test_key_points_lie_in_the_square_and_joints_begin_at_the_wrist(tmp_path: Path, picture: np.ndarray) -> None:
    squares = Squares(np.array([[74.5, 49.5], [20.0, 100.0]]), np.array([80.0, 50.0]), np.array([0.4, -2.0]))
    frames = [HandFrame(written(tmp_path, "a.png", picture))] * 2
    found = shipped(views=3).answer(frames, squares, "right")
    reach = 0.5 * 2**0.5 * 1.1 * squares.side_px  # of a corner, in a view that is 1.1 times as wide
    assert (np.linalg.norm(found.keypoints_px - squares.centre_px[:, None], axis=2) <= reach[:, None] + 1).all()
    np.testing.assert_allclose(found.joints[:, 0], 0, atol=1e-7)
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    np.testing.assert_allclose(found.presence, found.confidence.mean(1))


def test_a_turned_square_is_a_turned_hand(tmp_path: Path, picture: np.ndarray) -> None:
    """A quarter turn of the picture about the square's centre turns key points and joints likewise."""
    square = Squares(np.array([[59.5, 59.5]]), np.array([64.0]), np.zeros(1))
    upright = picture[:, :120]
    frames = [HandFrame(written(tmp_path, name, p)) for name, p in (("a.png", upright), ("b.png", np.rot90(upright)))]
    straight = shipped().answer(frames[:1], square, "right")
    turned = shipped().answer(frames[1:], square._replace(angle_rad=np.array([-np.pi / 2])), "right")
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])  # counterclockwise as seen: x to -y
    np.testing.assert_allclose(turned.keypoints_px - 59.5, (straight.keypoints_px - 59.5) @ quarter.T, atol=0.1)
    np.testing.assert_allclose(turned.joints[..., :2], straight.joints[..., :2] @ quarter.T, atol=5e-3)
    np.testing.assert_allclose(turned.joints[..., 2], straight.joints[..., 2], atol=5e-3)


def test_what_the_mask_hides_does_not_matter(tmp_path: Path, picture: np.ndarray) -> None:
    """It knows rendered hands only, and none that holds a thing."""
    labels = np.zeros((120, 160), np.uint8)
    labels[20:80, 50:100], labels[30:50, 80:100] = 150, 50
    other = np.where((labels == 150)[..., None], picture, 255 - picture)
    mask = written(tmp_path, "mask.png", labels)
    paths = [written(tmp_path, f"{number}.png", each) for number, each in enumerate((picture, other))]
    masked, plain = (
        [shipped().answer([HandFrame(path, given)], SQUARE, "right").joints for path in paths] for given in (mask, None)
    )
    np.testing.assert_array_equal(*masked)
    assert np.abs(plain[0] - plain[1]).max() > 0.01


@pytest.mark.parametrize("side", ["right", "left"])
def test_crops_are_black_beyond_the_picture_and_left_hands_mirrored(side: Side) -> None:
    white = np.full((120, 160, 3), 255, np.uint8)
    (crop,) = shipped().cut(white, Squares(np.array([[0.0, 60.0]]), np.array([64.0]), np.zeros(1)), side)
    middle = len(crop) // 2
    before, after = crop[:, : middle - 1], crop[:, middle + 1 :]
    beyond, inside = (before, after) if side == "right" else (after, before)
    assert (beyond == 0).all()
    assert (inside == 255).all()


def test_crops_of_annotated_hands_are_s2dhands() -> None:
    image = RANDOM.integers(0, 256, (480, 636), dtype=np.uint8)
    boxes, is_left = np.array([[300.0, 200, 400, 280], [120, 160, 180, 260]]), np.array([False, True])
    cut = cut_boxes(image, boxes, is_left, input_px=64)
    squares = squares_around(boxes)
    for row, left in enumerate(is_left.tolist()):
        crop = warp_crop(image, squares.corner_px[row], int(squares.side_px[row]))
        np.testing.assert_array_equal(cut.image_u8[row, ..., 0], network_image(crop, is_left=left, input_px=64))
    assert cut.picture_axes_from_crop[:, 0, 0].tolist() == [1, -1]
    np.testing.assert_array_equal(cut.centre_px, squares.corner_px + squares.side_px[:, None] / 2)
