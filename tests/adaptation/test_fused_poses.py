"""What the user gets of a camera pair: fused poses at one size, as arrays and as text, and the cameras' rotation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from handloom.adaptation.fused_poses import FusedPoses, SeenKeypoints, ViewPoses, fuse_poses, fused, rotation_report
from handloom.adaptation.pair_predictions import PairPredictions
from handloom.datasets.views import FramePairs
from handloom.estimators.hands.found import FoundHands
from handloom.hand.joints import SNAP_NAMES, SNAP_PARENTS
from handloom.hand.proportions import NOMINAL_BONE_M
from handloom.runtime.files import read_json
from rendered_pair import Filmed

from ..own_pair import ADAPTATION, OwnPair

EYE = torch.eye(3, dtype=torch.float64)
SHARPNESS = ADAPTATION.attention_sharpness


def test_poses_are_written_as_arrays_and_as_text(posed_pair: OwnPair) -> None:
    poses, text = FusedPoses.load(posed_pair.folder / "poses.npz"), read_json(posed_pair.folder / "poses.json")
    assert len(text["poses"]) == len(poses.joints_m) > 50
    assert (text["joint_names"], text["joint_parents"]) == (list(SNAP_NAMES), list(SNAP_PARENTS))
    assert (text["units"], text["hand"]) == ("m", "right")
    assert text["sources"] == poses.sources == {"left": "video:left.mp4", "right": "video:right.mp4"}
    first = text["poses"][0]
    assert first["frame_left"] == poses.names_left[0] == f"{poses.index_left[0]:06d}"
    assert first["time_right_s"] == pytest.approx(poses.times_right_s[0])
    np.testing.assert_allclose(first["joints_m"], poses.joints_m[0], atol=1e-6)
    np.testing.assert_allclose(text["right_from_left"], poses.right_from_left)
    np.testing.assert_allclose(poses.joints_m[:, 0], 0, atol=1e-9)
    assert ((poses.confidence > 0) & (poses.confidence <= 1)).all()


def test_an_adapted_network_that_fits_the_other_view_less_is_not_used(posed_pair: OwnPair) -> None:
    """The pair's small network knows nothing of hands."""
    poses = FusedPoses.load(posed_pair.folder / "poses.npz")
    assert poses.kept == "source"
    assert poses.crossed_mm > poses.crossed_before_mm > 0
    for view in ("left", "right"):
        np.testing.assert_array_equal(getattr(poses, f"joints_{view}_m"), getattr(poses, f"joints_{view}_before_m"))


def test_before_is_what_was_found_and_after_what_the_adapted_network_predicts(
    posed_pair: OwnPair, filmed: Filmed, tmp_path: Path
) -> None:
    """Each view's poses are brought to one size by one factor for all: adaptation cannot look better by shrinking."""
    moments = FramePairs.load(posed_pair.folder / "pairs.npz")
    rows = moments.rows("left"), moments.rows("right")
    true = filmed.joints_left_m[rows[0]], filmed.joints_right_m[rows[1]]
    predicted = PairPredictions.load(posed_pair.folder / "predictions.npz")
    perfect = replace(predicted, joints=np.stack([0.9 * true[0], true[1]], 1))
    files = {"predictions": tmp_path / "predictions.npz", "poses": tmp_path / "poses.npz"}
    perfect.save(files["predictions"], code="")
    pairs, start = posed_pair.at("pairs.npz", "first_rotation.json")
    fuse_poses(
        *(posed_pair.hands, *posed_pair.frames.values(), pairs, files["predictions"], start, files["poses"]),
        *(tmp_path / "poses.json", tmp_path / "rotation.json"),
        adaptation=ADAPTATION,
    )
    poses, found = FusedPoses.load(files["poses"]), FoundHands.load(posed_pair.hands[0])
    assert poses.kept == "adapted"
    assert poses.crossed_mm < poses.crossed_before_mm
    for joints, source in (
        (poses.joints_left_before_m, found.joints_cam[rows[0]]),
        (poses.joints_left_m, perfect.joints[:, 0] - perfect.joints[:, 0, :1]),
    ):
        ratio = np.linalg.norm(joints[:, 9], axis=1) / np.linalg.norm(source[:, 9], axis=1)
        np.testing.assert_allclose(joints, np.median(ratio) * source, atol=1e-6)
    bones = [
        np.median(np.linalg.norm(each[:, 9], axis=1)) for each in (poses.joints_left_before_m, poses.joints_right_m)
    ]
    assert bones[0] == pytest.approx(bones[1])
    np.testing.assert_allclose(poses.right_from_left, predicted.rotation_12.T)


def test_what_both_pictures_show_mends_what_both_views_have_wrong(posed_pair: OwnPair, filmed: Filmed) -> None:
    """Poses of both views that lean alike, and exact key points: the fused ones lean less than half as far."""
    moments = FramePairs.load(posed_pair.folder / "pairs.npz")
    left = torch.from_numpy(filmed.joints_left_m[moments.rows("left")])
    right = left @ torch.from_numpy(filmed.right_from_left).T
    lean = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.3, 0.0], dtype=torch.float64))
    relative = [each - each[:, :1] for each in (left, right)]
    shift = torch.tensor([-0.4, 0.0, 0.1], dtype=torch.float64)
    slopes = torch.stack([each[..., :2] / each[..., 2:] for each in (left, right + shift)])
    rotation_12 = torch.from_numpy(filmed.right_from_left.T.copy())
    poses = views(relative[0] @ lean, relative[0] @ lean @ rotation_12, rotation_12=rotation_12)
    seen = SeenKeypoints(slopes, poses.confidence, rotation_12, shift / shift.norm())
    found = fused(poses, poses, SHARPNESS, metric=True, seen=seen)
    before, after = (
        np.linalg.norm(found[name] - relative[0].numpy(), axis=-1).mean() for name in ("joints_before_m", "joints_m")
    )
    assert after < 0.5 * before


def views(left: Tensor, right: Tensor, sure: float = 0.9, less: float = 0.9, rotation_12: Tensor = EYE) -> ViewPoses:
    confidence = [torch.full(left.shape[:2], value, dtype=torch.float64) for value in (sure, less)]
    return ViewPoses(torch.stack([left, right]), torch.stack(confidence), rotation_12)


def test_exact_views_fuse_to_the_truth_at_one_size(filmed: Filmed) -> None:
    """Perfect poses of both views, the right ones a tenth too large: one pose, along the left camera's axes."""
    left = torch.from_numpy(filmed.joints_left_m[:40] - filmed.joints_left_m[:40, :1])
    turn = torch.from_numpy(filmed.right_from_left)
    poses = views(left, 1.1 * left @ turn.T, 0.9, 0.45, turn.T)
    arrays = fused(poses, poses, SHARPNESS, metric=True)
    bone = np.median(np.linalg.norm(left[:, 9].numpy(), axis=1))
    scale = np.median(np.linalg.norm(arrays["joints_m"][:, 9], axis=1)) / bone
    assert 1 <= scale <= 1.1
    np.testing.assert_allclose(arrays["joints_m"], scale * left.numpy(), atol=1e-9)
    np.testing.assert_allclose(arrays["confidence"], 0.9)
    nominal = fused(poses, poses, SHARPNESS, metric=False)
    assert np.median(np.linalg.norm(nominal["joints_m"][:, 9], axis=1)) == pytest.approx(NOMINAL_BONE_M)


def test_a_surer_view_counts_more() -> None:
    left = 0.1 * torch.randn(5, 21, 3, generator=torch.Generator().manual_seed(0)).double()
    left -= left[:, :1].clone()
    right = left.clone()
    right[:, 20] += 0.01
    equal, unequal = (
        fused(poses, poses, SHARPNESS, metric=True)["joints_m"][:, 20]
        for poses in (views(left, right, 1.0, 1.0), views(left, right, 1.0, 0.3))
    )
    np.testing.assert_allclose(equal, left[:, 20].numpy() + 0.005)
    assert (np.abs(unequal - left[:, 20].numpy()) < 0.0025).all()


def test_the_rotation_is_told_with_where_it_comes_from_and_how_far_it_moved() -> None:
    start, end = (roma.rotvec_to_rotmat(torch.tensor([0.0, angle, 0.0], dtype=torch.float64)) for angle in (0.5, 0.6))
    estimate: dict[str, Any] = {"poses": end.tolist(), "spread_deg": 7.0, "keypoints_deviation_deg": 3.0, "samples": 20}
    estimate |= {"field_of_view_deviation_deg": 1.0, "epipolar_error_percent": 2.0, "cameras": []}
    found = rotation_report(estimate, "keypoints", start, end)
    assert (found["start_is_of"], found["start_deviation_deg"], found["pairs"]) == ("key points", 3.0, 20)
    assert found["turned_deg"] == pytest.approx(np.degrees(0.1))
    assert found["start"]["angle_deg"] == pytest.approx(np.degrees(0.5))
    np.testing.assert_allclose(found["start"]["axis"], [0, -1, 0], atol=1e-12)  # rows turn by the transpose
    np.testing.assert_allclose(found["end"]["right_from_left"], end.T)
    of_poses = rotation_report(estimate, "poses", start, end)
    assert (of_poses["start_is_of"], of_poses["start_deviation_deg"]) == ("poses", None)
