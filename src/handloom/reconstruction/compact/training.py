"""Phases 1 and 3: colours, the hand's field and poses trained together on random rays of the whole video.

The object's distances stay those of its shape (`reconstruction/shape/`): a step's rays hit a node once or not at all,
and steps along such noisy signs made every good shape worse.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.compact.fields import VoxelField
from handloom.reconstruction.compact.hand_template import HandTemplate
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.compact.volume_renderer import CompactScene, PosedField, Rendered
from handloom.reconstruction.field_evaluation import halved, within_memory
from handloom.reconstruction.observations import (
    CLASS_COUNT,
    CLASS_OF_SIDE,
    HAND,
    Observations,
    RayBatch,
    SceneInput,
)
from handloom.reconstruction.phase_run import Preview
from handloom.reconstruction.scene_poses import PosesByHand
from handloom.reconstruction.shape.object_shape import ObjectShape
from handloom.runtime.config.fields import CompactPhaseSettings, CompactSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import torch_generator

OBJECT_RAY_SHARE, HAND_RAY_SHARE = 0.45, 0.35
"""Of the rays, those in the boxes of object and hand (HOLD: 0.45 each); the rest is anywhere."""
FIRST_SEMANTIC_WEIGHT, LAST_SEMANTIC_WEIGHT = 1.1, 0.3
"""Of the classes' squared error, at the first and the last step; HOLD's falls from 1.1 to 0.1 in 30 000 steps."""
HAND_PRIOR_WEIGHT = 5.0
"""Of distances in centimetres."""
HAND_PRIOR_REACH_M = 0.01
"""Distances are compared up to here, as in HOLD's code/src/hold/loss_terms.py."""
LAST_RATE_SHARE = 0.1
"""Learning rates fall to this share along half a cosine."""
_VIEWED_AT_ONCE = 4096
"""Rays, in one chunk."""
_MOVE_HANDS_STEPS = 25
"""Between two snapshots of the posed hands: poses move by at most about a tenth of a millimetre a step."""


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one step."""

    colour: Float[Tensor, ""]
    semantic: Float[Tensor, ""]
    hand_prior: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """Their sum."""
        return self.colour + self.semantic + self.hand_prior


def counted_rays(batch: RayBatch, rendered: Rendered) -> Bool[Tensor, " rays"]:
    """Rays that the losses count: of a hand's label those near that hand.

    Others show a forearm, or a hand that is not reconstructed.
    """
    counted = batch.kind < HAND
    for side, hand in rendered.hands.items():
        near_hand = torch.zeros(len(batch.kind), dtype=torch.bool)
        near_hand[hand.ray] = True
        counted = counted | (near_hand & (batch.kind == CLASS_OF_SIDE[side]))
    return counted


def losses(
    batch: RayBatch,
    rendered: Rendered,
    hands: Iterable[tuple[Float[Tensor, "1 hand hand hand"], Float[Tensor, "1 hand hand hand"]]],
    done: float,
) -> Losses:
    """All terms at the share `done` (0 to 1) of the training; means over the counted rays.

    colour: sum over channels of |C - C*|; semantic: squared error of the classes' shares; hand prior: |d - d_template|,
    cut at 1 cm as the reference cuts it, summed over the hands (d, d_template).
    """
    counted = counted_rays(batch, rendered).float()
    rays = counted.sum().clamp_min(1.0)
    colour = ((rendered.colour - batch.colour).abs().sum(-1) * counted).sum() / rays
    wanted = functional.one_hot(batch.kind, CLASS_COUNT).float()
    semantic = ((rendered.semantics - wanted).square().sum(-1) * counted).sum() / rays
    weight = FIRST_SEMANTIC_WEIGHT + done * (LAST_SEMANTIC_WEIGHT - FIRST_SEMANTIC_WEIGHT)
    cut = HAND_PRIOR_REACH_M
    priors = [(found.clamp(-cut, cut) - given.clamp(-cut, cut)).abs().mean() / cut for found, given in hands]
    prior = torch.stack(priors).sum()
    return Losses(colour, weight * semantic, HAND_PRIOR_WEIGHT * prior)


@dataclass
class CompactTraining:
    """One phase: the scene, its optimiser and how far it is. `state` and `restore` make it resumable."""

    observations: Observations
    scene: CompactScene
    settings: CompactSettings
    phase: CompactPhaseSettings
    seed: int
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimiser = self._new_optimiser()

    @classmethod
    def start(
        cls,
        given: SceneInput,
        models: Mapping[Side, HandModel],
        templates: Mapping[Side, HandTemplate],
        shape: ObjectShape,
        settings: CompactSettings,
        phase: CompactPhaseSettings,
        seed: int,
        device: torch.device | str,
    ) -> "CompactTraining":
        """A new phase on `device`: the object is its shape, hands start as their templates.

        Whatever is random or done once is done on the CPU, so that all devices start alike.
        """
        observations, first = given.observations, PosesByHand(models, given.poses, given.cube)
        distance_m = shape.distance_m(float(first.object.object_radius_m.detach()))
        sizes = settings, len(observations.image_u8), torch_generator(seed, "fields")
        thing = VoxelField(distance_m, *sizes, fixed=True)
        poses = PosesByHand(models, given.poses, given.cube, device)
        poses.requires_grad_(settings.pose_rate > 0)
        hands = {}
        for side, model in models.items():
            field, template = VoxelField(templates[side].distance_m, *sizes), templates[side].to(device)
            with torch.no_grad():
                posed = PosedHands(model, first.of[side].hand().vertices_m.to(device))
            hands[side] = PosedField(poses.of[side], field.to(device), template, posed)
        scene = CompactScene(poses, thing.to(device), hands, settings)
        return cls(observations.to(device), scene, settings, phase, seed)

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

        In smaller chunks where memory does not suffice. Raises InputError when the loss is no number any more, or the
        device has no memory for the smallest chunk.
        """
        if self.step % _MOVE_HANDS_STEPS == 0:
            self._move_hands()
        terms = within_memory(self._differentiated, self._take_smaller_chunks)
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
        batch = self.observations.draw(settings.rays, OBJECT_RAY_SHARE, HAND_RAY_SHARE, generator)
        # Where the hand's pose is wrong, a pixel of the hand would eat away the object that the hand should hide.
        given = batch.kind >= HAND
        rendered = scene.render(batch.directions, batch.frame, batch.background, self.beta_m, generator, given)
        # What the losses make without saying where is made where the rays are.
        with batch.colour.device:
            return losses(
                batch,
                rendered,
                [(node.field.distance, node.template.distance_m) for node in scene.hands.values()],
                self.done,
            )

    def _take_smaller_chunks(self) -> None:
        self._forget_derivatives()
        to_lower = "hold.compact.rays, object_samples or hand_samples"
        device = self.observations.image_u8.device
        self.scene.chunks = halved(self.scene.chunks, self.settings.rays, device, self.step, to_lower)

    def note(self, terms: Losses) -> None:
        """Add a row to the history."""
        row = {"step": float(self.step), "total": float(terms.total.detach()), "beta_m": self.beta_m}
        self.history.append(row | {name: float(value.detach()) for name, value in vars(terms).items()})

    @property
    def video_size(self) -> torch.Size:
        """Frames, height and width."""
        return self.observations.class_u8.shape

    @torch.no_grad()
    def view(self, frame: int, pixels: Int[Tensor, "pixels 2"]) -> Preview:
        """What pixels (column, row) of a frame show, and what the fields, without random samples, render there."""
        observations, scene = self.observations, self.scene
        pixels = pixels.to(observations.image_u8.device)
        batch = observations.rays(torch.full((len(pixels),), frame, device=pixels.device), pixels)
        plate = observations.plate_u8[pixels[:, 1], pixels[:, 0]].float() / 255
        rays = max(1, _VIEWED_AT_ONCE // scene.chunks)
        parts = zip(batch.directions.split(rays), batch.frame.split(rays), plate.split(rays), strict=True)
        found = [scene.render(*part, self.beta_m) for part in parts]
        return Preview(batch.colour, torch.cat([f.colour for f in found]), torch.cat([f.semantics for f in found]))

    @property
    def _fields(self) -> dict[str, VoxelField]:
        return {"object": self.scene.object_field, **{side: node.field for side, node in self.scene.hands.items()}}

    def field_state(self) -> dict[str, Tensor]:
        """The fields' tensors under the names object.*, right.* and left.*."""
        return {f"{name}.{key}": v for name, each in self._fields.items() for key, v in each.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "step": self.step,
            "history": self.history,
            "fields": self.field_state(),
            "poses": self.scene.poses.state_dict(),
            "hands_at": {side: node.posed.vertices for side, node in self.scene.hands.items()},
            "chunks": self.scene.chunks,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        scene, device = self.scene, self.observations.image_u8.device
        self.step, self.history, scene.chunks = state["step"], state["history"], state["chunks"]
        for name, of_node in self._fields.items():
            tensors = {key.removeprefix(f"{name}."): v for key, v in state["fields"].items() if key.startswith(name)}
            of_node.load_state_dict(tensors)
        scene.poses.load_state_dict(state["poses"])
        for side, node in scene.hands.items():
            node.posed = PosedHands(node.poses.model, state["hands_at"][side].to(device))
        self.optimiser = self._new_optimiser()
        self.optimiser.load_state_dict(state["optimiser"])

    def _move_hands(self) -> None:
        # Seen here, since the search for neighbours takes numbers only.
        poses = self.scene.poses
        bad = [name for name, value in poses.named_parameters() if not bool(value.isfinite().all())]
        if bad:
            raise self._diverged(f"{', '.join(bad)} hold NaN")
        with torch.no_grad():
            for node in self.scene.hands.values():
                node.posed = PosedHands(node.poses.model, node.poses.hand().vertices_m)

    def _diverged(self, found: str) -> InputError:
        return InputError(f"{found} at step {self.step}: the training diverged; lower hold.compact.*_rate")

    def _new_optimiser(self) -> torch.optim.Adam:
        scene, s = self.scene, self.settings
        groups: list[dict[str, Any]] = []
        for each in self._fields.values():
            learnt = [each.distance] if each.distance.requires_grad else []
            groups += [
                {"params": learnt, "rate": s.distance_rate},
                {"params": [each.features], "rate": s.feature_rate},
                {"params": [each.codes, *each.layers.parameters()], "rate": s.network_rate},
            ]
        hands = [node.poses for node in scene.hands.values()]
        moving = [value for each in hands for value in (each.hand_wrist, each.hand_fingers, each.hand_translation_m)]
        moving += [hands[0].object_rotvec, hands[0].object_place_m]
        groups.append({"params": [each for each in moving if each.requires_grad], "rate": s.pose_rate})
        return torch.optim.Adam([{**group, "lr": group["rate"]} for group in groups], eps=1e-10)

    def _set_rates(self) -> None:
        factor = LAST_RATE_SHARE + (1 - LAST_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * self.done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["rate"] * factor
