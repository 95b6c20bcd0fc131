"""A MANO-format hand laid onto estimated joints, all frames of a video at once (facts/hold.md 1.5, 1.6)."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.geometry.rotations import rotation_between
from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.hand_energy import (
    SeenHand,
    Terms,
    acceleration_energy,
    centred_on,
    data_energy,
    joint_offsets_m,
    minimise,
    placed_translation,
    pose_energy,
    seen_hand,
    size_energy,
    turn_acceleration_energy,
    turned,
)
from handloom.reconstruction.hand_pose_space import PoseSpace, Skeleton
from handloom.reconstruction.mesh_registration import register_meshes
from handloom.reconstruction.pose_gaps import PoseTrack, fill_gaps, fill_points, sealed_volume_m3, volume_outliers
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.config.hand_tracking import HandRegistrationSettings
from handloom.runtime.errors import InputError
from handloom.runtime.finite_arrays import read_finite_arrays

KIND = "hand_poses"
ESTIMATES_KIND = "hand_estimates"
OBJECT_POSES_KIND = "object_poses"

_TURN_STEP_RAD, _ANGLE_STEP_RAD, _RAY_STEP, _DEPTH_STEP, _SHAPE_STEP = 0.1, 0.1, 0.01, 0.03, 0.3
"""Units of the parameters while they are fitted: about their uncertainty."""
_WIDE = 3.0
_FEWEST_JOINTS = 6


@dataclass(frozen=True)
class HandEstimates:
    """What a hand estimator says about each frame: the contract of hand_estimates.npz."""

    joints_cam_m: Float[Tensor, "frames 21 3"]
    """SNAP, relative to the wrist, at a nominal hand size, along the camera's axes."""
    keypoints_px: Float[Tensor, "frames 21 2"]
    confidence: Float[Tensor, "frames 21"]
    found: Bool[Tensor, " frames"]
    vertices_cam_m: Float[Tensor, "frames vertices 3"] | None = None
    """Of estimators that give the whole mesh of the hand model."""


class HandFit(NamedTuple):
    """A hand over a video as its pose space describes it: one shape for all frames."""

    rotation: Float[Tensor, "frames 3 3"]
    angles_rad: Float[Tensor, "frames free"]
    translation_m: Float[Tensor, "frames 3"]
    shape: Float[Tensor, " shape"]

    def keypoints_cam_m(self, skeleton: Skeleton, space: PoseSpace) -> Float[Tensor, "frames 21 3"]:
        """The key points in the camera's frame, metres."""
        rotations = torch.cat([self.rotation[:, None], space.rotations(self.angles_rad)], 1)
        return skeleton.keypoints_m(rotations, self.shape) + self.translation_m[:, None]

    def rotvec(self, space: PoseSpace) -> Float[Tensor, "frames 16 3"]:
        """The absolute rotation vectors that `skin` takes."""
        wrist = roma.rotmat_to_rotvec(self.rotation)
        return torch.cat([wrist[:, None], space.pose_rotvec(self.angles_rad)], 1)

    @classmethod
    def of(
        cls,
        rotvec: Float[Tensor, "frames 16 3"],
        translation_m: Float[Tensor, "frames 3"],
        shape: Float[Tensor, " shape"],
        space: PoseSpace,
    ) -> "HandFit":
        """The fit that holds given poses, as far as the pose space can."""
        rotvec = rotvec.double()
        rotation = roma.rotvec_to_rotmat(rotvec[:, 0])
        return cls(rotation, space.angles_of(rotvec[:, 1:]), translation_m.double(), shape.double())


def read_estimates(path: Path) -> HandEstimates:
    """Read hand_estimates.npz; raises InputError when it is no such file or its arrays do not fit together."""
    arrays, _ = read_arrays(path, ESTIMATES_KIND)
    needed = ("joints_cam", "keypoints_px", "confidence", "found")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise InputError(f"{path}: lacks {missing}; delete it and run the rule that makes it again")
    frames = len(arrays["found"])
    shapes = {"joints_cam": (frames, 21, 3), "keypoints_px": (frames, 21, 2), "confidence": (frames, 21)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise InputError(f"{path}: {name} has shape {arrays[name].shape}, expected {shape}; make it again")
    vertices = arrays.get("vertices_cam")
    return HandEstimates(
        torch.from_numpy(arrays["joints_cam"]).double(),
        torch.from_numpy(arrays["keypoints_px"]).double(),
        torch.from_numpy(arrays["confidence"]).double(),
        torch.from_numpy(arrays["found"]).bool(),
        None if vertices is None else torch.from_numpy(vertices).float(),
    )


def register_hands(
    settings: HandRegistrationSettings,
    hand_model: HandModel,
    estimates: Path,
    object_poses: Path,
    output: Path,
    *,
    seed: int = 0,
    code: str = "",
) -> None:
    """Stage: write the hand's poses (hand_poses.npz); the camera is that of `object_poses`.

    Frames without a usable hand are filled from their neighbours, counted in the log and `False` in `found`. Raises
    InputError when there are too many of them.
    """
    seen = read_estimates(estimates)
    camera, _ = read_finite_arrays(object_poses, OBJECT_POSES_KIND, ("intrinsics",))
    intrinsics = torch.from_numpy(np.asarray(camera["intrinsics"], np.float64))
    if settings.fidelity == "faithful" and seen.vertices_cam_m is not None:
        track, good = _registered_meshes(settings, hand_model, seen.vertices_cam_m, seed)
        shape = track.shape.mean(0)
    else:
        fit, good = fit_hands(settings, hand_model, seen, intrinsics)
        track = PoseTrack(fit.rotvec(PoseSpace.of(hand_model)), fit.shape[None], fit.translation_m)
        shape = fit.shape
    refilled = int((~good).sum())
    print(f"{len(good) - refilled} of {len(good)} frames registered, {refilled} interpolated", file=sys.stderr)
    arrays = {
        "rotvec": track.rotvec.float().numpy(),
        "shape": shape.float().numpy(),
        "translation_cam_m": track.translation_m.float().numpy(),
        "found": good.numpy(),
    }
    extra = {"fidelity": settings.fidelity, "interpolated": str(refilled), "side": hand_model.side}
    write_arrays(output, arrays, Header(KIND, "rad, m", "camera", "MANO16", seed=seed, code=code, extra=extra))


def fit_hands(
    settings: HandRegistrationSettings,
    hand_model: HandModel,
    estimates: HandEstimates,
    intrinsics: Float[Tensor, "3 3"],
) -> tuple[HandFit, Bool[Tensor, " frames"]]:
    """Fit all frames together, and tell which of them rest on an estimate of their own.

    Minimises, over one shape and every frame's wrist rotation, joint angles and translation: the robust distance to the
    estimated joints (about their mean) and to the 2D key points in full perspective, both weighted by confidence; the
    prior of everyday poses; soft joint limits; squared accelerations of rotations and of the wrist's path. Frames that
    lie far from the smooth fit, or whose mesh has collapsed, are then left out and the rest is fitted again.
    """
    space, skeleton = PoseSpace.of(hand_model), Skeleton.of(hand_model)
    seen, fit, good = _started(settings, estimates, intrinsics, space, skeleton)
    _check_share(settings, good)
    fit = _solved(settings, seen, fit, space, skeleton, spread=_WIDE)
    fit = _solved(settings, seen, fit, space, skeleton)
    outliers = good & (_strayed(settings, seen, fit, space, skeleton) | _collapsed(settings, hand_model, fit, space))
    if bool(outliers.any()):
        good = good & ~outliers
        _check_share(settings, good)
        seen = seen.without(outliers)
        fit = _solved(settings, seen, _filled(fit, space, ~good), space, skeleton)
    return fit, good


def _started(
    settings: HandRegistrationSettings,
    estimates: HandEstimates,
    intrinsics: Float[Tensor, "3 3"],
    space: PoseSpace,
    skeleton: Skeleton,
) -> tuple[SeenHand, HandFit, Bool[Tensor, " frames"]]:
    """The mean pose, turned onto each frame's joints and placed by its key points; gaps filled."""
    frames = len(estimates.found)
    shape = skeleton.shapedirs.new_zeros(skeleton.shapedirs.shape[-1])
    identity = torch.eye(3, dtype=torch.float64)
    mean = space.mean_rad
    at_mean = skeleton.keypoints_m(torch.cat([identity[None], space.rotations(mean)]), shape)
    confidence = torch.where(estimates.found[:, None], estimates.confidence.nan_to_num(0.0), 0.0)
    noise = settings.keypoint_noise
    seen = seen_hand(estimates.joints_cam_m, estimates.keypoints_px, confidence, intrinsics, noise)
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
    return seen.without(~good), _filled(fit, space, ~good), good


def _solved(
    settings: HandRegistrationSettings,
    seen: SeenHand,
    start: HandFit,
    space: PoseSpace,
    skeleton: Skeleton,
    spread: float = 1.0,
) -> HandFit:
    """One minimisation from a start."""
    frames = len(start.rotation)
    depth = start.translation_m[:, 2]
    base_rays, base_log = start.translation_m[:, :2] / depth[:, None], depth.log()
    turn, rays, log_depth = torch.zeros(frames, 3), torch.zeros(frames, 2), torch.zeros(frames)
    angle, shape = torch.zeros_like(start.angles_rad), torch.zeros_like(start.shape)
    parameters = [value.double().requires_grad_() for value in (turn, rays, log_depth, angle, shape)]
    turn, rays, log_depth, angle, shape = parameters

    def current() -> HandFit:
        z = (base_log + _DEPTH_STEP * log_depth).exp()[:, None]
        xy = base_rays + _RAY_STEP * rays
        return HandFit(
            turned(start.rotation, _TURN_STEP_RAD * turn),
            start.angles_rad + _ANGLE_STEP_RAD * angle,
            torch.cat([xy * z, z], 1),
            start.shape + _SHAPE_STEP * shape,
        )

    def terms() -> Terms:
        fit = current()
        return {
            "keypoints": data_energy(fit.keypoints_cam_m(skeleton, space), seen, settings, spread),
            "pose": pose_energy(fit.angles_rad, space, settings),
            "shape": size_energy(fit.shape, skeleton, settings),
            "turns": turn_acceleration_energy(fit.rotation, settings.turn_smoothness_rad)
            + acceleration_energy(fit.angles_rad, settings.turn_smoothness_rad),
            "path": acceleration_energy(base_rays + _RAY_STEP * rays, settings.path_smoothness)
            + acceleration_energy(base_log + _DEPTH_STEP * log_depth, settings.path_smoothness),
        }

    minimise(terms, parameters, settings.iterations)
    with torch.no_grad():
        return current()


def _strayed(
    settings: HandRegistrationSettings, seen: SeenHand, fit: HandFit, space: PoseSpace, skeleton: Skeleton
) -> Bool[Tensor, " frames"]:
    """Frames whose estimated joints lie far from the fit, in the weighted mean."""
    offsets = joint_offsets_m(fit.keypoints_cam_m(skeleton, space), seen)
    distance = torch.linalg.vector_norm(offsets, dim=-1)
    total = seen.weight.sum(1)
    return ((seen.weight * distance).sum(1) / total.clamp_min(1e-12) > settings.outlier_m) & (total > 0)


def _collapsed(
    settings: HandRegistrationSettings, hand_model: HandModel, fit: HandFit, space: PoseSpace
) -> Bool[Tensor, " frames"]:
    """Frames whose mesh has lost much of its volume; a threshold on deviations would always find some (1.6)."""
    shape = fit.shape.float().expand(len(fit.rotation), -1)
    with torch.no_grad():
        posed = skin(
            hand_model, pose_rotvec=fit.rotvec(space).float(), shape=shape, translation_m=torch.zeros(len(shape), 3)
        )
        volume = sealed_volume_m3(posed.vertices_m.double(), hand_model.faces)
    return volume < settings.smallest_volume * volume.median()


def _filled(fit: HandFit, space: PoseSpace, missing: Bool[Tensor, " frames"]) -> HandFit:
    """The fit with the given frames interpolated from the others."""
    wrist = roma.rotmat_to_rotvec(fit.rotation)[:, None]
    track = fill_gaps(PoseTrack(wrist, fit.shape.expand(len(missing), -1), fit.translation_m), missing)
    # Angles are interpolated as numbers: so they stay within the joints' limits.
    angles = fill_points(fit.angles_rad[:, None], missing)[:, 0]
    return HandFit(roma.rotvec_to_rotmat(track.rotvec[:, 0]), angles, track.translation_m, fit.shape)


def _check_share(settings: HandRegistrationSettings, good: Bool[Tensor, " frames"]) -> None:
    missing = int((~good).sum())
    if missing > settings.missing_fraction * len(good):
        listed = ", ".join(map(str, torch.nonzero(~good)[:12, 0].tolist()))
        raise InputError(
            f"hand poses: {missing} of {len(good)} frames have no usable hand (frames {listed}, ...), more than "
            f"registration.missing_fraction = {settings.missing_fraction} allows; look at the masks of the hand, "
            "choose another estimator, or raise missing_fraction"
        )


def _registered_meshes(
    settings: HandRegistrationSettings,
    hand_model: HandModel,
    vertices_cam_m: Float[Tensor, "frames vertices 3"],
    seed: int,
) -> tuple[PoseTrack, Bool[Tensor, " frames"]]:
    """HOLD's way: meshes frame by frame, outliers by volume, SLERP."""
    track = register_meshes(hand_model, vertices_cam_m, fingertip_groups(hand_model), seed=seed)
    missing = ~track.translation_m.isfinite().all(-1)
    volume = sealed_volume_m3(vertices_cam_m.double(), hand_model.faces)
    outliers = torch.zeros_like(missing)
    outliers[~missing] = volume_outliers(volume[~missing])
    good = ~(missing | outliers)
    _check_share(settings, good)
    return fill_gaps(track, ~good), good


def fingertip_groups(model: HandModel, count: int = 20) -> list[Tensor]:
    """The vertices around each finger tip of the template, thumb to pinky: HOLD takes them from a list of its own."""
    tips = model.v_template[list(model.tip_vertices)]
    nearest = torch.cdist(tips, model.v_template).topk(min(count, len(model.v_template)), largest=False).indices
    return list(nearest)
