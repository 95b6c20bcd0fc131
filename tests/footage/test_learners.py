"""Both kinds of networks answer pairs of crops alike in a step and outside of it, left hands in the true frame."""

import numpy as np
import pytest
import torch

from handloom.adaptation.teacher import make_teacher
from handloom.estimators.detnet.network import DetNet, initialise
from handloom.footage.hands_file import camera_from_crop
from handloom.footage.learners import HeatMapLearner, JointLearner, PairLearner
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.config.footage import FootageAdaptationSettings

from .conftest import SIZE, TinyNetwork

PAIRS = 6


def crops(px: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    first, second = (generator.integers(0, 255, (PAIRS, px, px, 3), dtype=np.uint8) for _ in range(2))
    return first, second


def turns(mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    places = np.random.default_rng(3).uniform(0, 100, (2, PAIRS, 2))
    first, second = (
        camera_from_crop(centre, np.linspace(-1, 1, PAIRS), (160, 120), 65.0, 1.0, mirrored=mirrored)
        for centre in places
    )
    return first, second


def detnet() -> DetNet:
    network = DetNet(DetNetSettings(input_px=64, map_cells=8, width=4, blocks=(1, 1, 1), head_width=8))
    initialise(network, torch.Generator().manual_seed(1))
    return network.eval()


@pytest.mark.parametrize("kind", ["joints", "heat maps, right", "heat maps, left"])
def test_a_step_sees_what_its_teacher_answers_and_moves_the_student(kind: str) -> None:
    learner: PairLearner
    if kind == "joints":
        student: torch.nn.Module = TinyNetwork()
        learner = JointLearner(crops(SIZE), turns(False))
    else:
        student, is_left = detnet(), kind.endswith("left")
        learner = HeatMapLearner(crops(64), turns(is_left), is_left=is_left, root_joint=9)
    teacher = make_teacher(student)
    before = [value.detach().clone() for value in student.parameters()]
    expected = learner.poses(teacher)
    rows = torch.tensor([4, 0, 2])
    losses, seen = learner.step(
        *(student, teacher, torch.optim.Adam(student.parameters(), lr=1e-3), rows, torch.eye(3, dtype=torch.float64)),
        FootageAdaptationSettings(),
        momentum=0.5,
        generator=torch.Generator().manual_seed(0),
    )
    for found, wanted in zip(seen, expected, strict=True):
        assert torch.allclose(found, wanted[rows], atol=1e-4)
    assert (seen.joints_1[:, 0] == 0).all()
    assert losses["joint_loss"] > 0
    changed = [not torch.equal(value, old) for value, old in zip(student.parameters(), before, strict=True)]
    assert any(changed)
    # The teacher's own answer afterwards is another one.
    assert not torch.allclose(learner.poses(teacher).joints_1, expected.joints_1, atol=1e-7)


def test_a_mirrored_crop_gives_the_mirrored_hand() -> None:
    """A left hand's crop is mirrored for the network, and its pose mirrored back: x changes sign, nothing else."""
    straight = np.tile(np.eye(3), (PAIRS, 1, 1))
    mirror = np.tile(np.diag([-1.0, 1.0, 1.0]), (PAIRS, 1, 1))
    right = HeatMapLearner(crops(64), (straight, straight), is_left=False, root_joint=9).poses(detnet())
    left = HeatMapLearner(crops(64), (mirror, mirror), is_left=True, root_joint=9).poses(detnet())
    assert torch.allclose(left.joints_1, right.joints_1 * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
