"""HOLD-Net: a node each for hands and object, fields in canonical space with their way into the scene, and background.

HOLD's code/src/hold/hold_net.py and code/src/model/renderables/.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.geometry.neighbours import NeighbourSearch
from handloom.hand.joints import Side
from handloom.hand.mano import HandModel
from handloom.reconstruction.field_evaluation import in_chunks
from handloom.reconstruction.holdnet.canonical_space import (
    Deformer,
    HandDeformer,
    ObjectDeformer,
    PosedHand,
    object_transforms,
    pose_hand,
    rest_vertices_m,
    world_normals,
)
from handloom.reconstruction.holdnet.checkpoint import HandServer, ObjectServer
from handloom.reconstruction.holdnet.networks import (
    POSE_WIDTH,
    BarfEncoding,
    ImplicitNetwork,
    RenderingNetwork,
    half_precision,
    hand_shape_network,
    object_shape_network,
)
from handloom.reconstruction.holdnet.rays import LEFT, OBJECT, RIGHT, sphere_exit
from handloom.reconstruction.holdnet.rendering import (
    Background,
    Composite,
    RaySamples,
    Rendering,
    compose,
    frame_codes,
    merge_samples,
    one_hot_class,
    render_alone,
    render_samples,
)
from handloom.reconstruction.holdnet.sampler import LaplaceDensity, error_bounded_depths
from handloom.runtime.config.fields import HoldNetSettings

POSE_FREE_EPOCHS = 20
"""Training epochs in which the hand's colour network sees a zero pose: mano_node.py."""
_HAND_ORDER: tuple[Side, ...] = ("right", "left")


class SceneRays(NamedTuple):
    """Rays of a few images, in the scaled world."""

    frame: Int[Tensor, " image"]
    """Index of each image's pose and codes."""
    origins: Float[Tensor, "image 3"]
    directions: Float[Tensor, "image ray 3"]
    """Unit length."""
    scene_scale: Float[Tensor, " image"]
    """Scaled world per metre."""


class NodeSamples(NamedTuple):
    """A node's field along rays, image after image, and where in its canonical space the samples are."""

    samples: RaySamples
    points_canonical: Float[Tensor, "ray sample 3"]


Conditions = tuple[Float[Tensor, "image pose"] | None, Float[Tensor, "image code"] | None]
"""What the colours of an image depend on, where a node has it: the pose, a frame's code."""


class Node(nn.Module, ABC):
    """What hand and object share; subclasses say how points reach canonical space and what colours depend on."""

    semantic_class: int

    def __init__(self, settings: HoldNetSettings, shape: ImplicitNetwork, colour: RenderingNetwork) -> None:
        super().__init__()
        self.settings = settings
        self.implicit_network, self.rendering_network, self.density = shape, colour, LaplaceDensity()

    @abstractmethod
    def deformer(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> Deformer:
        """The node's maps between canonical space and the scaled world in the poses of these frames."""

    @abstractmethod
    def colour_conditions(self, frame: Int[Tensor, " image"], *, with_pose: bool) -> Conditions:
        """The conditions of each image for the colour network."""

    def sampled(
        self,
        rays: SceneRays,
        far: Float[Tensor, "image ray"],
        generator: torch.Generator | None = None,
        *,
        with_pose: bool = True,
        chunks: int = 1,
        half_colours: bool = False,
    ) -> NodeSamples:
        """Sample the rays where the node needs it and evaluate its field there.

        Normals, in the scaled world, are normalise(grad sdf J^-1) with the Jacobian J of canonical to world. With a
        generator for training: random samples, and everything can be differentiated again.
        """
        images, count = rays.directions.shape[:2]
        deformer = self.deformer(rays.frame, rays.scene_scale)
        training = generator is not None

        def canonical(depths: Tensor, directions: Tensor) -> Tensor:
            """Canonical points (image, ray and sample, 3) at depths (image, ray, sample)."""
            along = depths[..., None] * directions[:, :, None]
            return deformer.to_canonical((rays.origins[:, None, None] + along).flatten(1, 2))

        def distances(depths: Tensor, directions: Tensor) -> tuple[Tensor]:
            return (self.implicit_network.distance(canonical(depths, directions)).reshape(depths.shape),)

        def distance_at(depths: Tensor) -> Tensor:
            by_image = depths.unflatten(0, (images, count))
            return in_chunks(distances, chunks, by_image, rays.directions, dim=1)[0].flatten(0, 1)

        pose, code = self.colour_conditions(rays.frame, with_pose=with_pose)

        def evaluated(depths: Tensor, directions: Tensor) -> tuple[Tensor, ...]:
            """Canonical points, distances, normals and colours."""
            points = canonical(depths, directions)
            field = self.implicit_network.with_gradient(points, differentiable=training)
            normals = world_normals(field.gradient, deformer.jacobian(points))
            with half_precision(depths.device, half_colours):
                colour = self.rendering_network(
                    points,
                    normals,
                    None if pose is None else pose[:, None],
                    field.feature,
                    None if code is None else code[:, None],
                )
            shape = depths.shape
            vectors = [values.reshape(*shape, 3) for values in (points, normals, colour.float())]
            return vectors[0], field.sdf.reshape(shape), vectors[1], vectors[2]

        sampling = error_bounded_depths(
            distance_at, self.density.scale().detach(), far.flatten(), self.settings.sampler, generator
        )
        depths = sampling.depths
        found = in_chunks(evaluated, chunks, depths.unflatten(0, (images, count)), rays.directions, dim=1)
        points, sdf, normal, colour = (values.flatten(0, 1) for values in found)
        semantics = one_hot_class(self.semantic_class, depths)
        return NodeSamples(RaySamples(colour, normal, self.density(sdf), semantics, depths), points)


class HandNode(Node):
    """A hand: field in the space of the flat hand in metres, learnable pose per frame, one learnable shape."""

    canonical_shape: Float[Tensor, " shape"]

    def __init__(
        self,
        settings: HoldNetSettings,
        model: HandModel,
        *,
        frames: int,
        canonical_shape: Float[Tensor, " shape"],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            settings,
            hand_shape_network(settings.sdf, generator),
            RenderingNetwork(
                settings.colour, features=settings.sdf.features, pose_width=POSE_WIDTH, generator=generator
            ),
        )
        self.semantic_class = RIGHT if model.side == "right" else LEFT
        self.server = HandServer(model)
        self.params = nn.ModuleDict(
            {
                "betas": nn.Embedding.from_pretrained(canonical_shape[None].clone(), freeze=False),
                "global_orient": _per_frame(frames, 3),
                "transl": _per_frame(frames, 3),
                "pose": _per_frame(frames, POSE_WIDTH),
            }
        )
        # Not in checkpoints: the shape that the build folder gives, whatever the learnt one becomes.
        self.register_buffer("canonical_shape", canonical_shape.clone(), persistent=False)
        self._canonical: NeighbourSearch | None = None  # over the hand at rest, as long as nothing is loaded or moved
        self.register_load_state_dict_post_hook(lambda node, _: node._forget_canonical())

    def posed(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> PosedHand:
        """The hand model in the learnt poses; they are relative to the mean pose."""
        model = self.server.hand_model()
        pose = torch.cat([self.params["global_orient"](frame), self.params["pose"](frame) + model.hands_mean], dim=1)
        return pose_hand(
            model,
            pose_rotvec=pose.unflatten(1, (16, 3)),
            shape=self.params["betas"](torch.zeros_like(frame)),
            translation_m=self.params["transl"](frame),
            scene_scale=scene_scale,
        )

    def deformer(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> Deformer:
        """See `Node.deformer`."""
        model = self.server.hand_model()
        if self._canonical is None:
            self._canonical = NeighbourSearch(rest_vertices_m(model, self.canonical_shape)[None])
        return HandDeformer(self._canonical, model.weights, self.posed(frame, scene_scale))

    def colour_conditions(self, frame: Int[Tensor, " image"], *, with_pose: bool) -> Conditions:
        """Finger pose relative to the mean, over pi; zeros without pose."""
        pose = self.params["pose"](frame) / math.pi
        return (pose if with_pose else torch.zeros_like(pose)), None

    def _forget_canonical(self) -> None:
        self._canonical = None

    def _apply(self, *args: object, **kwargs: object) -> "HandNode":
        self._forget_canonical()
        return super()._apply(*args, **kwargs)


class ObjectNode(Node):
    """The object: field in the unit sphere of its SfM points, learnable rigid pose and colour code per frame."""

    semantic_class = OBJECT

    def __init__(
        self,
        settings: HoldNetSettings,
        server: ObjectServer,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> None:
        shape = object_shape_network(settings.sdf, settings.barf, generator)
        colour = RenderingNetwork(
            settings.colour,
            features=settings.sdf.features,
            pose_width=0,
            frame_code=settings.frame_code,
            generator=generator,
        )
        super().__init__(settings, shape, colour)
        self.server = server
        self.params = nn.ModuleDict({"global_orient": _per_frame(frames, 3), "transl": _per_frame(frames, 3)})
        self.frame_latent_encoder = frame_codes(frames, settings.frame_code, generator)

    @property
    def encoding(self) -> BarfEncoding:
        """The encoding of points, which opens over the training."""
        encoding = self.implicit_network.embedder_obj
        assert isinstance(encoding, BarfEncoding)
        return encoding

    def deformer(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> Deformer:
        """See `Node.deformer`."""
        return ObjectDeformer(
            object_transforms(
                rotvec=self.params["global_orient"](frame),
                translation_m=self.params["transl"](frame),
                object_scale=self.server.scale,
                normalised_from_sfm=self.server.normalised_from_sfm,
                scene_scale=scene_scale,
            )
        )

    def colour_conditions(self, frame: Int[Tensor, " image"], *, with_pose: bool) -> Conditions:
        """No pose; the code of the frame."""
        return None, self.frame_latent_encoder(frame)


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
    leading `model.`.
    """

    chunks: int
    """In how many chunks rays are evaluated; more than one need less memory and more time, for the same result."""
    half_precision: bool
    """Colours and background in bfloat16; distances never are."""

    def __init__(
        self,
        settings: HoldNetSettings,
        *,
        hands: Mapping[Side, HandModel],
        hand_shapes: Mapping[Side, Float[Tensor, " shape"]],
        object_server: ObjectServer,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.chunks, self.half_precision = 1, False
        nodes: dict[str, Node] = {
            side: HandNode(settings, hands[side], frames=frames, canonical_shape=hand_shapes[side], generator=generator)
            for side in _HAND_ORDER
            if side in hands
        }
        nodes["object"] = ObjectNode(settings, object_server, frames=frames, generator=generator)
        self.nodes = nn.ModuleDict(nodes)
        self.background = Background(
            settings.background, frames=frames, frame_code=settings.frame_code, generator=generator
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

    def forward(
        self, rays: SceneRays, generator: torch.Generator | None = None, *, epoch: int | None = None
    ) -> SceneRendering:
        """Render rays of a few images.

        In training mode the generator is needed: samples are random, the object's encoding counts a step, hands see
        their pose from epoch 20 on, and all can be differentiated, normals included. In evaluation mode nothing is
        random. Raises ValueError when a generator is given in evaluation mode, or none in training, InputError when a
        camera is outside the scene's sphere.
        """
        if self.training != (generator is not None):
            raise ValueError("a generator goes with training mode, and no generator with evaluation mode")
        if self.training:
            self.object_node.encoding.advance()
        with_pose = not self.training or epoch is None or epoch >= POSE_FREE_EPOCHS
        count = rays.directions.shape[1]
        origins = rays.origins[:, None].expand(-1, count, -1)
        far = sphere_exit(origins, rays.directions)
        nodes: dict[str, NodeSamples] = {}
        for name, node in self.nodes.items():
            assert isinstance(node, Node)
            nodes[name] = node.sampled(
                rays, far, generator, with_pose=with_pose, chunks=self.chunks, half_colours=self.half_precision
            )
        background_colour = self.background(
            origins.flatten(0, 1),
            rays.directions.flatten(0, 1),
            rays.frame.repeat_interleave(count),
            generator,
            chunks=self.chunks,
            half=self.half_precision,
        )
        foreground = render_samples(*merge_samples([node.samples for node in nodes.values()]))
        return SceneRendering(
            composite=compose(foreground, background_colour),
            foreground=foreground,
            background_colour=background_colour,
            alone={name: render_alone(node.samples) for name, node in nodes.items()},
            nodes=nodes,
        )


def _per_frame(frames: int, width: int) -> nn.Embedding:
    """Learnable values per frame, zero until poses are loaded."""
    return nn.Embedding.from_pretrained(torch.zeros(frames, width), freeze=False)
