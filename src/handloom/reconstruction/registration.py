"""A MANO-format hand laid onto estimated joints, all frames of a video at once; or onto meshes, as in HOLD."""

import sys
from pathlib import Path
from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.geometry.rotations import rotation_between
from handloom.geometry.surfaces import sealed_volume
from handloom.hand.mano import HandModel
from handloom.hand.models import HandFiles, configured_hands, require_sides
from handloom.reconstruction.hand_energy import (
    DEPTH_STEP,
    PATH_SMOOTHNESS,
    RAY_STEP,
    SHAPE_STEP,
    TURN_SMOOTHNESS_RAD,
    TURN_STEP_RAD,
    SeenHand,
    Terms,
    acceleration_energy,
    centred_on,
    data_energy,
    free_parameters,
    joint_offsets_m,
    minimise,
    placed_translation,
    pose_energy,
    seen_hand,
    size_energy,
    turn_acceleration_energy,
    turned,
)
from handloom.reconstruction.mesh_registration import filled_rotations, filled_rows, track_of_meshes
from handloom.reconstruction.pose_space import PoseSpace
from handloom.reconstruction.tracks import HandPoses, HandTrack
from handloom.runtime.config.hold_stages import HandRegistrationSettings
from handloom.runtime.errors import InputError, listed

OUTLIER_M = 0.065
"""Frames whose joints lie farther than this from the smooth fit on average are refilled."""
SMALLEST_VOLUME = 0.6
"""And those whose mesh keeps less than this share of the median volume: it has collapsed."""
_WIDE = 3.0
"""How much wider the robust function is while the fit is still poor."""
_FEWEST_JOINTS = 6
"""A frame with fewer says too little of the hand's orientation."""


class HandFit(NamedTuple):
    """A hand over a video as its pose space describes it: one shape for all frames."""

    rotation: Float[Tensor, "frames 3 3"]
    angles_rad: Float[Tensor, "frames free"]
    translation_m: Float[Tensor, "frames 3"]
    shape: Float[Tensor, " shape"]

    def keypoints_cam_m(self, space: PoseSpace) -> Float[Tensor, "frames 21 3"]:
        """The key points in the camera's frame, metres."""
        rotations = torch.cat([self.rotation[:, None], space.rotations(self.angles_rad)], 1)
        return space.skeleton.keypoints_m(rotations, self.shape) + self.translation_m[:, None]

    @classmethod
    def of(cls, track: HandTrack, space: PoseSpace) -> "HandFit":
        """The fit that holds given poses, as far as the pose space can."""
        track = track.to(torch.float64)
        wrist = roma.rotvec_to_rotmat(track.rotvec[:, 0])
        return cls(wrist, space.angles_of(track.rotvec[:, 1:]), track.translation_m, track.shape)

    def track(self, space: PoseSpace) -> HandTrack:
        """The same as rotation vectors."""
        wrist = roma.rotmat_to_rotvec(self.rotation)
        rotvec = torch.cat([wrist[:, None], space.pose_rotvec(self.angles_rad)], 1)
        return HandTrack(rotvec, self.shape, self.translation_m)


def register_hands(
    estimates: Path,
    object_poses: Path,
    poses: Path,
    *,
    registration: HandRegistrationSettings,
    seed: int,
    hand: HandFiles = None,
    code: str = "",
) -> None:
    """Stage: every hand's poses (hand_poses.npz); the camera is that of the object's poses.

    Frames without a usable hand are filled from their neighbours, counted in the log and `False` in `found`. Raises
    InputError when there are too many of them.
    """
    seen, intrinsics = FoundHands.load_each(estimates), torch.from_numpy(ObjectPoses.load(object_poses).intrinsics)
    models = configured_hands(hand)
    require_sides(estimates, seen, models)
    registered = {
        side: _registered(registration, model, seen[side], intrinsics, seed) for side, model in models.items()
    }
    HandPoses.save_each(poses, registered, seed=seed, code=code)


def _registered(
    registration: HandRegistrationSettings,
    model: HandModel,
    seen: FoundHands,
    intrinsics: Float[Tensor, "3 3"],
    seed: int,
) -> HandPoses:
    if registration.fidelity == "faithful" and seen.vertices_cam is not None:
        track, good = track_of_meshes(model, torch.from_numpy(seen.vertices_cam), seed)
        _check_share(registration, good)
    else:
        fit, good = fit_hands(registration, model, seen, intrinsics)
        track = fit.track(PoseSpace.of(model))
    refilled = int((~good).sum())
    print(
        f"{model.side} hand: {len(good) - refilled} of {len(good)} frames registered, {refilled} interpolated",
        file=sys.stderr,
    )
    track = track.to(torch.float32)
    return HandPoses(track.rotvec, track.shape, track.translation_m, good, model.side)


def fit_hands(
    settings: HandRegistrationSettings,
    hand_model: HandModel,
    estimates: FoundHands,
    intrinsics: Float[Tensor, "3 3"],
) -> tuple[HandFit, Bool[Tensor, " frames"]]:
    """Fit all frames together, and tell which of them rest on an estimate of their own.

    Minimises, over one shape and every frame's wrist rotation, joint angles and translation: the robust distance to the
    estimated joints (about their mean) and to the 2D key points in full perspective, both weighted by confidence; the
    prior of everyday poses; soft joint limits; squared accelerations of rotations and of the wrist's path. Frames that
    lie far from the smooth fit, or whose mesh has collapsed, are then left out and the rest is fitted again.
    """
    space = PoseSpace.of(hand_model)
    seen, fit, good = _started(estimates, intrinsics, space)
    _check_share(settings, good)
    fit = _solved(settings, seen, fit, space, _WIDE)
    fit = _solved(settings, seen, fit, space)
    outliers = good & (_strayed(seen, fit, space) | _collapsed(hand_model, fit, space))
    if bool(outliers.any()):
        good = good & ~outliers
        _check_share(settings, good)
        seen = seen.without(outliers)
        fit = _solved(settings, seen, _filled(fit, ~good), space)
    return fit, good


def _started(
    estimates: FoundHands, intrinsics: Float[Tensor, "3 3"], space: PoseSpace
) -> tuple[SeenHand, HandFit, Bool[Tensor, " frames"]]:
    """The mean pose, turned onto each frame's joints and placed by its key points; gaps filled."""
    frames, skeleton = len(estimates.found), space.skeleton
    shape = skeleton.shapedirs.new_zeros(skeleton.shapedirs.shape[-1])
    identity = torch.eye(3, dtype=torch.float64)
    mean = space.mean_rad
    at_mean = skeleton.keypoints_m(torch.cat([identity[None], space.rotations(mean)]), shape)
    seen = seen_hand(estimates, torch.from_numpy(estimates.found), intrinsics)
    good = (seen.weight > 0).sum(1) >= _FEWEST_JOINTS
    if not bool(good.any()):
        raise InputError(
            f"hand estimates: none of {frames} frames shows a hand with finite joints, expected at least one; look at "
            "the hand masks, or choose another hand estimator"
        )
    seen = seen.without(~good)
    template = centred_on(at_mean.expand(frames, -1, -1), seen.weight)
    rotation = rotation_between(template, seen.joints_m, seen.weight).mT
    rotation = torch.where(good[:, None, None], rotation, identity)
    angles = mean.expand(frames, -1)
    posed = skeleton.keypoints_m(torch.cat([rotation[:, None], space.rotations(angles)], 1), shape)
    translation = placed_translation(posed, seen)
    good = good & translation.isfinite().all(-1)
    fit = HandFit(rotation, angles, translation.nan_to_num(0.0), shape)
    return seen.without(~good), _filled(fit, ~good), good


def _solved(
    settings: HandRegistrationSettings, seen: SeenHand, start: HandFit, space: PoseSpace, spread: float = 1.0
) -> HandFit:
    """One minimisation from a start."""
    frames = len(start.rotation)
    depth = start.translation_m[:, 2]
    base_rays, base_log = start.translation_m[:, :2] / depth[:, None], depth.log()
    parameters = free_parameters((frames, 3), (frames, 2), (frames,), start.angles_rad.shape, start.shape.shape)
    turn, rays, log_depth, angle, shape = parameters

    def current() -> HandFit:
        z = (base_log + DEPTH_STEP * log_depth).exp()[:, None]
        xy = base_rays + RAY_STEP * rays
        return HandFit(
            turned(start.rotation, TURN_STEP_RAD * turn),
            start.angles_rad + TURN_STEP_RAD * angle,
            torch.cat([xy * z, z], 1),
            start.shape + SHAPE_STEP * shape,
        )

    def terms() -> Terms:
        fit = current()
        return {
            "keypoints": data_energy(fit.keypoints_cam_m(space), seen, spread),
            "pose": pose_energy(fit.angles_rad, space),
            "shape": size_energy(fit.shape, space.skeleton),
            "turns": turn_acceleration_energy(fit.rotation) + acceleration_energy(fit.angles_rad, TURN_SMOOTHNESS_RAD),
            "path": acceleration_energy(base_rays + RAY_STEP * rays, PATH_SMOOTHNESS)
            + acceleration_energy(base_log + DEPTH_STEP * log_depth, PATH_SMOOTHNESS),
        }

    minimise(terms, parameters, settings.iterations)
    with torch.no_grad():
        return current()


def _strayed(seen: SeenHand, fit: HandFit, space: PoseSpace) -> Bool[Tensor, " frames"]:
    """Frames whose estimated joints lie far from the fit, in the weighted mean."""
    offsets = joint_offsets_m(fit.keypoints_cam_m(space), seen)
    distance = torch.linalg.vector_norm(offsets, dim=-1)
    total = seen.weight.sum(1)
    return ((seen.weight * distance).sum(1) / total.clamp_min(1e-12) > OUTLIER_M) & (total > 0)


def _collapsed(hand_model: HandModel, fit: HandFit, space: PoseSpace) -> Bool[Tensor, " frames"]:
    """Frames whose mesh has lost much of its volume; a threshold on deviations, as HOLD's, would always find some."""
    track = fit.track(space).to(torch.float32)
    with torch.no_grad():
        still = HandTrack(track.rotvec, track.shape, torch.zeros_like(track.translation_m))
        volume = sealed_volume(still.skinned(hand_model).vertices_m.double(), hand_model.faces)
    return volume < SMALLEST_VOLUME * volume.median()


def _filled(fit: HandFit, missing: Bool[Tensor, " frames"]) -> HandFit:
    """The fit with the given frames interpolated from the others."""
    wrist = filled_rotations(roma.rotmat_to_rotvec(fit.rotation)[:, None], missing)
    # Angles are interpolated as numbers: so they stay within the joints' limits.
    angles, translation = (filled_rows(rows, missing) for rows in (fit.angles_rad, fit.translation_m))
    return HandFit(roma.rotvec_to_rotmat(wrist[:, 0]), angles, translation, fit.shape)


def _check_share(settings: HandRegistrationSettings, good: Bool[Tensor, " frames"]) -> None:
    missing = int((~good).sum())
    if missing > settings.missing_fraction * len(good):
        frames = [str(frame) for frame in torch.nonzero(~good)[:, 0].tolist()]
        raise InputError(
            f"hand poses: {missing} of {len(good)} frames have no usable hand (frames {listed(frames, 12)}), more than "
            f"registration.missing_fraction = {settings.missing_fraction} allows; look at the masks of the hand, "
            "choose another estimator, or raise missing_fraction"
        )
