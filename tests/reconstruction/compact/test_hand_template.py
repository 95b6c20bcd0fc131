"""The hand's template: true distances in metres around the shaped hand, read back whole."""

from pathlib import Path

import pytest
import torch

from handloom.geometry.voxels import look_up, node_points
from handloom.hand.mano import rest_joints_m, skin
from handloom.reconstruction.compact.hand_template import HandTemplate, hand_template

from ..held_box import MODEL

CELLS = 24
SHAPE = torch.linspace(-1, 1, MODEL.shape_count)


@pytest.fixture(scope="module")
def shaped() -> HandTemplate:
    return hand_template(MODEL, SHAPE, CELLS)


def test_the_shaped_skin_lies_in_the_cube_at_distance_zero(shaped: HandTemplate) -> None:
    """Protects the frame of the template: the rest hand of this shape, and all of it within the cube."""
    rest = skin(MODEL, pose_rotvec=torch.zeros(1, 16, 3), shape=SHAPE[None], translation_m=torch.zeros(1, 3))
    unit = (rest.vertices_m[0] - shaped.centre_m) / shaped.radius_m
    assert unit.abs().amax() < 1
    assert look_up(shaped.distance_m, unit).abs().median() < 0.002


def test_joints_lie_inside_and_corners_outside(shaped: HandTemplate) -> None:
    """Protects the sign, negative inside, also where the wrist is sealed; nodes are no farther than a vertex is."""
    joints = (rest_joints_m(MODEL, SHAPE)[[4, 7, 10]] - shaped.centre_m) / shaped.radius_m
    assert (look_up(shaped.distance_m, joints) < -0.002).all()
    assert (shaped.distance_m[0, ::23, ::23, ::23] > 0.015).all()
    rest = skin(MODEL, pose_rotvec=torch.zeros(1, 16, 3), shape=SHAPE[None], translation_m=torch.zeros(1, 3))
    nodes = node_points(CELLS) * shaped.radius_m + shaped.centre_m
    to_vertex = torch.cdist(nodes, rest.vertices_m[0]).amin(1)
    found = shaped.distance_m.view(-1)
    near = to_vertex < 0.02
    assert (found.abs() <= to_vertex + 1e-5)[near].all()


def test_the_stage_takes_the_build_folders_shape(template: Path) -> None:
    """Protects the file that all trainings read: the template of the sequence's own hand, bit for bit."""
    found, wanted = HandTemplate.load(template), hand_template(MODEL, torch.zeros(MODEL.shape_count), 12)
    torch.testing.assert_close(found.distance_m, wanted.distance_m, atol=0, rtol=0)
    torch.testing.assert_close(found.centre_m, wanted.centre_m, atol=0, rtol=0)
    assert found.radius_m == wanted.radius_m
