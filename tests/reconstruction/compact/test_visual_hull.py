"""The visual hull: a cube seen from twelve sides comes back, and masks that fit no poses are refused."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.geometry.voxels import look_up, node_points
from handloom.reconstruction.compact.posed_hands import PosedHands
from handloom.reconstruction.compact.visual_hull import (
    HULL_CELLS,
    hull_distance,
    hull_nodes,
    label_counts,
    near_points,
    object_hull,
)
from handloom.reconstruction.observations import HAND, OBJECT, Observations
from handloom.runtime.errors import InputError

from ..held_box import HALF_M, MODEL, SCALE, held_box

CELLS, VIEWS, SIDE_PX, DISTANCE = 25, 12, 120, 8.0
HALF = 0.5
CAMERA = np.array([[200.0, 0, 59.5], [0, 200.0, 59.5], [0, 0, 1]])


def cube_views() -> tuple[Tensor, Tensor]:
    """Nodes in twelve cameras that see the whole grid, and masks of the cube by the slab test of the pixels' rays."""
    rotations = Rotation.random(VIEWS, np.random.default_rng(0)).as_matrix()
    column, row = np.meshgrid(np.arange(SIDE_PX), np.arange(SIDE_PX))
    rays = np.stack([column, row, np.ones_like(column)], -1) @ np.linalg.inv(CAMERA).T
    place = np.array([0, 0, DISTANCE])
    masks = []
    for rotation in rotations:
        origin, direction = -place @ rotation, rays @ rotation
        ends = np.stack([(-HALF - origin) / direction, (HALF - origin) / direction])
        masks.append(ends.min(0).max(-1) <= ends.max(0).min(-1))
    points = node_points(CELLS).numpy() @ rotations.transpose(0, 2, 1) + place
    return torch.from_numpy(points).float(), torch.from_numpy(np.stack(masks).astype(np.uint8) * OBJECT)


def test_hull_of_a_cube_seen_from_twelve_sides() -> None:
    """Protects the first shape of every training: the hull holds the whole cube and little more."""
    points, masks = cube_views()
    inside = hull_nodes(label_counts(points, masks, torch.from_numpy(CAMERA).float()))
    farthest = node_points(CELLS).abs().amax(-1)
    assert inside[farthest < HALF - 0.05].all()
    assert int(inside.sum()) < 1.4 * int((farthest <= HALF).sum())
    assert not inside[farthest > 1.7 * HALF].any()


def test_hull_distance_of_a_cube() -> None:
    """Protects sign and scale of the distance that fields start from."""
    spacing = 2 / (CELLS - 1)
    inside = (node_points(CELLS).abs().amax(-1) < HALF).view(CELLS, CELLS, CELLS)
    distance = hull_distance(inside, 1.0)
    along = torch.linspace(-0.9, 0.9, 18)  # without the centre, where the distance has its kink and smoothing rounds it
    places = torch.stack([along, torch.zeros(18), torch.zeros(18)], -1)
    torch.testing.assert_close(look_up(distance, places)[:, 0], along.abs() - HALF, atol=1.2 * spacing, rtol=0)
    assert (look_up(distance, 0.4 * torch.eye(3)) < 0).all()


def test_points_count_only_where_the_image_shows_them() -> None:
    """Protects objects that leave the image: beside it or behind the camera says nothing."""
    masks = torch.full((1, 4, 6), OBJECT, dtype=torch.uint8)
    masks[0, :, 3:], masks[0, 3, 5] = 0, HAND
    points = torch.tensor([[[0.0, 0, 1], [10, 6, 2], [8, 0, 2], [7, 0, 1], [0, 0, -1], [0, -2, 1]]])
    counts = label_counts(points, masks, torch.eye(3))
    assert counts.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_which_counts_make_a_point_of_the_object() -> None:
    """Protects the carving rule: hardly any background, the object in half of the other views; unseen is empty."""
    counts = torch.tensor([[0.0, 12, 0], [1, 11, 0], [1, 99, 0], [0, 6, 6], [0, 5, 7], [0, 0, 12], [0, 0, 0]])
    assert hull_nodes(counts).tolist() == [True, False, True, True, False, False, False]


def test_hull_of_the_held_box_leaves_out_the_hand() -> None:
    """Protects the start of phase 1 on a grasp: about the box, no hand, in metres of the object's cube."""
    held, poses = held_box(), held_box().scene_poses()
    with torch.no_grad():
        hands = PosedHands(MODEL, poses.hand().vertices_m)
    hull = object_hull(held.observations(), poses, hands)
    radius_m = held.cube.radius * SCALE
    assert hull.shape == (1, HULL_CELLS, HULL_CELLS, HULL_CELLS)
    random = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    core = torch.from_numpy(0.5 * HALF_M / radius_m).float() * (2 * random - 1)
    assert (look_up(hull, core) < 0).float().mean() > 0.7  # eight views only: the hand hides a fifth in most of them
    nodes_m = node_points(HULL_CELLS) * radius_m
    inside = hull.view(-1) < 0
    box = (nodes_m.abs() <= torch.from_numpy(HALF_M).float()).all(-1)
    assert (inside & box).sum() > 0.75 * box.sum()
    assert inside.sum() < 2 * box.sum()


def test_what_lies_inside_the_posed_hand_is_no_object() -> None:
    """Protects the start from hands that masks alone cannot part: where a hand is put into the box, no box is left."""
    held, poses = held_box(), held_box().scene_poses()
    vertices = poses.hand().vertices_m.detach()
    middle = poses.object_to_cam(torch.zeros(1, 3)).detach()
    palm = vertices[:, MODEL.weights[:, 4] > 0.3].mean(1, keepdim=True)  # where the middle finger begins
    inside_box = PosedHands(MODEL, vertices - palm + middle)
    far_away = PosedHands(MODEL, vertices + 1.0)
    seen = held.observations()
    hulls = [object_hull(seen, poses, hands).view(-1) < 0 for hands in (far_away, inside_box)]
    assert not bool((hulls[1] & ~hulls[0]).sum() > 0.05 * hulls[0].sum())
    assert hulls[1].sum() < 0.8 * hulls[0].sum()


def test_masks_that_fit_no_poses_are_refused() -> None:
    """Protects against a build folder of mixed sequences: no hull, and a message that says what to look at."""
    held = held_box()
    elsewhere = torch.zeros_like(held.class_u8)
    elsewhere[:, :3, :3], elsewhere[:, 3:6, :3] = OBJECT, HAND
    poses = held.scene_poses()
    hands = PosedHands(MODEL, poses.hand().vertices_m)
    with pytest.raises(InputError, match="do not fit each other: look at the pictures"):
        object_hull(Observations.of(held.image_u8, elsewhere, held.intrinsics), poses, hands)


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
    held, poses = held_box(), held_box().scene_poses()
    lost = held.class_u8.clone()
    lost[2][lost[2] == OBJECT] = 0
    hands = PosedHands(MODEL, poses.hand().vertices_m)
    whole, part = (
        object_hull(Observations.of(held.image_u8, labels, held.intrinsics), poses, hands)
        for labels in (held.class_u8, lost)
    )
    assert (part < 0).float().sum() > 0.4 * (whole < 0).float().sum()
