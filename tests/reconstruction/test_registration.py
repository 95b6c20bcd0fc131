"""Registration recovers a posed hand from noisy joints, fills what is missing, and says what it cannot use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handloom.estimators.hands.found import FoundHands
from handloom.hand.joints import Side
from handloom.hand.models import open_hand
from handloom.reconstruction.mesh_registration import (
    filled_rotations,
    filled_rows,
    filled_shapes,
    fingertip_groups,
    fit_vertices_m,
    register_meshes,
)
from handloom.reconstruction.pose_space import PoseSpace
from handloom.reconstruction.registration import fit_hands, register_hands
from handloom.reconstruction.tracks import HandPoses, HandTrack
from handloom.runtime.config.hold_stages import HandRegistrationSettings
from handloom.runtime.errors import InputError

from .held_hand import INTRINSICS, HeldHand, error_mm, held_hand

SETTINGS = HandRegistrationSettings(iterations=40)


def _error_mm(scene: HeldHand, estimates: FoundHands) -> tuple[float, torch.Tensor, torch.Tensor]:
    fit, good = fit_hands(SETTINGS, scene.model, estimates, INTRINSICS)
    joints = fit.keypoints_cam_m(PoseSpace.of(scene.model))
    return error_mm(joints, scene.joints_cam_m), good, joints


@pytest.mark.parametrize("side", ["right", "left"])
def test_noise_is_smoothed_away(side: Side) -> None:
    scene = held_hand(side=side)
    before = error_mm(torch.from_numpy(scene.estimates.joints_cam), scene.joints_cam_m)
    after, good, joints = _error_mm(scene, scene.estimates)
    assert before > 25
    assert after < 12
    assert good.all()
    depth = (joints[..., 2].mean(1) / scene.joints_cam_m[..., 2].mean(1)).mean()
    assert abs(float(depth) - 1) < 0.08


def test_exact_estimates_are_met() -> None:
    scene = held_hand(frames=25, noise=0.0)
    error, _, joints = _error_mm(scene, scene.estimates)
    assert error < 9  # what smoothness and the prior take, in 25 frames of a full turn
    assert (joints - scene.joints_cam_m).norm(dim=-1).mean() < 0.02


def test_missing_and_wild_frames_are_filled_and_counted() -> None:
    scene = held_hand(noise=0.5)
    joints, found = scene.estimates.joints_cam.copy(), scene.estimates.found.copy()
    joints[12:15] = np.nan
    found[30] = False
    joints[20] = -joints[20]  # the hand of a mirror
    error, good, _ = _error_mm(scene, replace(scene.estimates, joints_cam=joints, found=found))
    assert torch.nonzero(~good)[:, 0].tolist() == [12, 13, 14, 20, 30]
    assert error < 12


@pytest.mark.parametrize(("seen", "message"), [(0, "none of 12 frames"), (3, "9 of 12 frames")])
def test_too_few_hands_are_an_error(seen: int, message: str) -> None:
    scene = held_hand(frames=12)
    few = replace(scene.estimates, found=np.arange(12) < seen)
    with pytest.raises(InputError, match=message):
        fit_hands(SETTINGS, scene.model, few, INTRINSICS)


def test_stage_writes_the_contract(tmp_path: Path) -> None:
    """Protects the file that the alignment reads; an estimate with NaN in it is a missing hand, counted and filled."""
    scene = held_hand(frames=30, noise=0.3)
    paths = {name: tmp_path / f"{name}.npz" for name in ("estimates", "object_poses", "poses")}
    joints = scene.estimates.joints_cam.copy()
    joints[5] = np.nan
    replace(scene.estimates, joints_cam=joints).save(paths["estimates"])
    scene.object_poses.save(paths["object_poses"])
    register_hands(**paths, registration=SETTINGS, seed=0)
    found = HandPoses.load(paths["poses"])
    assert error_mm(found.skinned(scene.model).keypoints_m.double(), scene.joints_cam_m) < 15
    assert torch.nonzero(~found.found)[:, 0].tolist() == [5]


def test_mesh_registration_frame_by_frame_skips_missing_meshes() -> None:
    """The faithful path, with few iterations: it comes close to the meshes, and a frame of NaN stays NaN."""
    model, pose = open_hand(), torch.zeros(3, 16, 3)
    pose[:, 0, 0] = torch.tensor([0.1, 0.2, 0.3])
    target = HandTrack(pose, torch.zeros(model.shape_count), torch.zeros(3, 3)).skinned(model).vertices_m
    target[1] = torch.nan
    fit = register_meshes(model, target, fingertip_groups(model), first_iterations=250, next_iterations=40)
    assert fit.translation_m[1].isnan().all()
    kept = [0, 2]
    assert (fit_vertices_m(model, fit)[kept] - target[kept]).norm(dim=-1).mean() < 0.01


def test_both_ends_of_a_gap_are_held() -> None:
    """The released code raises where the first and the last frame are missing."""
    generator = torch.Generator().manual_seed(0)
    rotvec, shape, rows = (torch.randn(6, *size, generator=generator) for size in ((2, 3), (4,), (3,)))
    missing = torch.tensor([True, False, False, True, False, True])
    torch.testing.assert_close(filled_rotations(0.3 * rotvec, missing)[0], 0.3 * rotvec[1])
    torch.testing.assert_close(filled_rows(rows, missing)[[0, 5]], rows[[1, 4]])
    torch.testing.assert_close(filled_rows(rows, missing)[3], (rows[2] + rows[4]) / 2)
    torch.testing.assert_close(filled_shapes(shape, missing)[0], shape[[1, 2, 4]].mean(0))


def test_no_good_frame_is_an_error() -> None:
    with pytest.raises(InputError, match="none of 3 frames"):
        filled_rows(torch.zeros(3, 21, 2), torch.ones(3, dtype=torch.bool))
