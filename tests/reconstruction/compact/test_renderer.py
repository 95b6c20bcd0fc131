"""Volume rendering of two nodes: who is in front hides the other, shares sum to one, gradients reach everything."""

import math

import pytest
import torch
from torch import Tensor

from handloom.reconstruction.compact.classes import BACKGROUND, HAND, OBJECT
from handloom.reconstruction.compact.fields import VoxelField
from handloom.reconstruction.compact.renderer import CompactScene, NodeSamples, composed
from handloom.reconstruction.compact.voxels import node_points

from .scene import HALF_M, SCALE, held_box, small_settings, small_training

RED, GREEN, BLUE = torch.eye(3)
OPAQUE = 50.0


def node(depth: float, optical: float, colour: Tensor, rays: tuple[int, ...] = (0,)) -> NodeSamples:
    """A node of two samples on each of the rays; the second is empty."""
    count = len(rays)
    return NodeSamples(
        torch.tensor(rays, dtype=torch.long),
        torch.tensor([depth, depth + 1]).expand(count, 2),
        torch.tensor([optical, 0.0]).expand(count, 2),
        colour.expand(count, 2, 3),
        torch.zeros(count, 2, 3),
        torch.zeros(count, 2),
    )


@pytest.mark.parametrize(("object_depth", "front", "colour"), [(1.0, OBJECT, RED), (3.0, HAND, GREEN)])
def test_what_is_in_front_hides_the_rest(object_depth: float, front: int, colour: Tensor) -> None:
    """Protects the order along the ray: whichever node is nearer is all that is seen."""
    seen = composed((node(object_depth, OPAQUE, RED), node(2.0, OPAQUE, GREEN)), BLUE[None])
    torch.testing.assert_close(seen.colour[0], colour)
    torch.testing.assert_close(seen.semantics[0], torch.eye(3)[front])
    torch.testing.assert_close(seen.depth[0], torch.tensor(min(object_depth, 2.0)))


def test_shares_of_thin_layers() -> None:
    """Protects the composition: half is object, half of the rest is hand, what remains is background."""
    half = math.log(2)
    seen = composed((node(1.0, half, RED), node(2.0, half, GREEN)), BLUE[None])
    wanted = torch.zeros(3)
    wanted[OBJECT], wanted[HAND], wanted[BACKGROUND] = 0.5, 0.25, 0.25
    torch.testing.assert_close(seen.semantics[0], wanted)
    torch.testing.assert_close(seen.colour[0], 0.5 * RED + 0.25 * GREEN + 0.25 * BLUE)
    torch.testing.assert_close(seen.depth[0], torch.tensor((0.5 * 1 + 0.25 * 2) / 0.75))


def test_rays_that_miss_a_node_see_the_others() -> None:
    """Protects the merge of nodes that hit different rays; an empty ray shows the background alone."""
    seen = composed((node(1.0, OPAQUE, RED, (2,)), node(2.0, OPAQUE, GREEN, (0, 2))), BLUE.expand(3, 3))
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
    field = VoxelField(
        distance,
        feature_cells=4,
        features=1,
        hidden=4,
        frames=len(held.image_u8),
        code_size=0,
        generator=torch.Generator().manual_seed(0),
    )
    scene.object_field = field
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
    assert len(found.object.ray) == len(found.hand.ray) == 0
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
        scene.hand_field.zero_grad()
        scene.poses.zero_grad()
        found = scene.render(batch.directions, batch.frame, batch.background, 0.003, object_is_given=given)
        (found.colour.sum() + found.semantics[:, HAND].sum()).backward()
        moved = [
            scene.object_field.distance.grad,
            scene.poses.object_rotvec.grad,
            scene.hand_field.distance.grad,
        ]
        seen[name] = (found.colour.detach(), [0.0 if g is None else float(g.abs().sum()) for g in moved])
    torch.testing.assert_close(seen["given"][0], seen["learnt"][0], atol=0, rtol=0)
    assert min(seen["learnt"][1]) > 0
    assert seen["given"][1][:2] == [0, 0]
    assert seen["given"][1][2] > 0
