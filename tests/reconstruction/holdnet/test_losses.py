"""The repaired losses: rays that are NaN are dropped one by one and counted, empty sets cost nothing."""

from typing import Any

import pytest
import torch

from handloom.reconstruction.holdnet.losses import HoldLoss, NodeRays, hold_loss

RAYS = 8


def loss(**changes: Any) -> HoldLoss:
    random = torch.Generator().manual_seed(1)
    arguments: dict[str, Any] = {
        "step": 15000,
        "rgb": torch.rand(RAYS, 3, generator=random),
        "rgb_true": torch.rand(RAYS, 3, generator=random),
        "semantics": torch.rand(RAYS, 4, generator=random),
        "classes": torch.randint(4, (RAYS,), generator=random),
        "nodes": {
            name: NodeRays(
                torch.rand(RAYS, generator=random),
                torch.arange(RAYS) < 3,
                torch.randn(2, 5, 3, generator=random),
            )
            for name in ("right", "object")
        },
        "hand_shape": (torch.full((2, 5), 0.004), torch.full((2, 5), -0.02)),
    }
    return hold_loss(**{**arguments, **changes})


def with_nan(name: str, row: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    rgb, _, semantics = (torch.rand(RAYS, size, generator=random) for size in (3, 3, 4))
    tensor = {"rgb": rgb, "semantics": semantics}[name]
    tensor[row, 1] = torch.nan
    return tensor


@pytest.mark.parametrize("name", ["rgb", "semantics"])
def test_a_nan_ray_leaves_every_term_and_is_counted(name: str) -> None:
    whole, holed = loss(), loss(**{name: with_nan(name, 0)})
    assert whole.dropped_rays == 0
    assert holed.dropped_rays == 1
    assert bool(torch.isfinite(holed.total))
    for term in ("rgb", "sem", "opacity_sparse"):
        assert getattr(holed, term) != getattr(whole, term)


def test_a_nan_opacity_leaves_every_term() -> None:
    node = NodeRays(torch.full((RAYS,), torch.nan), torch.ones(RAYS, dtype=torch.bool), torch.ones(1, 2, 3))
    holed = loss(nodes={"right": node})
    assert holed.dropped_rays == RAYS
    assert float(holed.rgb) == float(holed.sem) == float(holed.opacity_sparse) == 0


def test_no_ray_off_the_surface_costs_nothing() -> None:
    node = NodeRays(torch.ones(RAYS), torch.zeros(RAYS, dtype=torch.bool), torch.ones(1, 2, 3))
    assert float(loss(nodes={"right": node}).opacity_sparse) == 0
    assert torch.isnan(loss(nodes={"right": node}, fidelity="faithful").opacity_sparse)


def test_faithful_drops_rays_from_colour_only() -> None:
    holed = loss(rgb=with_nan("rgb", 0), fidelity="faithful")
    whole = loss(fidelity="faithful")
    assert float(holed.sem) == float(whole.sem)
    assert float(holed.opacity_sparse) == float(whole.opacity_sparse)
    assert bool(torch.isfinite(holed.rgb))


def test_it_counts_by_default_and_is_off_as_published() -> None:
    eikonal = loss().eikonal
    assert eikonal is not None
    assert float(eikonal) > 0
    published = loss(fidelity="faithful")
    assert published.eikonal is None
    assert "eikonal" not in published.terms()


def test_total_is_the_sum_of_the_terms() -> None:
    found = loss()
    assert set(found.terms()) == {"rgb", "sem", "eikonal", "mano_cano", "opacity_sparse"}
    assert float(found.total) == pytest.approx(sum(float(term) for term in found.terms().values()), rel=1e-6)
