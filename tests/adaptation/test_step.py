"""One iteration: what is trained, what stays frozen, and what the first heat-map loss must be."""

import pytest
import torch

from handloom.adaptation.step import PairBatch, adapt_once
from handloom.adaptation.teacher import make_teacher
from handloom.adaptation.unlabelled import unlabelled_pairs
from handloom.adaptation.view_turns import crop_rays
from handloom.datasets.views import load_views
from handloom.estimators.detnet.checkpoint import load_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.runtime.config.adaptation import AdaptationSettings, AugmentationSettings

from .conftest import ROOT_JOINT, Rig

ROTATION = torch.eye(3, dtype=torch.float64)


@pytest.fixture
def student(rig: Rig) -> DetNet:
    return load_checkpoint(rig.source, rig.detnet, ROOT_JOINT)


@pytest.fixture
def batch(rig: Rig) -> PairBatch:
    view_1, view_2 = map(load_views, rig.views)
    rows = torch.arange(6)
    rays = [crop_rays(view.crop_offset_half_widths, 90.0) for view in (view_1, view_2)]
    pairs = unlabelled_pairs(view_1.image_u8, view_2.image_u8, view_1.is_left, *rays, rows, rows)
    return pairs.batch(rows, None, "cpu")


def step(student: DetNet, batch: PairBatch, settings: AdaptationSettings | None = None, **changes: object):
    teacher = make_teacher(student)
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    choices = {"root_joint": ROOT_JOINT, "fidelity": "fixed", "momentum": 0.9, **changes}
    result = adapt_once(student, teacher, optimiser, batch, ROTATION, settings or AdaptationSettings(), **choices)
    return result, teacher


def test_the_first_heat_maps_are_their_own_target(student: DetNet, batch: PairBatch) -> None:
    result, _ = step(student, batch)
    assert float(result.loss_1.heat.detach()) < 1e-12
    assert float(result.loss_1.location.detach()) > 0


def test_statistics_are_frozen_and_all_parameters_trained(student: DetNet, batch: PairBatch) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    _, teacher = step(student, batch)
    parameters = dict(student.named_parameters())
    for name, value in student.state_dict().items():
        if name not in parameters:
            torch.testing.assert_close(value, before[name], atol=0, rtol=0)
    trained = {name for name in parameters if not torch.equal(parameters[name], before[name])}
    assert {"resnet50.bn1.weight", "resnet50.conv1.weight", "lmap_0.prediction.bias"} <= trained
    slow = dict(teacher.named_parameters())["lmap_0.prediction.bias"]
    start, fast = before["lmap_0.prediction.bias"], parameters["lmap_0.prediction.bias"].detach()
    torch.testing.assert_close(slow, 0.9 * start + 0.1 * fast)


def test_left_hands_are_labelled_in_the_mirrored_frame(student: DetNet, batch: PairBatch) -> None:
    """A pair seen as left hands or as right ones gives the same loss when the rotation is the identity."""
    rights = batch._replace(is_left=torch.zeros_like(batch.is_left))
    lefts = batch._replace(is_left=torch.ones_like(batch.is_left))
    losses = [step(make_teacher(student).requires_grad_(True), b)[0].loss_1.location.detach() for b in (rights, lefts)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-5)


def test_augmentation_needs_a_generator_and_bfloat16_changes_little(student: DetNet, batch: PairBatch) -> None:
    augmented = AdaptationSettings(augmentation=AugmentationSettings(rotation_deg=10))
    with pytest.raises(ValueError, match="a generator is needed"):
        step(student, batch, augmented)
    exact, _ = step(make_teacher(student).requires_grad_(True), batch)
    coarse, _ = step(make_teacher(student).requires_grad_(True), batch, AdaptationSettings(precision="bfloat16"))
    torch.testing.assert_close(coarse.loss_1.location, exact.loss_1.location, rtol=0.05, atol=1e-3)
