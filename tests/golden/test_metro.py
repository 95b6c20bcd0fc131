"""METRO against numbers of the released code (c12), with the real network and weights that names alone fix."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.estimators.metro.architecture import MetroArchitecture
from handloom.estimators.metro.checkpoint import DEAD_WEIGHTS, filled_network
from handloom.estimators.metro.mesh_joints import METRO_FINGERTIPS, regressed_joints_m
from handloom.estimators.metro.network import Metro, MetroOutput
from handloom.estimators.metro.prediction import MeshJoints, hands_of, weak_perspective
from handloom.estimators.metro.preprocessing import network_input
from handloom.estimators.metro.template import COARSE_VERTICES, template_m, template_tokens_m

from .generic_weights import generic_weights
from .hold_files import hold_json, hold_tensors, random_hand

Arrays = dict[str, Tensor]
PARTS = ("camera", "joints", "verts_coarse", "verts_full")
REPEAT = 8


def close(actual: Tensor, expected: Tensor, of_largest: float = 1e-3) -> None:
    """Within a share of the largest expected value, as hold/README.md allows."""
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=0, atol=of_largest * float(expected.abs().max()))


def is_left_alone(name: str) -> bool:
    """What the recipe does not fill, and METRO does not use."""
    return ".bert.embeddings." in name or ".bert.pooler." in name or "classifier" in name


@pytest.fixture(scope="module")
def c12() -> Arrays:
    return hold_tensors("c12_metro")


@pytest.fixture(scope="module")
def weights(c12: Arrays) -> Arrays:
    """All entries of the published file; those left alone take no memory."""
    entries = hold_json("c12_metro_keys")
    filled = generic_weights(entries, int(c12["seed"]), is_left_alone)
    unused = {name: torch.zeros(()).expand(entries[name][0]) for name in entries if is_left_alone(name)}
    return {**filled, **unused}


@pytest.fixture(scope="module")
def network(weights: Arrays) -> Metro:
    return filled_network(weights, template_tokens_m(random_hand()), MetroArchitecture(), "recipe")


@pytest.fixture(scope="module")
def images(c12: Arrays) -> Tensor:
    return c12["image_small"].repeat_interleave(REPEAT, 1).repeat_interleave(REPEAT, 2)


def test_the_recipe_fills_the_weights_of_the_set(weights: Arrays) -> None:
    checksums = hold_json("c12_weight_checksums")
    assert checksums
    for name, (total, absolute) in checksums.items():
        value = weights[name].double()
        np.testing.assert_allclose([value.sum(), value.abs().sum()], [total, absolute], rtol=1e-6, atol=1e-6)


def test_names_and_shapes_are_the_published_ones(network: Metro) -> None:
    """Strict loading has passed; here the other way round, and the count that facts/comparisons.md gives."""
    entries = hold_json("c12_metro_keys")
    used = {name: tuple(shape) for name, (shape, _) in entries.items() if not is_left_alone(name)}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == used
    dead = [name for name in entries if is_left_alone(name)]
    assert len(DEAD_WEIGHTS) == 3
    assert len(dead) + len(used) == len(entries)


def test_template(c12: Arrays) -> None:
    joints, vertices = template_m(random_hand())
    close(joints, c12["template_joints_m"], 1e-5)
    close(vertices, c12["template_verts_m"], 1e-5)
    assert tuple(c12["vertex_ids_195"].tolist()) == COARSE_VERTICES


def test_backbone(network: Metro, images: Tensor, c12: Arrays) -> None:
    close(network.backbone(network_input(images)), c12["backbone_feature"])


@pytest.mark.parametrize("part", range(4), ids=PARTS)
@pytest.mark.parametrize("given", ["", "given_"])
def test_mesh_joints_and_camera(c12: Arrays, outputs: Callable[[str], MetroOutput], given: str, part: int) -> None:
    """From a given feature tighter than the README's 1e-3, which the other form of GELU would meet (2e-4)."""
    close(outputs(given)[part], c12[f"{given}{PARTS[part]}"], 5e-5 if given else 1e-3)


@pytest.fixture(scope="module")
def outputs(network: Metro, images: Tensor, c12: Arrays) -> Callable[[str], MetroOutput]:
    """Of the images, or of the given features."""
    found = {"": network(network_input(images)), "given_": network.decoded(c12["given_feature"])}
    return found.__getitem__


def test_joints_of_the_mesh_are_metros(c12: Arrays) -> None:
    """The set's `regressed_joints_from_full` belong to `given_verts_full`."""
    joints = regressed_joints_m(c12["given_verts_full"], random_hand().J_regressor, METRO_FINGERTIPS)
    close(joints, c12["regressed_joints_from_full"], 1e-5)


def test_projection(c12: Arrays) -> None:
    vertices, camera = c12["given_verts_full"], c12["proj_camera"]
    hands = hands_of(vertices, camera, MeshJoints(random_hand().J_regressor, METRO_FINGERTIPS))
    close(2 * hands.keypoints - 1, c12["proj_joints2d"], 1e-5)
    close(weak_perspective(hands.vertices_m, camera), c12["proj_verts2d"], 1e-5)
