"""METRO's template, weights, camera and joint order in handloom's conventions."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from handloom.estimators.metro.hands import (
    COARSE_VERTICES,
    METRO_FINGERTIPS,
    MetroHands,
    load_network,
    template_m,
    template_tokens_m,
)
from handloom.estimators.metro.network import MetroOutput
from handloom.hand.joints import SNAP_FINGERTIPS
from handloom.hand.mano import skin
from handloom.runtime.errors import InputError

from ..hands.hand_of_778 import hand_of_778
from ..hands.test_meshes import found_by
from .small_metro import SMALL, KnowingMetro, small_metro

HAND = replace(hand_of_778(), hands_mean=torch.zeros(45))


def test_the_template_is_the_mean_pose_about_its_wrist() -> None:
    joints, vertices = template_m(HAND)
    tokens = template_tokens_m(HAND)
    torch.testing.assert_close(tokens[0], torch.zeros(3))
    torch.testing.assert_close(tokens[:21] + joints[0], joints)
    torch.testing.assert_close(tokens[21:] + joints[0], vertices[list(COARSE_VERTICES)])
    bent, _ = template_m(replace(HAND, hands_mean=HAND.hands_mean + 0.3))
    torch.testing.assert_close(bent[0], joints[0])
    assert (bent - joints).norm(dim=-1).max() > 0.01


def test_coarse_vertices_are_195_of_mano_in_order() -> None:
    assert len(COARSE_VERTICES) == 195
    assert sorted(set(COARSE_VERTICES)) == list(COARSE_VERTICES)
    assert 0 <= COARSE_VERTICES[0] < COARSE_VERTICES[-1] < 778


def posed() -> torch.Tensor:
    pose = torch.zeros(2, 16, 3)
    pose[1, :, 2] = 0.2
    hand = skin(HAND, pose_rotvec=pose, shape=torch.zeros(2, HAND.shape_count), translation_m=torch.full((2, 3), 0.4))
    return hand.vertices_m


def output(camera: torch.Tensor) -> MetroOutput:
    """The other points are no part of the answer."""
    vertices = posed()
    return MetroOutput(camera, torch.full((2, 21, 3), torch.nan), torch.full((2, 195, 3), torch.nan), vertices)


def test_joints_of_a_mesh_are_snap_with_the_hands_tips_about_the_wrist() -> None:
    for tips in (HAND.tip_vertices, METRO_FINGERTIPS):
        hands = MetroHands(small_metro(), replace(HAND, tip_vertices=tips)).hands_of(output(torch.ones(2, 3)))
        wrist = HAND.J_regressor[0] @ posed()[1]
        torch.testing.assert_close(hands.joints_m[1, list(SNAP_FINGERTIPS)], posed()[1, list(tips)] - wrist)
        torch.testing.assert_close(hands.vertices_m[1], posed()[1] - wrist)
    # At rest MANO's regressor and skinning agree.
    at_rest = skin(
        HAND, pose_rotvec=torch.zeros(16, 3), shape=torch.zeros(HAND.shape_count), translation_m=torch.zeros(3)
    ).keypoints_m
    hands = MetroHands(small_metro(), HAND).hands_of(output(torch.ones(2, 3)))
    torch.testing.assert_close(hands.joints_m[0], at_rest - at_rest[0], atol=1e-5, rtol=0)


def test_the_camera_gives_shares_of_the_square() -> None:
    camera = torch.tensor([[5.0, 0.02, -0.01], [-3.0, 0.0, 0.0]])
    hands = MetroHands(small_metro(), HAND).hands_of(output(camera))
    torch.testing.assert_close(hands.keypoints[0, 0], torch.tensor([(1 + 5 * 0.02) / 2, (1 - 5 * 0.01) / 2]))
    torch.testing.assert_close(
        hands.keypoints[0, 9] - hands.keypoints[0, 0], 5 / 2 * hands.joints_m[0, 9, :2], atol=1e-6, rtol=0
    )
    assert hands.seen.tolist() == [True, False]


def test_a_hand_turned_inside_out_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="right hand in 0 of 4 frames"):
        found_by(MetroHands(KnowingMetro(HAND, scale=-4.0), HAND), tmp_path)


def test_its_checkpoint_may_hold_dead_weights_and_be_wrapped(tmp_path: Path) -> None:
    expected = small_metro()
    dead = {
        "backbone.classifier.weight": torch.zeros(3, 16),
        "trans_encoder.0.bert.embeddings.word_embeddings.weight": torch.full((3, 16), torch.nan),
        "trans_encoder.2.bert.pooler.dense.bias": torch.zeros(8),
    }
    torch.save({**expected.state_dict(), **dead}, tmp_path / "metro.bin")
    network = load_network(tmp_path / "metro.bin", hand_of_778(), SMALL)
    image = torch.rand(1, 3, 64, 64)
    for found, wanted in zip(network(image), expected(image), strict=True):
        torch.testing.assert_close(found, wanted)
    other_size = replace(SMALL, hrnet=replace(SMALL.hrnet, width=8))
    with pytest.raises(InputError, match=r"transition1\.0\.0\.weight is \(4, 16, 3, 3\), expected \(8, 16"):
        load_network(tmp_path / "metro.bin", HAND, other_size)
    torch.save({"epoch": 1, "network": dict(expected.state_dict())}, tmp_path / "nested.bin")
    load_network(tmp_path / "nested.bin", HAND, SMALL)
    lacking = {name: value for name, value in expected.state_dict().items() if "0.bert.position" not in name}
    torch.save(lacking, tmp_path / "lacking.bin")
    with pytest.raises(InputError, match=r"METRO's hand network: .*bert\.position_embeddings\.weight is missing"):
        load_network(tmp_path / "lacking.bin", HAND, SMALL)
