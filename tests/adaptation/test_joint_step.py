"""S2DHand on joints: its loss in closed form, its labels in the cameras' axes, and what it moves."""

import math
from typing import NamedTuple

import pytest
import roma
import torch
from torch import Tensor, nn

from handloom.adaptation.joint_step import JointPairs, JointStepResult, adapt_joints_once, joint_loss, keypoint_loss
from handloom.adaptation.teacher import make_teacher
from handloom.runtime.config.adaptation import AugmentationSettings
from handloom.runtime.config.footage import FootageAdaptationSettings

PX = 32


class Answer(NamedTuple):
    keypoints_crop_px: Tensor
    presence: Tensor
    joints_m: Tensor


class Fixed(nn.Module):
    """Answers image i of a batch with hand i, whatever the image shows; the hands are its weights."""

    def __init__(self, joints_m: Tensor, presence: Tensor) -> None:
        super().__init__()
        self.joints_m, self.presence = nn.Parameter(joints_m), presence
        self.keypoints = nn.Parameter(torch.full((len(joints_m), 21, 3), PX / 2))

    def forward(self, images: Tensor) -> Answer:
        return Answer(self.keypoints[: len(images)], self.presence[: len(images)], self.joints_m[: len(images)])


def hands(count: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(seed))


def turn(*rotvec: float) -> Tensor:
    matrix: Tensor = roma.rotvec_to_rotmat(torch.tensor(rotvec))
    return matrix


def step(
    network: Fixed, turns: tuple[Tensor, Tensor], rotation_12: Tensor, **changes: object
) -> tuple[Fixed, JointStepResult]:
    """One step on as many pairs as the network has hands of the first view."""
    count = len(network.joints_m) // 2
    images = torch.zeros(count, 3, PX, PX)
    settings = FootageAdaptationSettings.model_validate({"learning_rate": 1e-3, "teacher_momentum": 0.5} | changes)
    teacher = make_teacher(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=settings.learning_rate)
    pairs = JointPairs(images, images, *(each.expand(count, 3, 3) for each in turns))
    generator = torch.Generator().manual_seed(0)
    return teacher, adapt_joints_once(
        network, teacher, optimiser, pairs, rotation_12, settings, momentum=0.5, generator=generator
    )


def test_the_joint_loss_is_the_mean_squared_distance_in_bones() -> None:
    taught = hands(3)
    moved = taught.clone()
    moved[:, 5] += torch.tensor([0.3, 0.0, 0.4])
    assert float(joint_loss(moved, taught, torch.full((3,), 2.0))) == pytest.approx(0.25 / 4 / 21)
    assert float(joint_loss(taught + 7.0, taught, torch.ones(3))) == pytest.approx(0, abs=1e-9)
    # A hand of another size is wrong: the bone is the teacher's.
    assert float(joint_loss(2 * taught, taught, torch.ones(3))) > 0.05


def test_the_key_point_loss_counts_in_quarters_of_the_crop() -> None:
    taught = torch.zeros(2, 21, 2)
    assert float(keypoint_loss(taught + torch.tensor([56.0, 0.0]), taught, 224)) == pytest.approx(1.0)


def test_views_that_agree_through_turned_crops_have_nothing_to_learn() -> None:
    """One hand, two cameras, two turned crops: p_crop = p_cam C."""
    rotation_12, turn_1, turn_2 = turn(0.3, -1.0, 0.2), turn(0.0, 0.0, 0.7), turn(0.1, 0.2, -2.0)
    left = hands(4)
    network = Fixed(torch.cat([left @ turn_1, left @ rotation_12 @ turn_2]), torch.full((8,), 0.9))
    before = network.joints_m.detach().clone()
    _, found = step(network, (turn_1, turn_2), rotation_12)
    assert found.joint_loss == pytest.approx(0, abs=1e-10)
    assert torch.allclose(network.joints_m, before, atol=1e-7)
    assert torch.allclose(found.poses_2, found.poses_1 @ rotation_12, atol=1e-6)


def test_a_mirrored_crop_is_a_turn_like_any_other() -> None:
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    rotation_12, left = turn(0.3, -1.0, 0.2), hands(4)
    network = Fixed(torch.cat([left @ mirror, left @ rotation_12 @ mirror]), torch.full((8,), 0.9))
    assert step(network, (mirror, mirror), rotation_12)[1].joint_loss == pytest.approx(0, abs=1e-10)


def test_the_average_label_halves_what_views_disagree_by() -> None:
    """alpha = 1, equal scores: both views are taught the mean, so the loss is a quarter of the squared distance."""
    left = hands(4)
    left[:, :10:9] = torch.tensor([[0.0, 0.0, 0.0], [0.0, -0.1, 0.0]])  # wrist and bone are the same in both
    right = left.clone()
    right[:, 20] += torch.tensor([0.0, 0.0, 0.02])
    network = Fixed(torch.cat([left, right]), torch.full((8,), 0.9))
    _, found = step(network, (torch.eye(3), torch.eye(3)), torch.eye(3), consensus_weight=1.0, merge="average")
    assert found.joint_loss == pytest.approx(0.01**2 / 0.1**2 / 21, rel=1e-4)
    tips = network.joints_m.detach()[:, 20, 2]
    assert (tips[:4] > left[:, 20, 2]).all()
    assert (tips[4:] < right[:, 20, 2]).all()


def test_the_surer_view_teaches_the_other() -> None:
    left, right = hands(4), hands(4, seed=1)
    network = Fixed(torch.cat([left, right]), torch.tensor([0.9] * 4 + [0.6] * 4))
    before = network.joints_m.detach().clone()
    step(network, (torch.eye(3), torch.eye(3)), torch.eye(3), consensus_weight=1.0, merge="max", keypoint_weight=0.0)
    moved = (network.joints_m.detach() - before).abs().amax((1, 2))
    assert moved[:4].max() < 1e-9 < 1e-6 < moved[4:].min()


def test_the_teacher_follows_by_its_momentum_and_key_points_stay() -> None:
    network = Fixed(torch.cat([hands(4), hands(4, seed=1)]), torch.full((8,), 0.9))
    before = network.joints_m.detach().clone()
    teacher, found = step(network, (torch.eye(3), torch.eye(3)), torch.eye(3))
    assert found.joint_loss > 0
    assert torch.allclose(teacher.joints_m, 0.5 * (before + network.joints_m.detach()), atol=1e-7)
    assert found.keypoint_loss == 0
    assert (network.keypoints == PX / 2).all()


def test_an_augmented_student_is_taught_the_turned_label() -> None:
    """A student that answers what its teacher does is wrong for a turned crop, and right for one as it was."""
    left = hands(4)
    network = Fixed(torch.cat([left, left]), torch.full((8,), 0.9))
    still = AugmentationSettings(brightness=0.2)
    turned = AugmentationSettings(rotation_deg=math.degrees(1.0))
    views = (torch.eye(3), torch.eye(3)), torch.eye(3)
    assert step(network, *views, augmentation=still)[1].joint_loss == pytest.approx(0, abs=1e-10)
    assert step(network, *views, augmentation=turned)[1].joint_loss > 0.05
