"""MediaPipe behind the stage of hand estimates: key points in the image, confidence, both sides, and early refusal."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handloom.hand.joints import JOINT_COUNT, Side
from handloom.hand.open_hand import open_hand
from handloom.reconstruction.hand_estimates import configured_estimator, estimate_hands
from handloom.reconstruction.hand_registration import read_estimates
from handloom.reconstruction.hand_squares import HandFrame, HandSquares
from handloom.reconstruction.mediapipe_hands import MediapipeEstimator
from handloom.runtime.artifacts import read_arrays
from handloom.runtime.config.hand_tracking import HandEstimationSettings
from handloom.runtime.config.mediapipe import LANDMARKS_FILE, MediapipeSettings
from handloom.runtime.errors import InputError

from ..estimators.mediapipe.coloured_hand import SpotNetwork, spots_picture  # noqa: TID252 (the tests are no package)
from ..estimators.mediapipe.small_tflite import landmark_file, palm_file  # noqa: TID252

HAND = open_hand()
HANDS = (((60.0, 90.0), (60.0, 50.0)), ((50.0, 60.0), (90.0, 62.0)), None, ((90.0, 40.0), (88.0, 80.0)))
"""Wrist and finger tip in each frame: upright, to the right, none, and downwards."""


def sequence(folder: Path) -> tuple[Path, Path]:
    """Frames of coloured hands and masks of their boxes; the third frame has a mask, but nothing to be seen."""
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    for index, hand in enumerate(HANDS):
        picture = np.zeros((120, 160, 3), np.uint8) if hand is None else spots_picture(*hand)
        mask = np.zeros((120, 160), np.uint8)
        ends = np.array([[60, 60], [80, 80]] if hand is None else hand)
        low, high = ends.min(0).astype(int) - 8, ends.max(0).astype(int) + 9
        mask[low[1] : high[1], low[0] : high[0]] = 150
        cv2.imwrite(str(folder / "frames" / f"{index:04d}.png"), picture[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{index:04d}.png"), mask)
    return folder / "frames", folder / "masks"


def estimator(folder: Path, **settings: object) -> MediapipeEstimator:
    return MediapipeEstimator(SpotNetwork(folder), MediapipeSettings.model_validate(settings))


def test_the_stage_writes_key_points_and_joints_of_hands_that_point_anywhere(tmp_path: Path) -> None:
    frames, masks = sequence(tmp_path)
    settings = HandEstimationSettings(backend="mediapipe")
    network = estimator(tmp_path, batch_size=4)
    estimate_hands(settings, HAND, frames, masks, None, None, tmp_path / "hands.npz", estimator=network)
    found = read_estimates(tmp_path / "hands.npz")
    assert found.found.tolist() == [True, True, False, True]
    for index, hand in enumerate(HANDS):
        if hand is None:
            continue
        ends = torch.tensor(hand, dtype=torch.float64)
        torch.testing.assert_close(found.keypoints_px[index, [0, 20]].double(), ends, atol=0.3, rtol=0)
        along = found.joints_cam_m[index, 20, :2].double()
        torch.testing.assert_close(
            along / along.norm(), (ends[1] - ends[0]) / (ends[1] - ends[0]).norm(), atol=0.02, rtol=0
        )
    arrays, header = read_arrays(tmp_path / "hands.npz", "hand_estimates")
    np.testing.assert_allclose(arrays["confidence"][[0, 1, 3]], np.full((3, JOINT_COUNT), 0.9), atol=1e-6)
    assert (arrays["confidence"][2] == 0).all()
    assert header.extra["backend"] == "mediapipe"


@pytest.mark.parametrize("side", ["right", "left"])
def test_hands_of_either_side_are_shown_as_they_are(tmp_path: Path, side: Side) -> None:
    """The network knows both sides, so nothing is mirrored: the answer is the same."""
    cv2.imwrite(str(tmp_path / "0.png"), spots_picture((60.0, 90.0), (70.0, 50.0))[..., ::-1])
    squares = HandSquares(np.array([[65.0, 70.0]]), np.array([100.0]))
    found = estimator(tmp_path)([HandFrame(tmp_path / "0.png", None)], squares, side)
    expected = torch.tensor([[60.0, 90.0], [70.0, 50.0]], dtype=torch.float64)
    torch.testing.assert_close(found.keypoints_px[0, [0, 20]], expected, atol=0.3, rtol=0)
    assert found.joints[0, 20, 0] > found.joints[0, 0, 0]


def test_the_first_crop_is_as_wide_as_configured(tmp_path: Path) -> None:
    """A hand's box of 50 pixels in a square of 100: with 1.6, the first crop is 80 pixels wide."""
    cv2.imwrite(str(tmp_path / "0.png"), spots_picture((60.0, 90.0), (60.0, 50.0))[..., ::-1])
    squares = HandSquares(np.array([[60.0, 70.0]]), np.array([100.0]))
    for field in (1.6, 2.0):
        network = estimator(tmp_path, field_of_box=field, refinements=0)
        sides: list[float] = []
        forward = network.network.forward

        def widths(image: torch.Tensor, forward=forward, sides=sides):  # type: ignore[no-untyped-def]
            answer = forward(image)
            length = (answer.keypoints_crop_px[0, 20, :2] - answer.keypoints_crop_px[0, 0, :2]).norm()
            sides.append(40.0 * 224 / float(length))
            return answer

        network.network.forward = widths  # type: ignore[method-assign]
        network([HandFrame(tmp_path / "0.png", None)], squares, "right")
        assert sides[0] == pytest.approx(50 * field, rel=0.02)


def test_what_the_masks_hide_is_grey(tmp_path: Path) -> None:
    """With the background hidden, the spots outside of the mask are not seen."""
    frames, _ = sequence(tmp_path)
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((120, 160), np.uint8))
    squares = HandSquares(np.array([[60.0, 70.0]]), np.array([100.0]))
    frame = HandFrame(frames / "0000.png", tmp_path / "empty.png")
    shown = estimator(tmp_path, blank="nothing")([frame], squares, "right")
    hidden = estimator(tmp_path, blank="background")([frame], squares, "right")
    assert shown.confidence[0, 0] > 0.8
    assert hidden.confidence[0, 0] < 0.5


def test_the_backend_is_configured_and_its_file_may_be_the_users(tmp_path: Path) -> None:
    path = landmark_file(tmp_path / "mine.tflite")
    settings = HandEstimationSettings(backend="mediapipe", mediapipe=MediapipeSettings(landmarks=str(path)))
    for network in (
        configured_estimator(settings, HAND),
        configured_estimator(HandEstimationSettings(backend="mediapipe"), HAND, path),
    ):
        assert isinstance(network, MediapipeEstimator)
        assert network.network.graph.layers[0].weight.shape == (4, 3, 3, 3)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (None, r"mine\.tflite: no such file"),
        (palm_file, r"mine\.tflite: is no hand landmark network"),
        (lambda path: path.write_bytes(b"a cut"), r"mine\.tflite: is no \.tflite file"),
    ],
)
def test_a_file_that_is_no_such_network_ends_the_stage_before_it_reads_a_frame(
    tmp_path: Path, write, words: str
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "mine.tflite"
    if write is not None:
        write(path)
    settings = HandEstimationSettings(backend="mediapipe")
    nothing = tmp_path / "nothing"
    with pytest.raises(InputError, match=words):
        estimate_hands(settings, HAND, nothing, nothing, path, None, tmp_path / "hands.npz")


def test_footage_without_a_hand_is_refused(tmp_path: Path) -> None:
    """The masks say that there is one, but the network sees none in any frame."""
    frames, masks = sequence(tmp_path)
    for path in frames.iterdir():
        cv2.imwrite(str(path), np.full((120, 160, 3), 40, np.uint8))
    settings = HandEstimationSettings(backend="mediapipe")
    with pytest.raises(InputError, match="no right hand in 4 of 4 frames"):
        estimate_hands(
            *(settings, HAND, frames, masks, None, None, tmp_path / "hands.npz"), estimator=estimator(tmp_path)
        )


def test_the_default_file_is_the_one_that_the_rule_makes() -> None:
    rule = (Path(__file__).parents[2] / "workflow/rules/mediapipe.smk").read_text()
    assert "landmarks=LANDMARKS_FILE" in rule
    assert MediapipeSettings().landmarks == LANDMARKS_FILE
