"""The hand's first shape: near the hand model's, of the right sign far away, and refused when of other sizes."""

from pathlib import Path

import pytest
import torch

from handloom.reconstruction.holdnet.canonical_space import CanonicalSurface
from handloom.reconstruction.holdnet.hand_prior import (
    errors,
    fit,
    hand_prior,
    read_hand_prior,
    shrink,
    spread_points,
)
from handloom.reconstruction.holdnet.networks import ImplicitNetwork, hand_shape_network
from handloom.runtime.config.fields import HandPriorSettings, SdfNetSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json

from .scene import generator, same, small_model, small_settings
from .test_checkpoint import saved

SIZES = SdfNetSettings(width=64, hidden_layers=4, skip_layer=2, features=4)


def network(sizes: SdfNetSettings = SIZES) -> ImplicitNetwork:
    return hand_shape_network(sizes, generator())


def test_a_fit_comes_near_the_hand(hand_at_rest: CanonicalSurface) -> None:
    """Protects the prior's use: 150 steps of a small network bring the error near the surface below 3 mm."""
    fresh = network()
    before = errors(fresh, hand_at_rest, generator(2))
    fit(fresh, hand_at_rest, HandPriorSettings(steps=150, points=512, pool=6000), seed=1)
    after = errors(fresh, hand_at_rest, generator(2))
    assert before["near_mean_mm"] > 100  # a sphere of 60 cm
    assert after["near_mean_mm"] < 3
    assert after["near_mean_mm"] < after["near_95_pct_mm"] < after["near_largest_mm"]
    assert after["wrong_side_pct"] < 10
    far = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator(3)), dim=-1)
    with torch.no_grad():
        assert bool((fresh.distance(far) > 0.5).all())  # the hand is within 20 cm of the origin


def test_a_shrunk_network_is_a_smaller_sphere() -> None:
    """Protects the fit's start: about 6 cm in place of 60, the zero level where the larger one's was, scaled."""
    whole, small = network(), network()
    shrink(small, 10.0)
    points = 0.08 * torch.randn(200, 3, generator=generator(4))
    with torch.no_grad():
        torch.testing.assert_close(small.distance(points), whole.distance(10 * points) / 10, atol=2e-3, rtol=0)


def test_points_are_near_the_surface_around_it_and_far(hand_at_rest: CanonicalSurface) -> None:
    points = spread_points(hand_at_rest, 900, generator())
    distance = hand_at_rest.distance.signed(points, reach=0.03).abs()
    assert float(distance[:450].median()) < 0.006
    assert float(distance[450:750].median()) > 0.01
    assert float(points[750:].norm(dim=-1).amax()) > 1.2


def test_the_stage_writes_a_network_and_its_errors(build: Path, prior: Path) -> None:
    """Protects what phases read, and the figures beside it."""
    found = read_json(prior.with_suffix(".json"))
    assert found.keys() == {"near_mean_mm", "near_95_pct_mm", "near_largest_mm", "wrong_side_pct", "steps"}
    assert found["steps"] == 30
    read_hand_prior(prior, network(small_settings().sdf))
    with pytest.raises(InputError, match="does not fit the network of the hand's shape: 3 missing"):
        read_hand_prior(prior, network())


def test_a_released_prior_is_taken_as_it_is(build: Path, tmp_path: Path) -> None:
    """Protects users who have the release's file: its hand network, nothing else of it, and measured all the same."""
    released = small_model(seed=5)
    path, output = saved(tmp_path, released), tmp_path / "prior.safetensors"
    settings, sizes = HandPriorSettings(checkpoint=str(path)), small_settings().sdf
    hand_prior(build, output, tmp_path / "prior.json", settings, sizes, seed=1, checkpoint=path)
    taken = network(sizes)
    read_hand_prior(output, taken)
    for name, value in released.hand_node("right").implicit_network.state_dict().items():
        assert same(taken.state_dict()[name], value), name
    assert read_json(tmp_path / "prior.json")["near_mean_mm"] > 100
    with pytest.raises(InputError, match=r"last\.ckpt: does not fit the network of the hand's shape"):
        hand_prior(build, output, tmp_path / "prior.json", settings, SIZES, seed=1, checkpoint=path)
