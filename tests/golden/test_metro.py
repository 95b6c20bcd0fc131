"""METRO against the released code (hold/c12_metro.npz), with real sizes and weights that names alone fix."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.estimators.hands.meshes import colours
from handloom.estimators.metro.hands import (
    COARSE_VERTICES,
    METRO_FINGERTIPS,
    PUBLISHED,
    MetroHands,
    mesh_joints_m,
    template_m,
    template_tokens_m,
    weak_perspective,
)
from handloom.estimators.metro.network import Metro, MetroArchitecture, MetroOutput, normalised
from handloom.estimators.published_weights import filled, used
from handloom.hand.mano import HandModel

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
def golden() -> Arrays:
    return hold_tensors("c12_metro")


@pytest.fixture(scope="module")
def weights(golden: Arrays) -> Arrays:
    """All entries of the published file; those left alone take no memory."""
    entries = hold_json("c12_metro_keys")
    drawn = generic_weights(entries, int(golden["seed"]), is_left_alone)
    unused = {name: torch.zeros(()).expand(entries[name][0]) for name in entries if is_left_alone(name)}
    return {**drawn, **unused}


@pytest.fixture(scope="module")
def network(weights: Arrays) -> Metro:
    template = template_tokens_m(random_hand())
    return filled(lambda: Metro(MetroArchitecture(), template), used(weights, PUBLISHED), PUBLISHED, "recipe")


@pytest.fixture(scope="module")
def images(golden: Arrays) -> Tensor:
    return golden["image_small"].repeat_interleave(REPEAT, 1).repeat_interleave(REPEAT, 2)


def test_the_recipe_fills_the_weights_of_the_set(weights: Arrays) -> None:
    checksums = hold_json("c12_weight_checksums")
    assert checksums
    for name, (total, absolute) in checksums.items():
        value = weights[name].double()
        np.testing.assert_allclose([value.sum(), value.abs().sum()], [total, absolute], rtol=1e-6, atol=1e-6)


def test_names_and_shapes_are_the_published_ones(network: Metro) -> None:
    """Strict loading has passed; here the other way round, with all that is not taken from the file."""
    entries = hold_json("c12_metro_keys")
    used = {name: tuple(shape) for name, (shape, _) in entries.items() if not is_left_alone(name)}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == used
    dead = [name for name in entries if is_left_alone(name)]
    assert len(PUBLISHED.unused) == 3
    assert len(dead) + len(used) == len(entries)


def test_template(golden: Arrays) -> None:
    joints, vertices = template_m(random_hand())
    close(joints, golden["template_joints_m"], 1e-5)
    close(vertices, golden["template_verts_m"], 1e-5)
    assert tuple(golden["vertex_ids_195"].tolist()) == COARSE_VERTICES


def test_backbone(network: Metro, images: Tensor, golden: Arrays) -> None:
    close(network.backbone(normalised(colours(images))), golden["backbone_feature"])


@pytest.mark.parametrize("part", range(4), ids=PARTS)
@pytest.mark.parametrize("given", ["", "given_"])
def test_mesh_joints_and_camera(golden: Arrays, outputs: Callable[[str], MetroOutput], given: str, part: int) -> None:
    """From a given feature tighter than the README's 1e-3, which the other form of GELU would meet (2e-4)."""
    close(outputs(given)[part], golden[f"{given}{PARTS[part]}"], 5e-5 if given else 1e-3)


@pytest.fixture(scope="module")
def outputs(network: Metro, images: Tensor, golden: Arrays) -> Callable[[str], MetroOutput]:
    """Of the images, or of the given features."""
    found = {"": network(colours(images)), "given_": network.decoded(golden["given_feature"])}
    return found.__getitem__


def metros_hand() -> HandModel:
    return replace(random_hand(), tip_vertices=METRO_FINGERTIPS)


def test_joints_of_the_mesh_are_metros(golden: Arrays) -> None:
    """The set's `regressed_joints_from_full` belong to `given_verts_full`."""
    joints = mesh_joints_m(golden["given_verts_full"], metros_hand())
    close(joints, golden["regressed_joints_from_full"], 1e-5)


def test_projection(network: Metro, golden: Arrays) -> None:
    camera = golden["proj_camera"]
    output = MetroOutput(camera, *(golden[f"given_{part}"] for part in PARTS[1:]))
    hands = MetroHands(network, metros_hand()).hands_of(output)
    close(2 * hands.keypoints - 1, golden["proj_joints2d"], 1e-5)
    close(weak_perspective(hands.vertices_m, camera), golden["proj_verts2d"], 1e-5)
