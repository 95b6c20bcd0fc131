"""The training losses and the hand's canonical target against numbers of the released HOLD code."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from handloom.geometry.surfaces import hole_cap
from handloom.reconstruction.holdnet.canonical_space import hand_surface
from handloom.reconstruction.holdnet.losses import (
    HoldLoss,
    NodeRays,
    eikonal_loss,
    hand_shape_loss,
    hold_loss,
    opacity_loss,
    rgb_loss,
    semantic_loss,
)
from handloom.reconstruction.holdnet.rays import classes_of_labels

from .hold_files import hold_arrays, hold_tensors, random_hand

Arrays = dict[str, Tensor]
VARIANTS = ("full", "early", "handonly", "bigeik", "nan")


def close(actual: Tensor, expected: Tensor, *, atol: float = 1e-7, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def c07() -> Arrays:
    return hold_tensors("c07_losses")


def loss_of(c07: Arrays, step: int, variant: str = "full") -> HoldLoss:
    rgb = c07["rgb"].clone()
    if variant == "nan":
        rgb[: int(c07["n_images"])] = torch.nan
    nodes = {}
    for node in ("right", "object"):
        targeted = variant != "early" and not (variant == "handonly" and node == "object")
        nodes[node] = NodeRays(
            mask_prob=c07[f"{node}_mask_prob"][:, 0],
            off_surface=c07[f"{node}_index_off_surface"] if targeted else None,
            gradient=c07[f"{node}_grad_theta"] * (20 if variant == "bigeik" and node == "object" else 1),
        )
    return hold_loss(
        step=step,
        rgb=rgb,
        rgb_true=c07["rgb_gt"],
        semantics=c07["semantics"],
        classes=classes_of_labels(c07["mask_gt"].float()),
        nodes=nodes,
        hand_shape=(None if variant == "early" else (c07["right_pred_sdf"], c07["right_pts2mano_sdf_cano"])),
        fidelity="faithful",
    )


class TestTerms:
    def test_terms_alone(self, c07: Arrays) -> None:
        close(rgb_loss(c07["rgb"], c07["rgb_gt"]), c07["term_rgb"])
        close(semantic_loss(c07["semantics"], classes_of_labels(c07["mask_gt"].float())), c07["term_sem"])
        for node in ("right", "object"):
            off = c07[f"{node}_index_off_surface"]
            close(opacity_loss(c07[f"{node}_mask_prob"][off, 0]), c07[f"term_opacity_{node}"])
            close(eikonal_loss(c07[f"{node}_grad_theta"]), c07[f"term_eikonal_{node}"])
        distances = (c07["right_pred_sdf"], c07["right_pts2mano_sdf_cano"])
        close(hand_shape_loss(*distances), c07["term_mano_cano"])

    def test_mean_over_no_ray_is_the_reference_s_nan_only_when_faithful(self, c07: Arrays) -> None:
        assert bool(c07["term_opacity_empty_isnan"])
        assert torch.isnan(opacity_loss(torch.zeros(0), "faithful"))
        assert float(opacity_loss(torch.zeros(0))) == 0


class TestTotals:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_weighted_terms_at_every_step(self, c07: Arrays, variant: str) -> None:
        names = [str(name) for name in hold_arrays("c07_losses")["loss_names"]]
        for step, expected in zip(c07["total_steps"].tolist(), c07[f"total_{variant}"], strict=True):
            loss = loss_of(c07, step, variant)
            found = {f"loss/{name}": value for name, value in loss.terms().items()} | {"loss": loss.total}
            assert set(found) == {name for name, value in zip(names, expected, strict=True) if not value.isnan()}
            for name, value in zip(names, expected, strict=True):
                if name in found:
                    close(found[name], value)

    def test_gradients(self, c07: Arrays) -> None:
        names = [key.removeprefix("grad15000_") for key in c07 if key.startswith("grad15000_")]
        assert names
        leaves = {name: c07[name].clone().requires_grad_() for name in names}
        loss_of({**c07, **leaves}, 15000).total.backward()
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            close(leaf.grad, c07[f"grad15000_{name}"], atol=1e-9)

    def test_single_nan_ray_is_dropped_where_the_reference_raises(self, c07: Arrays) -> None:
        assert bool(c07["one_nan_ray_crashes_upstream"])
        rgb = c07["rgb"].clone()
        rgb[5] = torch.nan
        loss = loss_of({**c07, "rgb": rgb}, 15000)
        keep = torch.arange(len(rgb)) != 5
        assert loss.dropped_rays == 1
        close(loss.rgb, rgb_loss(c07["rgb"][keep], c07["rgb_gt"][keep]))


class TestCanonicalHand:
    def test_sealed_subdivided_hand(self, c07: Arrays) -> None:
        model = random_hand()
        rest = hold_tensors("c04_deformers")["v_posed"][0]
        surface = hand_surface(rest, hole_cap(model.faces, len(rest)))
        mesh = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=False)
        assert len(mesh.vertices) == int(c07["cano_target_n_verts"])
        assert len(mesh.faces) == int(c07["cano_target_n_faces"])
        assert mesh.is_watertight == bool(c07["cano_target_watertight"])
        np.testing.assert_allclose(mesh.volume, c07["cano_target_volume"].numpy(), rtol=1e-4)
        np.testing.assert_allclose(mesh.area, c07["cano_target_area"].numpy(), rtol=1e-4)
        np.testing.assert_allclose(mesh.bounds, c07["cano_target_bounds"].numpy(), rtol=1e-4)
