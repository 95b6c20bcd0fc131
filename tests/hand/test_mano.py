"""Skinning agrees with smplx, is differentiable, and its bone motions carry rest to pose."""

from dataclasses import replace

import numpy as np
import pytest
import smplx
import torch
from smplx.utils import Struct

from handloom.hand.joints import MANO21_FROM_SNAP, MANO_PARENTS
from handloom.hand.mano import HandModel, rest_joints_m, skin, transformed
from handloom.hand.models import open_hand

# smplx adds 1e-8 to rotation vectors before it takes their length, which shows in double precision.
_TOLERANCE_M = {torch.float32: 1e-6, torch.float64: 1e-8}


def _with_pose_correctives(model: HandModel) -> HandModel:
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(model.posedirs.shape, generator=generator, dtype=torch.float64) * 1e-3
    return replace(model, posedirs=directions.to(model.posedirs.dtype))


def _random_inputs(dtype: torch.dtype, count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(count, *size, generator=generator, dtype=torch.float64).to(dtype)

    return {"pose_rotvec": 0.6 * normal(16, 3), "shape": normal(10), "translation_m": normal(3)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", ["right", "left"])
def test_parity_with_smplx(dtype, side):
    model = _with_pose_correctives(open_hand(side)).to(dtype=dtype)
    inputs = _random_inputs(dtype)
    structure = Struct(
        v_template=model.v_template.double().numpy(),
        shapedirs=model.shapedirs.double().numpy(),
        posedirs=model.posedirs.double().numpy(),
        J_regressor=model.J_regressor.double().numpy(),
        weights=model.weights.double().numpy(),
        f=model.faces.numpy(),
        kintree_table=np.array([MANO_PARENTS, range(16)]),
        hands_components=model.hands_components.double().numpy(),
        hands_mean=model.hands_mean.double().numpy(),
    )
    layer = smplx.MANO(
        "", is_rhand=side == "right", data_struct=structure, use_pca=False, flat_hand_mean=True, dtype=dtype
    )
    pose = inputs["pose_rotvec"]
    with torch.no_grad():
        theirs = layer(
            betas=inputs["shape"],
            global_orient=pose[:, 0],
            hand_pose=pose[:, 1:].flatten(1),
            transl=inputs["translation_m"],
        )
    ours = skin(model, **inputs)
    torch.testing.assert_close(ours.vertices_m, theirs.vertices, atol=_TOLERANCE_M[dtype], rtol=0)
    torch.testing.assert_close(ours.joints_m, theirs.joints[:, :16], atol=_TOLERANCE_M[dtype], rtol=0)


def test_smplx_reads_the_embedded_file_as_it_is():
    """The artifact is in MANO's own format: other software takes it."""
    from importlib.resources import files

    path = str(files("handloom.data") / "open_hand_right.npz")
    layer = smplx.MANO(path, ext="npz", use_pca=True, num_pca_comps=12)
    assert layer.get_num_verts() == 1609


def test_gradients_are_right():
    model = _few_vertices(_with_pose_correctives(open_hand()).to(dtype=torch.float64))
    inputs = _random_inputs(torch.float64, count=1)
    leaves = tuple(inputs[name].requires_grad_() for name in ("pose_rotvec", "shape", "translation_m"))

    def outputs(pose, shape, translation):
        hand = skin(model, pose_rotvec=pose, shape=shape, translation_m=translation)
        return hand.vertices_m, hand.keypoints_m

    assert torch.autograd.gradcheck(outputs, leaves)


def test_gradient_of_the_rest_pose_is_finite():
    """A rotation vector of zero is a singular point of naive formulas."""
    pose = torch.zeros(1, 16, 3, requires_grad=True)
    hand = skin(open_hand(), pose_rotvec=pose, shape=torch.zeros(1, 10), translation_m=torch.zeros(1, 3))
    hand.keypoints_m.square().sum().backward()
    assert pose.grad is not None
    assert torch.isfinite(pose.grad).all()
    assert pose.grad.abs().max() > 0


def test_batch_dimensions_are_free():
    inputs = _random_inputs(torch.float32, count=6)
    flat = skin(open_hand(), **inputs)
    nested = skin(open_hand(), **{name: value.unflatten(0, (2, 3)) for name, value in inputs.items()})
    single = skin(open_hand(), **{name: value[4] for name, value in inputs.items()})
    torch.testing.assert_close(nested.vertices_m.flatten(0, 1), flat.vertices_m)
    torch.testing.assert_close(single.keypoints_m, flat.keypoints_m[4])


def test_bone_motions_are_rigid_and_carry_rest_joints():
    model = open_hand().to(dtype=torch.float64)
    inputs = _random_inputs(torch.float64)
    hand = skin(model, **inputs)
    rotation = hand.posed_from_rest[..., :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    moved = transformed(hand.posed_from_rest, rest_joints_m(model, inputs["shape"]))
    torch.testing.assert_close(moved, hand.joints_m)


def test_inverse_of_the_skinning_gives_the_shaped_hand_back():
    model = open_hand().to(dtype=torch.float64)
    inputs = _random_inputs(torch.float64)
    hand = skin(model, **inputs)
    unposed = transformed(torch.linalg.inv(hand.skinning), hand.vertices_m)
    rest = skin(
        model, **{**inputs, "pose_rotvec": torch.zeros(6, 16, 3).double(), "translation_m": torch.zeros(6, 3).double()}
    )
    torch.testing.assert_close(unposed, rest.vertices_m)


def test_keypoints_are_joints_and_tips_in_snap_order():
    model = open_hand()
    hand = skin(model, **_random_inputs(torch.float32))
    mano21 = torch.cat([hand.joints_m, hand.vertices_m[:, list(model.tip_vertices)]], dim=1)
    torch.testing.assert_close(hand.keypoints_m[:, list(MANO21_FROM_SNAP)], mano21)


def _few_vertices(model: HandModel) -> HandModel:
    """A model of 8 vertices, for numerical derivatives."""
    kept = torch.linspace(0, len(model.v_template) - 1, 8).long()
    regressor = model.J_regressor[:, kept] + 1.0 / 8.0
    return replace(
        model,
        v_template=model.v_template[kept],
        shapedirs=model.shapedirs[kept],
        posedirs=model.posedirs[kept],
        weights=model.weights[kept],
        J_regressor=regressor / regressor.sum(1, keepdim=True),
        tip_vertices=(1, 2, 3, 5, 7),
    )
