"""The terms of phases 1 and 3 in closed form, on renderings made by hand."""

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.classes import BACKGROUND, HAND, OBJECT
from handloom.reconstruction.compact.losses import Losses, counted_rays, losses
from handloom.reconstruction.compact.observations import RayBatch
from handloom.reconstruction.compact.renderer import NodeSamples, Rendered
from handloom.reconstruction.compact.voxels import node_points
from handloom.runtime.config.compact import CompactSettings

CELLS = 6
FLAT = node_points(CELLS)[:, 0].view(1, CELLS, CELLS, CELLS)
"""A plane: without roughness."""
RADIUS_M = torch.tensor(0.1)


def samples(rays: list[int], gradient: Tensor) -> NodeSamples:
    count = len(rays)
    plain = torch.zeros(count, 2)
    colour = torch.zeros(count, 2, 3)
    return NodeSamples(torch.tensor(rays), plain, plain, colour, gradient.expand(count, 2, 3), plain)


def batch(kinds: list[int]) -> RayBatch:
    rays = len(kinds)
    zeros = torch.zeros(rays, 3)
    return RayBatch(torch.zeros(rays, dtype=torch.long), zeros, zeros, torch.tensor(kinds), zeros)


def rendered(colour: Tensor, kinds: list[int], hand_rays: list[int], slope: float = 1.0) -> Rendered:
    semantics = torch.eye(3)[kinds]
    gradient = torch.tensor([0.0, slope, 0.0])
    return Rendered(colour, semantics, torch.zeros(len(kinds)), samples([0], gradient), samples(hand_rays, gradient))


def terms(wanted: RayBatch, found: Rendered, done: float = 0.0, hand: Tensor = FLAT, thing: Tensor = FLAT) -> Losses:
    settings = CompactSettings(
        colour_weight=1.0,
        first_semantic_weight=2.0,
        last_semantic_weight=1.0,
        eikonal_weight=1.0,
        roughness_weight=1.0,
        hand_prior_weight=1.0,
    )
    return losses(wanted, found, thing, RADIUS_M, hand, FLAT, settings, done)


def test_a_perfect_rendering_costs_nothing() -> None:
    """Protects the minimum: every term is zero there, so no term pulls away from the truth."""
    kinds = [BACKGROUND, OBJECT, HAND]
    found = terms(batch(kinds), rendered(torch.zeros(3, 3), kinds, [2]))
    assert all(float(value) == pytest.approx(0, abs=1e-9) for value in vars(found).values())


def test_colour_error_is_summed_over_channels_and_averaged_over_rays() -> None:
    """Protects the colour's scale against the other terms."""
    colour = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]])
    found = terms(batch([OBJECT, OBJECT]), rendered(colour, [OBJECT, OBJECT], [1]))
    assert float(found.colour) == pytest.approx(0.3)
    assert float(found.total) == pytest.approx(0.3)


@pytest.mark.parametrize(("done", "weight"), [(0.0, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_semantic_weight_falls_with_the_training(done: float, weight: float) -> None:
    """Protects the schedule: one of two rays shows the wrong class, a squared error of 2 on it."""
    found = terms(batch([OBJECT, HAND]), rendered(torch.zeros(2, 3), [BACKGROUND, HAND], [1]), done)
    assert float(found.semantic) == pytest.approx(weight * 2 / 2)


def test_the_forearm_does_not_count() -> None:
    """Protects the fields from the arm, which no model shows: hand labels far from the hand are left out."""
    kinds = [HAND, HAND, OBJECT, BACKGROUND]
    shown = rendered(torch.ones(4, 3), [BACKGROUND, HAND, OBJECT, BACKGROUND], [1])
    assert counted_rays(batch(kinds), shown).tolist() == [False, True, True, True]
    found = terms(batch(kinds), shown)
    assert float(found.semantic) == 0
    assert float(found.colour) == pytest.approx(3.0)


def test_eikonal_wants_slopes_of_one() -> None:
    """Protects distances from becoming steeper than metres per metre: (1.5 - 1)^2."""
    found = terms(batch([OBJECT]), rendered(torch.zeros(1, 3), [OBJECT], [0], slope=1.5))
    assert float(found.eikonal) == pytest.approx(0.25)


def test_hand_prior_is_cut_at_one_centimetre() -> None:
    """Protects the template's hold on the hand's surface only: half a centimetre near it counts half, far away none."""
    template_at_zero = torch.zeros_like(FLAT)
    settings = CompactSettings(hand_prior_weight=1.0)

    def prior(hand: Tensor, template: Tensor) -> float:
        shown = rendered(torch.zeros(1, 3), [OBJECT], [0])
        return float(losses(batch([OBJECT]), shown, FLAT, RADIUS_M, hand, template, settings, 0.0).hand_prior)

    assert prior(template_at_zero + 0.005, template_at_zero) == pytest.approx(0.5)
    assert prior(template_at_zero + 0.05, template_at_zero) == pytest.approx(1.0)
    assert prior(template_at_zero + 0.05, template_at_zero + 0.02) == 0


def test_no_object_samples_and_no_counted_rays_are_no_nan() -> None:
    """Protects small batches: a mean over nothing is zero."""
    shown = rendered(torch.ones(1, 3), [HAND], [])
    nothing = NodeSamples(*(value[:0] for value in samples([0], torch.ones(3))))
    found = terms(batch([HAND]), shown._replace(object=nothing, hand=nothing))
    assert float(found.total) == pytest.approx(0, abs=1e-9)


def test_a_rough_object_costs_something() -> None:
    """Protects the smoothness of the object's grid, of its grid and not the hand's."""
    noise = 0.01 * torch.randn(FLAT.shape, generator=torch.Generator().manual_seed(0))
    shown = rendered(torch.zeros(1, 3), [OBJECT], [0])
    assert float(terms(batch([OBJECT]), shown, thing=noise).roughness) > 1e-4
    assert float(terms(batch([OBJECT]), shown, hand=noise).roughness) == pytest.approx(0, abs=1e-9)


def test_roughness_is_measured_in_cells() -> None:
    """A surface twice as large in metres with the same second differences is half as rough in cells, squared."""
    noise = 0.01 * torch.randn(FLAT.shape, generator=torch.Generator().manual_seed(0))
    shown, settings = rendered(torch.zeros(1, 3), [OBJECT], [0]), CompactSettings()
    rough = [
        float(losses(batch([OBJECT]), shown, noise, radius, FLAT, FLAT, settings, 0.0).roughness)
        for radius in (RADIUS_M, 2 * RADIUS_M)
    ]
    assert rough[0] == pytest.approx(4 * rough[1])
    cell_m = 2 * float(RADIUS_M) / (noise.shape[-1] - 1)
    expected = sum(float(noise.diff(n=2, dim=axis).square().mean()) for axis in (1, 2, 3)) / cell_m**2
    assert rough[0] == pytest.approx(settings.roughness_weight * expected, rel=1e-4)
