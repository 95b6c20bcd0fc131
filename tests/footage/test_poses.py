"""What the user gets: fused poses at one size, their files, the video, the skeleton and the quality table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from handloom.demo.camera_pair import Filmed
from handloom.figures.footage_skeleton import animated_glb, rising, write_skeleton
from handloom.figures.footage_video import hand_window, reprojected, write_footage_video
from handloom.figures.video_file import read_video
from handloom.footage.fused_poses import NOMINAL_BONE_M, fuse_poses, fused
from handloom.footage.hands_file import camera_from_crop, poses_of, read_hands
from handloom.footage.learners import PairPoses
from handloom.footage.poses_file import read_poses
from handloom.footage.quality import consistency_mm, jitter_mm, write_quality
from handloom.hand.joints import SNAP_NAMES, SNAP_PARENTS

from .conftest import Rig, TinyNetwork
from .test_adaptation import adapt


@pytest.fixture
def posed(rig: Rig) -> Rig:
    """A camera pair whose poses were fused, by the tiny network."""
    folder = adapt(rig, "adapted")
    fuse_poses(
        *(rig.settings, rig.pair, rig.frames, rig.lists, rig.hands, rig.folder / "pairs.npz"),
        *(rig.folder / "source.bin", folder / "network.safetensors", folder / "rotation.json"),
        *(rig.folder / "poses.npz", rig.folder / "poses.json"),
        network=TinyNetwork(),
        threads=1,
    )
    return rig


def test_poses_are_written_as_arrays_and_as_text(posed: Rig) -> None:
    poses, text = read_poses(posed.folder / "poses.npz"), json.loads((posed.folder / "poses.json").read_text())
    assert len(text["poses"]) == len(poses.joints_m) > 50
    assert (text["joint_names"], text["joint_parents"]) == (list(SNAP_NAMES), list(SNAP_PARENTS))
    assert text["units"] == "m"
    assert text["sources"] == {"left": "video:left.mp4", "right": "video:right.mp4"}
    first = text["poses"][0]
    assert first["frame_left"] == poses.names_left[0] == f"{poses.index_left[0]:06d}"
    assert first["time_right_s"] == pytest.approx(poses.times_right_s[0])
    assert np.allclose(first["joints_m"], poses.joints_m[0], atol=1e-6)
    assert np.allclose(text["right_from_left"], poses.right_from_left)
    assert np.allclose(poses.joints_m[:, 0], 0)
    assert ((poses.confidence > 0) & (poses.confidence <= 1)).all()


def test_exact_views_fuse_to_the_truth_at_one_size(rig: Rig, filmed: Filmed) -> None:
    """Perfect poses of both views, the right ones a tenth too large: one pose, along the left camera's axes."""
    left = torch.from_numpy(filmed.joints_left_m[:40] - filmed.joints_left_m[:40, :1])
    turn = torch.from_numpy(filmed.right_from_left)
    sure = torch.full((40, 21), 0.9, dtype=torch.float64)
    poses = PairPoses(left, 1.1 * left @ turn.T, sure, 0.5 * sure)
    arrays = fused(rig.settings, poses, poses, turn.T, turn.T, metric=True)
    bone = np.median(np.linalg.norm(left[:, 9].numpy(), axis=1))
    scale = np.median(np.linalg.norm(arrays["joints_m"][:, 9], axis=1)) / bone
    assert 1 <= scale <= 1.1
    assert np.allclose(arrays["joints_m"], scale * left.numpy(), atol=1e-9)
    assert np.allclose(arrays["confidence"], 0.9)
    nominal = fused(rig.settings, poses, poses, turn.T, turn.T, metric=False)
    assert np.median(np.linalg.norm(nominal["joints_m"][:, 9], axis=1)) == pytest.approx(NOMINAL_BONE_M)


def test_a_surer_view_counts_more(rig: Rig) -> None:
    left = 0.1 * torch.randn(5, 21, 3, generator=torch.Generator().manual_seed(0)).double()
    left -= left[:, :1].clone()
    right = left.clone()
    right[:, 20] += 0.01
    sure = torch.full((5, 21), 1.0, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    equal, unequal = (
        fused(rig.settings, poses, poses, eye, eye, metric=True)["joints_m"][:, 20]
        for poses in (PairPoses(left, right, sure, sure), PairPoses(left, right, sure, 0.3 * sure))
    )
    assert np.allclose(equal, left[:, 20].numpy() + 0.005)
    assert (np.abs(unequal - left[:, 20].numpy()) < 0.0025).all()


def test_the_video_shows_both_views_and_the_pose(posed: Rig) -> None:
    write_footage_video(posed.folder / "poses.npz", posed.frames, posed.hands, posed.folder / "overlay.mp4")
    pictures = read_video(posed.folder / "overlay.mp4")
    assert len(pictures) == len(read_poses(posed.folder / "poses.npz").joints_m)
    assert pictures[0].shape[0] == 320
    assert pictures[0].shape[1] > 3 * 320


def test_the_video_looks_where_the_hand_is() -> None:
    points = np.full((3, 21, 2), 20.0)
    points[0, 0], points[1, 3] = [40, 30], [50, 40]
    left, top, right, bottom = hand_window(points, (120, 160))
    assert (right - left) / (bottom - top) == pytest.approx(160 / 120, abs=0.05)
    assert left <= 20 < 50 <= right < 100
    assert top <= 20 < 40 <= bottom < 80
    assert hand_window(points * 3.2, (120, 160)) == (0, 0, 160, 120)


def test_a_true_pose_lies_on_its_key_points(filmed: Filmed, rig: Rig) -> None:
    """A crop that is turned and far off the axis: seen from straight ahead, scale and shift are all that is missing."""
    hands, _ = read_hands(rig.hands[0])
    joints = filmed.joints_left_m - filmed.joints_left_m[:, :1]
    angles = np.linspace(-1, 1, len(joints))
    turned = camera_from_crop(hands.centre_px, angles, (160, 120), 65.0, 1.0)
    from dataclasses import replace

    hands = replace(hands, cam_from_crop=turned, angle_rad=angles)
    errors = [
        np.linalg.norm(reprojected(joints[row], hands, row, False) - filmed.keypoints_left_px[row], axis=1).mean()
        for row in range(0, len(joints), 7)
    ]
    size = (filmed.keypoints_left_px.max(1) - filmed.keypoints_left_px.min(1)).max(1).mean()
    assert np.mean(errors) < 0.05 * size


def test_the_skeleton_moves_and_is_valid_gltf(posed: Rig) -> None:
    write_skeleton(posed.folder / "poses.npz", posed.folder / "skeleton.glb")
    poses = read_poses(posed.folder / "poses.npz")
    scene = trimesh.load_scene(posed.folder / "skeleton.glb")
    tip, _ = scene.graph.get("index_tip")
    assert np.allclose(tip[:3, 3], poses.joints_m[0, 8] * [1, -1, -1], atol=1e-6)  # y up
    assert len(scene.graph.nodes_geometry) == 41
    # Sticks end at their joints.
    stick, _ = scene.graph.get("wrist-index_base")
    end = stick @ [0, 0, 0.5, 1]
    assert np.allclose(end[:3], poses.joints_m[0, 5] * [1, -1, -1], atol=1e-6)
    content = (posed.folder / "skeleton.glb").read_bytes()
    length = int.from_bytes(content[12:16], "little")
    document = json.loads(content[20 : 20 + length])
    channels = document["animations"][0]["channels"]
    assert len(channels) == 21 + 3 * 20
    assert document["accessors"][document["animations"][0]["samplers"][0]["input"]]["count"] == len(poses.joints_m)
    assert len(content) == int.from_bytes(content[8:12], "little")


def test_times_of_an_animation_rise() -> None:
    assert rising(np.array([2.0, 2.1, 2.1, 2.0])).tolist() == pytest.approx([0, 0.1, 0.1 + 1 / 30, 0.1 + 2 / 30])
    assert animated_glb(np.zeros((2, 21, 3)), np.array([0.0, 1.0]))[:4] == b"glTF"  # bones of no length


def test_the_quality_table_names_what_a_user_needs(posed: Rig) -> None:
    write_quality(
        posed.hands,
        posed.folder / "pairing.json",
        posed.folder / "adapted/rotation.json",
        posed.folder / "poses.npz",
        posed.folder / "quality.csv",
    )
    rows = {row["quantity"]: row for row in csv.DictReader((posed.folder / "quality.csv").read_text().splitlines())}
    poses = read_poses(posed.folder / "poses.npz")
    assert float(rows["left_frames"]["value"]) == 90
    assert float(rows["right_share_with_hand"]["value"]) == 1
    assert float(rows["left_mean_presence"]["value"]) == pytest.approx(0.9)
    assert (rows["offset"]["value"], rows["offset"]["note"]) == ("0.4", "given")
    assert rows["offset_certainty"]["value"] == ""
    assert float(rows["pairs_with_common_hand"]["value"]) == len(poses.joints_m)
    apart = consistency_mm(poses.joints_left_m, poses.joints_right_m, poses.right_from_left)
    assert float(rows["consistency_after"]["value"]) == pytest.approx(apart, abs=1e-3)
    assert float(rows["jitter_before"]["value"]) > 0


def test_an_uncertain_rotation_is_told(posed: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects users from poses that look right in the video and are turned wrongly in space."""
    content = json.loads((posed.folder / "adapted/rotation.json").read_text())
    notes = {}
    for deviation in (4.0, 15.8, None):
        content["start_deviation_deg"] = deviation
        (tmp_path / "rotation.json").write_text(json.dumps(content))
        files = posed.folder / "pairing.json", tmp_path / "rotation.json", posed.folder / "poses.npz"
        write_quality(posed.hands, *files, tmp_path / "quality.csv")
        rows = {row["quantity"]: row for row in csv.DictReader((tmp_path / "quality.csv").read_text().splitlines())}
        notes[deviation] = rows["camera_rotation_deviation"]["note"]
    assert notes[15.8].startswith("do not trust the poses")
    assert "do not trust" not in notes[4.0] + notes[None]
    assert capsys.readouterr().err.count("camera_rotation_deviation is 15.8 deg") == 1


def test_consistency_and_jitter_in_closed_form() -> None:
    generator = np.random.default_rng(0)
    joints, turn = generator.normal(size=(4, 21, 3)), np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert consistency_mm(joints, joints @ turn.T, turn) == pytest.approx(0, abs=1e-9)
    assert consistency_mm(joints, (joints + np.array([0.003, 0, 0.004])) @ turn.T, turn) == pytest.approx(5)
    times = np.arange(6) / 30
    line = np.zeros((6, 21, 3))
    line[..., 0] = times[:, None]
    assert jitter_mm(line, times) == pytest.approx(0, abs=1e-9)
    line[3, :, 1] = 0.002  # bends 2, 4 and 2 mm at frames 2, 3 and 4 of 1 to 4
    assert jitter_mm(line, times) == pytest.approx((0 + 2 + 4 + 2) / 4)
    times[3:] += 1.0  # frames 1 and 4 alone have even neighbours
    assert jitter_mm(line, times) == pytest.approx((0 + 2) / 2)
    assert np.isnan(jitter_mm(line[:2], times[:2]))


def test_hands_of_the_file_are_what_before_means(posed: Rig) -> None:
    poses, hands = read_poses(posed.folder / "poses.npz"), read_hands(posed.hands[0])[0]
    left, _ = poses_of(hands, poses.index_left)
    ratio = np.linalg.norm(poses.joints_left_before_m[:, 9], axis=1) / np.linalg.norm(left[:, 9].numpy(), axis=1)
    assert np.ptp(ratio) < 1e-9  # one factor for all
    assert Path(posed.folder / "poses.json").stat().st_size > 1000
