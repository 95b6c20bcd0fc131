"""Fused poses over both views and as a moving skeleton: where the hand is, on its key points, in valid files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from handloom.adaptation.fused_poses import FusedPoses
from handloom.figures.footage_video import hand_window, reprojected, write_footage_video
from handloom.figures.gltf import animated_glb, rising
from handloom.figures.video_file import read_video
from rendered_pair import Filmed

from ..own_pair import OwnPair, seen_hands


def test_the_video_shows_both_views_and_the_skeleton_moves(posed_pair: OwnPair, tmp_path: Path) -> None:
    video, skeleton = tmp_path / "overlay.mp4", tmp_path / "skeleton.glb"
    write_footage_video(*posed_pair.at("poses.npz"), *posed_pair.frames.values(), posed_pair.hands, video, skeleton)
    poses, pictures = FusedPoses.load(posed_pair.folder / "poses.npz"), read_video(video)
    assert len(pictures) == len(poses.joints_m)
    assert pictures[0].shape[0] == 320
    assert pictures[0].shape[1] > 3 * 320
    scene = trimesh.load_scene(skeleton)
    tip, _ = scene.graph.get("index_tip")
    np.testing.assert_allclose(tip[:3, 3], poses.joints_m[0, 8] * [1, -1, -1], atol=1e-6)  # y up
    assert len(scene.graph.nodes_geometry) == 41
    # Sticks end at their joints.
    stick, _ = scene.graph.get("wrist-index_base")
    np.testing.assert_allclose((stick @ [0, 0, 0.5, 1])[:3], poses.joints_m[0, 5] * [1, -1, -1], atol=1e-6)
    content = skeleton.read_bytes()
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    assert len(document["animations"][0]["channels"]) == 21 + 3 * 20
    times = document["accessors"][document["animations"][0]["samplers"][0]["input"]]
    assert times["count"] == len(poses.joints_m)
    assert len(content) == int.from_bytes(content[8:12], "little")


def test_the_video_looks_where_the_hand_is() -> None:
    points = np.full((3, 21, 2), 20.0)
    points[0, 0], points[1, 3] = [40, 30], [50, 40]
    left, top, right, bottom = hand_window(points, (120, 160))
    assert (right - left) / (bottom - top) == pytest.approx(160 / 120, abs=0.05)
    assert left <= 20 < 50 <= right < 100
    assert top <= 20 < 40 <= bottom < 80
    assert hand_window(points * 3.2, (120, 160)) == (0, 0, 160, 120)


@pytest.mark.parametrize("ray_share", [1.0, 0.5, None])
def test_a_true_pose_lies_on_its_key_points(filmed: Filmed, ray_share: float | None) -> None:
    """A crop far off the axis: seen from straight ahead, scale and shift are all that is missing.

    Poses that were given a part of the turn to their ray, or none, are seen from that much aside.
    """
    joints, keypoints = filmed.joints_left_m - filmed.joints_left_m[:, :1], filmed.keypoints_left_px
    hands = replace(seen_hands(joints, keypoints), ray_share=1.0 if ray_share is None else ray_share)
    if ray_share is None:
        hands = replace(hands, intrinsics=None)
    rows = range(0, len(joints), 7)
    errors = np.mean(
        [np.linalg.norm(reprojected(joints[row], hands, row) - keypoints[row], axis=1).mean() for row in rows]
    )
    size = np.ptp(keypoints, axis=1).max(1).mean()
    assert errors < (0.05 if ray_share == 1 else 0.2) * size


def test_times_of_an_animation_rise() -> None:
    assert rising(np.array([2.0, 2.1, 2.1, 2.0])).tolist() == pytest.approx([0, 0.1, 0.1 + 1 / 30, 0.1 + 2 / 30])
    assert animated_glb(np.zeros((2, 21, 3)), np.array([0.0, 1.0]))[:4] == b"glTF"  # bones of no length
