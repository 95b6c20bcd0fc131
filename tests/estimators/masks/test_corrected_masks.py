"""Masks corrected by object poses: leaks go, what was cut comes back, and both are told of."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from handloom.datasets.masks import BACKGROUND, OBJECT, RIGHT_HAND, LabelSequence
from handloom.estimators.hands.found import FoundHands, joined
from handloom.estimators.masks.corrected_masks import correct
from handloom.estimators.masks.voted_shape import strayed_shares, without_contradicted_ends
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.runtime.seeds import numpy_generator

FRAMES, WIDTH, HEIGHT = 24, 200, 150
CAMERA = np.array([[220.0, 0, 99.5], [0, 220.0, 74.5], [0, 0, 1]])
LEAKY, CUT, DRIFT_FRAMES = range(6, 16), range(17, 19), 2
"""Frames whose masks hold a thing beside the object, and frames whose masks lack a third of it."""


def iou(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.asarray((found & true).sum((1, 2)) / (found | true).sum((1, 2)))


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, LabelSequence, LabelSequence, ObjectPoses, FoundHands]:
    """A box of six colours that turns before a still room with a cup in it: pictures, true masks, leaky ones, poses."""
    random = numpy_generator(3, "box")
    room = cv2.resize(random.integers(60, 190, (10, 12, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    cup = np.zeros((HEIGHT, WIDTH), bool)
    cup[50:110, 125:160] = True
    room[cup] = (30, 60, 160)
    axes = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    colours = random.integers(0, 255, (6, 3))
    video, labels = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8), np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    for frame in range(FRAMES):
        turn = cv2.Rodrigues(np.array([0.3, 1.0, 0.2]) * 0.25 * frame)[0]
        poses[frame, :3, :3], poses[frame, :3, 3] = turn, (0.02 * np.sin(frame / 3), 0, 0.5)
        image, mask = room.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        for face in range(6):
            along, first, second = axes[face % 3]
            corners = np.zeros((4, 3))
            corners[:, along] = 0.05 * (1 - 2 * (face // 3))
            corners[:, [first, second]] = 0.05 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            seen = corners @ turn.T + poses[frame, :3, 3]
            if seen.mean(0) @ (turn[:, along] * corners[0, along]) < 0:
                pixels = seen @ CAMERA.T
                polygon = np.round(pixels[:, :2] / pixels[:, 2:]).astype(np.int32)
                cv2.fillConvexPoly(image, polygon, colours[face].tolist())
                cv2.fillConvexPoly(mask, polygon, 1)
        video[frame] = np.clip(image + random.normal(0, 3, image.shape), 0, 255)
        labels[frame] = OBJECT * mask
    labels[:, :12, :12] = RIGHT_HAND
    leaky = labels.copy()
    leaky[LEAKY.start : LEAKY.stop][:, cup] = OBJECT
    for frame in CUT:
        columns = np.flatnonzero((labels[frame] == OBJECT).any(0))
        lost = labels[frame][:, columns[-len(columns) // 3] :]
        leaky[frame][:, columns[-len(columns) // 3] :][lost == OBJECT] = BACKGROUND
    points = random.uniform(-0.05, 0.05, (600, 3))
    points[np.arange(600), random.integers(0, 3, 600)] = 0.05 * random.choice([-1, 1], 600)
    found = ObjectPoses(CAMERA, 0.0, poses, np.ones(FRAMES, bool), points, 0.5, "made")
    nothing = FoundHands.of(
        joined([]), np.zeros(0, np.int64), FRAMES, CAMERA, None, ray_share=1.0, side="right", network="none"
    )
    return video, labels, leaky, found, nothing


def test_leaks_go_and_cut_parts_come_back(
    scene: tuple[np.ndarray, LabelSequence, LabelSequence, ObjectPoses, FoundHands],
) -> None:
    video, true, leaky, poses, hands = scene
    before, after = (iou(labels == OBJECT, true == OBJECT) for labels in (leaky, correct(video, leaky, poses, [hands])))
    assert before[list(LEAKY)].max() < 0.85
    assert before[list(CUT)].max() < 0.8
    assert after.min() > 0.93
    assert after.mean() > 0.96
    untouched = [frame for frame in range(FRAMES) if frame not in LEAKY and frame not in CUT]
    assert after[untouched].min() > 0.95


def test_leaks_and_cuts_are_told(
    scene: tuple[np.ndarray, LabelSequence, LabelSequence, ObjectPoses, FoundHands],
) -> None:
    _, true, leaky, poses, _ = scene
    told = [
        (leaked[list(LEAKY)], cut[list(CUT)]) for leaked, cut in (strayed_shares(each, poses) for each in (true, leaky))
    ]
    assert max(shares.max() for shares in told[0]) < 0.04
    assert min(shares.min() for shares in told[1]) > 0.1


def test_ends_whose_poses_drift_off_are_left_out(
    scene: tuple[np.ndarray, LabelSequence, LabelSequence, ObjectPoses, FoundHands],
) -> None:
    """Protects from wrong poses at an end: masks contradict the one 64 degrees off; 32 may pass on a cube."""
    _, true, _, right, _ = scene
    assert without_contradicted_ends(true, right).all()
    drifted = right.cam_from_object.copy()
    for frame in range(FRAMES - DRIFT_FRAMES, FRAMES):
        turn = cv2.Rodrigues(np.array([1.0, 0, -0.5]) * 0.5 * (frame - FRAMES + DRIFT_FRAMES + 1))[0]
        drifted[frame, :3, :3] = turn @ drifted[frame, :3, :3]
    kept = without_contradicted_ends(true, replace(right, cam_from_object=drifted))
    assert kept[: FRAMES - DRIFT_FRAMES].all()
    assert not kept[-1]


def test_masks_that_fit_no_pose_are_left_alone_and_it_is_said(
    scene: tuple[np.ndarray, LabelSequence, LabelSequence, ObjectPoses, FoundHands], capsys: pytest.CaptureFixture[str]
) -> None:
    video, true, _, poses, hands = scene
    elsewhere = np.zeros_like(true)
    for frame in range(FRAMES):
        elsewhere[frame, 30 * (frame % 5) :][:15, 150 * (frame % 2) :][:, :40] = OBJECT
    assert (correct(video, elsewhere, poses, [hands]) == elsewhere).all()
    assert "do not fit" in capsys.readouterr().err
    assert np.isnan(strayed_shares(elsewhere, poses)).all()
