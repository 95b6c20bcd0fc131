"""S2DHand+ for DetNet: the pair's labels are made once, of better answers, and the student is taught them to the end.

What differs from S2DHand (`docs/s2dhand.md` tells what each is worth):

* The teacher is the source network on several draws of each crop (`adaptation/drawn_answers.py`). It does not follow
  the student, whose mistakes the labels would repeat.
* Poses have the turn to their crop's viewing ray, in the labels as in the read-out (`PairCrops.turned`).
* Labels are merged by confidence with the rotation of these poses, or triangulated with both views' rays
  (`adaptation/triangulation.py`), of which then also the rotation comes, sought from that of the poses; there is no
  refinement, which keeps a share of each view's own mistake.
* The student learns above block2 only, so that what the lower blocks see is computed once and updates are cheap; its
  heat maps are taught to stay the source's. It is the student that is scored.
"""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from handloom.adaptation.adapt import adaptation_stage
from handloom.adaptation.camera_rotation import ROTATION_PAIRS, consensus_rotation
from handloom.adaptation.drawn_answers import DrawnPairs
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Method, Surroundings, descend
from handloom.adaptation.pairs import PairBatch
from handloom.adaptation.pseudo_labels import merge_poses, merge_weights
from handloom.adaptation.s2dhand import learning_rate, parameter_distance
from handloom.adaptation.triangulation import place_of_first, triangulated_poses
from handloom.estimators.detnet.network import DetNet, DetNetMaps, network_input
from handloom.geometry.epipolar import epipolar_rotation
from handloom.hand.joints import BONE, JOINT_COUNT
from handloom.runtime.config.adaptation import PlusSettings
from handloom.runtime.errors import InputError

ATTENTION_SHARPNESS = 5.0
"""beta of the soft merge."""
SHORTEST_BONE = 0.3
"""A bone 0-9 that a network finds shorter than this, in units of its usual length, is no measure of the hand."""
_RAYS_OF, _START_DEVIATION_DEG = 150, 3.0
"""Of so many pairs, about, the rotation is sought, and how far the poses' own is believed to be off."""
_AT_ONCE = 64


class S2DHandPlus(Method):
    """The student, and the labels of all pairs along the cameras' axes."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        network, drawn, options = self.network, surroundings.drawn, surroundings.options
        assert isinstance(network, DetNet)
        assert isinstance(options, PlusSettings)
        assert isinstance(self.learner, MapLearner)
        if drawn is None or surroundings.chosen is None:
            raise InputError("S2DHand+: no answers to draws of the crops; run the rule that makes them")
        self.student, self.source = network, copy.deepcopy(network).requires_grad_(False)
        self.networks = {"student": network}
        taught = _taught(network.requires_grad_(False))
        self.optimisers = {"student": torch.optim.Adam(taught, lr=surroundings.settings.learning_rate)}
        root = self.learner.root_joint
        self.rotation_12 = drawn_rotation(drawn, root)
        drawn = drawn.at(surroundings.chosen)
        self._drawn = drawn._replace(poses=with_unit_bones(drawn.poses, root))
        if options.labels == "triangulated":
            self.rotation_12, pose = triangulated(self._drawn, self.rotation_12, root)
        else:
            pose = merged(self._drawn, self.rotation_12)
        self._labels = torch.stack([pose, pose @ self.rotation_12.to(pose)], 1)
        self._seen, self._heat = self._features()

    @torch.no_grad()
    def _features(self) -> tuple[Float[Tensor, "2 pairs channels rows cols"], Float[Tensor, "2 pairs 21 rows cols"]]:
        """What the lower blocks see in all crops, and the source's heat maps of them."""
        body, seen, heat = self.source.resnet50, [], []
        for some in self.surroundings.pairs.image_u8.flatten(0, 1).split(_AT_ONCE):
            seen.append(body.lower(network_input(some.to(self.surroundings.device))))
            heat.append(self.source.maps(body.upper(seen[-1])).heat)
        return torch.cat(seen).unflatten(0, (2, -1)), torch.cat(heat).unflatten(0, (2, -1))

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """Teach the student the labels of the batch's pairs."""
        settings, learner = self.surroundings.settings, self.learner
        assert isinstance(learner, MapLearner)
        updates = settings.epochs * self.surroundings.updates_per_epoch
        for group in self.optimisers["student"].param_groups:
            group["lr"] = learning_rate(settings, update, updates)
        seen, heat = (values[:, batch.rows].flatten(0, 1) for values in (self._seen, self._heat))
        labels = self._labels[batch.rows].transpose(0, 1).flatten(0, 1).to(seen)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            maps = self.student.maps(self.student.resnet50.upper(seen))
        maps = DetNetMaps(*(each.float() for each in maps))
        losses = learner.map_losses(maps, heat, labels @ batch.axes_from_crop.to(labels))
        descend(self.optimisers["student"], losses["total"])
        return {name: value.detach() for name, value in losses.items()}

    def adapted(self) -> DetNet:
        """The student."""
        return self.student

    def rotation_at_test(self) -> Float[Tensor, "3 3"]:
        """The rotation that the labels are made with."""
        return self.rotation_12

    def answers(self, rows: Int[Tensor, " pairs"]) -> dict[str, Float[Tensor, "pairs 2 21 3"]]:
        """The student's poses of some pairs, and the mean answers to draws of them."""
        teacher = self._drawn.at(rows.numpy()).poses.transpose(0, 1).float()
        return {"student": self.poses(self.student, rows), "teacher": teacher}

    def rotations(self) -> dict[str, Float[Tensor, "3 3"]]:
        """The one rotation, which is that of the teacher's poses."""
        return {"rotation": self.rotation_12, "teacher_rotation": self.rotation_12}

    def labels(self) -> Float[Tensor, "pairs 2 21 3"]:
        """Of all pairs, the same in all epochs."""
        return self._labels

    def distances(self) -> dict[str, float]:
        """Of the student to the source network."""
        return {"student_teacher_distance": parameter_distance(self.source, self.student)}


def _taught(network: DetNet) -> list[torch.nn.Parameter]:
    """The parameters above block2, which take gradients from now on."""
    body = network.resnet50
    taught = []
    for part in (body.block3, body.squeeze, network.hmap_0, network.dmap_0, network.lmap_0):
        taught += list(part.requires_grad_(True).parameters())
    return taught


def with_unit_bones(poses: Float[Tensor, "2 pairs 21 3"], root_joint: int) -> Float[Tensor, "2 pairs 21 3"]:
    """Poses from the root joint on, with a bone 0-9 of length one."""
    poses = poses - poses[..., root_joint, None, :]
    bone = torch.linalg.vector_norm(poses[..., BONE[1], :] - poses[..., BONE[0], :], dim=-1)
    return poses / bone.clamp_min(SHORTEST_BONE)[..., None, None]


def drawn_rotation(drawn: DrawnPairs, root_joint: int) -> Float[Tensor, "3 3"]:
    """The rotation that most pairs' mean answers agree on."""
    poses = with_unit_bones(drawn.poses_of_rotation[:, :ROTATION_PAIRS], root_joint)
    return consensus_rotation(poses[0], poses[1], drawn.confidence[:, :ROTATION_PAIRS].prod(0)).rotation_12


def merged(drawn: DrawnPairs, rotation_12: Float[Tensor, "3 3"]) -> Float[Tensor, "pairs 21 3"]:
    """Both views' poses in the first one's axes, by confidence."""
    weights = merge_weights(drawn.confidence > 0, drawn.confidence, "soft", sharpness=ATTENTION_SHARPNESS)
    return merge_poses(drawn.poses[0], drawn.poses[1], rotation_12.to(drawn.poses), weights).view_1


def triangulated(
    drawn: DrawnPairs, start_12: Float[Tensor, "3 3"], root_joint: int
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "pairs 21 3"]]:
    """The rotation of least epipolar error of both views' rays, near `start_12`, and poses that fit the rays by it."""
    rays = functional.normalize(functional.pad(drawn.slopes, (0, 1), value=1.0), dim=-1)
    first, second = rays[:, :: max(1, rays.shape[1] // _RAYS_OF)].flatten(1, 2).numpy()
    start = start_12.double().numpy().T
    found = epipolar_rotation(first, second, start, together=JOINT_COUNT, start_deviation_deg=_START_DEVIATION_DEG)
    rotation_12 = torch.from_numpy(found.second_from_first.T.copy())
    place = place_of_first(drawn.slopes, rotation_12, torch.from_numpy(found.direction))
    pose = triangulated_poses(drawn.poses, drawn.slopes, drawn.confidence, rotation_12, place, root_joint)
    return rotation_12.to(start_12), pose


adapt = adaptation_stage(MapLearner, S2DHandPlus, PlusSettings)
