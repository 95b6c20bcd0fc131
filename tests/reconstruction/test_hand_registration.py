"""Registration recovers a posed hand from noisy joints, fills what is missing, and says what it cannot use."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handloom.hand.mano import skin
from handloom.reconstruction.hand_pose_space import PoseSpace, Skeleton
from handloom.reconstruction.hand_registration import (
    HandEstimates,
    fingertip_groups,
    fit_hands,
    register_hands,
)
from handloom.reconstruction.mesh_registration import register_meshes
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.hand_tracking import HandRegistrationSettings
from handloom.runtime.errors import InputError

from .held_hand import INTRINSICS, HeldHand, error_mm, held_hand

SETTINGS = HandRegistrationSettings(iterations=40)


def _error_mm(scene: HeldHand, estimates: HandEstimates) -> tuple[float, torch.Tensor, torch.Tensor]:
    fit, good = fit_hands(SETTINGS, scene.model, estimates, INTRINSICS)
    joints = fit.keypoints_cam_m(Skeleton.of(scene.model), PoseSpace.of(scene.model))
    return error_mm(joints, scene.joints_cam_m), good, joints


@pytest.mark.parametrize("side", ["right", "left"])
def test_noise_is_smoothed_away(side):
    scene = held_hand(side=side)
    before = error_mm(scene.estimates.joints_cam_m, scene.joints_cam_m)
    after, good, joints = _error_mm(scene, scene.estimates)
    assert before > 25
    assert after < 12
    assert good.all()
    depth = (joints[..., 2].mean(1) / scene.joints_cam_m[..., 2].mean(1)).mean()
    assert abs(float(depth) - 1) < 0.08


def test_exact_estimates_are_met():
    scene = held_hand(frames=25, noise=0.0)
    error, _, joints = _error_mm(scene, scene.estimates)
    assert error < 9  # what smoothness and the prior take, in 25 frames of a full turn
    assert (joints - scene.joints_cam_m).norm(dim=-1).mean() < 0.02


def test_missing_and_wild_frames_are_filled_and_counted():
    scene = held_hand(noise=0.5)
    seen = scene.estimates
    joints, found = seen.joints_cam_m.clone(), seen.found.clone()
    joints[12:15] = torch.nan
    found[30] = False
    joints[20] = -joints[20]  # the hand of a mirror
    error, good, _ = _error_mm(scene, replace(seen, joints_cam_m=joints, found=found))
    assert torch.nonzero(~good)[:, 0].tolist() == [12, 13, 14, 20, 30]
    assert error < 12


def test_estimates_of_nothing_are_an_error():
    seen = held_hand(frames=8).estimates
    nothing = replace(seen, joints_cam_m=torch.full_like(seen.joints_cam_m, torch.nan))
    with pytest.raises(InputError, match="none of 8 frames"):
        fit_hands(SETTINGS, held_hand(frames=8).model, nothing, INTRINSICS)


def test_too_few_hands_are_an_error():
    scene = held_hand(frames=12)
    found = torch.zeros(12, dtype=torch.bool)
    found[:3] = True
    with pytest.raises(InputError, match="9 of 12 frames"):
        fit_hands(SETTINGS, scene.model, replace(scene.estimates, found=found), INTRINSICS)


def test_stage_writes_the_contract(tmp_path):
    scene = held_hand(frames=30, noise=0.3)
    seen = scene.estimates
    write_arrays(
        tmp_path / "estimates.npz",
        {
            "joints_cam": seen.joints_cam_m.float().numpy(),
            "keypoints_px": seen.keypoints_px.float().numpy(),
            "confidence": seen.confidence.float().numpy(),
            "found": seen.found.numpy(),
        },
        Header("hand_estimates"),
    )
    write_arrays(tmp_path / "object.npz", {"intrinsics": INTRINSICS.numpy()}, Header("object_poses"))
    register_hands(SETTINGS, scene.model, tmp_path / "estimates.npz", tmp_path / "object.npz", tmp_path / "hand.npz")
    arrays, _ = read_arrays(tmp_path / "hand.npz", "hand_poses")
    posed = skin(
        scene.model,
        pose_rotvec=torch.from_numpy(arrays["rotvec"]),
        shape=torch.from_numpy(arrays["shape"]).expand(30, -1),
        translation_m=torch.from_numpy(arrays["translation_cam_m"]),
    )
    assert error_mm(posed.keypoints_m.double(), scene.joints_cam_m) < 15
    assert arrays["found"].all()
    write_arrays(tmp_path / "object.npz", {"intrinsics": np.full((3, 3), np.nan)}, Header("object_poses"))
    with pytest.raises(InputError, match="intrinsics holds NaN"):
        register_hands(SETTINGS, scene.model, tmp_path / "estimates.npz", tmp_path / "object.npz", tmp_path / "x.npz")


def test_mesh_registration_frame_by_frame_skips_missing_meshes():
    """The faithful path, with few iterations: it comes close to the meshes, and a frame of NaN stays NaN."""
    model = held_hand(frames=3).model
    pose = torch.zeros(3, 16, 3)
    pose[:, 0, 0] = torch.tensor([0.1, 0.2, 0.3])
    target = skin(
        model, pose_rotvec=pose, shape=torch.zeros(3, model.shape_count), translation_m=torch.zeros(3, 3)
    ).vertices_m
    target[1] = torch.nan
    track = register_meshes(model, target, fingertip_groups(model), first_iterations=250, next_iterations=40)
    assert track.translation_m[1].isnan().all()
    kept = [0, 2]
    found = skin(
        model, pose_rotvec=track.rotvec[kept], shape=track.shape[kept], translation_m=track.translation_m[kept]
    ).vertices_m
    assert (found - target[kept]).norm(dim=-1).mean() < 0.01
