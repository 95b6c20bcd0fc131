"""The pose space says the same as the full model, for either hand and for a model of other proportions."""

from dataclasses import replace

import pytest
import roma
import torch

from handloom.hand.anatomy import pose_for_side
from handloom.hand.mano import skin
from handloom.hand.models import open_hand, open_hand_anatomy
from handloom.hand.pose_prior import sample_angles
from handloom.reconstruction.pose_space import PoseSpace, Skeleton, anatomy_of


@pytest.mark.parametrize("side", ["right", "left"])
def test_skeleton_and_angles_agree_with_the_skinned_hand(side):
    model = open_hand(side)
    generator = torch.Generator().manual_seed(1)
    fingers = pose_for_side(open_hand_anatomy().pose_from_angles(sample_angles(generator, 30)), side)
    pose = torch.cat([torch.randn(30, 1, 3, generator=generator), fingers], 1)
    shape = torch.randn(model.shape_count, generator=generator)
    keypoints = skin(model, pose_rotvec=pose, shape=shape.expand(30, -1), translation_m=torch.zeros(30, 3)).keypoints_m
    found = Skeleton.of(model).keypoints_m(roma.rotvec_to_rotmat(pose.double()), shape.double())
    torch.testing.assert_close(found.float(), keypoints, atol=1e-6, rtol=0)
    space = PoseSpace.of(model)
    angles = space.angles_of(fingers.double())
    torch.testing.assert_close(space.pose_rotvec(angles).float(), fingers, atol=1e-5, rtol=0)
    assert space.limit_excess_rad(angles).abs().max() < 1e-5


def test_limits_pull_an_impossible_finger_back():
    space = PoseSpace.of(open_hand())
    assert space.limit_excess_rad(space.mean_rad + 3.0).max() > 0.5


def test_anatomy_follows_a_models_bones():
    """A hand whose rest pose is bent has another zero, but the same angle straightens its fingers."""
    model, bend = open_hand(), torch.zeros(1, 16, 3)
    anatomy = open_hand_anatomy()
    angles = anatomy.rest_angles_rad.clone()
    angles[1, 0] += 0.4  # the index finger's middle joint
    bend[:, 1:] = anatomy.pose_from_angles(angles)
    bent = skin(model, pose_rotvec=bend, shape=torch.zeros(1, model.shape_count), translation_m=torch.zeros(1, 3))
    other = anatomy_of(replace(model, v_template=bent.vertices_m[0]))
    assert abs(float(other.rest_angles_rad[1, 0] - anatomy.rest_angles_rad[1, 0]) - 0.4) < 0.08
    unchanged = anatomy_of(model)
    torch.testing.assert_close(unchanged.rest_angles_rad.float(), anatomy.rest_angles_rad, atol=1e-5, rtol=0)
