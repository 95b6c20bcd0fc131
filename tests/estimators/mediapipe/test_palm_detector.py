"""The palm detector around its network: anchors, decoding, merging, the way into the picture, and other networks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.estimators.mediapipe.palm_detector import PalmDetector, anchors, merged_answers, overlaps
from handloom.runtime.errors import InputError

from .small_tflite import landmark_file, palm_file

BOX = 18
PICTURE = np.zeros((96, 192, 3), np.uint8)
"""Twice as wide as high: its square has 48 black rows above and below."""


def detector(folder: Path, answers: dict[int, tuple[np.ndarray, float]]) -> PalmDetector:
    """A detector that gives these anchors these numbers and logits, and all others nothing."""
    numbers, logits = np.zeros((2016, BOX)), np.full((2016, 1), -9.0)
    for anchor, (values, logit) in answers.items():
        numbers[anchor], logits[anchor] = values, logit
    return PalmDetector.of(palm_file(folder / "palm.tflite", numbers=numbers, logits=logits))


def test_anchors_lie_at_the_centres_of_the_cells() -> None:
    """Strides 8 and 16 of 192 pixels: 24 x 24 cells with two each, then 12 x 12 cells with six each, row by row."""
    found = anchors()
    assert found.shape == (24 * 24 * 2 + 12 * 12 * 6, 2)
    assert found[0].tolist() == found[1].tolist() == [0.5 / 24, 0.5 / 24]
    assert found[2].tolist() == [1.5 / 24, 0.5 / 24]
    assert found[48].tolist() == [0.5 / 24, 1.5 / 24]
    assert found[1151].tolist() == [23.5 / 24, 23.5 / 24]
    assert found[1152].tolist() == found[1157].tolist() == [0.5 / 12, 0.5 / 12]
    assert found[1158].tolist() == [1.5 / 12, 0.5 / 12]


def test_a_palm_is_decoded_into_the_pixels_of_the_picture(tmp_path: Path) -> None:
    """Anchor 600 lies at column 12, row 12 of 24: at (100, 100) of 192, so at (99.5, 51.5) in the picture's pixels."""
    numbers = np.zeros(BOX)
    numbers[:4] = 6.0, -3.0, 30.0, 40.0
    numbers[4:] = np.arange(14)
    found = detector(tmp_path, {600: (numbers, 1.0)}).detect(PICTURE)
    centre = np.array([100.0, 100.0]) - [0.0, 48.0] - 0.5
    assert found.score.tolist() == pytest.approx([1 / (1 + np.exp(-1.0))])
    np.testing.assert_allclose(found.centre_px, (centre + np.array([6.0, -3.0]))[None], atol=1e-4)
    np.testing.assert_allclose(found.size_px, [[30.0, 40.0]], atol=1e-4)
    np.testing.assert_allclose(found.keypoints_px[0], centre + np.arange(14).reshape(7, 2), atol=1e-4)


def test_a_larger_picture_is_made_smaller_and_its_palms_larger(tmp_path: Path) -> None:
    numbers = np.zeros(BOX)
    numbers[:4] = 0.0, 0.0, 30.0, 40.0
    found = detector(tmp_path, {600: (numbers, 1.0)}).detect(np.zeros((192, 384, 3), np.uint8))
    np.testing.assert_allclose(found.size_px, [[60.0, 80.0]], atol=1e-4)
    np.testing.assert_allclose(found.centre_px, [[2 * 100.0 - 0.5, 2 * 52.0 - 0.5]], atol=1e-4)


def test_answers_about_one_palm_become_their_mean_by_score(tmp_path: Path) -> None:
    """Two of three boxes overlap; of the merged one the score is the better, and an unlikely answer does not count."""
    size = np.zeros(BOX)
    size[2:4] = 40.0, 40.0
    moved = size.copy()
    moved[[0, 4]] = 8.0
    answers = {600: (size, 2.0), 601: (moved, 1.0), 0: (size, 0.5), 602: (size, -0.1)}
    found = detector(tmp_path, answers).detect(PICTURE)
    first, second, third = (1 / (1 + np.exp(-logit)) for logit in (2.0, 1.0, 0.5))
    assert found.score.tolist() == pytest.approx([first, third])
    shift = 8.0 * second / (first + second)
    assert found.centre_px[0, 0].item() == pytest.approx(99.5 + shift, abs=1e-4)
    assert found.keypoints_px[0, 0, 0].item() == pytest.approx(99.5 + shift, abs=1e-4)
    assert found.keypoints_px[0, 1, 0].item() == pytest.approx(99.5, abs=1e-4)


def test_nothing_likely_is_no_palm(tmp_path: Path) -> None:
    found = detector(tmp_path, {}).detect(PICTURE)
    assert len(found.score) == 0
    assert found.keypoints_px.shape == (0, 7, 2)
    assert len(found.squares().side_px) == 0


def test_overlaps() -> None:
    boxes = torch.zeros(3, 9, 2)
    boxes[:, 1] = torch.tensor([2.0, 2.0])
    boxes[1, 0] = torch.tensor([1.0, 0.0])
    boxes[2, 0] = torch.tensor([5.0, 0.0])
    torch.testing.assert_close(overlaps(boxes[:1], boxes), torch.tensor([[1.0, 1 / 3, 0.0]]))
    merged, scores = merged_answers(boxes, torch.tensor([0.6, 0.9, 0.7]))
    assert scores.tolist() == pytest.approx([0.9, 0.7])
    assert merged[:, 0, 0].tolist() == pytest.approx([0.6, 5.0])


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hand\.tflite: is no palm detector: it takes .*224"):
        PalmDetector.of(landmark_file(tmp_path / "hand.tflite"))
