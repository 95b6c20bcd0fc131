"""Volume rendering: closed forms, merging against a loop, and shares that add up."""

import math

import torch
from torch import Tensor

from handloom.reconstruction.holdnet.background import background_weights, inverse_sphere_points
from handloom.reconstruction.holdnet.compositing import (
    OBJECT_CLASS,
    RIGHT_CLASS,
    RaySamples,
    compose,
    merge_samples,
    one_hot_class,
    render_alone,
    render_samples,
)
from handloom.reconstruction.holdnet.rays import sphere_exit


def samples(seed: int, number: int, *, density: float = 1.0, far: float = 5.0) -> RaySamples:
    """Random samples of two rays that begin at 0 and end at `far`."""
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(2, 8, generator=generator).mul(far).sort(dim=1).values
    depth[:, 0], depth[:, -1] = 0, far
    values = torch.rand(2, 8, 7, generator=generator)
    return RaySamples(values[..., :3], values[..., 3:6], density * values[..., 6], one_hot_class(number, depth), depth)


def test_a_constant_density_attenuates_exponentially() -> None:
    depth = torch.linspace(0, 2, 11)[None]
    ones = torch.ones(1, 11, 3)
    rendering = render_alone(RaySamples(ones, ones, torch.full((1, 11), 0.7), one_hot_class(1, depth), depth))
    assert math.isclose(float(rendering.background_weight), math.exp(-1.4), rel_tol=1e-5)
    assert math.isclose(float(rendering.mask_probability), 1 - math.exp(-1.4), rel_tol=1e-5)
    torch.testing.assert_close(rendering.colour, rendering.mask_probability[:, None].expand(1, 3))
    torch.testing.assert_close(rendering.colour_on_white, torch.ones(1, 3))


def test_merging_keeps_all_but_the_shared_ends() -> None:
    nodes = [samples(1, RIGHT_CLASS), samples(2, OBJECT_CLASS)]
    merged, end_depth = merge_samples(nodes)
    assert merged.depth.shape == (2, 8 + 8 - 3)
    assert (end_depth == 5).all()
    for ray in range(2):
        inner = [
            (float(depth), float(density), int(semantics.argmax()))
            for node in nodes
            for depth, density, semantics in zip(
                node.depth[ray, 1:-1], node.density[ray, 1:-1], node.semantics[ray, 1:-1], strict=True
            )
        ]
        found = zip(
            merged.depth[ray, 1:].tolist(),
            merged.density[ray, 1:].tolist(),
            merged.semantics[ray, 1:].argmax(-1).tolist(),
            strict=True,
        )
        assert list(found) == sorted(inner)


def test_the_nearer_node_hides_the_farther_one() -> None:
    depth = torch.tensor([[0.0, 1.0, 1.1, 5.0]])
    red, blue = torch.tensor([1.0, 0.0, 0.0]).expand(1, 4, 3), torch.tensor([0.0, 0.0, 1.0]).expand(1, 4, 3)
    opaque = torch.tensor([[0.0, 1e3, 0.0, 0.0]])
    near = RaySamples(red, red, opaque, one_hot_class(RIGHT_CLASS, depth), depth)
    later = torch.where((depth > 0) & (depth < 5), depth + 1, depth)
    far = RaySamples(blue, blue, opaque, one_hot_class(OBJECT_CLASS, depth), later)
    for nodes in ([near, far], [far, near]):
        composite = compose(render_samples(*merge_samples(nodes)), torch.ones(1, 3))
        torch.testing.assert_close(composite.colour, torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-6, rtol=0)
        assert composite.instance.tolist() == [RIGHT_CLASS]


def test_shares_of_classes_add_up_to_one() -> None:
    foreground = render_samples(*merge_samples([samples(3, RIGHT_CLASS), samples(4, OBJECT_CLASS, density=0.1)]))
    composite = compose(foreground, torch.zeros(2, 3))
    torch.testing.assert_close(composite.semantics.sum(1), torch.ones(2))
    torch.testing.assert_close(composite.colour, foreground.colour)


def test_points_of_the_inverted_sphere_lie_on_their_rays() -> None:
    origins = torch.tensor([[0.1, -0.2, 1.9]]).double()
    directions = torch.nn.functional.normalize(torch.tensor([[0.3, 0.2, -0.9]]).double(), dim=1)
    inverse = torch.tensor([[1 / 6, 0.1, 0.02, 1e-6]]).double()
    points = inverse_sphere_points(origins, directions, inverse, 6.0)
    torch.testing.assert_close(points[..., :3].norm(dim=-1), torch.ones(1, 4).double())
    places = points[..., :3] / points[..., 3:]
    offset = places - origins[:, None]
    across = torch.linalg.cross(offset, directions[:, None].expand_as(offset)).norm(dim=-1)
    assert (across / places.norm(dim=-1)).max() < 1e-9
    first = origins + sphere_exit(origins, directions, 6.0)[:, None] * directions
    torch.testing.assert_close(places[:, 0], first)
    torch.testing.assert_close(points[:, -1, :3], directions, atol=1e-5, rtol=0)


def test_the_background_swallows_what_is_left() -> None:
    inverse = torch.linspace(1 / 6, 0, 5)[None]
    weights: Tensor = background_weights(torch.tensor([[0.5, -2.0, 1.0, 3.0, 1e-3]]), inverse)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(1))
