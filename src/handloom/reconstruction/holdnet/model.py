"""The whole of HOLD-Net: hands, object and background, rendered together (facts 2)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.holdnet.background import Background
from handloom.reconstruction.holdnet.compositing import (
    Composite,
    Rendering,
    compose,
    merge_samples,
    render_alone,
    render_samples,
)
from handloom.reconstruction.holdnet.node import HandNode, Node, NodeSamples, ObjectNode, SceneRays
from handloom.reconstruction.holdnet.rays import sphere_exit
from handloom.reconstruction.holdnet.servers import ObjectModel
from handloom.runtime.config.holdnet import HoldNetSettings

_HAND_ORDER: tuple[Side, ...] = ("right", "left")


class SceneRendering(NamedTuple):
    """What rays see, image after image: rows are image and ray."""

    composite: Composite
    foreground: Rendering
    background_colour: Float[Tensor, "ray 3"]
    alone: dict[str, Rendering]
    """Each node rendered without the others, by name."""
    nodes: dict[str, NodeSamples]


class HoldNet(nn.Module):
    """Fields of one or two hands, the object and the background of one video.

    Nodes are in the order right, left, object. The state dict has the names and shapes of a HOLD checkpoint without its
    leading `model.` (facts 2.6).
    """

    parts: int
    """In how many parts rays are evaluated; more than one need less memory and more time, for the same result."""
    half_precision: bool
    """Colours and background in bfloat16; distances never are."""

    def __init__(
        self,
        settings: HoldNetSettings,
        *,
        hands: Mapping[Side, HandModel],
        hand_shapes: Mapping[Side, Float[Tensor, " shape"]],
        object_model: ObjectModel,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.parts, self.half_precision = 1, False
        nodes: dict[str, Node] = {}
        for side in _HAND_ORDER:
            if side in hands:
                nodes[side] = HandNode(
                    settings, hands[side], frames=frames, canonical_shape=hand_shapes[side], generator=generator
                )
        nodes["object"] = ObjectNode(settings, object_model, frames=frames, generator=generator)
        self.nodes = nn.ModuleDict(nodes)
        self.background = Background(
            settings.background,
            frames=frames,
            frame_code=settings.frame_code,
            sphere_radius=settings.scene_radius,
            generator=generator,
        )

    @property
    def object_node(self) -> ObjectNode:
        """The object."""
        node = self.nodes["object"]
        assert isinstance(node, ObjectNode)
        return node

    def hand_node(self, side: Side) -> HandNode:
        """A hand; KeyError when the scene has none of that side."""
        node = self.nodes[side]
        assert isinstance(node, HandNode)
        return node

    @property
    def frames(self) -> int:
        """How many frames have poses and codes."""
        return self.background.frame_latent_encoder.num_embeddings

    def forward(
        self, rays: SceneRays, generator: torch.Generator | None = None, *, epoch: int | None = None
    ) -> SceneRendering:
        """Render rays of a few images (facts 2.3 and 2.4).

        In training mode the generator is needed: samples are random, the object's encoding counts a step, hands see
        their pose from epoch `pose_free_epochs` on, and all can be differentiated, normals included. In evaluation
        mode nothing is random. Raises ValueError when a generator is given in evaluation mode, or none in training,
        InputError when a camera is outside the scene's sphere.
        """
        if self.training != (generator is not None):
            raise ValueError("a generator goes with training mode, and no generator with evaluation mode")
        with_pose = not self.training or epoch is None or epoch >= self.settings.pose_free_epochs
        count = rays.directions.shape[1]
        origins = rays.origins[:, None].expand(-1, count, -1)
        far = sphere_exit(origins, rays.directions, self.settings.scene_radius)
        nodes: dict[str, NodeSamples] = {}
        for name, node in self.nodes.items():
            assert isinstance(node, Node)
            if self.training:
                node.advance()
            nodes[name] = node.sampled(
                rays, far, generator, with_pose=with_pose, parts=self.parts, half_colours=self.half_precision
            )
        background_colour = self.background(
            origins.flatten(0, 1),
            rays.directions.flatten(0, 1),
            rays.frame.repeat_interleave(count),
            generator,
            parts=self.parts,
            half=self.half_precision,
        )
        merged, end_depth = merge_samples([node.samples for node in nodes.values()])
        foreground = render_samples(merged, end_depth)
        return SceneRendering(
            composite=compose(foreground, background_colour),
            foreground=foreground,
            background_colour=background_colour,
            alone={name: render_alone(node.samples) for name, node in nodes.items()},
            nodes=nodes,
        )
