"""HOLD-Net's networks, encodings and densities against numbers of the released code.

Weights come from the files' recipe by parameter name, so equal outputs also mean equal names and shapes.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handloom.reconstruction.field_evaluation import laplace_density
from handloom.reconstruction.holdnet.networks import (
    BarfEncoding,
    FourierEncoding,
    ImplicitNetwork,
    RenderingNetwork,
    hand_shape_network,
    start_as_sphere,
)
from handloom.reconstruction.holdnet.rendering import Background
from handloom.reconstruction.holdnet.sampler import LaplaceDensity
from handloom.runtime.config.fields import BarfSettings, HoldNetSettings

from .hold_files import hold_json, hold_tensors, recipe_value, weight_seed

SIZES = HoldNetSettings()
Arrays = dict[str, Tensor]


def close(actual: Tensor, expected: Tensor, *, atol: float, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


@torch.no_grad()
def filled(module: nn.Module, prefix: str) -> nn.Module:
    """The module with the recipe's weights, whose names and sums are checked against the files'."""
    sums = hold_json("c01_weight_checksums")
    for name, parameter in module.named_parameters():
        parameter.copy_(recipe_value(weight_seed(), prefix + name, tuple(parameter.shape)))
        wanted = sums.get(prefix + name) or sums["model." + prefix + name]
        np.testing.assert_allclose(float(parameter.double().sum()), wanted[0], atol=1e-6, rtol=1e-6)
    return module


def object_sdf(generator: torch.Generator | None = None) -> ImplicitNetwork:
    return ImplicitNetwork(SIZES.sdf, BarfEncoding(3, 6, SIZES.barf), generator=generator)


@pytest.fixture(scope="module")
def c01() -> Arrays:
    return hold_tensors("c01_networks")


@pytest.fixture(scope="module")
def c02() -> Arrays:
    return hold_tensors("c02_embeddings")


class TestNetworks:
    def test_hand_field_and_its_gradient(self, c01: Arrays) -> None:
        network = filled(hand_shape_network(SIZES.sdf), "nodes.right.implicit_network.")
        assert isinstance(network, ImplicitNetwork)
        wanted = c01["hand_sdf_feature"]
        field = network.with_gradient(c01["hand_x"], differentiable=False)
        close(field.sdf, wanted[:, 0], atol=1e-4)
        close(field.feature, wanted[:, 1:], atol=1e-4)
        close(field.gradient, c01["hand_sdf_grad_x"], atol=1e-5, rtol=1e-3)
        close(network.distance(c01["hand_x"]), wanted[:, 0], atol=1e-4)
        assert not field.sdf.requires_grad

    def test_the_hands_pose_has_no_effect_on_its_shape(self, c01: Arrays) -> None:
        assert float(c01["hand_pose_effect_max"]) == 0
        network = filled(hand_shape_network(SIZES.sdf), "nodes.right.implicit_network.")
        with torch.no_grad():
            close(
                network(c01["hand_x"], 0 * c01["hand_pose"])[0],
                network(c01["hand_x"])[0],
                atol=0,
                rtol=0,
            )

    def test_object_field_while_its_encoding_opens(self, c01: Arrays) -> None:
        network = filled(object_sdf(), "nodes.object.implicit_network.")
        assert isinstance(network, ImplicitNetwork)
        counters = [int(name.rpartition("barf")[2]) for name in c01 if name.startswith("object_sdf_feature_barf")]
        assert len(counters) >= 3
        for counter in counters:
            network.embedder_obj.alpha_iter.fill_(counter)  # type: ignore[union-attr, operator]
            sdf, feature = network(c01["object_x"])
            wanted = c01[f"object_sdf_feature_barf{counter}"]
            close(sdf, wanted[:, 0], atol=1e-4)
            close(feature, wanted[:, 1:], atol=1e-4)
        network.embedder_obj.alpha_iter.fill_(9999)  # type: ignore[union-attr, operator]
        gradient = network.with_gradient(c01["object_x"], differentiable=True).gradient
        close(gradient, c01["object_sdf_grad_x"], atol=1e-5, rtol=1e-3)

    def test_colours_of_hand_and_object(self, c01: Arrays) -> None:
        sizes = {"features": 256}
        hand = filled(RenderingNetwork(SIZES.colour, pose_width=45, **sizes), "nodes.right.rendering_network.")
        colour = hand(c01["hand_x"], c01["color_normals"], c01["hand_color_pose"], c01["color_feature"])
        close(colour, c01["hand_rgb"], atol=1e-5)
        network = RenderingNetwork(SIZES.colour, pose_width=0, frame_code=32, **sizes)
        object_ = filled(network, "nodes.object.rendering_network.")
        colour = object_(c01["color_points"], c01["color_normals"], None, c01["color_feature"], c01["color_time_code"])
        close(colour, c01["object_rgb"], atol=1e-5)

    def test_background_field_and_colour(self, c01: Arrays) -> None:
        frames = int(hold_json("c01_hold_keys")["n_frames"])
        background = filled(Background(SIZES.background, frames=frames, frame_code=32), "background.")
        assert isinstance(background, Background)
        code = background.frame_latent_encoder(c01["bg_frame_idx"])
        close(code, c01["bg_frame_code"], atol=0, rtol=0)
        output, feature = background.bg_implicit_network(c01["bg_points4"], code[:, None])
        close(output, c01["bg_sdf_feature"][..., 0], atol=1e-4)
        close(feature, c01["bg_sdf_feature"][..., 1:], atol=1e-4)
        colour = background.bg_rendering_network(c01["bg_view_dirs"], code[:, None], feature)
        close(colour.flatten(0, 1), c01["bg_rgb"], atol=1e-5)


class TestFirstWeights:
    """Statistics over ten starts of each kind; another random stream agrees only statistically."""

    @pytest.mark.parametrize("kind", ["hand", "object"])
    def test_weights(self, kind: str) -> None:
        wanted = hold_tensors("c01_geometric_init")
        networks = [self._started(kind, seed) for seed in range(4)]
        effective = [[layer.weight.detach() for layer in network.layers] for network in networks]
        shapes = torch.tensor([weight.shape for weight in effective[0]])
        close(shapes, wanted[f"{kind}_layer_shapes"], atol=0, rtol=0)
        for weights in effective:
            for layer in (0, 4):
                empty = (weights[layer] == 0).all(0).nonzero()[:, 0]
                count = len(wanted[f"{kind}_zero_columns_lin{layer}"])
                assert len(empty) == count
                close(empty.sort().values, wanted[f"{kind}_zero_columns_lin{layer}"].sort().values, atol=0, rtol=0)
        nonzero = torch.stack([weight[weight != 0].std() for weight in effective[0]])
        close(nonzero, wanted[f"{kind}_nonzero_std_seed0"], atol=1e-6, rtol=0.15)
        for number in range(len(effective[0])):
            means = torch.stack([weights[number].mean() for weights in effective])
            reference = wanted[f"{kind}_weight_mean"][:, number]
            noise = 5 * float(reference.std()) + 1e-6
            assert abs(float(means.mean() - reference.mean())) < noise
        biases = torch.stack([layer.bias.mean() for layer in networks[0].layers])
        close(biases, wanted[f"{kind}_bias_mean"][0], atol=1e-7)

    @pytest.mark.parametrize("kind", ["hand", "object", "object_barf0"])
    def test_the_field_is_a_sphere(self, kind: str) -> None:
        wanted = hold_tensors("c01_geometric_init")
        points = wanted["radii"].float()[:, None, None] * wanted["directions"]
        found = []
        for seed in range(10):
            network = self._started(kind.removesuffix("_barf0"), seed)
            if isinstance(network.embedder_obj, BarfEncoding) and kind == "object":
                network.embedder_obj.alpha_iter.fill_(SIZES.barf.end_step - 1)  # fully open
            with torch.no_grad():
                found.append(network.distance(points))
        means = torch.stack([distance.mean(1) for distance in found])
        reference = wanted[f"{kind}_sdf_mean_std_per_seed"]
        spread = reference[..., 0].std(0) + means.std(0) + 1e-3
        assert (abs(means.mean(0) - reference[..., 0].mean(0)) < 2.5 * spread).all()
        deviations = torch.stack([distance.std(1) for distance in found])
        close(deviations.mean(0), reference[..., 1].mean(0), atol=5e-3, rtol=0.5)

    def _started(self, kind: str, seed: int) -> ImplicitNetwork:
        generator = torch.Generator().manual_seed(seed)
        if kind == "hand":
            return hand_shape_network(SIZES.sdf, generator)
        network = object_sdf(generator)
        start_as_sphere(network, generator)
        return network


class TestEncodings:
    def test_fourier(self, c02: Arrays) -> None:
        for name, frequencies in (("x3_L6", 6), ("x4_L10", 10), ("x3_L4", 4)):
            points = c02[name[:2]]
            encoded = FourierEncoding(points.shape[1], frequencies)(points)
            close(encoded, c02[f"fourier_{name}"], atol=2e-4, rtol=1e-5)

    def test_barf_weights_by_counter(self, c02: Arrays) -> None:
        encoding = BarfEncoding(3, 6, SIZES.barf)
        rows = zip(*(c02[f"barf_{name}"] for name in ("counter", "alpha", "weights39", "embed_x3_first4")), strict=True)
        for counter, alpha, weights, encoded in rows:
            encoding.alpha_iter.copy_(counter)
            close(encoding.alpha(), alpha, atol=1e-6)
            close(encoding.column_weights(), weights, atol=1e-6)
            close(encoding(c02["x3"][:4]), encoded, atol=2e-4, rtol=1e-5)
        encoding.alpha_iter.fill_(SIZES.barf.end_step - 1)
        close(encoding(c02["x3"]), c02["barf_disabled_embed_x3"], atol=2e-4, rtol=1e-5)

    def test_barf_counts_and_stops(self, c02: Arrays) -> None:
        encoding = BarfEncoding(3, 6, BarfSettings(start_step=3, end_step=13))
        for counter, alpha in c02["barf_small_start3_end13_counter_alpha_per_step"]:
            assert int(encoding.alpha_iter) == int(counter)
            close(encoding.alpha(), alpha, atol=1e-9)
            encoding.advance()


class TestDensity:
    def test_laplace(self) -> None:
        c03 = hold_tensors("c03_density")
        betas = sorted(name.removesuffix("_eff") for name in c03 if name.endswith("_eff"))
        assert len(betas) >= 4
        for name in betas:
            density = LaplaceDensity()
            with torch.no_grad():
                density.beta.fill_(float(name.removeprefix("beta")))
            distance = c03["sdf"].clone().requires_grad_()
            values = density(distance)
            close(density.scale(), c03[f"{name}_eff"], atol=0, rtol=1e-6)
            close(values, c03[f"{name}_density"], atol=0, rtol=1e-5)
            by_distance, by_beta = torch.autograd.grad(values.sum(), [distance, density.beta])
            close(by_distance, c03[f"{name}_ddensity_dsdf"], atol=0, rtol=1e-4)
            close(by_beta, c03[f"{name}_dsum_dbetaparam"], atol=0, rtol=1e-4)

    def test_given_scale(self) -> None:
        c03 = hold_tensors("c03_density")
        for name in c03:
            if name.startswith("explicit_beta"):
                beta = float(name.removeprefix("explicit_beta"))
                close(laplace_density(c03["sdf"], beta), c03[name], atol=0, rtol=1e-5)
