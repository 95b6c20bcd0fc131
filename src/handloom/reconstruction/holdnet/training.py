"""Phases 1 and 3 of HOLD-Net: networks and poses trained together on rays of pairs of frames.

HOLD's code/src/hold/hold.py and code/train.py.
"""

import sys
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from handloom.datasets.masks import MASK_LABELS
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.build_folder import BuildScene, read_pictures
from handloom.reconstruction.field_evaluation import halved, within_memory
from handloom.reconstruction.holdnet.canonical_targets import MESH_MARGIN, CanonicalTargets, object_mesh
from handloom.reconstruction.holdnet.losses import HoldLoss, NodeRays, hold_loss
from handloom.reconstruction.holdnet.model import HoldNet, SceneRays
from handloom.reconstruction.holdnet.rays import (
    LEFT,
    OBJECT,
    RIGHT,
    frame_pairs,
    rays_through_pixels,
    sample_bilinear,
    sample_classes,
    sample_classes_nearest,
    sample_pixels,
)
from handloom.reconstruction.observations import require_seen
from handloom.reconstruction.phase_run import Preview
from handloom.runtime.config.fields import HoldNetTrainingSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import torch_generator

LARGEST_GRADIENT = 0.5
"""Gradients are shortened to this norm: `gradient_clip_val` in train.py."""
_MOST_SKIPPED = 10
"""So many steps in a row without a finite gradient, and the training has diverged."""


@dataclass(frozen=True)
class Video:
    """A whole video in memory, and its cameras in the scaled world."""

    image_u8: UInt8[Tensor, "frames rows columns 3"]
    label_u8: UInt8[Tensor, "frames rows columns"]
    intrinsics: Float[Tensor, "frames 3 3"]
    world_from_cam: Float[Tensor, "frames 4 4"]

    @classmethod
    def of(cls, scene: BuildScene, side: Side) -> "Video":
        """Read the pictures; raises InputError when the object or the hand is in no frame."""
        images, labels = (torch.from_numpy(pictures) for pictures in read_pictures(scene))
        video = cls(images, labels, scene.cameras.intrinsics.float(), scene.cameras.world_from_cam.float())
        require_seen(video.seen(side))
        return video

    def seen(self, side: Side) -> dict[str, Bool[Tensor, " frames"]]:
        """In which frames object and hand are."""
        hand = RIGHT if side == "right" else LEFT
        labels = {"object": MASK_LABELS[OBJECT], "hand": MASK_LABELS[hand]}
        return {name: (self.label_u8 == label).flatten(1).any(1) for name, label in labels.items()}

    def to(self, device: torch.device | str) -> "Video":
        """The same video on another device."""
        return Video(*(getattr(self, part.name).to(device) for part in fields(self)))


@dataclass
class HoldNetTraining:
    """One phase: the network, its optimiser and how far it is. `state` and `restore` make it resumable."""

    scene: BuildScene
    model: HandModel
    video: Video
    net: HoldNet
    settings: HoldNetTrainingSettings
    seed: int
    chunks: int = 1
    """In how many chunks rays are evaluated at first: see `HoldNet`."""
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    skipped: int = 0
    """Steps whose gradient was not finite, so that nothing moved."""

    def __post_init__(self) -> None:
        self.net.train()
        self.net.chunks = self.chunks
        self.net.half_precision = self.settings.precision == "bfloat16"
        # Of the build folder's shape, whatever the learnt one becomes, as canonical space is.
        self.targets = CanonicalTargets(self.model, self.scene.hands[self.model.side].shape.float())
        self.optimiser = self._new_optimiser()
        self._skipped_in_a_row = 0
        self._counted = self.net.object_node.encoding.alpha_iter.clone()
        self._pairs: tuple[int, list[Tensor]] | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.video.image_u8.device

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.step // self.settings.steps_per_epoch

    def run_step(self) -> HoldLoss:
        """One optimiser step on new random rays.

        In smaller chunks where memory does not suffice. Raises InputError when ten gradients in a row are no numbers,
        or the device has no memory for the smallest chunk.
        """
        settings = self.settings
        # The released code lets the first steps pass without one.
        first = self.step == 0 and settings.fidelity == "fixed"
        if first or _is_due(self.step, settings.hand_refresh_steps):
            self._refresh_hand()
        self._counted = self.net.object_node.encoding.alpha_iter.clone()
        loss = within_memory(self._differentiated, self._take_smaller_chunks)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT)
        if bool(norm.isfinite()):
            self.optimiser.step()
            self._skipped_in_a_row = 0
        else:
            self._skip(loss)
        epoch = self.epoch
        self.step += 1
        if self.epoch > epoch and _is_due(epoch, settings.meshing_epochs):
            self._mesh_object()
        return loss

    def note(self, terms: HoldLoss) -> None:
        """Add a row to the history; a term that is off counts 0."""
        row = {"step": float(self.step), "total": float(terms.total.detach())}
        weighted = {name: value.detach() for name, value in terms.terms().items()}
        for name in ("rgb", "sem", "opacity_sparse", "mano_cano", "eikonal"):
            row[name] = float(weighted.get(name, 0.0))
        for name, node in (("hand", self.net.hand_node(self.model.side)), ("object", self.net.object_node)):
            row[f"{name}_beta"] = float(node.density.scale().detach())
        self.history.append(row | {"dropped_rays": terms.dropped_rays, "skipped_steps": self.skipped})

    @property
    def video_size(self) -> torch.Size:
        """Frames, height and width."""
        return self.video.label_u8.shape

    @torch.no_grad()
    def view(self, frame: int, pixels: Int[Tensor, "pixels 2"]) -> Preview:
        """What pixels (column, row) of a frame show, and what the net, in evaluation mode, renders there."""
        self.net.eval()
        own = torch.tensor([frame], device=self.device)
        pixels = pixels.to(self.device)
        seen = []
        for some in pixels.float()[None].split(max(1, self.settings.rays_per_step // self.net.chunks), dim=1):
            seen.append(self.net(self._rays(own, some)).composite)
        self.net.train()
        photograph = self.video.image_u8[frame, pixels[:, 1], pixels[:, 0]].float() / 255
        return Preview(photograph, *(torch.cat(values) for values in zip(*seen, strict=True)))

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "step": self.step,
            "history": self.history,
            "skipped": (self.skipped, self._skipped_in_a_row),
            "net": self.net.state_dict(),
            "chunks": self.net.chunks,
            "targets": self.targets.state(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.step, self.history = state["step"], state["history"]
        self.skipped, self._skipped_in_a_row = state["skipped"]
        self.net.load_state_dict(state["net"])
        self.net.chunks = max(state["chunks"], self.chunks)
        self.targets.restore(state["targets"])
        self.optimiser = self._new_optimiser()
        self.optimiser.load_state_dict(state["optimiser"])

    def frames(self) -> Int[Tensor, " image"]:
        """The frames of this step, neighbours in pairs."""
        if self._pairs is None or self._pairs[0] != self.epoch:
            settings = self.settings
            drawn = frame_pairs(
                self.scene.frame_count,
                items=settings.pairs_per_epoch,
                batch=settings.pairs,
                generator=torch_generator(self.seed, "pairs", self.epoch),
            )
            self._pairs = self.epoch, list(drawn)
        return self._pairs[1][self.step % self.settings.steps_per_epoch]

    def _differentiated(self) -> HoldLoss:
        """The losses of the step, with their derivative in the parameters."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._losses()
        loss.total.backward()
        return loss

    def _losses(self) -> HoldLoss:
        settings, video = self.settings, self.video
        generator = torch_generator(self.seed, "rays", self.step)
        frame = self.frames().to(self.device)
        images, masks = video.image_u8[frame].float() / 255, video.label_u8[frame].float()
        pixels = sample_pixels(masks, settings.rays, generator=generator)
        rendered = self.net(self._rays(frame, pixels), generator, epoch=self.epoch)
        classes = sample_classes if settings.fidelity == "faithful" else sample_classes_nearest
        nodes = {
            name: NodeRays(
                alone.mask_probability,
                self.targets.off_surface(name, rendered.nodes[name].points_canonical),
                self.targets.eikonal_gradient(self.net, name, len(frame), generator),
            )
            for name, alone in rendered.alone.items()
        }
        return hold_loss(
            step=self.step,
            rgb=rendered.composite.colour,
            rgb_true=sample_bilinear(images, pixels).flatten(0, 1),
            semantics=rendered.composite.semantics,
            classes=classes(masks, pixels).flatten(),
            nodes=nodes,
            hand_shape=self.targets.hand_shape(self.net, len(frame), generator),
            fidelity=settings.fidelity,
        )

    def _rays(self, frame: Int[Tensor, " image"], pixels: Float[Tensor, "image ray 2"]) -> SceneRays:
        video = self.video
        origins, directions = rays_through_pixels(pixels, video.intrinsics[frame], video.world_from_cam[frame])
        return SceneRays(frame, origins, directions, self._scene_scale(len(frame)))

    def _scene_scale(self, images: int) -> Tensor:
        return torch.full((images,), self.scene.placement.scene_scale, device=self.device)

    def _take_smaller_chunks(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        # The failed try has counted a step of the encoding.
        self.net.object_node.encoding.alpha_iter.copy_(self._counted)
        to_lower = "hold.holdnet.pairs, rays or the samples of hold.holdnet.network.sampler"
        self.net.chunks = halved(self.net.chunks, self.settings.rays_per_step, self.device, self.step, to_lower)

    def _skip(self, loss: HoldLoss) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        found = f"step {self.step}: the gradient is not finite (loss {float(loss.total.detach()):.4g})"
        if self._skipped_in_a_row >= _MOST_SKIPPED:
            raise InputError(
                f"{found}, for the {_MOST_SKIPPED}th time in a row: the training diverged; lower "
                "hold.holdnet.network_rate and pose_rate, or set hold.holdnet.fidelity: fixed"
            )
        print(f"{found}; nothing is changed by it", file=sys.stderr, flush=True)

    def _refresh_hand(self) -> None:
        """Take the hand at rest in the pose of the step's first image as the target of the hand's shape."""
        frame = self.frames()[:1].to(self.device)
        with torch.no_grad():
            posed = self.net.hand_node(self.model.side).posed(frame, self._scene_scale(1))
        self.targets.set_hand(posed.canonical_vertices_m[0])

    def _mesh_object(self) -> None:
        """Take the object's present mesh as its target; where there is no surface, keep the old one and say so."""
        try:
            mesh = object_mesh(self.net.object_node.implicit_network, self.settings.mesh_cells)
        except InputError:
            print(f"step {self.step}: the object's field has no surface yet", file=sys.stderr, flush=True)
            return
        self.targets.set_object(MESH_MARGIN * torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces))

    def _new_optimiser(self) -> torch.optim.Adam:
        poses: list[Tensor] = []
        others: list[Tensor] = []
        for name, value in self.net.named_parameters():
            if value.requires_grad:
                (poses if ".params." in name else others).append(value)
        groups = [
            {"params": others, "lr": self.settings.network_rate},
            {"params": poses, "lr": self.settings.pose_rate},
        ]
        return torch.optim.Adam(groups, eps=1e-8)


def _is_due(count: int, every: int) -> bool:
    """At `every` and its multiples, as in HOLD: not at the first step, nor after the first epoch."""
    return count > 0 and count % every == 0
