"""Phase 2: poses refined by contact and silhouettes (facts/hold.md 3), all of them and all frames at once.

As the paper has it and the released code has not: {theta, beta, R_h, t_h, R_o, t_o, s} all move, contact is that of
finger tips and palm, and a hand that lies in the object is pushed out.
"""

import sys
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.hand.mano import SkinnedHand
from handloom.reconstruction.compact.classes import BACKGROUND, HAND, OBJECT
from handloom.reconstruction.compact.meshing import SurfaceMesh
from handloom.reconstruction.compact.observations import Observations
from handloom.reconstruction.compact.scene_poses import ScenePoses
from handloom.reconstruction.contact import ContactRegions, contact_regions, tip_contact
from handloom.reconstruction.penetration import penetration_loss, signed_distance_grid
from handloom.reconstruction.silhouette import (
    NEAR,
    MeshEdges,
    Outlines,
    find_outlines,
    mesh_edges,
    project,
    soft_silhouettes,
)
from handloom.runtime.config.refinement import RefinementSettings
from handloom.runtime.errors import InputError
from handloom.runtime.progress import progress

_BAND_PX = 4
_FARTHEST_MOVE_PX = 3.0
"""Outlines are found anew when a vertex has moved so far."""
_PALM_KEYPOINTS = (0, 1, 5, 9, 13, 17)
"""Wrist and the bases of the five fingers, in SNAP order."""
_WRIST_SHARE = 0.1
"""Pixels farther behind the wrist than this share of the palm's length show the forearm."""


class RefinementTerms(NamedTuple):
    """The weighted terms of one step."""

    object_mask: Float[Tensor, ""]
    hand_mask: Float[Tensor, ""]
    contact: Float[Tensor, ""]
    penetration: Float[Tensor, ""]
    prior: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """Their sum."""
        return torch.stack(list(self)).sum()


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

    def __init__(self, faces: Int[Tensor, "faces 3"], masks: SmallMasks, softness_px: float) -> None:
        self.faces, self.edges, self.masks, self.softness_px = faces, mesh_edges(faces), masks, softness_px
        self.found: Outlines | None = None

    edges: MeshEdges

    def silhouettes(self, vertices_cam_m: Float[Tensor, "frames vertices 3"]) -> Float[Tensor, "frames rows columns"]:
        """Soft masks, differentiable in the vertices."""
        pixels = project(vertices_cam_m, self.masks.intrinsics[None])
        if self.found is None or self.found.moved_px(pixels) > _FARTHEST_MOVE_PX:
            rows, columns = self.masks.kind.shape[1:]
            in_front = vertices_cam_m.detach()[..., 2] > NEAR
            self.found = find_outlines(pixels, self.faces, self.edges, rows, columns, in_front, _BAND_PX)
        return soft_silhouettes(pixels, self.found, self.softness_px)


class Refinement:
    """The optimisation of one sequence's poses against a mesh of its object."""

    def __init__(
        self, poses: ScenePoses, mesh: SurfaceMesh, observations: Observations, settings: RefinementSettings
    ) -> None:
        self.poses, self.settings = poses, settings
        self.masks = SmallMasks.of(observations, settings.long_side_px)
        self.device = observations.class_u8.device
        self.vertices_unit = torch.from_numpy(mesh.vertices).to(self.device)
        faces = torch.from_numpy(mesh.faces).to(self.device)
        regions = contact_regions(poses.model.to("cpu"))
        self.regions = ContactRegions(tuple(tip.to(self.device) for tip in regions.tips), regions.palm.to(self.device))
        self.object_outline = _Outline(faces, self.masks, settings.softness_px)
        self.hand_outline = _Outline(poses.model.faces, self.masks, settings.softness_px)
        self.inside = signed_distance_grid(self.vertices_unit, faces)
        self.start = {name: value.detach().clone() for name, value in poses.named_parameters()}
        with torch.no_grad():
            self.first_grasp_m = self._grasp_m(poses.hand())
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
        groups = [{"params": [value], "lr": rates[name]} for name, value in poses.named_parameters()]
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
            if not bool(terms.total.isfinite()):
                raise self._diverged(f"the loss is {float(terms.total.detach())}")
            self.optimiser.zero_grad(set_to_none=True)
            terms.total.backward()
            self.optimiser.step()
            schedule.step()
            figures = {name: float(value.detach()) for name, value in terms._asdict().items()}
            self.history.append({"step": float(len(self.history)), "total": float(terms.total.detach()), **figures})
        first, last = self.history[0]["total"], self.history[-1]["total"]
        print(f"refinement: loss {first:.3f} -> {last:.3f} in {len(self.history)} steps", file=sys.stderr, flush=True)

    def terms(self) -> RefinementTerms:
        """The weighted terms at the poses as they are; raises InputError when those are no numbers any more."""
        s, poses = self.settings, self.poses
        hand = poses.hand()
        object_cam = poses.object_to_cam(self.vertices_unit)
        # Seen here, since the search for neighbours takes numbers only.
        if not bool(hand.vertices_m.isfinite().all() & object_cam.isfinite().all()):
            raise self._diverged("places of hand or object are no numbers")
        object_mask = self.object_outline.silhouettes(object_cam)
        hand_mask = self.hand_outline.silhouettes(hand.vertices_m)
        contact = tip_contact(hand.vertices_m, object_cam, self.regions, s.contact_reach_m)
        frame = torch.arange(len(hand.vertices_m), device=self.device).repeat_interleave(hand.vertices_m.shape[1])
        in_object = poses.object_from_cam(hand.vertices_m.flatten(0, 1), frame)
        depth = penetration_loss(in_object, self.inside) * poses.object_radius_m.detach() ** 2
        kind = self.masks.kind
        return RefinementTerms(
            s.object_mask_weight * _mask_error(object_mask, kind == OBJECT, kind != HAND),
            s.hand_mask_weight * _mask_error(hand_mask, kind == HAND, (kind != OBJECT) & ~self._forearm(hand)),
            s.contact_weight * contact,
            s.penetration_weight * depth,
            s.prior_weight * self._prior(hand),
        )

    def _diverged(self, found: str) -> InputError:
        return InputError(f"pose refinement: {found} at step {len(self.history)}; lower hold.refinement.*_rate")

    def _forearm(self, hand: SkinnedHand) -> Bool[Tensor, "frames rows columns"]:
        """Pixels labelled hand that lie behind the wrist as the image shows it: the model ends there."""
        kind = self.masks.kind
        wrist, middle = project(hand.keypoints_m[:, [0, 9]].detach(), self.masks.intrinsics[None]).unbind(1)
        down, across = (torch.arange(side, device=self.device) for side in kind.shape[1:])
        rows, columns = torch.meshgrid(down, across, indexing="ij")
        pixels = torch.stack([columns, rows], -1).float()
        along = (middle - wrist)[:, None, None]
        place = ((pixels - wrist[:, None, None]) * along).sum(-1) / along.square().sum(-1).clamp_min(1.0)
        return (kind != BACKGROUND) & (place < -_WRIST_SHARE)

    def _grasp_m(self, hand: SkinnedHand) -> Float[Tensor, "frames keypoints 3"]:
        """Wrist and finger bases relative to the object's centre, in its frame."""
        palm = hand.keypoints_m[:, list(_PALM_KEYPOINTS)]
        frame = torch.arange(len(palm), device=self.device).repeat_interleave(len(_PALM_KEYPOINTS))
        in_object = self.poses.object_from_cam(palm.flatten(0, 1), frame).view(palm.shape)
        return in_object * self.poses.object_radius_m

    def _prior(self, hand: SkinnedHand) -> Float[Tensor, ""]:
        """Mean squares of how far poses went and how much they shake, in allowed deviations; shape as N(0, 1).

        Masks tell depth badly, and each of hand and object alone; the grasp keeps them together. A grasp found a
        little wrong is wrong in all frames alike, so it may move as a whole more easily than in single frames.
        """
        s, poses = self.settings, self.poses
        grasp_moved = self._grasp_m(hand) - self.first_grasp_m
        together = grasp_moved.mean(0)
        apart = (grasp_moved - together) / s.stay_grasp_m
        together = together / s.stay_grasp_together_m
        parts = [poses.hand_shape.square().mean(), apart.square().mean(), together.square().mean()]
        for name, stay, jitter in (
            ("hand_wrist", s.stay_turn_rad, s.jitter_turn_rad),
            ("hand_fingers", s.stay_turn_rad, s.jitter_turn_rad),
            ("hand_translation_m", s.stay_shift_m, s.jitter_shift_m),
            ("object_rotvec", s.stay_turn_rad, s.jitter_turn_rad),
            ("object_place_m", s.stay_shift_m, s.jitter_shift_m),
        ):
            moved = getattr(poses, name) - self.start[name]
            parts.append((moved / stay).square().mean())
            if len(moved) > 2:
                parts.append((moved.diff(n=2, dim=0) / jitter).square().mean())
        return torch.stack(parts).sum()


def _mask_error(
    soft: Float[Tensor, "frames rows columns"],
    wanted: Bool[Tensor, "frames rows columns"],
    counted: Bool[Tensor, "frames rows columns"],
) -> Float[Tensor, ""]:
    """|soft - wanted| over the counted pixels, relative to the wanted area."""
    return ((soft - wanted.float()).abs() * counted).sum() / (wanted & counted).sum().clamp_min(1)
