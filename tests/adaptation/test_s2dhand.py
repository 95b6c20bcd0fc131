"""S2DHand: labels in the cameras' axes, what a step moves, the teacher, the schedule, and the rotation's way."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from handloom.adaptation.joint_learner import JointLearner, relative_to_wrist
from handloom.adaptation.map_learner import MapLearner
from handloom.adaptation.method import Surroundings
from handloom.adaptation.methods.detnet_s2dhand import adapt
from handloom.adaptation.pair_predictions import PairPredictions, first_rotation
from handloom.adaptation.pairs import PairBatch, PairCrops
from handloom.adaptation.s2dhand import (
    GroundTruthLeak,
    S2DHand,
    learning_rate,
    make_teacher,
    momentum_at,
    parameter_distance,
    update_teacher,
)
from handloom.datasets.views import HandCrops
from handloom.runtime.config.adaptation import AdaptationSettings, AugmentationSettings

from .rig import PAIRS, ROOT_JOINT, SETTINGS, Rig, adapted, pair_crops, surroundings

EYE = torch.eye(3)
PX = 32


class Seen(NamedTuple):
    """What a network of joints answers with."""

    keypoints_crop_px: Tensor
    presence: Tensor
    joints_m: Tensor


class Fixed(nn.Module):
    """Answers image i of a batch with hand i, whatever the image shows; the hands are its weights."""

    def __init__(self, joints_m: Tensor, presence: float | Tensor = 0.9) -> None:
        super().__init__()
        self.joints_m = nn.Parameter(joints_m.clone())
        self.presence = torch.as_tensor(presence).expand(len(joints_m))
        self.keypoints = nn.Parameter(torch.full((len(joints_m), 21, 3), PX / 2))

    def forward(self, images: Tensor) -> Seen:
        return Seen(self.keypoints[: len(images)], self.presence[: len(images)], self.joints_m[: len(images)])


def hands(count: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(seed))


def turn(*rotvec: float) -> Tensor:
    matrix: Tensor = roma.rotvec_to_rotmat(torch.tensor(rotvec))
    return matrix


def of_joints(
    network: Fixed, axes: tuple[Tensor, Tensor] = (EYE, EYE), rotation_12: Tensor = EYE, **changes: Any
) -> S2DHand:
    """S2DHand on as many pairs as the network has hands of the first view; `axes` bring crops to the cameras."""
    count = len(network.joints_m) // 2
    turned = torch.stack([each.expand(count, 3, 3) for each in axes])
    pairs = PairCrops(torch.zeros(2, count, PX, PX, 3, dtype=torch.uint8), turned, EYE.expand(2, count, 3, 3), True)
    chosen = {"learning_rate": 1e-3, "teacher_momentum": 0.5, "teacher_warm_up": False, **changes}
    settings = AdaptationSettings.model_validate(chosen)
    learner = JointLearner(settings, "fixed")
    return S2DHand(surroundings(network, learner, pairs, settings=settings, start_12=rotation_12.double()))


def step(method: S2DHand, count: int | None = None) -> dict[str, float]:
    """One step on all pairs, or on the first ones."""
    pairs = method.surroundings.pairs
    batch = pairs.batch(torch.arange(len(pairs) if count is None else count), "cpu")
    return {name: float(value) for name, value in method.step(batch, 0).items()}


def test_nothing_that_adaptation_is_given_can_hold_a_label() -> None:
    """By type: the one way for a label into a method is its second maker, which says so."""
    given = {
        name: hint
        for kind in (Surroundings, PairCrops, PairBatch)
        for name, hint in get_type_hints(kind, include_extras=True).items()
    }
    assert set(given) == {
        *("network", "learner", "pairs", "start_12", "settings", "options", "updates_per_epoch", "fidelity", "budget"),
        *("seed", "generator", "device", "source", "rows", "image_u8", "axes_from_crop", "ray_turns", "turned"),
        *("drawn", "chosen"),
    }
    assert not [name for name, hint in given.items() if "Label" in repr(hint)]


def test_views_that_agree_through_turned_and_mirrored_crops_have_nothing_to_learn() -> None:
    """One hand, two cameras: p_crop = p_cam C, whether C is a turn or has a mirror in it."""
    rotation_12, left = turn(0.3, -1.0, 0.2), hands(4)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    for axes in ((turn(0.0, 0.0, 0.7), turn(0.1, 0.2, -2.0)), (mirror, turn(0.0, 0.0, 0.4) @ mirror)):
        network = Fixed(torch.cat([left @ axes[0], left @ rotation_12 @ axes[1]]))
        method = of_joints(network, axes, rotation_12)
        assert step(method)["joint"] == pytest.approx(0, abs=1e-10)
        labels = method.labels()
        assert labels is not None
        wrist = relative_to_wrist(left)
        torch.testing.assert_close(relative_to_wrist(labels[:, 0]), wrist, atol=1e-6, rtol=0)
        torch.testing.assert_close(relative_to_wrist(labels[:, 1]), wrist @ rotation_12, atol=1e-6, rtol=0)


def test_the_average_label_halves_what_views_disagree_by() -> None:
    """alpha = 1, equal scores: both views are taught the mean, so the loss is a quarter of the squared distance."""
    left = hands(4)
    left[:, :10:9] = torch.tensor([[0.0, 0.0, 0.0], [0.0, -0.1, 0.0]])  # wrist and bone are the same in both
    right = left.clone()
    right[:, 20] += torch.tensor([0.0, 0.0, 0.02])
    network = Fixed(torch.cat([left, right]))
    losses = step(of_joints(network, consensus_weight=1.0, merge="average"))
    assert losses["joint"] == pytest.approx(0.01**2 / 0.1**2 / 21, rel=1e-4)
    tips = network.joints_m.detach()[:, 20, 2]
    assert (tips[:4] > left[:, 20, 2]).all()
    assert (tips[4:] < right[:, 20, 2]).all()


def test_the_surer_view_teaches_the_other() -> None:
    network = Fixed(torch.cat([hands(4), hands(4, seed=1)]), torch.tensor([0.9] * 4 + [0.6] * 4))
    method = of_joints(network, consensus_weight=1.0, merge="max")
    pairs = method.surroundings.pairs
    batch = pairs.batch(torch.arange(4), "cpu")
    asked = method.learner.ask(method.teacher, batch.image_u8)
    labels = method._labels(batch, asked)
    torch.testing.assert_close(labels.view_1, asked.joints[:4])
    assert (labels.view_2 - asked.joints[4:]).abs().amax((1, 2)).min() > 1e-3


def test_the_teacher_follows_by_its_momentum_and_key_points_stay() -> None:
    network = Fixed(torch.cat([hands(4), hands(4, seed=1)]))
    before = network.joints_m.detach().clone()
    method = of_joints(network)
    losses = step(method)
    assert losses["joint"] > 0
    torch.testing.assert_close(method.teacher.joints_m, 0.5 * (before + network.joints_m.detach()), atol=1e-7, rtol=0)
    assert losses["keypoint"] == 0
    assert (network.keypoints == PX / 2).all()


def test_an_augmented_student_is_taught_the_turned_label() -> None:
    """A student that answers what its teacher does is wrong for a turned crop, and right for one as it was."""
    left = hands(4)
    still = AugmentationSettings(brightness=0.2)
    turned = AugmentationSettings(rotation_deg=math.degrees(1.0))
    losses = [step(of_joints(Fixed(torch.cat([left, left])), augmentation=drawn))["joint"] for drawn in (still, turned)]
    assert losses[0] == pytest.approx(0, abs=1e-10)
    assert losses[1] > 0.05


def of_maps(rig: Rig, pairs: PairCrops | None = None, leak: GroundTruthLeak | None = None, **changes: Any) -> S2DHand:
    """S2DHand on the rig, by DetNet; `fidelity` and settings may be changed."""
    fidelity = changes.pop("fidelity", "fixed")
    settings = SETTINGS.model_copy(update={"teacher_momentum": 0.9, "learning_rate": 1e-3, **changes})
    learner = MapLearner(settings, fidelity)
    network = learner.load(rig.source)
    given = pair_crops(rig, 6) if pairs is None else pairs
    return S2DHand(surroundings(network, learner, given, settings=settings, fidelity=fidelity), leak)


def test_the_first_heat_maps_are_their_own_target_and_half_precision_changes_little(rig: Rig) -> None:
    exact, coarse = (step(of_maps(rig, precision=precision)) for precision in ("float32", "bfloat16"))
    assert exact["heat"] < 1e-12
    assert exact["location"] > 0
    assert coarse["location"] == pytest.approx(exact["location"], rel=0.05)


def test_statistics_are_frozen_and_all_parameters_trained(rig: Rig) -> None:
    method = of_maps(rig)
    before = {name: value.clone() for name, value in method.student.state_dict().items()}
    step(method)
    parameters = {name: value.detach() for name, value in method.student.named_parameters()}
    for name, value in method.student.state_dict().items():
        assert name in parameters or torch.equal(value, before[name])
    trained = {name for name in parameters if not torch.equal(parameters[name], before[name])}
    assert {"resnet50.bn1.weight", "resnet50.conv1.weight", "lmap_0.prediction.bias"} <= trained
    slow = dict(method.teacher.named_parameters())["lmap_0.prediction.bias"]
    torch.testing.assert_close(
        slow, 0.9 * before["lmap_0.prediction.bias"] + 0.1 * parameters["lmap_0.prediction.bias"]
    )


def test_left_hands_are_labelled_in_the_mirrored_frame(rig: Rig) -> None:
    """A pair seen as left hands or as right ones gives the same loss when the rotation is the identity."""
    pairs = pair_crops(rig, 6)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    both = (replace(pairs, axes_from_crop=axes.expand(2, 6, 3, 3)) for axes in (EYE.double(), mirror))
    right, left = (step(of_maps(rig, each))["location"] for each in both)
    assert right == pytest.approx(left, rel=1e-5)


def looking(rig: Rig, rays: Sequence[Sequence[float]]) -> None:
    """Put all crops of a view at one place."""
    for path, ray in zip(rig.crops, rays, strict=True):
        replace(HandCrops.load(path), rays=np.tile(np.array(ray) / np.linalg.norm(ray), (PAIRS, 1))).save(path)


def test_turned_poses_are_labelled_in_the_cameras_axes(rig: Rig) -> None:
    """With poses turned by their viewing rays, labels agree through the cameras' rotation and not that of the crops."""
    rays = ([0.3, 0.1, 1.0], [-0.2, 0.4, 1.0])
    looking(rig, rays)
    rotation_12 = turn(0.0, -0.3, -0.15).double()
    for turned in (False, True):
        pairs = pair_crops(rig, 6, ray_share=1.0, turned=turned)
        method = of_maps(rig, pairs, consensus_weight=1.0, merge="average")
        method.rotation_12 = rotation_12
        step(method)
        labels = method.labels()
        assert labels is not None
        relative = (labels - labels[:, :, ROOT_JOINT, None]).double()
        relative = relative / torch.linalg.vector_norm(relative[:, :, 9], dim=-1)[..., None, None]
        torch.testing.assert_close(relative[:, 0] @ rotation_12, relative[:, 1], atol=1e-4, rtol=0)
        looked = pairs.axes_from_crop[0, 0] @ torch.tensor([0.0, 0, 1], dtype=torch.float64)
        expected = torch.tensor(rays[0]).double() if turned else torch.tensor([0.0, 0, 1]).double()
        torch.testing.assert_close(looked, expected / expected.norm())


def test_labels_and_answers_come_in_the_pairs_own_order(rig: Rig) -> None:
    """The curves compare them with annotations, whatever the order of the batches was."""
    found = []
    for batches in (([0, 1, 2, 3, 4, 5],), ([4, 1, 5], [2, 0, 3])):
        method = of_maps(rig, teacher_momentum=1.0)
        for rows in batches:
            method.step(method.surroundings.pairs.batch(torch.tensor(rows), "cpu"), 0)
        found.append((method.labels(), method.answers(torch.tensor([1, 4]))["teacher"]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_annotated_validity_and_veil_leak_into_the_released_mode_alone(rig: Rig) -> None:
    valid = torch.ones(2, 6, 21, dtype=torch.bool)
    valid[1, :, 5] = False
    for veil in (torch.ones(2, 6, 21), torch.zeros(2, 6, 21)):
        method = of_maps(
            rig, leak=GroundTruthLeak(valid, veil), fidelity="faithful", pairs=pair_crops(rig, 6), consensus_weight=1.0
        )
        # A teacher of its own, so that heat maps are not their own target.
        with torch.no_grad():
            for value in method.teacher.parameters():
                value.mul_(1.01)
        losses = step(method)
        assert (losses["heat"] == 0) == (not veil.any())
        assert not method._epoch.labels[0].common[:, 5].any()
        assert method._epoch.labels[0].common[:, 4].all()


def test_the_rotation_follows_the_teacher_slowly_and_is_saved(rig: Rig) -> None:
    first, moved = first_rotation(rig.rotations, "1-2", "single"), {}
    for momentum in (1.0, 0.9, 0.0):
        settings = SETTINGS.model_copy(update={"rotation_momentum": momentum})
        found = PairPredictions.load(adapted(rig, adapt, f"m{momentum}", settings).predictions)
        moved[momentum] = np.linalg.norm(found.rotation_12 - first)
    assert moved[1.0] < 1e-12 < moved[0.9] < moved[0.0]


def test_a_rotation_of_key_points_stays(rig: Rig) -> None:
    settings = SETTINGS.model_copy(update={"rotation_momentum": 0.0, "rotation": "keypoints", "epochs": 1})
    found = adapted(rig, adapt, "keypoints", settings)
    first = first_rotation(rig.rotations, "1-2", "single")
    np.testing.assert_array_equal(PairPredictions.load(found.predictions).rotation_12, first)
    assert found.curves[-1]["rotation_from_start_deg"] == pytest.approx(0, abs=1e-6)
    assert found.curves[-1]["pose_rotation_gap_deg"] > 1


def test_the_teachers_rotation_is_taken_from_poses_turned_by_their_rays(rig: Rig) -> None:
    """Crops of a view all at one place: the rotation after the first epoch is Q1 R Q2^T of the one without rays.

    The curves of a run with rays also tell the teacher's rotation without them.
    """
    rays = ((0.56, 0.13, 1.0), (-0.24, 0.39, 1.0))
    looking(rig, rays)
    settings = SETTINGS.model_copy(update={"epochs": 1, "rotation_momentum": 0.0})
    rotations, curves = [], []
    for share in (0.0, 0.6):
        found = adapted(rig, adapt, f"share{share}", settings, ray_share=share)
        rotations.append(PairPredictions.load(found.predictions).rotation_12)
        curves.append(found.curves[-1])
    turns = []
    for ray in rays:
        axis = np.cross([0, 0, 1], ray)
        angle = np.arctan2(np.linalg.norm(axis), ray[2])
        turns.append(Rotation.from_rotvec(0.6 * angle * axis / np.linalg.norm(axis)).as_matrix())
    np.testing.assert_allclose(rotations[1], turns[0] @ rotations[0] @ turns[1].T, atol=1e-6)
    assert np.linalg.norm(rotations[1] - rotations[0]) > 0.1
    plain = curves[0]["teacher_rotation_error_deg"]
    assert curves[1]["teacher_published_rotation_error_deg"] == pytest.approx(plain, rel=1e-5)
    assert curves[1]["teacher_rotation_error_deg"] != pytest.approx(plain, abs=0.1)


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


def test_warm_up_counts_from_the_first_epochs_batches() -> None:
    """The released code has 0.941 at the first step of 16 batches an epoch, and 0.99 from t = 99."""
    released = AdaptationSettings()
    momenta = [momentum_at(released, update, 16) for update in range(160)]
    assert momenta[0] == pytest.approx(1 - 1 / 17)
    assert momenta[99 - 16] == pytest.approx(0.99)
    assert max(momenta) == 0.99
    assert momenta == sorted(momenta)
    assert momentum_at(AdaptationSettings(teacher_momentum=0.999, teacher_warm_up=False), 0, 16) == 0.999


def test_the_teacher_averages_parameters_and_leaves_buffers_alone() -> None:
    fast = two_layers()
    slow = make_teacher(fast)
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(1.0)
        fast[1].running_mean.add_(5.0)
    update_teacher(slow, fast, 0.75)
    for name, _ in slow.named_parameters():
        torch.testing.assert_close(slow.state_dict()[name], before[name] + 0.25)
    torch.testing.assert_close(slow.state_dict()["1.running_mean"], before["1.running_mean"])
    assert not any(parameter.requires_grad for parameter in slow.parameters())
    assert not slow.training


def test_the_distance_of_networks_is_relative() -> None:
    fast = two_layers()
    slow = make_teacher(fast)
    assert parameter_distance(slow, fast) == 0
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.mul_(1.1)
    assert parameter_distance(slow, fast) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("decay", "number", "warm_up", "rate"),
    [
        ("none", 7, 0, 0.2),
        ("cosine", 0, 0, 0.2),
        ("cosine", 5, 0, 0.1),
        ("cosine", 2, 0, 0.1 * (1 + math.cos(0.2 * math.pi))),
        ("none", 0, 3, 0.05),
        ("none", 3, 3, 0.2),
    ],
)
def test_the_learning_rate_of_an_update(decay: str, number: int, warm_up: int, rate: float) -> None:
    """Constant or half a cosine over ten updates, and a linear rise before."""
    settings = AdaptationSettings.model_validate(
        {"learning_rate": 0.2, "learning_rate_decay": decay, "warm_up_steps": warm_up}
    )
    assert learning_rate(settings, number, 10) == pytest.approx(rate)
