"""Phase 2: poses refined by contact and silhouettes, all of them, all hands and all frames at once.

As the paper has it and the released code has not: {theta, beta, R_h, t_h, R_o, t_o, s} all move, contact is that of
finger tips and palm, and a hand that lies in the object, or in the other hand, is pushed out.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.geometry.camera import project
from handloom.geometry.neighbours import NeighbourSearch
from handloom.geometry.silhouettes import BAND_PX, NEAR_M, Outlines, find_outlines, mesh_edges, soft_silhouettes
from handloom.geometry.voxels import signed_distance_grid
from handloom.hand.forearm import WRIST_SHARE, lengths_behind_wrist
from handloom.hand.joints import MIDDLE_BASE, WRIST, Side
from handloom.hand.mano import SkinnedHand
from handloom.hand.models import HandFiles, configured_hands
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.contact import (
    ContactRegions,
    contact_regions,
    hand_penetration,
    nearest_distance,
    penetration_loss,
    tip_contact,
)
from handloom.reconstruction.hand_energy import Terms
from handloom.reconstruction.object_mesh import SurfaceMesh, read_object_mesh
from handloom.reconstruction.observations import (
    BACKGROUND,
    CLASS_OF_SIDE,
    HAND,
    OBJECT,
    Observations,
    read_scene,
)
from handloom.reconstruction.scene_poses import PosesByHand, ScenePoses
from handloom.reconstruction.tracks import SequencePoses, read_poses
from handloom.runtime.config.hold_stages import RefinementSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_table
from handloom.runtime.progress import progress

SOFTNESS_PX = 1.0
"""Of the rendered silhouettes."""
OBJECT_MASK_WEIGHT = 20.0
"""Of the object's mask error, relative to the mask's area, as `hand_mask_weight` of the hand's."""
CONTACT_REACH_M = 0.06
"""Places of the hand farther from the object than this are not pulled."""
STAY_TURN_RAD, STAY_SHIFT_M = 0.15, 0.015
"""Deviations that the prior allows from the first rotations and translations."""
OBJECT_STAY_TURN_RAD = 0.005
"""The same of the object's: structure from motion is as sure. What a wrong hand pulls at must not turn the object."""
JITTER_TURN_RAD, JITTER_SHIFT_M = 0.04, 0.004
"""Second differences over time that it allows."""
PRIOR_WEIGHT = 0.02
"""Of all that together: the terms above count metres and shares, these are squares of one or so."""
_FARTHEST_MOVE_PX = 3.0
"""Outlines are found anew when a vertex has moved so far: before their band ends."""
RELEASED_CONTACT_WEIGHT, RELEASED_CONTACT_FROM = 0.05, 4.0
"""Of two hands in the released code."""
_MOVE_HANDS_STEPS = 10
"""Between two searches for the vertices of one hand that are nearest to the other's."""
_PALM_KEYPOINTS = (0, 1, 5, 9, 13, 17)
"""Wrist and the bases of the five fingers, in SNAP order."""


def refine_poses(
    build: Path,
    first_poses: Path,
    mesh: Path,
    poses: Path,
    history: Path,
    *,
    refinement: RefinementSettings,
    device: str = "cpu",
    threads: int | None = None,
    hand: HandFiles = None,
    code: str = "",
) -> None:
    """Stage: move all poses so that silhouettes fit the masks and hands touch the object.

    Raises InputError when the optimisation leaves the numbers, or for a device that is not there or too small.
    """
    models = configured_hands(hand)
    with computing_on(device, threads):
        scene = read_scene(build, models)
        start, shape = read_poses(first_poses, len(scene.names), models), read_object_mesh(mesh)
        learnt = PosesByHand(models, start, scene.cube, device)
        running = Refinement(learnt, shape.in_cube(scene.cube), scene.observations.to(device), refinement)
        running.run()
    write_table(history, pd.DataFrame(running.history))
    SequencePoses.save_each(poses, learnt.snapshot(), code=code)


class SmallMasks(NamedTuple):
    """Classes of pixels at the size that silhouettes are compared at, and the camera that goes with it."""

    kind: Int[Tensor, "frames rows columns"]
    intrinsics: Float[Tensor, "3 3"]

    @classmethod
    def of(cls, observations: Observations, long_side_px: int) -> "SmallMasks":
        """Every k-th pixel, so that no side exceeds `long_side_px`."""
        stride = -(-max(observations.class_u8.shape[1:]) // long_side_px)
        intrinsics = observations.intrinsics.clone()
        intrinsics[:2] /= stride
        return cls(observations.class_u8[:, ::stride, ::stride].long(), intrinsics)


class _Outline:
    """The outline of one mesh in all frames, found anew when the mesh has moved as far as its band is wide."""

    def __init__(self, faces: Int[Tensor, "faces 3"], masks: SmallMasks) -> None:
        self.faces, self.edges, self.masks = faces, mesh_edges(faces), masks
        self.found: Outlines | None = None

    def silhouettes(self, vertices_cam_m: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, "frames rows columns"]:
        """Soft masks, differentiable in the vertices."""
        pixels = project(vertices_cam_m, self.masks.intrinsics[None], NEAR_M)
        if self.found is None or self.found.moved_px(pixels) > _FARTHEST_MOVE_PX:
            rows, columns = self.masks.kind.shape[1:]
            in_front = vertices_cam_m.detach()[..., 2] > NEAR_M
            self.found = find_outlines(pixels, self.faces, self.edges, rows, columns, in_front, BAND_PX)
        return soft_silhouettes(pixels, self.found, SOFTNESS_PX)


class Refinement:
    """The optimisation of one sequence's poses against a mesh of its object."""

    def __init__(
        self, poses: PosesByHand, mesh: SurfaceMesh, observations: Observations, settings: RefinementSettings
    ) -> None:
        self.poses, self.settings = poses, settings
        self.masks = SmallMasks.of(observations, settings.long_side_px)
        self.device = observations.class_u8.device
        self.vertices_unit = torch.from_numpy(mesh.vertices).to(self.device)
        faces = torch.from_numpy(mesh.faces).to(self.device)
        self.object_outline = _Outline(faces, self.masks)
        self.hands = {side: _HandOf.at_start(each, self.masks, self.device) for side, each in poses.of.items()}
        self.surface = NeighbourSearch(self.vertices_unit[None])
        self.inside = signed_distance_grid(self.vertices_unit, faces)
        self.start = {name: value.detach().clone() for name, value in poses.named_parameters()}
        with torch.no_grad():
            self.distance_m = float(poses.object.object_translation_m.norm(dim=-1).median())
        self.history: list[dict[str, float]] = []
        rates = {
            "hand_wrist": settings.turn_rate,
            "hand_fingers": settings.finger_rate,
            "hand_shape": settings.shape_rate,
            "hand_translation_m": settings.shift_rate,
            "object_rotvec": settings.turn_rate,
            "object_place_m": settings.shift_rate,
            "log_object_growth": settings.scale_rate,
        }
        groups = [{"params": [value], "lr": rates[name.rpartition(".")[2]]} for name, value in poses.named_parameters()]
        self.optimiser = torch.optim.Adam(groups)

    def run(self) -> None:
        """All steps; raises InputError when the loss is no number any more or the device has no memory for them."""
        try:
            self._run()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{self.device}: out of memory in the pose refinement; lower hold.refinement.long_side_px, end other "
                "programs on the device, or set device: cpu"
            ) from error

    def _run(self) -> None:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, self.settings.steps, eta_min=0.0)
        for _ in progress(range(self.settings.steps), "refine poses"):
            terms = self.terms()
            total = torch.stack(list(terms.values())).sum()
            if not bool(total.isfinite()):
                raise self._diverged(f"the loss is {float(total.detach())}")
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            self.optimiser.step()
            schedule.step()
            figures = {name: float(value.detach()) for name, value in ({"total": total} | terms).items()}
            self.history.append({"step": float(len(self.history)), **figures})
        first, last = self.history[0]["total"], self.history[-1]["total"]
        print(f"refinement: loss {first:.3f} -> {last:.3f} in {len(self.history)} steps", file=sys.stderr, flush=True)

    def terms(self) -> Terms:
        """The weighted terms at the poses as they are; raises InputError when those are no numbers any more."""
        s, thing, kind = self.settings, self.poses.object, self.masks.kind
        object_cam = thing.object_to_cam(self.vertices_unit)
        hands = {side: each.poses.hand() for side, each in self.hands.items()}
        # Seen here, since the search for neighbours takes numbers only.
        if not all(bool(places.isfinite().all()) for places in (object_cam, *(h.vertices_m for h in hands.values()))):
            raise self._diverged("places of hand or object are no numbers")
        object_mask = self.object_outline.silhouettes(object_cam)
        terms = {"object_mask": OBJECT_MASK_WEIGHT * _mask_error(object_mask, kind == OBJECT, kind < HAND)}
        released = s.fidelity == "faithful" and len(hands) > 1
        of_hand = self._released_hand_terms if released else self._hand_terms
        of_hands = [of_hand(each, hands[side], thing.object_radius_m) for side, each in self.hands.items()]
        for name in of_hands[0]:
            terms[name] = torch.stack([each[name] for each in of_hands]).sum()
        if len(hands) > 1 and not released:
            terms["hand_in_hand"] = s.penetration_weight * self._hand_in_hand(hands)
        return terms | {"prior": PRIOR_WEIGHT * self._prior(hands)}

    def _hand_terms(self, of: "_HandOf", hand: SkinnedHand, unit_m: Float[Tensor, ""]) -> Terms:
        """What one hand adds: its mask, contact with the object, and how deep it lies in that."""
        s, kind, own = self.settings, self.masks.kind, CLASS_OF_SIDE[of.poses.model.side]
        mask = of.outline.silhouettes(hand.vertices_m)
        # Where the object or another hand is seen, this hand may be behind it.
        counted = ((kind == BACKGROUND) | (kind == own)) & ~self._forearm(hand)
        hand_unit = _in_object(of.poses, hand.vertices_m)
        contact = tip_contact(hand_unit, self.surface, of.regions, unit_m, CONTACT_REACH_M)
        depth = penetration_loss(hand_unit, self.inside) * unit_m.detach() ** 2
        return {
            "hand_mask": s.hand_mask_weight * _mask_error(mask, kind == own, counted),
            "contact": s.contact_weight * contact,
            "penetration": s.penetration_weight * depth,
        }

    def _released_hand_terms(self, of: "_HandOf", hand: SkinnedHand, unit_m: Float[Tensor, ""]) -> Terms:
        """What one of two hands adds in HOLD's code/src/fitting (loss_fn_ih), whose losses hardly act.

        The mean squared move of the projected vertices from where they began, pixels; and 0.05 times the contact
        vertices' mean squared distance to the object, which is set to zero below 4 in the scaled world. There the
        camera is 2 away, so that it acts only for a hand as far from the object as the camera.
        """
        pixels = project(hand.vertices_m, self.masks.intrinsics[None], NEAR_M)
        hand_unit = _in_object(of.poses, hand.vertices_m)
        scaled = nearest_distance(hand_unit[:, of.regions.vertices], self.surface) * unit_m * (2 / self.distance_m)
        square = scaled.square().mean()
        return {
            "hand_mask": (pixels - of.first_px).square().mean(),
            "contact": RELEASED_CONTACT_WEIGHT * torch.where(square < RELEASED_CONTACT_FROM, 0.0, square),
        }

    def _hand_in_hand(self, hands: Mapping[Side, SkinnedHand]) -> Float[Tensor, ""]:
        """Mean squared depth of each hand's vertices in the other hand, metres; snapshots find the nearest vertices."""
        if len(self.history) % _MOVE_HANDS_STEPS == 0:
            for side, each in self.hands.items():
                each.posed = PosedHands(each.poses.model, hands[side].vertices_m)
        depths = [
            hand_penetration(hands[side].vertices_m, hands[other].vertices_m, each.posed)
            for side in hands
            for other, each in self.hands.items()
            if other != side and each.posed is not None
        ]
        return torch.stack(depths).sum()

    def _diverged(self, found: str) -> InputError:
        return InputError(f"pose refinement: {found} at step {len(self.history)}; lower hold.refinement.*_rate")

    def _forearm(self, hand: SkinnedHand) -> Bool[Tensor, "frames rows columns"]:
        """Pixels labelled hand that lie behind the wrist as the image shows it: the model ends there."""
        kind = self.masks.kind
        palm = hand.keypoints_m[:, [WRIST, MIDDLE_BASE]].detach()
        wrist, middle = project(palm, self.masks.intrinsics[None], NEAR_M).unbind(1)
        row, column = (torch.arange(side, dtype=wrist.dtype, device=self.device) for side in kind.shape[1:])
        return (kind != BACKGROUND) & (lengths_behind_wrist(wrist, middle, row, column) > WRIST_SHARE)

    def _prior(self, hands: Mapping[Side, SkinnedHand]) -> Float[Tensor, ""]:
        """Mean squares of how far poses went and how much they shake, in allowed deviations; shape as N(0, 1).

        Masks tell depth badly, and each of hand and object alone; the grasp keeps them together. A grasp found a
        little wrong is wrong in all frames alike, so it may move as a whole more easily than in single frames.
        """
        s = self.settings
        squares = []
        for side, each in self.hands.items():
            grasp_moved = _grasp_m(each.poses, hands[side]) - each.first_grasp_m
            together = grasp_moved.mean(0)
            apart = (grasp_moved - together) / s.stay_grasp_m
            together = together / s.stay_grasp_together_m
            squares += [each.poses.hand_shape.square().mean(), apart.square().mean(), together.square().mean()]
        deviations = {
            "hand_wrist": (STAY_TURN_RAD, JITTER_TURN_RAD),
            "hand_fingers": (STAY_TURN_RAD, JITTER_TURN_RAD),
            "hand_translation_m": (STAY_SHIFT_M, JITTER_SHIFT_M),
            "object_rotvec": (OBJECT_STAY_TURN_RAD, JITTER_TURN_RAD),
            "object_place_m": (STAY_SHIFT_M, JITTER_SHIFT_M),
        }
        for name, value in self.poses.named_parameters():
            kind = name.rpartition(".")[2]
            if kind not in deviations:  # the hand's shape and the object's size
                continue
            (stay, jitter), moved = deviations[kind], value - self.start[name]
            squares.append((moved / stay).square().mean())
            if len(moved) > 2:
                squares.append((moved.diff(n=2, dim=0) / jitter).square().mean())
        return torch.stack(squares).sum()


@dataclass
class _HandOf:
    """What the refinement keeps of one hand."""

    poses: ScenePoses
    outline: _Outline
    regions: ContactRegions
    first_grasp_m: Float[Tensor, "frames keypoints 3"]
    first_px: Float[Tensor, "frames vertices 2"]
    posed: PosedHands | None = None
    """A snapshot that the other hand's nearest vertices are sought in."""

    @classmethod
    def at_start(cls, poses: ScenePoses, masks: SmallMasks, device: torch.device) -> "_HandOf":
        """At the first poses."""
        regions = contact_regions(poses.model.to("cpu")).to(device)
        with torch.no_grad():
            hand = poses.hand()
            grasp_m, pixels = _grasp_m(poses, hand), project(hand.vertices_m, masks.intrinsics[None], NEAR_M)
        return cls(poses, _Outline(poses.model.faces, masks), regions, grasp_m, pixels)


def _grasp_m(poses: ScenePoses, hand: SkinnedHand) -> Float[Tensor, "frames keypoints 3"]:
    """Wrist and finger bases relative to the object's centre, in its frame."""
    return _in_object(poses, hand.keypoints_m[:, list(_PALM_KEYPOINTS)]) * poses.object_radius_m


def _in_object(poses: ScenePoses, points_cam_m: Float[Tensor, "frames points 3"]) -> Float[Tensor, "frames points 3"]:
    """Every frame's points in the object's cube."""
    frames, count = points_cam_m.shape[:2]
    frame = torch.arange(frames, device=points_cam_m.device).repeat_interleave(count)
    return poses.object_from_cam(points_cam_m.flatten(0, 1), frame).view(points_cam_m.shape)


def _mask_error(
    soft: Float[Tensor, "frames rows columns"],
    wanted: Bool[Tensor, "frames rows columns"],
    counted: Bool[Tensor, "frames rows columns"],
) -> Float[Tensor, ""]:
    """|soft - wanted| over the counted pixels, relative to the wanted area."""
    return ((soft - wanted.float()).abs() * counted).sum() / (wanted & counted).sum().clamp_min(1)
