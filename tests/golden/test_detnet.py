"""DetNet against the numbers of the published implementation (golden/s2d/README.md, files c1, c3 and c4)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from handloom.estimators.detnet.network import DetNet, DetNetMaps, read_out
from handloom.estimators.detnet.targets import (
    LossWeights,
    delta_target,
    detnet_loss,
    heat_map_target,
    input_key_points,
    key_point_heat_maps,
    location_target,
)
from handloom.runtime.config.sources import DetNetSettings

from .weight_recipe import published_shapes, recipe_arrays

Arrays = Mapping[str, np.ndarray]
STAGES = ("stem", "block1", "pool", "block2", "block3", "squeeze")


@pytest.fixture(scope="module")
def c1(golden) -> Arrays:
    return golden("c1_detnet_forward")


@pytest.fixture(scope="module")
def c3(golden) -> Arrays:
    return golden("c3_detloss")


@pytest.fixture(scope="module")
def c4(golden) -> Arrays:
    return golden("c4_targets")


@pytest.fixture(scope="module")
def weights(c1: Arrays, golden_folder: Path) -> dict[str, Tensor]:
    arrays = recipe_arrays(published_shapes(golden_folder), int(c1["weight_seed"]))
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def full_size_network(weights: Mapping[str, Tensor]) -> DetNet:
    network = DetNet(DetNetSettings())
    network.load_state_dict(weights, strict=True)
    return network


def image(c1: Arrays) -> Tensor:
    return torch.from_numpy(c1["image_u8"]).float() / 255 - 0.5


@pytest.fixture(scope="module")
def forward(c1: Arrays, weights: dict[str, Tensor]) -> tuple[DetNetMaps, dict[str, Tensor]]:
    """The maps of one forward pass and what each stage of the backbone gave on the way."""
    network = full_size_network(weights).eval()
    seen: dict[str, Tensor] = {}
    backbone = network.resnet50
    modules = (backbone.bn1, backbone.block1, backbone.pool, backbone.block2, backbone.block3, backbone.squeeze)
    for name, module in zip(STAGES, modules, strict=True):
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.__setitem__(name, output.clone()))
    with torch.no_grad():
        maps = network(image(c1))
    seen["stem"] = torch.relu(seen["stem"])
    return maps, seen


def close(actual: Tensor | np.ndarray, expected: np.ndarray, absolute: float, relative: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=relative, atol=absolute)


def sums_and_norms(values: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    double = values.double()
    return double.sum(dims), double.square().sum(dims).sqrt()


# ---------------------------------------------------------------- c1: the network


def test_names_shapes_and_types_of_the_state_dict_are_the_published_ones(golden_folder):
    state = DetNet(DetNetSettings()).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == published_shapes(golden_folder)


def test_order_of_the_state_dict_is_the_published_one(golden_folder):
    assert list(DetNet(DetNetSettings()).state_dict()) == list(published_shapes(golden_folder))


def test_the_recipe_gives_the_stored_checksums(c1, weights):
    doubles = [weights[name].double() for name in sorted(weights)]
    close(torch.stack([value.sum() for value in doubles]), c1["recipe_sum"], 1e-6, 1e-6)
    close(torch.stack([value.square().sum().sqrt() for value in doubles]), c1["recipe_l2"], 1e-6, 1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_the_backbone(c1, forward, stage):
    output = forward[1][stage]
    assert output.shape == tuple(c1[f"stage_{stage}_shape"])
    close(output.contiguous().flatten()[c1[f"stage_{stage}_idx"]], c1[f"stage_{stage}_val"], 2e-5)
    total, norm = sums_and_norms(output, (1, 2, 3))
    close(total, c1[f"stage_{stage}_sum"], 0, 1e-5)
    close(norm, c1[f"stage_{stage}_l2"], 0, 1e-5)


def test_heat_maps_are_complete(c1, forward):
    close(forward[0].heat, c1["h_map"], 1e-5)


@pytest.mark.parametrize(("field", "key"), [("heat", "h"), ("delta", "d"), ("location", "l")])
def test_maps(c1, forward, field, key):
    values = getattr(forward[0], field)
    if key != "h":
        close(values.contiguous().flatten()[c1[f"{key}_map_idx"]], c1[f"{key}_map_val"], 3e-5)
    total, norm = sums_and_norms(values, (-2, -1))
    close(total, c1[f"{key}_map_sum"], 5e-3)
    close(norm, c1[f"{key}_map_l2"], 1e-4)


def test_read_out(c1, forward):
    readout = read_out(forward[0])
    close(readout.joints, c1["xyz"], 3e-5)
    close(readout.delta, c1["delta"], 3e-5)
    close(readout.confidence, c1["vmax"][..., 0], 1e-5)
    np.testing.assert_array_equal(readout.cell_rowcol, c1["uv"])


def test_double_precision_forward(c1, weights):
    network = full_size_network(weights).eval().double()
    with torch.no_grad():
        readout = read_out(network(torch.from_numpy(c1["image_u8"]).double() / 255 - 0.5))
    close(readout.joints, c1["xyz_f64"], 1e-6)
    close(readout.delta, c1["delta_f64"], 1e-6)
    close(readout.confidence, c1["vmax_f64"][..., 0], 1e-6)


def test_channels_last_gives_the_same_read_out(c1, weights):
    network = full_size_network(weights).eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        readout = read_out(network(image(c1).contiguous(memory_format=torch.channels_last)))
    close(readout.joints, c1["xyz"], 3e-5)
    np.testing.assert_array_equal(readout.cell_rowcol, c1["uv"])


def test_first_of_equal_cells_is_read(c1):
    heat, location = torch.from_numpy(c1["tie_h"]), torch.from_numpy(c1["tie_l"])
    readout = read_out(DetNetMaps(heat, location, location))
    np.testing.assert_array_equal(readout.cell_rowcol, c1["tie_uv"])
    np.testing.assert_array_equal(readout.confidence, c1["tie_vmax"][..., 0])
    np.testing.assert_array_equal(readout.joints, c1["tie_xyz"])


def test_train_mode_uses_batch_statistics_and_updates_the_running_ones(c1, weights):
    network = full_size_network(weights).train()
    with torch.no_grad():
        maps = network(image(c1))
    for values, key in ((maps.heat, "h"), (maps.delta, "d"), (maps.location, "l")):
        total, norm = sums_and_norms(values, (-2, -1))
        close(total, c1[f"train_{key}_map_sum"], 5e-3)
        close(norm, c1[f"train_{key}_map_l2"], 2e-4)
    state = network.state_dict()
    running = [state[name].double() for name in sorted(state) if name.endswith(("running_mean", "running_var"))]
    close(torch.stack([value.sum() for value in running]), c1["train_running_sum"], 1e-4)
    close(torch.stack([value.square().sum().sqrt() for value in running]), c1["train_running_l2"], 1e-4)
    assert all(
        int(module.num_batches_tracked) == 1 for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    )


# ---------------------------------------------------------------- c3: the loss


def loss_cases(c3: Arrays) -> Iterator[str]:
    yield from sorted(key.removesuffix("_flag_3d") for key in c3 if key.endswith("_flag_3d") and key != "full_flag_3d")


def loss_inputs(c3: Arrays, case: str) -> tuple[DetNetMaps, Tensor, Tensor, Tensor]:
    """Predicted maps (leaves that gather gradients) and targets of a case on 8x8 maps."""
    batch = len(c3[f"{case}_flag_3d"])
    heat, delta, location = (torch.from_numpy(c3[f"pred_{key}"][:batch]).requires_grad_() for key in "hdl")
    precision = torch.float64 if c3[f"{case}_targets_float64"] else torch.float32
    targets = (torch.from_numpy(c3[f"targ_{key}"][:batch]).to(precision) for key in "dl")
    return DetNetMaps(heat, delta, location), torch.from_numpy(c3["targ_h"][:batch]), *targets


def check_loss(c3: Arrays, case: str, maps: DetNetMaps, heat: Tensor, delta: Tensor, location: Tensor, weights) -> None:
    flag_3d, veil = torch.from_numpy(c3[f"{case}_flag_3d"]), torch.from_numpy(c3[f"{case}_veil"])
    loss = detnet_loss(maps, heat, delta, location, flag_3d=flag_3d, veil=veil, weights=weights, fidelity="faithful")
    for value, key in zip(loss, ("total", "hm", "dm", "lm"), strict=True):
        close(value.detach(), c3[f"{case}_{key}"], 0, 3e-6)
    assert int(flag_3d.sum()) == int(c3[f"{case}_b3"])
    assert loss.total.dtype == torch.float32
    assert loss.delta.dtype == loss.location.dtype == delta.dtype
    if not flag_3d.any():
        return  # the reference gives NaN here and its gradients mean nothing
    gradients = torch.autograd.grad(loss.total, maps)
    for gradient, key in zip(gradients, "hdl", strict=True):
        norm = gradient.double().flatten(2).square().sum(2).sqrt()
        close(norm, c3[f"{case}_grad_{key}_l2"], 3e-5)
        if f"{case}_grad_{key}" in c3:
            close(gradient, c3[f"{case}_grad_{key}"], 1e-6)


def test_loss_and_gradients_of_every_small_case(c3):
    cases = list(loss_cases(c3))
    assert cases
    for case in cases:
        check_loss(c3, case, *loss_inputs(c3, case), LossWeights(*c3[f"{case}_lambda"].tolist()))


def test_loss_without_3d_samples_is_the_heat_term_alone_when_fixed(c3):
    cases = [case for case in loss_cases(c3) if not c3[f"{case}_flag_3d"].any()]
    assert cases
    for case in cases:
        maps, heat, delta, location = loss_inputs(c3, case)
        weights = LossWeights(*c3[f"{case}_lambda"].tolist())
        flag_3d, veil = torch.from_numpy(c3[f"{case}_flag_3d"]), torch.from_numpy(c3[f"{case}_veil"])
        loss = detnet_loss(maps, heat, delta, location, flag_3d=flag_3d, veil=veil, weights=weights, fidelity="fixed")
        close(loss.total.detach(), weights.heat * c3[f"{case}_hm"], 0, 3e-6)
        assert loss.delta == 0
        assert loss.location == 0
        gradients = torch.autograd.grad(loss.total, maps)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_full_size_loss(c3):
    seed, (batch, joints) = int(c3["full_seed"]), c3["full_veil"].shape
    cells = 32

    def normal(index: int, *shape: int) -> np.ndarray:
        return np.random.default_rng([seed, index]).standard_normal(shape)

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    heat_shape, map_shape = (batch, joints, cells, cells), (batch, joints, 3, cells, cells)
    large = [
        sigmoid(normal(0, *heat_shape)), normal(1, *map_shape), normal(2, *map_shape), sigmoid(normal(3, *heat_shape))
    ]  # fmt: skip
    large = [values.astype(np.float32) for values in large]
    small = [normal(index, batch, joints, 3) for index in (4, 5)]
    close(np.array([values.astype(np.float64).sum() for values in large + small]), c3["full_input_sums"], 1e-4)
    heat, delta, location, heat_target = (torch.from_numpy(values) for values in large)
    maps = DetNetMaps(heat.requires_grad_(), delta.requires_grad_(), location.requires_grad_())
    targets = (torch.from_numpy(values.astype(np.float32)) for values in small)
    check_loss(c3, "full", maps, heat_target, *targets, LossWeights())


# ---------------------------------------------------------------- c4: the targets


@pytest.mark.parametrize("root_joint", [0, 9])
def test_location_and_delta_targets(c4, root_joint):
    joints = torch.from_numpy(c4["joint"])
    close(location_target(joints, root_joint), c4[f"loc_root{root_joint}"], 1e-12)
    close(delta_target(joints, "faithful"), c4[f"delta_root{root_joint}"], 1e-12)


def test_delta_of_coincident_joints_is_nan_if_faithful_and_zero_if_fixed(c4):
    reference = c4["delta_root0"]
    undefined = np.isnan(reference)
    assert undefined.any(), "the golden set holds no coincident joints"
    fixed = delta_target(torch.from_numpy(c4["joint"]), "fixed").numpy()
    close(fixed, np.where(undefined, 0.0, reference), 1e-12)


@pytest.mark.parametrize("prefix", ["hm", "hmf"])
def test_heat_maps_of_cells(c4, prefix):
    maps, veil = heat_map_target(torch.from_numpy(c4[f"{prefix}_centre_xy"]), c4[f"{prefix}_map"].shape[-1])
    close(maps, c4[f"{prefix}_map"], 1e-6)
    np.testing.assert_array_equal(veil, c4[f"{prefix}_flag"])


def test_heat_maps_of_key_points(c4):
    settings = DetNetSettings()
    keypoints_256px = torch.from_numpy(c4["kp256"])
    np.testing.assert_array_equal(input_key_points(keypoints_256px, settings.input_px), c4["kp128_int"])
    maps, veil = key_point_heat_maps(keypoints_256px, settings.input_px, settings.map_cells)
    close(maps, c4["kp_hm"], 1e-6)
    np.testing.assert_array_equal(veil, c4["kp_veil"])
