"""Volume rendering of two nodes: who is in front hides the other, shares sum to one, gradients reach everything."""

import math

import pytest
import torch
from torch import Tensor

from handloom.geometry.voxels import node_points
from handloom.reconstruction.compact.fields import VoxelField
from handloom.reconstruction.compact.volume_renderer import (
    CompactScene,
    FieldSamples,
    composed,
    interval_in_box,
    interval_in_sphere,
    may_hit,
    ray_weights,
    resampled,
    stratified,
)
from handloom.reconstruction.observations import BACKGROUND, CLASS_COUNT, CLASS_OF_SIDE, HAND, OBJECT

from ..held_box import HALF_M, SCALE, held_box
from .scene import small_settings, small_training

RED, GREEN, BLUE = torch.eye(3)
OPAQUE = 50.0


def node(depth: float, optical: float, colour: Tensor, rays: tuple[int, ...] = (0,)) -> FieldSamples:
    """A node of two samples on each of the rays; the second is empty."""
    count = len(rays)
    return FieldSamples(
        torch.tensor(rays, dtype=torch.long),
        torch.tensor([depth, depth + 1]).expand(count, 2),
        torch.tensor([optical, 0.0]).expand(count, 2),
        colour.expand(count, 2, 3),
    )


@pytest.mark.parametrize(("object_depth", "front", "colour"), [(1.0, OBJECT, RED), (3.0, HAND, GREEN)])
def test_what_is_in_front_hides_the_rest(object_depth: float, front: int, colour: Tensor) -> None:
    """Protects the order along the ray: whichever node is nearer is all that is seen."""
    seen = composed(node(object_depth, OPAQUE, RED), {"right": node(2.0, OPAQUE, GREEN)}, BLUE[None])
    torch.testing.assert_close(seen.colour[0], colour)
    torch.testing.assert_close(seen.semantics[0], torch.eye(CLASS_COUNT)[front])
    torch.testing.assert_close(seen.depth[0], torch.tensor(min(object_depth, 2.0)))


def test_shares_of_thin_layers() -> None:
    """Protects the composition: half is object, half of the rest is hand, what remains is background."""
    half = math.log(2)
    seen = composed(node(1.0, half, RED), {"right": node(2.0, half, GREEN)}, BLUE[None])
    wanted = torch.zeros(CLASS_COUNT)
    wanted[OBJECT], wanted[HAND], wanted[BACKGROUND] = 0.5, 0.25, 0.25
    torch.testing.assert_close(seen.semantics[0], wanted)
    torch.testing.assert_close(seen.colour[0], 0.5 * RED + 0.25 * GREEN + 0.25 * BLUE)
    torch.testing.assert_close(seen.depth[0], torch.tensor((0.5 * 1 + 0.25 * 2) / 0.75))


def test_two_hands_hide_each_other_and_the_object() -> None:
    """Protects the classes of two hands: the nearer one is all that is seen, as its own class."""
    hands = {"right": node(2.0, OPAQUE, GREEN, (0, 1)), "left": node(1.5, OPAQUE, BLUE, (1,))}
    seen = composed(node(3.0, OPAQUE, RED, (0, 1, 2)), hands, torch.zeros(3, 3))
    assert seen.semantics.argmax(-1).tolist() == [CLASS_OF_SIDE["right"], CLASS_OF_SIDE["left"], OBJECT]
    torch.testing.assert_close(seen.colour, torch.stack([GREEN, BLUE, RED]))


def test_rays_that_miss_a_node_see_the_others() -> None:
    """Protects the merge of nodes that hit different rays; an empty ray shows the background alone."""
    seen = composed(node(1.0, OPAQUE, RED, (2,)), {"right": node(2.0, OPAQUE, GREEN, (0, 2))}, BLUE.expand(3, 3))
    torch.testing.assert_close(seen.colour, torch.stack([GREEN, BLUE, RED]))
    assert seen.semantics.argmax(-1).tolist() == [HAND, BACKGROUND, OBJECT]
    torch.testing.assert_close(seen.semantics.sum(-1), torch.ones(3))
    assert seen.depth[1] == 0


def true_scene(cells: int = 32) -> CompactScene:
    """The held box with the box's exact distances in its field."""
    held, scene = held_box(), small_training(small_settings()).scene
    radius_m = held.cube.radius * SCALE
    offset = (node_points(cells) * radius_m).abs() - torch.from_numpy(HALF_M).float()
    outside = torch.linalg.vector_norm(offset.clamp_min(0), dim=-1)
    distance = (outside + offset.amax(-1).clamp_max(0)).view(1, cells, cells, cells)
    scene.object_field = VoxelField(distance, small_settings(), len(held.image_u8), torch.Generator().manual_seed(0))
    return scene


def test_true_scene_renders_the_masks_and_depths_of_the_video() -> None:
    """Protects the whole chain of cameras, poses and fields against an independent ray caster's picture."""
    held, scene = held_box(), true_scene()
    seen = held.observations()
    rows, columns = torch.meshgrid(torch.arange(0, 60, 2), torch.arange(0, 80, 2), indexing="ij")
    pixels = torch.stack([columns, rows], -1).view(-1, 2)
    frame = torch.full((len(pixels),), 2)
    batch = seen.rays(frame, pixels)
    with torch.no_grad():
        found = scene.render(batch.directions, frame, batch.background, 0.0008)
    torch.testing.assert_close(found.semantics.sum(-1), torch.ones(len(pixels)), atol=1e-5, rtol=0)
    kind = found.semantics.argmax(-1)
    overlap = [float(((kind == k) & (batch.kind == k)).sum() / ((kind == k) | (batch.kind == k)).sum()) for k in (1, 2)]
    assert overlap[OBJECT - 1] > 0.7
    assert overlap[HAND - 1] > 0.7  # its template is coarse
    on_box = (kind == OBJECT) & (batch.kind == OBJECT)
    depth_m = held.depth_m[2, pixels[:, 1], pixels[:, 0]]
    assert int(on_box.sum()) > 30
    assert (found.depth - depth_m)[on_box].abs().median() < 0.002


def test_rays_that_meet_nothing_show_the_background() -> None:
    """Protects batches of empty space: no samples, no error, background and nothing else."""
    scene = true_scene()
    directions = torch.tensor([[3.0, 0, 1], [0, -3, 1]])
    background = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    found = scene.render(directions, torch.tensor([0, 5]), background, 0.002)
    torch.testing.assert_close(found.colour, background)
    assert len(found.object.ray) == len(found.hands["right"].ray) == 0
    assert (found.semantics[:, BACKGROUND] == 1).all()


def test_the_generator_decides_all_samples() -> None:
    """Protects repeatable steps: equal seeds give equal renderings, without a generator every call is alike."""
    held, scene = held_box(), true_scene()
    batch = held.observations().draw(60, 0.5, 0.4, torch.Generator().manual_seed(0))

    def colours(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return scene.render(batch.directions, batch.frame, batch.background, 0.003, generator).colour

    torch.testing.assert_close(colours(1), colours(1), atol=0, rtol=0)
    torch.testing.assert_close(colours(None), colours(None), atol=0, rtol=0)
    assert not torch.equal(colours(1), colours(2))


def test_rays_on_which_the_object_is_given_teach_the_hand_only() -> None:
    """Protects the object from a wrong hand: pixels of the hand neither move nor change it, and look as before."""
    held, scene = held_box(), true_scene()
    batch = held.observations().draw(80, 0.5, 0.5, torch.Generator().manual_seed(0))
    seen = {}
    for name, given in (("learnt", None), ("given", torch.ones(80, dtype=torch.bool))):
        scene.object_field.zero_grad()
        scene.hands["right"].field.zero_grad()
        scene.poses.zero_grad()
        found = scene.render(batch.directions, batch.frame, batch.background, 0.003, object_is_given=given)
        (found.colour.sum() + found.semantics[:, HAND].sum()).backward()
        moved = [
            scene.object_field.distance.grad,
            scene.poses.object.object_rotvec.grad,
            scene.hands["right"].field.distance.grad,
        ]
        seen[name] = (found.colour.detach(), [0.0 if g is None else float(g.abs().sum()) for g in moved])
    torch.testing.assert_close(seen["given"][0], seen["learnt"][0], atol=0, rtol=0)
    assert min(seen["learnt"][1]) > 0
    assert seen["given"][1][:2] == [0, 0]
    assert seen["given"][1][2] > 0


def test_interval_in_a_box() -> None:
    """Protects entry and exit: in front, from within, at a slant, with a long direction, and past the box."""
    origins = torch.tensor([[-3.0, 0, 0], [0, 0, 0], [-2, -2, 0], [-3, 0, 0], [-3, 1.5, 0]])
    directions = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 1, 0], [2, 0, 0], [1, 0, 0]])
    near, far = interval_in_box(origins, directions, 1.0)
    torch.testing.assert_close(near[:4], torch.tensor([2.0, -1, 1, 1]))
    torch.testing.assert_close(far[:4], torch.tensor([4.0, 1, 3, 2]))
    assert far[4] < near[4]


def test_interval_in_a_sphere() -> None:
    """Protects the hand's interval: central, off the centre, in units of a long direction, and a miss."""
    centres = torch.tensor([[0.0, 0, 5], [0.6, 0, 5], [0, 0, 5], [1.1, 0, 5]])
    directions = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 2], [0, 0, 1]])
    near, far = interval_in_sphere(centres, directions, torch.ones(4))
    torch.testing.assert_close(near[:3], torch.tensor([4.0, 4.2, 2.0]))
    torch.testing.assert_close(far[:3], torch.tensor([6.0, 5.8, 3.0]))
    assert far[3] < near[3]


def test_stratified_depths_lie_one_in_each_part() -> None:
    """Protects the even cover of the interval; without a generator the middles, for pictures that can be repeated."""
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 6.0])
    torch.testing.assert_close(
        stratified(near, far, 4, None), torch.tensor([[1.125, 1.375, 1.625, 1.875], [2.5, 3.5, 4.5, 5.5]])
    )
    random = stratified(near, far, 4, torch.Generator().manual_seed(0))
    part = ((random - near[:, None]) / (far - near)[:, None] * 4).floor()
    torch.testing.assert_close(part, torch.arange(4.0).expand(2, 4))


def test_weights_of_constant_density() -> None:
    """Protects Beer-Lambert: w_i = exp(-sigma i delta) (1 - exp(-sigma delta)), in all 1 - exp(-sigma L)."""
    density, step = 3.0, 0.1
    weights = ray_weights(torch.full((1, 8), density), torch.full((1, 8), step))
    wanted = torch.tensor([[math.exp(-density * step * i) * (1 - math.exp(-density * step)) for i in range(8)]])
    torch.testing.assert_close(weights, wanted)
    torch.testing.assert_close(weights.sum(), torch.tensor(1 - math.exp(-density * step * 8)))


@pytest.mark.parametrize("seed", [None, 0])
def test_resampled_depths_concentrate_at_the_first_surface(seed: int | None) -> None:
    """Protects the use of samples: sorted, in the interval, nearly all at the surface, few elsewhere, none behind."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    depths = torch.linspace(0.5, 1.5, 101).expand(3, 101)
    distance_m = 1.0 - depths  # a half space that begins at depth 1
    found = resampled(depths, distance_m, torch.tensor(0.01), torch.ones(3), 60, generator)
    assert found.shape == (3, 60)
    assert (found.diff(dim=1) >= 0).all()
    assert ((found >= 0.5) & (found <= 1.5)).all()
    assert ((found - 1.0).abs() < 0.06).float().mean() > 0.9
    assert (found < 0.9).any(1).all()


def test_resampled_knows_that_a_long_direction_crosses_more_metres() -> None:
    """Protects the use of metres: the same depths along a ray ten times as long are ten times as opaque."""
    depths = torch.linspace(0.0, 1.0, 201).expand(2, 201)
    fog = torch.full_like(depths, -100.0)  # so deep inside that the density is 1 / beta
    found = resampled(depths, fog, torch.tensor(1.0), torch.tensor([1.0, 10.0]), 1000, None)
    # mean depth of exp(-k x) on [0, 1] is 1/k - exp(-k) / (1 - exp(-k)), plus the even share of the mass
    for row, rate in zip(found, (1.0, 10.0), strict=True):
        opaque = 1 - math.exp(-rate)
        middle = 1 / rate - math.exp(-rate) / opaque
        wanted = (opaque * middle + 0.05 * 0.5) / (opaque + 0.05)
        assert float(row.mean()) == pytest.approx(wanted, abs=3e-3)


def test_only_rays_that_come_near_may_hit() -> None:
    """Protects the skipping of empty space: a ray that misses the box, or stays far, is not sampled."""
    distance_m = torch.tensor([[0.2, 0.01], [0.2, 0.03], [0.2, -0.1]])
    near, far = torch.tensor([1.0, 1.0, 2.0]), torch.tensor([2.0, 2.0, 1.0])
    assert may_hit(distance_m, 0.02, near, far).tolist() == [True, False, False]
