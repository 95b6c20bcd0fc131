"""One entity of HOLD-Net, a hand or the object: its field in canonical space and its way into the scene (facts 2)."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from handloom.hand.mano import HandModel
from handloom.reconstruction.deformers import (
    Deformed,
    HandDeformer,
    ObjectDeformer,
    object_transforms,
    world_normals,
)
from handloom.reconstruction.hand_server import PosedHand, canonical_hand, pose_hand
from handloom.reconstruction.holdnet.background import frame_codes
from handloom.reconstruction.holdnet.compositing import (
    LEFT_CLASS,
    OBJECT_CLASS,
    RIGHT_CLASS,
    RaySamples,
    one_hot_class,
)
from handloom.reconstruction.holdnet.density import LaplaceDensity
from handloom.reconstruction.holdnet.embedding import BarfEncoding, FourierEncoding
from handloom.reconstruction.holdnet.implicit_network import ImplicitNetwork, start_as_sphere
from handloom.reconstruction.holdnet.layers import half_precision
from handloom.reconstruction.holdnet.rendering_network import RenderingNetwork
from handloom.reconstruction.holdnet.sampler import error_bounded_depths
from handloom.reconstruction.holdnet.servers import HandServer, ObjectModel, ObjectServer
from handloom.reconstruction.memory_parts import in_parts
from handloom.reconstruction.neighbours import NeighbourSearch
from handloom.runtime.config.holdnet import HoldNetSettings, SdfNetSettings

_POSE_WIDTH = 45


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
    sdf: Float[Tensor, "ray sample"]


class Node(nn.Module, ABC):
    """What hand and object share; subclasses say how points reach canonical space and what colours depend on."""

    semantic_class: int
    implicit_network: ImplicitNetwork
    rendering_network: RenderingNetwork
    density: LaplaceDensity

    def __init__(self, settings: HoldNetSettings) -> None:
        super().__init__()
        self.settings = settings

    @abstractmethod
    def placed(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> "Placement":
        """The node's maps between canonical space and the scaled world in the poses of these frames."""

    @abstractmethod
    def colour_conditions(
        self, frame: Int[Tensor, " image"], *, with_pose: bool
    ) -> tuple[Float[Tensor, "image pose"] | None, Float[Tensor, "image code"] | None]:
        """Pose and frame code of each image for the colour network, where the node has them."""

    def advance(self) -> None:
        """Count one training step."""

    def sampled(
        self,
        rays: SceneRays,
        far: Float[Tensor, "image ray"],
        generator: torch.Generator | None = None,
        *,
        with_pose: bool = True,
        parts: int = 1,
        half_colours: bool = False,
    ) -> NodeSamples:
        """Sample the rays where the node needs it and evaluate its field there (facts 2.2 and 2.3).

        Normals, in the scaled world, are normalise(grad sdf J^-1) with the Jacobian J of canonical to world; the field
        is evaluated once for value and gradient. With a generator for training: random samples, and everything can
        be differentiated again. More than one part of an image's rays at a time needs less memory and more time, for
        the same result. Colours may be computed in bfloat16.
        """
        images, count = rays.directions.shape[:2]
        placement = self.placed(rays.frame, rays.scene_scale)
        training = generator is not None

        def points_at(depths: Tensor, directions: Tensor) -> Tensor:
            """World points (image, ray and sample, 3) at depths (image, ray, sample)."""
            along = depths[..., None] * directions[:, :, None]
            return (rays.origins[:, None, None] + along).flatten(1, 2)

        def distances(depths: Tensor, directions: Tensor) -> tuple[Tensor]:
            canonical = placement.to_canonical(points_at(depths, directions)).points
            return (self.implicit_network.distance(canonical).reshape(depths.shape),)

        def distance_at(depths: Tensor) -> Tensor:
            by_image = depths.unflatten(0, (images, count))
            return in_parts(distances, parts, by_image, rays.directions, dim=1)[0].flatten(0, 1)

        pose, code = self.colour_conditions(rays.frame, with_pose=with_pose)

        def evaluated(depths: Tensor, directions: Tensor) -> tuple[Tensor, ...]:
            """Canonical points, distances, normals and colours."""
            inverse = placement.to_canonical(points_at(depths, directions))
            field = self.implicit_network.with_gradient(inverse.points, differentiable=training)
            normals = world_normals(field.gradient, placement.jacobian(inverse))
            with half_precision(depths.device, half_colours):
                colour = self.rendering_network(
                    inverse.points,
                    normals,
                    None if pose is None else pose[:, None],
                    field.feature,
                    None if code is None else code[:, None],
                )
            shape = depths.shape
            vectors = [values.reshape(*shape, 3) for values in (inverse.points, normals, colour.float())]
            return vectors[0], field.sdf.reshape(shape), vectors[1], vectors[2]

        sampling = error_bounded_depths(
            distance_at, self.density.scale().detach(), far.flatten(), self.settings.sampler, generator
        )
        depths = sampling.depths
        found = in_parts(evaluated, parts, depths.unflatten(0, (images, count)), rays.directions, dim=1)
        points, sdf, normal, colour = (values.flatten(0, 1) for values in found)
        samples = RaySamples(
            colour=colour,
            normal=normal,
            density=self.density(sdf),
            semantics=one_hot_class(self.semantic_class, depths),
            depth=depths,
        )
        return NodeSamples(samples, points, sdf)


class Placement(ABC):
    """A node's maps in a few poses."""

    @abstractmethod
    def to_canonical(self, points: Float[Tensor, "image point 3"]) -> Deformed:
        """World points in canonical space."""

    def jacobian(self, inverse: Deformed) -> Float[Tensor, "image point 3 3"]:
        """d world / d canonical at points that `to_canonical` gave."""
        return inverse.jacobian


class HandPlacement(Placement):
    """By inverse skinning; the search in the posed vertices is shared by all calls."""

    def __init__(self, deformer: HandDeformer, hand: PosedHand) -> None:
        self.deformer, self.hand = deformer, hand
        self.search = NeighbourSearch(hand.vertices)

    def to_canonical(self, points: Float[Tensor, "image point 3"]) -> Deformed:
        """See `HandDeformer.to_canonical`."""
        return self.deformer.to_canonical(points, self.hand, self.search)

    def jacobian(self, inverse: Deformed) -> Float[Tensor, "image point 3 3"]:
        """Of forward skinning: its weights come from the canonical hand, not from the posed one as the inverse's."""
        return self.deformer.to_world(inverse.points, self.hand).jacobian


class ObjectPlacement(Placement):
    """By one similarity per image."""

    def __init__(self, world_from_canonical: Float[Tensor, "image 4 4"]) -> None:
        self.world_from_canonical = world_from_canonical

    def to_canonical(self, points: Float[Tensor, "image point 3"]) -> Deformed:
        """See `ObjectDeformer.to_canonical`."""
        return ObjectDeformer().to_canonical(points, self.world_from_canonical)


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
        super().__init__(settings)
        self.semantic_class = RIGHT_CLASS if model.side == "right" else LEFT_CLASS
        self.implicit_network = hand_shape_network(settings.sdf, generator)
        self.rendering_network = RenderingNetwork(
            settings.colour, features=settings.sdf.features, pose_width=_POSE_WIDTH, generator=generator
        )
        self.density = LaplaceDensity(settings.density)
        self.server = HandServer(model)
        self.params = nn.ModuleDict(
            {
                "betas": nn.Embedding.from_pretrained(canonical_shape[None].clone(), freeze=False),
                "global_orient": _per_frame(frames, 3),
                "transl": _per_frame(frames, 3),
                "pose": _per_frame(frames, _POSE_WIDTH),
            }
        )
        # Not in checkpoints: the shape that the build folder gives, whatever the learnt one becomes.
        self.register_buffer("canonical_shape", canonical_shape.clone(), persistent=False)
        self._deformer: HandDeformer | None = None
        self.register_load_state_dict_post_hook(lambda node, _: node._forget_deformer())

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

    def placed(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> Placement:
        """See `Node.placed`."""
        if self._deformer is None:
            model = self.server.hand_model()
            with torch.no_grad():
                rest = canonical_hand(model, self.canonical_shape)
            self._deformer = HandDeformer(rest.vertices[0], model.weights)
        return HandPlacement(self._deformer, self.posed(frame, scene_scale))

    def colour_conditions(
        self, frame: Int[Tensor, " image"], *, with_pose: bool
    ) -> tuple[Float[Tensor, "image pose"] | None, Float[Tensor, "image code"] | None]:
        """Finger pose relative to the mean, over pi; zeros without pose."""
        pose = self.params["pose"](frame) / math.pi
        return (pose if with_pose else torch.zeros_like(pose)), None

    def _forget_deformer(self) -> None:
        self._deformer = None

    def _apply(self, *args: object, **kwargs: object) -> "HandNode":
        self._forget_deformer()
        return super()._apply(*args, **kwargs)


class ObjectNode(Node):
    """The object: field in the unit sphere of its SfM points, learnable rigid pose and colour code per frame."""

    semantic_class = OBJECT_CLASS

    def __init__(
        self,
        settings: HoldNetSettings,
        object_model: ObjectModel,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(settings)
        encoding = BarfEncoding(3, settings.sdf.frequencies, settings.barf)
        self.implicit_network = ImplicitNetwork(settings.sdf, encoding, generator=generator)
        start_as_sphere(self.implicit_network, generator)
        self.rendering_network = RenderingNetwork(
            settings.colour,
            features=settings.sdf.features,
            pose_width=0,
            frame_code=settings.frame_code,
            generator=generator,
        )
        self.density = LaplaceDensity(settings.density)
        self.server = ObjectServer(object_model)
        self.params = nn.ModuleDict({"global_orient": _per_frame(frames, 3), "transl": _per_frame(frames, 3)})
        self.frame_latent_encoder = frame_codes(frames, settings.frame_code, generator)

    @property
    def encoding(self) -> BarfEncoding:
        """The encoding of points, which opens over the training."""
        encoding = self.implicit_network.embedder_obj
        assert isinstance(encoding, BarfEncoding)
        return encoding

    def world_from_canonical(
        self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]
    ) -> Float[Tensor, "image 4 4"]:
        """Unit sphere of the SfM points to the scaled world, in the learnt poses."""
        model = self.server.object_model
        return object_transforms(
            rotvec=self.params["global_orient"](frame),
            translation_m=self.params["transl"](frame),
            object_scale=model.obj_scale,
            normalised_from_sfm=model.norm_mat,
            scene_scale=scene_scale,
        )

    def placed(self, frame: Int[Tensor, " image"], scene_scale: Float[Tensor, " image"]) -> Placement:
        """See `Node.placed`."""
        return ObjectPlacement(self.world_from_canonical(frame, scene_scale))

    def colour_conditions(
        self, frame: Int[Tensor, " image"], *, with_pose: bool
    ) -> tuple[Float[Tensor, "image pose"] | None, Float[Tensor, "image code"] | None]:
        """No pose; the code of the frame."""
        return None, self.frame_latent_encoder(frame)

    def advance(self) -> None:
        """See `Node.advance`."""
        self.encoding.advance()


def hand_shape_network(settings: SdfNetSettings, generator: torch.Generator | None = None) -> ImplicitNetwork:
    """The network of a hand's shape, a sphere at first; it has columns for the pose, which is left out (facts 2.1)."""
    encoding = FourierEncoding(3, settings.frequencies)
    network = ImplicitNetwork(settings, encoding, condition_width=_POSE_WIDTH, generator=generator)
    start_as_sphere(network, generator)
    return network


def _per_frame(frames: int, width: int) -> nn.Embedding:
    """Learnable values per frame, zero until poses are loaded."""
    return nn.Embedding.from_pretrained(torch.zeros(frames, width), freeze=False)
