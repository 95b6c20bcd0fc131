"""The template is the mean pose, not the flat one, about its wrist; COARSE_VERTICES are rows of MANO."""

from dataclasses import replace

import torch

from handloom.estimators.metro.template import COARSE_VERTICES, template_m, template_tokens_m

from .small_metro import hand_of_778


def test_coarse_vertices_are_195_of_mano_in_order() -> None:
    assert len(COARSE_VERTICES) == 195
    assert sorted(set(COARSE_VERTICES)) == list(COARSE_VERTICES)
    assert 0 <= COARSE_VERTICES[0] < COARSE_VERTICES[-1] < 778


def test_tokens_are_relative_to_the_wrist() -> None:
    joints, vertices = template_m(hand_of_778())
    tokens = template_tokens_m(hand_of_778())
    torch.testing.assert_close(tokens[0], torch.zeros(3))
    torch.testing.assert_close(tokens[:21] + joints[0], joints)
    torch.testing.assert_close(tokens[21:] + joints[0], vertices[list(COARSE_VERTICES)])


def test_the_mean_pose_counts() -> None:
    hand = hand_of_778()
    bent = replace(hand, hands_mean=hand.hands_mean + 0.3)
    (joints, _), (moved, _) = template_m(hand), template_m(bent)
    torch.testing.assert_close(moved[0], joints[0])
    assert (moved - joints).norm(dim=-1).max() > 0.01
