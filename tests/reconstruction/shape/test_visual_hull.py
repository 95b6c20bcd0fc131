"""The visual hull: a cube comes back, the hand that holds it does not, and masks that fit no poses are refused."""

from dataclasses import replace

import pytest
import torch

from handloom.geometry.voxels import look_up, node_points
from handloom.reconstruction.observations import HAND, OBJECT
from handloom.reconstruction.shape.cube_views import CubeViews
from handloom.reconstruction.shape.visual_hull import (
    MOST_CARVED_SHARE,
    counts,
    hull_distance,
    label_counts,
    near_points,
    object_hull,
    shared_nodes,
)
from handloom.runtime.errors import InputError

from ..held_box import HALF_M, SCALE, held_box

CELLS = 25
NO_POINTS = torch.zeros(1, 3)


def box_views() -> CubeViews:
    held = held_box()
    return CubeViews.of(held.observations(), held.poses.object, held.cube, CELLS, "cpu")


def box_share() -> torch.Tensor:
    """How far nodes are from the box's middle, as shares of its half sides: 1 on its surface."""
    return (node_points(CELLS) * held_box().cube.radius * SCALE / torch.from_numpy(HALF_M).float()).abs().amax(-1)


def test_hull_of_the_held_box_leaves_out_the_hand() -> None:
    """Protects the first shape of a grasp: about the box, without hand, by a hand that keeps its place."""
    hull = object_hull(box_views(), NO_POINTS, None)
    assert hull.rule == "labelled"
    assert hull.carved_share < MOST_CARVED_SHARE
    inside, share = hull.distance.flatten() < 0, box_share()
    assert inside[share < 0.5].float().mean() > 0.7  # eight views only: the hand hides a fifth in most of them
    assert inside[share <= 1].float().mean() > 0.75
    assert inside.sum() < 2 * (share <= 1).sum()


def test_a_grip_that_changes_falls_back_on_shares() -> None:
    """Protects videos in which the hand moves on the object: labels contradict each other, the other rule is taken."""
    views = box_views()
    often = torch.arange(len(views.kind)).repeat_interleave(4)  # every second frame labels nodes
    kind = views.kind[often]
    other = kind[2::4]
    kind[2::4] = torch.where(other == OBJECT, HAND, torch.where(other == HAND, OBJECT, other))
    turn, place = views.rotation[often], views.translation[often]
    changing = replace(views, grey=views.grey[often], kind=kind, rotation=turn, translation=place)
    hull = object_hull(changing, NO_POINTS, None)
    assert hull.rule == "shared"
    assert hull.carved_share > MOST_CARVED_SHARE


def test_hull_distance_of_a_cube() -> None:
    """Protects sign and scale of the distance that shapes start from: cells."""
    inside = (node_points(CELLS).abs().amax(-1) < 0.5).view(CELLS, CELLS, CELLS)
    distance = hull_distance(inside)
    along = torch.linspace(-0.9, 0.9, 18)  # without the centre, where the distance has its kink and smoothing rounds it
    places = torch.stack([along, torch.zeros(18), torch.zeros(18)], -1)
    half = (CELLS - 1) / 2
    torch.testing.assert_close(look_up(distance[None], places)[:, 0], half * (along.abs() - 0.5), atol=1.2, rtol=0)


def test_points_count_only_where_the_image_shows_them() -> None:
    """Protects objects that leave the image: beside it or behind the camera says nothing."""
    masks = torch.full((1, 4, 6), OBJECT, dtype=torch.uint8)
    masks[0, :, 3:], masks[0, 3, 5] = 0, HAND
    points = torch.tensor([[0.0, 0, 1], [10, 6, 2], [8, 0, 2], [7, 0, 1], [0, 0, -1], [0, -2, 1]])
    still = CubeViews(masks.float(), masks, torch.eye(3), torch.eye(3)[None], torch.zeros(1, 3), CELLS)
    found = counts(still, torch.tensor([0]), points)
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_which_counts_make_a_point_of_the_object() -> None:
    """Protects the carving rule: hardly any background, the object in half of the other views; unseen is empty."""
    counts = torch.tensor([[0.0, 12, 0], [1, 11, 0], [1, 99, 0], [0, 6, 6], [0, 5, 7], [0, 0, 12], [0, 0, 0]])
    assert shared_nodes(counts).tolist() == [True, False, True, True, False, False, False]


def test_masks_that_fit_no_poses_are_refused() -> None:
    """Protects against a build folder of mixed sequences: no hull, and a message that says what to look at."""
    views = box_views()
    elsewhere = torch.zeros_like(views.kind)
    elsewhere[:, :3, :3], elsewhere[:, 3:6, :3] = OBJECT, HAND
    with pytest.raises(InputError, match="do not fit each other: look at the pictures"):
        object_hull(replace(views, kind=elsewhere), NO_POINTS, None)


def test_cones_beyond_the_points_are_cut_and_wrong_points_do_not_matter() -> None:
    """Protects shapes seen from a few sides: they end near their SfM points, whatever a few wrong ones say."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(600, 3, generator=generator) * 2 - 1
    points[torch.arange(600), torch.arange(600) % 3] = 1.0
    points[:4] = torch.tensor([5.0, 0.0, 0.0])
    axis = torch.linspace(-2, 2, 41)
    queries = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
    near = near_points(queries, points, reach=0.1)
    beyond = queries.abs().amax(1)
    assert not near[beyond > 1.15].any()
    inner = (queries.amin(1) > -0.2) & (queries.amax(1) < 0.85)
    assert near[inner].all()
    # Nothing lies beside the corner that no point shows.
    assert not near[(queries.amax(1) < -0.9)].any()


def test_a_frame_without_object_carves_nothing() -> None:
    """Protects the first shape: a lost mask is not background seen through the object."""
    views = box_views()
    lost = views.kind.clone()
    lost[2] = 0
    whole, part = (label_counts(replace(views, kind=kind)) for kind in (views.kind, lost))
    assert (part.sum(-1) <= whole.sum(-1)).all()
    assert shared_nodes(part).sum() >= shared_nodes(whole).sum() * 0.4
