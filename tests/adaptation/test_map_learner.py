"""DetNet as it is taught: each view has the published loss, whose target and weight are the teacher's heat maps."""

import pytest
import torch

from handloom.adaptation.learner import Asked, Lesson
from handloom.adaptation.map_learner import MapLearner
from handloom.estimators.detnet.network import DetNet, network_input, read_out
from handloom.estimators.detnet.targets import DetNetLoss, delta_target, detnet_loss, location_target
from handloom.runtime.config.adaptation import AdaptationSettings

from .rig import ROOT_JOINT, Rig, pair_crops


@pytest.fixture
def learner(rig: Rig) -> MapLearner:
    return MapLearner(AdaptationSettings(), "fixed")


@pytest.fixture
def network(rig: Rig, learner: MapLearner) -> DetNet:
    return learner.load(rig.source)


def test_poses_do_not_depend_on_how_many_are_asked_for_at_once_and_are_turned_by_their_axes(
    rig: Rig, learner: MapLearner, network: DetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pair_crops(rig)
    images, axes = pairs.image_u8[0], pairs.axes_from_crop[0]
    together = learner.poses(network, images, axes, "cpu")
    monkeypatch.setattr("handloom.adaptation.learner._AT_ONCE", 7)
    apart = learner.poses(network, images, axes, "cpu")
    torch.testing.assert_close(apart, together)
    with torch.no_grad():
        read = read_out(network(network_input(images)))
    torch.testing.assert_close(together.joints, read.joints @ axes.float().mT)
    torch.testing.assert_close(together.confidence, read.confidence)
    none = learner.poses(network, images[:0], axes[:0], "cpu")
    assert (none.joints.shape, none.confidence.shape) == ((0, 21, 3), (0, 21))


def test_the_loss_is_the_sum_of_both_views_published_ones(rig: Rig, learner: MapLearner, network: DetNet) -> None:
    batch = pair_crops(rig).batch(torch.arange(3), "cpu")
    generator = torch.Generator().manual_seed(0)
    taught, heat = torch.randn(6, 21, 3, generator=generator), torch.rand(6, 21, 8, 8, generator=generator)
    asked = Asked(taught, torch.ones(6, 21), heat)
    found = learner.losses(network, Lesson(batch.image_u8, asked, taught), generator)
    maps = network(network_input(batch.image_u8))
    for name in DetNetLoss._fields:
        views = [
            detnet_loss(
                type(maps)(*(each[rows] for each in maps)),
                *(heat[rows], delta_target(taught[rows]), location_target(taught[rows], ROOT_JOINT)),
                flag_3d=torch.ones(3),
                veil=torch.ones(3, 21),
            )
            for rows in (slice(3), slice(3, None))
        ]
        torch.testing.assert_close(found[name], getattr(views[0], name) + getattr(views[1], name))
