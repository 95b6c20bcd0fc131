"""Phases 1 and 3: fields and poses trained together on random rays of the whole video, from coarse grids to fine."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.hand.mano import HandModel
from handloom.reconstruction.compact.classes import HAND, OBJECT
from handloom.reconstruction.compact.fields import VoxelField
from handloom.reconstruction.compact.hand_template import HandTemplate
from handloom.reconstruction.compact.losses import Losses, losses
from handloom.reconstruction.compact.observations import Observations
from handloom.reconstruction.compact.point_hull import near_points
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.compact.renderer import CompactScene
from handloom.reconstruction.compact.scene_poses import ObjectCube, PoseArrays, ScenePoses
from handloom.reconstruction.compact.visual_hull import hull_distance, hull_nodes, label_counts
from handloom.reconstruction.compact.voxels import node_points, refined
from handloom.reconstruction.memory_parts import halved, within_memory
from handloom.runtime.config.compact import CompactPhaseSettings, CompactSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import torch_generator

HULL_CELLS = 48
_MOVE_HANDS_STEPS = 25
_CHUNK = 60_000


@dataclass
class CompactTraining:
    """One phase: the scene, its optimiser and how far it is. `state` and `restore` make it resumable."""

    observations: Observations
    scene: CompactScene
    template: HandTemplate
    settings: CompactSettings
    phase: CompactPhaseSettings
    seed: int
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimiser = self._new_optimiser()
        self._since: list[dict[str, float]] = []

    @classmethod
    def start(
        cls,
        observations: Observations,
        model: HandModel,
        poses: PoseArrays,
        cube: ObjectCube,
        settings: CompactSettings,
        phase: CompactPhaseSettings,
        *,
        template: HandTemplate,
        seed: int,
        points_unit: Float[Tensor, "points 3"] | None = None,
        device: torch.device | str = "cpu",
    ) -> "CompactTraining":
        """A new phase on `device`: the object starts as its visual hull, the hand as its template.

        Whatever is random or done once is done on the CPU, so that all devices start alike.
        """
        scene_poses = ScenePoses(model, poses, cube)
        with torch.no_grad():
            vertices = scene_poses.hand().vertices_m
        hands = PosedHands(model, vertices)
        hull = object_hull(observations, scene_poses, hands)
        if points_unit is not None and settings.points_reach is not None:
            hull = within_points(hull, scene_poses, points_unit, settings.points_reach)
        generator = torch_generator(seed, "fields")
        sizes: dict[str, Any] = {
            "feature_cells": settings.feature_cells,
            "features": settings.features,
            "hidden": settings.hidden,
            "frames": len(observations.image_u8),
            "code_size": settings.code_size,
            "generator": generator,
        }
        fields = VoxelField(refined(hull, phase.cells[0]), **sizes), VoxelField(template.distance_m, **sizes)
        template = template.to(device)
        scene = CompactScene(
            ScenePoses(model, poses.to(device), cube),
            fields[0].to(device),
            fields[1].to(device),
            template.centre_m,
            template.radius_m,
            PosedHands(model, vertices.to(device)),
            settings,
        )
        return cls(observations.to(device), scene, template, settings, phase, seed)

    @property
    def done(self) -> float:
        """Share of the phase that is behind, 0 to 1."""
        return self.step / self.phase.steps

    @property
    def beta_m(self) -> float:
        """Blur of the surfaces now: from the first to the last value at a constant rate per step."""
        first, last = self.settings.first_beta_m, self.settings.last_beta_m
        return first * (last / first) ** self.done

    def run_step(self) -> Losses:
        """One optimiser step on new random rays.

        A step for which the device has no memory is done again with the fields evaluated in twice as many parts, for
        the same result; so are all steps after it. Raises InputError when the loss is no number any more, and when
        memory does not suffice for the smallest part.
        """
        self._refine_when_due()
        if self.step % _MOVE_HANDS_STEPS == 0:
            self._move_hands()
        terms = within_memory(self._differentiated, self._take_smaller_parts)
        self._set_rates()
        self.optimiser.step()
        self.step += 1
        return terms

    def _differentiated(self) -> Losses:
        """The losses of the step, with their derivative in the parameters."""
        self._forget_derivatives()
        terms = self._losses()
        if not bool(terms.total.isfinite()):
            raise self._diverged(f"the loss is {float(terms.total.detach())}")
        terms.total.backward()
        return terms

    def _forget_derivatives(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.scene.poses.zero_grad(set_to_none=True)  # also of what only phase 2 moves

    def _losses(self) -> Losses:
        settings, scene = self.settings, self.scene
        generator = torch_generator(self.seed, "rays", self.step)
        batch = self.observations.draw(settings.rays, settings.object_ray_share, settings.hand_ray_share, generator)
        # Where the hand's pose is wrong, a pixel of the hand would eat away the object that the hand should hide.
        given = batch.kind == HAND
        rendered = scene.render(batch.directions, batch.frame, batch.background, self.beta_m, generator, given)
        # What the losses make without saying where is made where the rays are.
        with batch.colour.device:
            return losses(
                batch,
                rendered,
                scene.object_field.distance,
                scene.poses.object_radius_m.detach(),
                scene.hand_field.distance,
                self.template.distance_m,
                settings,
                self.done,
            )

    def _take_smaller_parts(self) -> None:
        self._forget_derivatives()
        to_lower = "hold.compact.rays, object_samples, hand_samples or the phases' cells"
        device = self.observations.image_u8.device
        self.scene.chunks = halved(self.scene.chunks, self.settings.rays, device, self.step, to_lower)

    def note(self, terms: Losses) -> None:
        """Add a row to the history."""
        row = {"step": float(self.step), "total": float(terms.total.detach()), "beta_m": self.beta_m}
        self.history.append(row | {name: float(value.detach()) for name, value in vars(terms).items()})

    def field_state(self) -> dict[str, Tensor]:
        """The fields' tensors under the names object.* and hand.*."""
        parts = {"object": self.scene.object_field, "hand": self.scene.hand_field}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "step": self.step,
            "history": self.history,
            "fields": self.field_state(),
            "poses": self.scene.poses.state_dict(),
            "hands_at": self.scene.hands.vertices,
            "chunks": self.scene.chunks,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        scene, device = self.scene, self.observations.image_u8.device
        self.step, self.history, scene.chunks = state["step"], state["history"], state["chunks"]
        for name, part in (("object", scene.object_field), ("hand", scene.hand_field)):
            tensors = {key.removeprefix(f"{name}."): v for key, v in state["fields"].items() if key.startswith(name)}
            part.distance = torch.nn.Parameter(torch.empty_like(tensors["distance"], device=device))
            part.load_state_dict(tensors)
        scene.poses.load_state_dict(state["poses"])
        scene.hands = PosedHands(scene.poses.model, state["hands_at"].to(device))
        self.optimiser = self._new_optimiser()
        self.optimiser.load_state_dict(state["optimiser"])

    def _move_hands(self) -> None:
        # Seen here, since the search for neighbours takes numbers only.
        bad = [name for name, value in self.scene.poses.named_parameters() if not bool(value.isfinite().all())]
        if bad:
            raise self._diverged(f"{', '.join(bad)} hold NaN")
        self.scene.move_hands()

    def _diverged(self, found: str) -> InputError:
        return InputError(f"{found} at step {self.step}: the training diverged; lower hold.compact.*_rate")

    def _refine_when_due(self) -> None:
        """The coarser grids of `phase.cells` share the first two thirds of the steps, the last one has the rest."""
        stages = self.phase.cells
        share = 0.67 / max(1, len(stages) - 1)
        stage = min(int(self.done / share), len(stages) - 1) if len(stages) > 1 else 0
        if self.scene.object_field.distance.shape[-1] != stages[stage]:
            self.scene.object_field.refine(stages[stage])
            self.optimiser = self._new_optimiser()

    def _new_optimiser(self) -> torch.optim.Adam:
        scene, s = self.scene, self.settings
        poses = scene.poses
        groups: list[dict[str, Any]] = []
        for part in (scene.object_field, scene.hand_field):
            groups += [
                {"params": [part.distance], "rate": s.distance_rate},
                {"params": [part.features], "rate": s.feature_rate},
                {"params": [part.codes, *part.layers.parameters()], "rate": s.network_rate},
            ]
        moving = [poses.hand_wrist, poses.hand_fingers, poses.hand_translation_m]
        moving += [poses.object_rotvec, poses.object_place_m]
        groups.append({"params": moving, "rate": s.pose_rate})
        return torch.optim.Adam([{**group, "lr": group["rate"]} for group in groups], eps=1e-10)

    def _set_rates(self) -> None:
        floor = self.settings.last_rate_share
        factor = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor


def within_points(hull: Tensor, poses: ScenePoses, points_unit: Float[Tensor, "points 3"], reach: float) -> Tensor:
    """The hull's signed distance, cut off where it exceeds the SfM points by `reach` of the object's cube."""
    near = near_points(node_points(HULL_CELLS), points_unit, reach).view(HULL_CELLS, HULL_CELLS, HULL_CELLS)
    inside = ((hull[0] < 0) & near).numpy()
    spacing = 2 * float(poses.object_radius_m.detach()) / (HULL_CELLS - 1)
    return torch.from_numpy(hull_distance(inside, spacing).astype(np.float32))[None]


def object_hull(observations: Observations, poses: ScenePoses, hands: PosedHands) -> Tensor:
    """The visual hull's signed distance (metres) on the object's cube, the posed hand taken away.

    A frame whose mask has lost the object says nothing about its shape.
    """
    points = node_points(HULL_CELLS)
    shown = (observations.class_u8 == OBJECT).flatten(1).any(1)
    frames = len(observations.image_u8)
    inside_hand = torch.zeros(len(points))
    every = torch.arange(0, frames, max(1, frames // 12))
    with torch.no_grad():
        cam = poses.object_to_cam(points)
        seen_cam, class_u8 = cam[shown], observations.class_u8[shown]
        counts = torch.cat(
            [
                label_counts(seen_cam[:, first : first + _CHUNK], class_u8, observations.intrinsics)
                for first in range(0, len(points), _CHUNK)
            ]
        )
        nodes = hull_nodes(counts)
        chosen = nodes.nonzero()[:, 0]
        for frame in every.tolist():
            owner = torch.full((len(chosen),), frame)
            inside_hand[chosen] += hands.distance_m(cam[frame, chosen], owner) < 0
        nodes &= inside_hand < 0.5 * len(every)
        spacing = 2 * float(poses.object_radius_m) / (HULL_CELLS - 1)
    inside = nodes.view(HULL_CELLS, HULL_CELLS, HULL_CELLS).numpy()
    return torch.from_numpy(hull_distance(inside, spacing).astype(np.float32))[None]
