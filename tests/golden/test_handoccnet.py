"""HandOccNet against the released code (hold/c13_handoccnet.npz), with real sizes and weights that names alone fix."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.estimators.handoccnet.hands import PUBLISHED, HandOccNetHands, posed
from handloom.estimators.handoccnet.network import HandOccNet, HandOccNetArchitecture, HandOccNetOutput
from handloom.estimators.hands.meshes import colours, mean_pose
from handloom.estimators.published_weights import filled, used
from handloom.hand.joints import MANO_FINGERTIPS_MANOPTH

from .generic_weights import generic_weights
from .hold_files import _generator, hold_json, hold_tensors, random_hand

Arrays = dict[str, Tensor]
REPEAT = 8
GIVEN = ("", "given_")


def close(actual: Tensor, expected: Tensor, of_largest: float) -> None:
    """Within a share of the largest expected value; hold/README.md allows 1e-3."""
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=0, atol=of_largest * float(expected.abs().max()))


def tolerance(given: str) -> float:
    """Tighter from given features, where less is added up than from the image."""
    return 1e-4 if given else 1e-3


def is_left_alone(name: str) -> bool:
    """What the recipe does not fill: MANO's arrays and the cells' centres."""
    return "mano_layer." in name or name.endswith((".uu", ".vv"))


@pytest.fixture(scope="module")
def golden() -> Arrays:
    return hold_tensors("c13_handoccnet")


@pytest.fixture(scope="module")
def weights(golden: Arrays) -> Arrays:
    """All entries of the published file; those left alone take no memory."""
    entries = hold_json("c13_handoccnet_keys")
    drawn = generic_weights(entries, int(golden["seed"]), is_left_alone)
    unused = {name: torch.zeros(()).expand(entries[name][0]) for name in entries if is_left_alone(name)}
    return {**drawn, **unused}


@pytest.fixture(scope="module")
def network(weights: Arrays) -> HandOccNet:
    return filled(lambda: HandOccNet(HandOccNetArchitecture()), used(weights, PUBLISHED), PUBLISHED, "recipe")


@pytest.fixture(scope="module")
def maps(network: HandOccNet, golden: Arrays) -> Arrays:
    """What the network sees on its way."""
    image = golden["image_small"].repeat_interleave(REPEAT, 1).repeat_interleave(REPEAT, 2)
    assert image.shape[1:3] == (HandOccNetHands.input_px, HandOccNetHands.input_px)
    gated = network.backbone(colours(image))
    fit = network.FIT(gated.secondary, gated.primary)
    return {**gated._asdict(), "fit": fit, "set": network.SET(fit, fit), "image": image}


@pytest.fixture(scope="module")
def outputs(network: HandOccNet, maps: Arrays, golden: Arrays) -> Callable[[str], HandOccNetOutput]:
    """Of the image, or of the given features."""
    drawn = _generator(int(golden["seed"]), "handoccnet.feature").uniform(-1, 1, (1, 256, 32, 32))
    given = torch.from_numpy(drawn.astype(np.float32))
    return {"": network(colours(maps["image"])), "given_": network.regressed(given)}.__getitem__


def test_the_recipe_fills_the_weights_of_the_set(weights: Arrays) -> None:
    checksums = {name: sums for name, sums in hold_json("c13_weight_checksums").items() if not is_left_alone(name)}
    assert checksums
    for name, (total, absolute) in checksums.items():
        value = weights[name].double()
        np.testing.assert_allclose([value.sum(), value.abs().sum()], [total, absolute], rtol=1e-6, atol=1e-6)


def test_names_and_shapes_are_the_published_ones(network: HandOccNet) -> None:
    """Strict loading has passed; here the other way round, with all that is not taken from the file."""
    entries = {name: tuple(shape) for name, (shape, _) in hold_json("c13_handoccnet_keys").items()}
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert ours.items() <= entries.items()
    others = entries.keys() - ours.keys()
    assert {name for name in others if not is_left_alone(name)} == {"backbone.smooth2.weight", "backbone.smooth2.bias"}
    assert len(PUBLISHED.unused) == 4


@pytest.mark.parametrize("part", ["primary", "secondary", "fit", "set"])
def test_maps(maps: Arrays, golden: Arrays, part: str) -> None:
    close(maps[part].mean((-1, -2)), golden[f"{part}_mean"], 1e-4)
    close(maps[part][:, :8, ::8, ::8], golden[f"{part}_patch"], 1e-4)


@pytest.mark.parametrize("given", GIVEN)
def test_key_points(golden: Arrays, outputs: Callable[[str], HandOccNetOutput], given: str) -> None:
    close(outputs(given).keypoints, golden[f"{given}joints_img"], tolerance(given))


@pytest.mark.parametrize("given", GIVEN)
def test_pose_and_shape(golden: Arrays, outputs: Callable[[str], HandOccNetOutput], given: str) -> None:
    close(outputs(given).shape, golden[f"{given}mano_mano_shape"], tolerance(given))
    close(outputs(given).rotations, golden[f"{given}mano_mano_pose"], tolerance(given))


@pytest.mark.parametrize("given", GIVEN)
def test_mesh_and_joints(golden: Arrays, outputs: Callable[[str], HandOccNetOutput], given: str) -> None:
    """The mean pose comes on top, joints are in SNAP's order, and tips at manopth's vertices."""
    hand = replace(random_hand(), tip_vertices=MANO_FINGERTIPS_MANOPTH)
    found = posed(outputs(given), hand)
    close(found.vertices_m, golden[f"{given}mano_verts3d"], tolerance(given))
    close(found.keypoints_m, golden[f"{given}mano_joints3d"], tolerance(given))
    assert float(mean_pose(hand).abs().max()) > 0.1
