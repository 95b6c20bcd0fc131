"""Hand server and deformers against numbers of the released HOLD code."""

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.geometry.neighbours import NeighbourSearch
from handloom.hand.joints import MANO21_FROM_SNAP
from handloom.hand.mano import HandModel, skin
from handloom.reconstruction.holdnet.canonical_space import (
    HandDeformer,
    ObjectDeformer,
    PosedHand,
    object_transforms,
    pose_hand,
    query_skin_weights,
    rest_vertices_m,
    world_normals,
)

from .hold_files import checkpoint_shapes, hold_tensors, random_hand, recipe_value, weight_seed

Arrays = dict[str, Tensor]
MANO21 = list(MANO21_FROM_SNAP)


def close(actual: Tensor, expected: Tensor, *, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def c04() -> Arrays:
    return hold_tensors("c04_deformers")


@pytest.fixture(scope="module")
def model() -> HandModel:
    return random_hand()


def pose(c04: Arrays, model: HandModel) -> Arrays:
    relative = torch.cat([torch.zeros(3), model.hands_mean])
    rotvec = (c04["full_pose"] + relative).unflatten(1, (16, 3))
    return {"pose_rotvec": rotvec, "shape": c04["betas"], "translation_m": c04["transl"]}


@pytest.fixture(scope="module")
def posed(c04: Arrays, model: HandModel) -> PosedHand:
    return pose_hand(model, **pose(c04, model), scene_scale=c04["scene_scale"])


@pytest.fixture(scope="module")
def deformer(c04: Arrays, model: HandModel, posed: PosedHand) -> HandDeformer:
    rest = rest_vertices_m(model, c04["server_betas"])
    return HandDeformer(NeighbourSearch(rest[None]), model.weights, posed)


def transformed(maps: Tensor, points: Tensor) -> Tensor:
    return (maps[..., :3, :3] @ points[..., None]).squeeze(-1) + maps[..., :3, 3]


@pytest.fixture(scope="module")
def transforms(c04: Arrays) -> Tensor:
    return object_transforms(
        rotvec=c04["obj_rot"],
        translation_m=c04["obj_transl"],
        object_scale=c04["obj_sigma"],
        normalised_from_sfm=c04["obj_norm_mat"],
        scene_scale=c04["obj_scene_scale"],
    )


class TestHandServer:
    def test_posed_hand(self, c04: Arrays, model: HandModel, posed: PosedHand) -> None:
        close(posed.vertices, c04["verts"], atol=2e-5, rtol=0)
        joints_m = skin(model, **pose(c04, model)).keypoints_m[:, MANO21]
        close(c04["scene_scale"].reshape(-1, 1, 1) * joints_m, c04["jnts"], atol=2e-5, rtol=0)
        close(posed.posed_from_canonical, c04["tfs_relative"], atol=2e-5, rtol=0)
        close(posed.canonical_vertices_m, c04["v_posed"], atol=2e-5, rtol=0)

    def test_canonical_hand(self, c04: Arrays, model: HandModel) -> None:
        close(rest_vertices_m(model, c04["server_betas"])[None], c04["canonical_verts"], atol=2e-5, rtol=0)
        flat = {"pose_rotvec": torch.zeros(1, 16, 3), "shape": c04["server_betas"][None]}
        rest = skin(model, **flat, translation_m=torch.zeros(1, 3))
        close(rest.keypoints_m[:, MANO21], c04["canonical_joints"], atol=2e-5, rtol=0)
        close(rest.posed_from_rest[0], c04["canonical_tfs_inv"], atol=1e-6, rtol=0)


class TestHandDeformer:
    def test_inverse_skinning(self, c04: Arrays, model: HandModel, posed: PosedHand, deformer: HandDeformer) -> None:
        search = NeighbourSearch(posed.vertices)
        close(query_skin_weights(search, model.weights, c04["inv_x"]), c04["inv_weights"], atol=2e-5)
        close(deformer.to_canonical(c04["inv_x"]), c04["inv_x_canonical"], atol=2e-5, rtol=1e-3)
        nearest = search.nearest(c04["inv_x"], 1).squared_distance[..., 0].sqrt()
        assert torch.equal(nearest > 0.1, c04["inv_outlier"])

    def test_forward_skinning_and_its_jacobian(self, c04: Arrays, deformer: HandDeformer) -> None:
        points = c04["fwd_x_canonical"]
        close(transformed(deformer.world_from_canonical(points), points), c04["fwd_x"], atol=1e-4, rtol=0)
        close(deformer.jacobian(points), c04["fwd_jacobian"], atol=2e-4, rtol=0)

    def test_normals(self, c04: Arrays, deformer: HandDeformer) -> None:
        points = c04["fwd_x_canonical"].requires_grad_()
        (gradient,) = torch.autograd.grad(hand_sdf(points).sum(), points)
        close(world_normals(gradient, deformer.jacobian(points)), c04["fwd_normal"], atol=2e-4, rtol=0)


def hand_sdf(points: Tensor) -> Tensor:
    """The released hand network with the weights of `recipe_value`, written out for the normals."""
    shapes, seed = checkpoint_shapes(), weight_seed()
    waves = [wave(2.0**k * points) for k in range(6) for wave in (torch.sin, torch.cos)]
    encoded = torch.cat([points, *waves], dim=-1)
    hidden = torch.cat([encoded, torch.zeros(*points.shape[:-1], 45)], dim=-1)
    for layer in range(9):
        direction, length, bias = (
            recipe_value(seed, name, shapes[name])
            for name in (f"nodes.right.implicit_network.lin{layer}.{part}" for part in ("weight_v", "weight_g", "bias"))
        )
        if layer == 4:
            hidden = torch.cat([hidden, encoded], dim=-1) / 2**0.5
        hidden = hidden @ (length * torch.nn.functional.normalize(direction, dim=1)).T + bias
        if layer < 8:
            hidden = torch.nn.functional.softplus(hidden, beta=100)
    return hidden[..., 0]


class TestObjectDeformer:
    def test_transforms(self, c04: Arrays, transforms: Tensor) -> None:
        close(transforms, c04["obj_tfs"], atol=2e-5)

    def test_both_ways(self, c04: Arrays, transforms: Tensor) -> None:
        points = c04["obj_points_canonical"].expand(len(transforms), -1, -1)
        close(transformed(transforms[:, None], points), c04["obj_points_world"], atol=1e-4, rtol=0)
        close(transformed(transforms[:, None], c04["obj_x"]), c04["obj_x_forward"], atol=1e-4, rtol=0)
        found = ObjectDeformer(transforms).to_canonical(c04["obj_x"])
        close(found, c04["obj_x_inverse"], atol=1e-4, rtol=1e-4)
