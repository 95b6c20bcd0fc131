"""Hand and object brought together robustly, with what a grasp means: the repaired form of HOLD's alignment.

HOLD frees the object's translation in every frame and ties it to the hand's centroid (`gradient_alignment`). But SfM
knows the object's path up to one factor, metres per SfM unit, and a hand that holds an object moves with it. So here
the object follows x = sigma (R X + t), and a held hand is one pose on the object, seen from as many sides as there are
frames: its key points are triangulated in the object's frame, and the hand's size tells sigma. Where the hand moves on
the object, only slow motion is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.datasets.masks import LABEL_OF
from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.geometry.rotations import angle_rad, mean_rotation_robust
from handloom.hand.joints import SNAP_FINGERTIPS, WRIST
from handloom.hand.mano import HandModel
from handloom.reconstruction.apparent_size import distance_factor
from handloom.reconstruction.hand_energy import (
    DEPTH_STEP,
    PATH_SMOOTHNESS,
    RAY_STEP,
    SHAPE_STEP,
    TURN_STEP_RAD,
    SeenHand,
    Terms,
    acceleration_energy,
    data_energy,
    free_parameters,
    geman_mcclure,
    minimise,
    pose_energy,
    robust_square,
    seen_hand,
    size_energy,
    turn_acceleration_energy,
    turned,
)
from handloom.reconstruction.object_size import size_deviation, weighed_distance
from handloom.reconstruction.pose_space import PoseSpace
from handloom.reconstruction.registration import HandFit
from handloom.reconstruction.tracks import Grasp, HandPoses, HandTrack, ObjectTrack
from handloom.runtime.config.hold_stages import AlignmentSettings

KNUCKLES = (5, 9, 13, 17)
GRASP_POINTS = (*SNAP_FINGERTIPS, *KNUCKLES)
"""Key points whose mean is the middle of a grasp: finger tips and the knuckles of the palm."""

HELD_ANGLE_DEG, HELD_SHARE = 50.0, 0.5
"""A hand is held when its wrist is turned less than this from the common grasp in at least this share of the frames."""
CENTRE_M = 0.04
"""Standard deviation of the distance between the grasp's middle and the object's centre."""
CONTACT_M, CONTACT_REACH_M = 0.01, 0.008
"""Of the finger tips' distance to the object, and how far from its sparse points still is contact."""
DRIFT_TURN_RAD, DRIFT_SHIFT_M = 0.3, 0.01
"""How far a held hand turns and slips on the object over the video."""
HELD_TURN_RAD, HELD_SHIFT_M = 0.10, 0.006
"""How far joints and wrist move from that slow drift."""
STEP_TURN_RAD, STEP_SHIFT_M = 0.02, 0.002
"""From frame to frame, on the object."""
_RHO = 3.0
"""Deviations above which a residual of the object loses its influence."""
_WIDE = 3.0
"""How much wider the robust function of the key points is in the first fit of the common grasp."""
_SHIFT_STEP_M, _SCALE_STEP = 0.01, 0.02
"""Units of parameters while they are fitted: of places, and of the logarithm of the object's scale."""
_FEWEST_FRAMES = 5
"""With fewer frames that show hand and object nothing is triangulated."""
_FREE_PACE = 4.0
"""How much faster a hand that is not held to the object may move on it."""
_ALIKE_DEG, _MORE_ALIKE = 20.0, 1.2
"""Frames turned so little apart are alike; most of them replace a mean that has so many times fewer near it."""
_TRUSTED = 0.4
"""Frames less sure than this share of the surest ones do not tell how large a hand looks: most of it is hidden."""
_PLACING_ITERATIONS = 40
_SAME_SIZE = 0.015
"""A difference of distances that is none."""
_MOST_POINTS = 600
"""Of the object, evenly left out beyond; finger tips are compared with all of them in every step."""


class Holding(NamedTuple):
    """What the alignment took the grasp for, and the deviation of the logarithm of the object's scale."""

    grasp: Grasp
    size_deviation: float


@dataclass(frozen=True)
class GraspAlignment:
    """The three steps `h`, `o` and `ho` of one video."""

    settings: AlignmentSettings
    seen: SeenHand
    thing: ObjectTrack
    """In the units of structure from motion."""
    registered: Bool[Tensor, " frames"]
    points: Float[Tensor, "points 3"]
    space: PoseSpace
    rows: list[dict[str, Any]]
    """Gets every iteration's losses."""
    distance_factor: Callable[[HandFit], float | None] | None = None
    """How much farther away than a fit the hands must be to look as large as in their masks, if there are any."""

    @property
    def centre(self) -> Float[Tensor, "3"]:
        """The middle of the object's bounding box, between the 2nd and 98th percentiles of its points."""
        low, high = torch.quantile(self.points, self.points.new_tensor([0.02, 0.98]), dim=0)
        return (low + high) / 2.0

    def solve(self, start: HandFit) -> tuple[HandFit, Float[Tensor, ""], Holding]:
        """From registered hands to hands on the object: the hands, metres per SfM unit, and what is known of both.

        `h` places the hands by their key points, `o` finds the object's scale for these hands, `ho` moves both. How far
        the masks say that the hands on their common grasp are, counts as much as the key points are unsure
        (`weighed_distance`); the key points are spread accordingly, and both steps are repeated.
        """
        alignment = self
        hand, scale, held = self._grasped(self._placed(start))
        of_masks = None if self.distance_factor is None else self.distance_factor(hand)
        distance = weighed_distance(of_masks, self._confidence)
        if abs(distance.factor - 1.0) >= _SAME_SIZE:
            wrist = hand.keypoints_cam_m(self.space)[:, WRIST]
            farther = hand._replace(translation_m=hand.translation_m + (distance.factor - 1.0) * wrist)
            alignment = replace(alignment, seen=alignment.seen.spread_by(1.0 / distance.factor))
            hand, scale, held = alignment._grasped(farther)
        hand, scale = alignment._together(hand, scale, held)
        deviation = 0.0 if self.settings.object_scale is not None else size_deviation(distance.deviation, held)
        return hand, scale, Holding("held" if held else "free", deviation)

    @property
    def _confidence(self) -> float:
        """The network's, over all key points that were seen."""
        seen = self.seen.weight[self.seen.weight > 0]
        return float(seen.mean()) if len(seen) else 0.0

    def _grasped(self, hand: HandFit) -> tuple[HandFit, Float[Tensor, ""], bool]:
        """Step o, and of step ho what all frames share if the hand is held: the hands, the scale, whether it is."""
        scale = self._scaled(hand)
        held = self._is_held(hand)
        if held:
            hand, scale = self._on_common_grasp(hand, scale, _WIDE)
            hand, scale = self._on_common_grasp(hand, scale, 1.0)
        return hand, scale, held

    def _placed(self, start: HandFit) -> HandFit:
        """Step h: translations only."""
        offsets = start.keypoints_cam_m(self.space) - start.translation_m[:, None]
        depth = start.translation_m[:, 2].log()
        rays = start.translation_m[:, :2] / start.translation_m[:, 2:]
        (moved,) = free_parameters((len(offsets), 3))

        def current() -> Float[Tensor, "frames 3"]:
            z = (depth + DEPTH_STEP * moved[:, 2]).exp()[:, None]
            return torch.cat([(rays + RAY_STEP * moved[:, :2]) * z, z], 1)

        def terms() -> Terms:
            translation = current()
            path = torch.cat([translation[:, :2] / translation[:, 2:], translation[:, 2:].log()], 1)
            return {
                "keypoints": data_energy(offsets + translation[:, None], self.seen),
                "path": acceleration_energy(path, PATH_SMOOTHNESS),
            }

        self._minimise("h", terms, [moved], _PLACING_ITERATIONS)
        return start._replace(translation_m=current().detach())

    def _scaled(self, hand: HandFit) -> Float[Tensor, ""]:
        """Step o: the scale at which the object lies as deep as the middle of the grasp, then by centre and contact."""
        given = self.settings.object_scale
        if given is not None:
            return torch.tensor(given, dtype=torch.float64)
        keypoints = hand.keypoints_cam_m(self.space)
        grasp = keypoints[:, list(GRASP_POINTS), 2].mean(1)
        thing = (self.thing.rotation @ self.centre + self.thing.translation_m)[:, 2]
        used = (self.seen.weight.sum(1) > 0) & self.registered & (thing > 0)
        used = used if bool(used.any()) else thing > 0
        start = (grasp / thing)[used].median()
        (step,) = free_parameters(())

        def current() -> Float[Tensor, ""]:
            return start * (_SCALE_STEP * step).exp()

        self._minimise("o", lambda: self._meeting(keypoints, current()), [step], _PLACING_ITERATIONS, current)
        return current().detach()

    def _meeting(self, keypoints_m: Float[Tensor, "frames 21 3"], scale: Float[Tensor, ""]) -> Terms:
        """The middle of the grasp near the object's centre, finger tips near its points; both robust."""
        on_object = self._on_object(keypoints_m, scale)
        middle = on_object[:, list(GRASP_POINTS)].mean(1)
        centre = robust_square((middle - scale * self.centre) / CENTRE_M, _RHO).sum()
        tips = on_object[:, list(SNAP_FINGERTIPS)]
        distance = torch.cdist(tips, (scale * self.points).expand(len(tips), -1, -1)).amin(-1)
        gap = (distance - CONTACT_REACH_M).clamp_min(0.0) / CONTACT_M
        contact = geman_mcclure(gap, _RHO).sum()
        return {"centre": 0.5 * centre, "contact": 0.5 * contact}

    def _on_object(
        self, points_m: Float[Tensor, "frames points 3"], scale: Float[Tensor, ""]
    ) -> Float[Tensor, "frames points 3"]:
        """Camera points along the object's axes, about its origin, in metres: R^T (x - sigma t)."""
        return (points_m - scale * self.thing.translation_m[:, None]) @ self.thing.rotation

    def _is_held(self, hand: HandFit) -> bool:
        """Whether most frames' wrists are turned alike on the object."""
        if self.settings.grasp != "auto":
            return self.settings.grasp == "held"
        used = self._triangulating()
        if int(used.sum()) < _FEWEST_FRAMES:
            return False
        relative = (self.thing.rotation.mT @ hand.rotation)[used]
        turn = angle_rad(relative, _common_turn(relative))
        share = (turn < torch.deg2rad(torch.tensor(HELD_ANGLE_DEG))).double().mean()
        return bool(share >= HELD_SHARE)

    def _triangulating(self) -> Bool[Tensor, " frames"]:
        """Frames in which both the hand and the object were seen."""
        return self.registered & (self.seen.weight.sum(1) > 0)

    def _on_common_grasp(
        self, hand: HandFit, scale: Float[Tensor, ""], spread: float
    ) -> tuple[HandFit, Float[Tensor, ""]]:
        """One hand, on the object or drifting slowly along a parabola, fitted to all frames; in each frame's camera."""
        used = self._triangulating()
        rotation = self.thing.rotation
        relative = rotation.mT @ hand.rotation
        wrist = self._on_object(hand.translation_m[:, None], scale)[:, 0]
        base = _common_turn(relative[used])
        base_wrist, base_angles = wrist[used].median(0).values, hand.angles_rad[used].median(0).values
        time = torch.linspace(-1.0, 1.0, len(rotation), dtype=torch.float64)
        drift = torch.stack([torch.ones_like(time), time, time.square() - 1.0 / 3.0], 1)
        parameters = free_parameters((3, 3), (3, 3), (), base_angles.shape, hand.shape.shape)
        turn, shift, step, angle, shape = parameters

        def current() -> tuple[HandFit, Float[Tensor, ""]]:
            now = scale * (_SCALE_STEP * step).exp()
            place = base_wrist + _SHIFT_STEP_M * (drift @ shift)
            return HandFit(
                rotation @ turned(base, TURN_STEP_RAD * (drift @ turn)),
                (base_angles + TURN_STEP_RAD * angle).expand(len(rotation), -1),
                (rotation @ place[..., None])[..., 0] + now * self.thing.translation_m,
                hand.shape + SHAPE_STEP * shape,
            ), now

        seen = self.seen.without(~used)

        def terms() -> Terms:
            fit, now = current()
            keypoints = fit.keypoints_cam_m(self.space)
            data = data_energy(keypoints, seen, spread)
            prior = pose_energy(fit.angles_rad[0], self.space)
            size = size_energy(fit.shape, self.space.skeleton)
            slow = (TURN_STEP_RAD * turn[1:] / DRIFT_TURN_RAD).square().sum()
            slow = slow + (_SHIFT_STEP_M * shift[1:] / DRIFT_SHIFT_M).square().sum()
            terms = {"keypoints": data, "pose": prior, "shape": size, "motion": 0.5 * slow}
            return terms | self._meeting(keypoints, now)

        return self._moved(terms, parameters, step, current)

    def _together(self, hand: HandFit, scale: Float[Tensor, ""], held: bool) -> tuple[HandFit, Float[Tensor, ""]]:
        """Every frame's hand and the scale; a held hand stays close to where it is on the object now."""
        rotation = self.thing.rotation
        frames, pace = len(rotation), 1.0 if held else _FREE_PACE
        parameters = free_parameters((frames, 3), (frames, 3), (), hand.angles_rad.shape, hand.shape.shape)
        turn, shift, step, angle, shape = parameters

        def current() -> tuple[HandFit, Float[Tensor, ""]]:
            now = scale * (_SCALE_STEP * step).exp()
            # A held hand goes with the object when the scale changes, a free one stays where it was seen.
            carried = (now - scale) * self.thing.translation_m if held else torch.zeros_like(shift)
            moved = (rotation @ (_SHIFT_STEP_M * shift)[..., None])[..., 0]
            return HandFit(
                turned(hand.rotation, TURN_STEP_RAD * turn),
                hand.angles_rad + TURN_STEP_RAD * angle,
                hand.translation_m + carried + moved,
                hand.shape + SHAPE_STEP * shape,
            ), now

        def terms() -> Terms:
            fit, now = current()
            keypoints = fit.keypoints_cam_m(self.space)
            data = data_energy(keypoints, self.seen)
            prior = pose_energy(fit.angles_rad, self.space)
            size = size_energy(fit.shape, self.space.skeleton)
            relative = rotation.mT @ fit.rotation
            wrist = self._on_object(fit.translation_m[:, None], now)[:, 0]
            steps = (
                robust_square(relative.diff(dim=0).flatten(1) / (2.0**0.5 * pace * STEP_TURN_RAD), _RHO).sum()
                + geman_mcclure(fit.angles_rad.diff(dim=0) / STEP_TURN_RAD, _RHO).sum()
                + robust_square(wrist.diff(dim=0) / (pace * STEP_SHIFT_M), _RHO).sum()
            )
            if held:
                away = (
                    robust_square(TURN_STEP_RAD * turn / HELD_TURN_RAD, _RHO).sum()
                    + geman_mcclure(TURN_STEP_RAD * angle / HELD_TURN_RAD, _RHO).sum()
                    + robust_square(_SHIFT_STEP_M * shift / HELD_SHIFT_M, _RHO).sum()
                )
                motion = 0.5 * (steps + away)
            else:
                smooth = turn_acceleration_energy(fit.rotation)
                path = fit.translation_m / fit.translation_m[:, 2:].detach()
                motion = 0.5 * steps + smooth + acceleration_energy(path, PATH_SMOOTHNESS)
            meeting = self._meeting(keypoints, now)
            return {"keypoints": data, "pose": prior, "shape": size, "motion": motion} | meeting

        return self._moved(terms, parameters, step, current)

    def _moved(
        self,
        terms: Callable[[], Terms],
        parameters: list[Tensor],
        scale_step: Tensor,
        current: Callable[[], tuple[HandFit, Float[Tensor, ""]]],
    ) -> tuple[HandFit, Float[Tensor, ""]]:
        """Step ho over the parameters; a scale that is given stays."""
        given = self.settings.object_scale is not None
        free = [value for value in parameters if not (given and value is scale_step)]
        self._minimise("ho", terms, free, self.settings.iterations, lambda: current()[1])
        fit, now = current()
        return HandFit(*(value.detach() for value in fit)), now.detach()

    def _minimise(
        self,
        step: str,
        terms: Callable[[], Terms],
        parameters: list[Tensor],
        iterations: int,
        scale: Callable[[], Float[Tensor, ""]] | None = None,
    ) -> None:
        def log(iteration: int, values: dict[str, float]) -> None:
            now = {} if scale is None else {"object_scale": float(scale().detach())}
            self.rows.append({"step": step, "iteration": iteration, **values, **now})

        minimise(terms, parameters, iterations, log)


def _common_turn(relative: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "3 3"]:
    """How a held hand is turned on the object: the robust mean, or of those near the frame that most are turned like.

    The mean bears half of the frames to be wrong. Where more are, as of a hand that is mostly hidden, those that are
    right still agree with each other, and the wrong ones do not.
    """
    near = torch.deg2rad(relative.new_tensor(_ALIKE_DEG))
    mean = mean_rotation_robust(relative)
    alike = torch.stack([angle_rad(relative, each) < near for each in relative])
    most = alike[alike.sum(1).argmax()]
    if int(most.sum()) <= _MORE_ALIKE * int((angle_rad(relative, mean) < near).sum()):
        return mean
    return mean_rotation_robust(relative[most])


def align_grasp(
    settings: AlignmentSettings,
    model: HandModel,
    hand: HandPoses,
    thing: ObjectPoses,
    seen: FoundHands,
    rows: list[dict[str, Any]],
    masks: Sequence[Path] = (),
) -> tuple[HandTrack, ObjectTrack, Holding]:
    """The alignment of a video's files, the kind of grasp, how sure the size is; losses go into `rows`.

    Frames that registration refilled have no key points of their own.
    """
    space = PoseSpace.of(model)
    observed = seen_hand(seen, hand.found & torch.from_numpy(seen.found), torch.from_numpy(thing.intrinsics))
    stride = -(-len(thing.points_object) // _MOST_POINTS)
    points = torch.from_numpy(thing.points_object).double()[::stride]
    track, registered = ObjectTrack.of_sfm(thing.cam_from_object), torch.from_numpy(thing.registered)

    sure = observed.weight.mean(1)
    trusted = (sure >= _TRUSTED * torch.quantile(sure, 0.9)).nonzero()[:, 0].tolist()

    def factor(fit: HandFit) -> float | None:
        with torch.no_grad():
            posed = fit.track(space).to(torch.float32).skinned(model)
        return distance_factor(
            posed.vertices_m[trusted].double().numpy(),
            posed.keypoints_m[trusted].double().numpy(),
            model.faces.numpy(),
            thing.intrinsics,
            [masks[frame] for frame in trusted],
            LABEL_OF[model.side],
        )

    look = factor if masks else None
    alignment = GraspAlignment(settings, observed, track, registered, points, space, rows, look)
    found, scale, holding = alignment.solve(HandFit.of(hand, space))
    return found.track(space), track.at_scale(scale), holding
