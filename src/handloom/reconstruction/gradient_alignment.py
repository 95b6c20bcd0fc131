"""HOLD's own alignment of hand and object: three runs of Adam over all frames, number for number.

The runs and their losses are those of HOLD's generator/scripts/align_hands_object.py and generator/src/alignment. Their
quirks are kept: the learning rate is halved before the first step, missing 2D key points are interpolated and
count, the object's scale starts again at 1e-3 and is fixed for the first 2000 steps of its run, and the object is drawn
to where the hand was at the start of a run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.geometry.camera import project
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import HandModel
from handloom.reconstruction.hand_energy import geman_mcclure
from handloom.reconstruction.mesh_registration import filled_rows
from handloom.reconstruction.tracks import HandTrack, ObjectTrack
from handloom.runtime.progress import progress

Mode = Literal["h", "o", "ho"]
MODES: tuple[Mode, ...] = ("h", "o", "ho")

SCALE_RESET_STEP, SCALE_RESET, SCALE_FREE_STEP = 1, 1e-3, 2000
GRADIENT_NORM = 0.5
CONTACT_WEIGHT, BEHIND_WEIGHT, SMOOTHNESS_WEIGHT = 100.0, 1000.0, 100.0
ROBUST_PX = 25.0


class Schedule(NamedTuple):
    """Steps of one run, the configured learning rate, and after how many steps it is halved."""

    iterations: int
    learning_rate: float
    decay_every: int


SCHEDULES: dict[Mode, Schedule] = {
    "h": Schedule(4000, 1e-2, 1000),
    "o": Schedule(15000, 1e-2, 2000),
    "ho": Schedule(3000, 1e-3, 1000),
}


@dataclass(frozen=True)
class AlignmentObservations:
    """What the runs do not change: the posed hand without its translation, the object's rotations, the 2D targets."""

    intrinsics: Float[Tensor, "3 3"]
    hand_joints_m: Float[Tensor, "frames 21 3"]
    hand_vertex_centroid_m: Float[Tensor, "frames 3"]
    hand_keypoints_px: Float[Tensor, "frames 21 2"]
    object_rotation: Float[Tensor, "frames 3 3"]
    object_points: Float[Tensor, "points 3"]
    object_keypoints_px: Float[Tensor, "frames points 2"]


class Placement(NamedTuple):
    """What the runs find: translations in metres and the metres per unit of the object's points."""

    hand_translation_m: Float[Tensor, "frames 3"]
    object_translation_m: Float[Tensor, "frames 3"]
    object_scale: Float[Tensor, ""]


def object_points_cam_m(seen: AlignmentObservations, placement: Placement) -> Float[Tensor, "frames points 3"]:
    """x = R (sigma X) + t for every frame and point, in metres."""
    turned = placement.object_scale * seen.object_points @ seen.object_rotation.mT
    return turned + placement.object_translation_m[:, None]


def reprojection_loss(
    projected_px: Float[Tensor, "frames points 2"], target_px: Float[Tensor, "frames points 2"]
) -> Float[Tensor, ""]:
    """GM(projection - target), summed over x and y, mean over frames and points; points with a NaN do not count."""
    seen = ~target_px.isnan().any(-1)
    return geman_mcclure((projected_px - target_px)[seen], ROBUST_PX).sum(-1).mean()


def smoothness_loss(centroid_m: Float[Tensor, "frames 3"]) -> Float[Tensor, ""]:
    """100 times the mean squared difference of neighbouring frames' centroids, over frames and coordinates."""
    return SMOOTHNESS_WEIGHT * centroid_m.diff(dim=0).square().mean()


def object_loss(
    hand_centroid_m: Float[Tensor, "frames 3"],
    points_cam_m: Float[Tensor, "frames points 3"],
    projected_px: Float[Tensor, "frames points 2"],
    target_px: Float[Tensor, "frames points 2"],
) -> Float[Tensor, ""]:
    """HOLD's loss of step `o`: 100 times the mean absolute difference of the centroids, the points' projection, and
    1000 times the mean depth by which frames lie behind the camera, over those whose mean z is negative.

    The hand's centroid is that of its 21 joints.
    """
    near = CONTACT_WEIGHT * (hand_centroid_m - points_cam_m.mean(1)).abs().mean()
    depth = (-points_cam_m[..., 2].mean(1)).clamp_min(0.0)
    behind = BEHIND_WEIGHT * depth.sum() / (depth > 0).sum().clamp_min(1)
    return near + reprojection_loss(projected_px, target_px) + behind


def alignment_loss(
    mode: Mode, seen: AlignmentObservations, placement: Placement, hand_centroid_m: Float[Tensor, "frames 3"]
) -> Float[Tensor, ""]:
    """The loss of a run; the object is drawn to `hand_centroid_m`, the centroids of the hand's joints at its start."""
    joints = seen.hand_joints_m + placement.hand_translation_m[:, None]
    hand = (
        reprojection_loss(project(joints, seen.intrinsics), seen.hand_keypoints_px)
        if mode != "o"
        else joints.new_zeros(())
    )
    if mode == "h":
        return hand
    points = object_points_cam_m(seen, placement)
    loss = hand + object_loss(hand_centroid_m, points, project(points, seen.intrinsics), seen.object_keypoints_px)
    if mode == "o":
        return loss
    smooth = smoothness_loss(seen.hand_vertex_centroid_m + placement.hand_translation_m)
    return loss + smooth + smoothness_loss(points.mean(1))


def run(
    mode: Mode,
    seen: AlignmentObservations,
    start: Placement,
    *,
    schedule: Schedule | None = None,
    steps: Iterable[int] | None = None,
    rows: list[dict[str, Any]],
) -> Placement:
    """One run from where the run before ended.

    Mode `h` moves the hand, `o` the object and, from step 2000, its scale, `ho` all of them. The gradient of all of
    them together is clipped to a norm of 0.5. `steps` replaces the schedule's step numbers. `rows` gets each step's
    loss before the update, and the update's learning rate.
    """
    schedule = schedule or SCHEDULES[mode]
    hand, thing, scale = (value.detach().clone() for value in start)
    if mode != "o":
        hand.requires_grad_()
    if mode != "h":
        thing.requires_grad_()
    if mode == "ho":
        scale.requires_grad_()
    placement = Placement(hand, thing, scale)
    # The object is drawn to where the hand was when the run began, also while the hand moves (`ho`).
    centroid = (seen.hand_joints_m + hand[:, None]).mean(1).detach()
    rate = schedule.learning_rate
    optimiser = torch.optim.Adam(placement, lr=rate)
    for step in progress(range(schedule.iterations) if steps is None else steps, f"align {mode}"):
        if mode == "o" and step == SCALE_RESET_STEP:
            scale.fill_(SCALE_RESET)
        if mode == "o" and step == SCALE_FREE_STEP:
            scale.requires_grad_()
        if step % schedule.decay_every == 0:
            rate *= 0.5
            for group in optimiser.param_groups:
                group["lr"] = rate
        optimiser.zero_grad()
        loss = alignment_loss(mode, seen, placement, centroid)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(placement, GRADIENT_NORM)
        optimiser.step()
        rows.append({"step": mode, "iteration": step, "loss": float(loss.detach()), "learning_rate": rate})
    return Placement(hand.detach(), thing.detach(), scale.detach())


def align_by_gradient(
    model: HandModel,
    hand: HandTrack,
    thing: ObjectPoses,
    seen: FoundHands,
    rows: list[dict[str, Any]],
    schedules: Mapping[Mode, Schedule] = SCHEDULES,
) -> tuple[HandTrack, ObjectTrack]:
    """All three runs from registered hands; missing 2D rows are interpolated and count; losses go into `rows`."""
    still = HandTrack(hand.rotvec, hand.shape, torch.zeros_like(hand.translation_m))
    with torch.no_grad():
        posed = still.skinned(model)
    camera, points, poses = (
        torch.from_numpy(array).float() for array in (thing.intrinsics, thing.points_object, thing.cam_from_object)
    )
    given = torch.from_numpy(seen.keypoints_px)
    missing = ~torch.from_numpy(seen.found) | ~given.isfinite().all(-1).all(-1)
    keypoints = filled_rows(given.double(), missing)[:, list(MANO21_FROM_SNAP)].float()
    observations = AlignmentObservations(
        intrinsics=camera,
        hand_joints_m=posed.keypoints_m[:, list(MANO21_FROM_SNAP)],
        hand_vertex_centroid_m=posed.vertices_m.mean(1),
        hand_keypoints_px=keypoints,
        object_rotation=poses[:, :3, :3],
        object_points=points,
        object_keypoints_px=project(points @ poses[:, :3, :3].mT + poses[:, None, :3, 3], camera),
    )

    # One metre before the camera, and one beyond the SfM translation.
    forward = torch.tensor([0.0, 0.0, 1.0]).expand(len(poses), 3)
    found = Placement(forward, poses[:, :3, 3] + forward, torch.ones(()))
    for mode in MODES:
        found = run(mode, observations, found, schedule=schedules[mode], rows=rows)
    aligned = HandTrack(hand.rotvec, hand.shape, found.hand_translation_m)
    rotation = ObjectTrack.of_sfm(thing.cam_from_object).rotation
    return aligned, ObjectTrack(rotation, found.object_translation_m, found.object_scale)
