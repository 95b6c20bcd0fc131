"""HOLD's own alignment of hand and object: three runs of Adam over all frames, number for number (facts/hold.md 1.8).

Its quirks are kept: the learning rate is halved before the first step, missing 2D key points are interpolated and
count, the object's scale starts again at 1e-3 and is fixed for the first 2000 steps of its run, and the object is drawn
to where the hand was at the start of a run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.reconstruction.alignment_losses import object_loss, project, reprojection_loss, smoothness_loss
from handloom.runtime.progress import progress

Mode = Literal["h", "o", "ho"]
MODES: tuple[Mode, ...] = ("h", "o", "ho")

SCALE_RESET_STEP = 1
SCALE_RESET = 1e-3
SCALE_FREE_STEP = 2000
GRADIENT_NORM = 0.5


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
class Observations:
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


class LossRow(NamedTuple):
    """One step of a run: its loss before the update, and the learning rate of the update."""

    mode: Mode
    step: int
    loss: float
    learning_rate: float


def object_points_cam_m(seen: Observations, placement: Placement) -> Float[Tensor, "frames points 3"]:
    """x = R (sigma X) + t for every frame and point, in metres."""
    turned = placement.object_scale * seen.object_points @ seen.object_rotation.mT
    return turned + placement.object_translation_m[:, None]


def start_placement(cam_from_object: Float[Tensor, "frames 4 4"]) -> Placement:
    """HOLD's start: the hand one metre before the camera, the object one metre beyond its SfM translation, scale 1."""
    translation = cam_from_object[:, :3, 3]
    forward = torch.zeros_like(translation)
    forward[:, 2] = 1.0
    return Placement(forward, translation + forward, translation.new_ones(()))


def alignment_loss(
    mode: Mode, seen: Observations, placement: Placement, hand_centroid_m: Float[Tensor, "frames 3"]
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
    seen: Observations,
    start: Placement,
    *,
    schedule: Schedule | None = None,
    steps: Iterable[int] | None = None,
    log: Callable[[LossRow], None] = lambda _: None,
) -> Placement:
    """One run from where the run before ended.

    Mode `h` moves the hand, `o` the object and, from step 2000, its scale, `ho` all of them. The gradient of all of
    them together is clipped to a norm of 0.5. `steps` replaces the schedule's step numbers.
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
        log(LossRow(mode, step, float(loss.detach()), rate))
    return Placement(hand.detach(), thing.detach(), scale.detach())
