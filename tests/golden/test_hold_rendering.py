"""HOLD's composition, whole model and names of checkpoints against those of the released code."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from handloom.reconstruction.holdnet.checkpoint import ObjectServer
from handloom.reconstruction.holdnet.model import HoldNet, SceneRays, SceneRendering
from handloom.reconstruction.holdnet.rays import rays_through_pixels
from handloom.reconstruction.holdnet.rendering import (
    Composite,
    RaySamples,
    Rendering,
    compose,
    merge_samples,
    one_hot_class,
    render_alone,
    render_samples,
)
from handloom.runtime.config.fields import HoldNetSettings

from .hold_files import hold_json, hold_tensors, random_hand, recipe_value, sphere_layer, weight_seed

Arrays = dict[str, Tensor]


def close(actual: Tensor, expected: Tensor, *, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.numpy(), atol=atol, rtol=rtol)


def outputs(rendering: Rendering) -> dict[str, Tensor]:
    """A rendering under the reference's names and in its shapes."""
    return {
        "fg_rgb": rendering.colour,
        "fg_rgb.vis": rendering.colour + rendering.background_weight[:, None],
        "normal": rendering.normal,
        "depth": rendering.depth[:, None],
        "mask_prob": rendering.mask_probability[:, None],
        "fg_semantics": rendering.semantics,
        "bg_weights": rendering.background_weight,
    }


@pytest.fixture(scope="module")
def c06() -> Arrays:
    return hold_tensors("c06_composite")


def node_samples(arrays: Arrays, tag: str) -> list[RaySamples]:
    found = []
    for node in range(sum(name.startswith(f"{tag}_node") and name.endswith("_class") for name in arrays)):
        value = {key: arrays[f"{tag}_node{node}_{key}"] for key in ("color", "normal", "density", "z_vals", "class")}
        depth = value["z_vals"]
        semantics = one_hot_class(int(value["class"]), depth)
        colour, normal = value["color"].float(), value["normal"].float()
        found.append(RaySamples(colour, normal, value["density"][..., 0], semantics, depth))
    return found


class TestComposition:
    @pytest.mark.parametrize("tag", ["two", "three"])
    def test_each_node_alone(self, c06: Arrays, tag: str) -> None:
        nodes = node_samples(c06, tag)
        assert len(nodes) == {"two": 2, "three": 3}[tag]
        for number, samples in enumerate(nodes):
            for name, value in outputs(render_alone(samples)).items():
                if f"{tag}_node{number}_out_{name}" in c06:
                    close(value, c06[f"{tag}_node{number}_out_{name}"])

    @pytest.mark.parametrize("tag", ["two", "three"])
    def test_all_nodes_together(self, c06: Arrays, tag: str) -> None:
        """Every ray as the reference has it, for some order of the nodes.

        All nodes have a sample at depth zero. Which one is kept is what the reference's unstable sort makes of equal
        depths, and that differs between processors; it may be any, but has to be the same one for all outputs.
        """
        merged, end_depth = merge_samples(node_samples(c06, tag))
        close(merged.depth, c06[f"{tag}_merged_z"], atol=1e-6, rtol=0)
        close(end_depth, c06[f"{tag}_merged_zmax"], atol=1e-6, rtol=0)
        explained = torch.zeros(len(end_depth), dtype=torch.bool)
        for nodes in permutations(node_samples(c06, tag)):
            explained |= self._equal_rays(*self._rendered(list(nodes), c06[f"{tag}_bg_color"]), c06, tag)
        assert explained.all()

    def _rendered(self, nodes: list[RaySamples], background: Tensor) -> tuple[Rendering, Composite]:
        # The order of the nodes decides ties in a stable way.
        nudged = [
            samples._replace(depth=torch.where(samples.depth == 0, 1e-30 * (1 + number), samples.depth))
            for number, samples in enumerate(nodes)
        ]
        rendering = render_samples(*merge_samples(nudged))
        return rendering, compose(rendering, background)

    def _equal_rays(self, rendering: Rendering, composite: Composite, arrays: Arrays, tag: str) -> Tensor:
        values = {f"out_{name}": value for name, value in outputs(rendering).items()}
        values["out_fg_weights"] = rendering.weights
        values |= {"rgb": composite.colour, "semantics": composite.semantics}
        equal = composite.semantics.argmax(1) == arrays[f"{tag}_instance_map"]
        for name, value in values.items():
            wanted = arrays[f"{tag}_{name}"]
            equal &= torch.isclose(value, wanted, atol=1e-5, rtol=1e-4).reshape(len(equal), -1).all(1)
        return equal


def golden_model(c06: Arrays) -> HoldNet:
    """The reference's model: recipe weights with spheres as shapes, its own object, the random hand."""
    build = hold_tensors("c09_build")
    model = HoldNet(
        HoldNetSettings(),
        hands={"right": random_hand()},
        hand_shapes={"right": c06["in_right.betas"][0]},
        object_server=ObjectServer(
            object_scale=float(build["in_obj_scale"]),
            points_canonical=build["in_pts_cano"],
            normalised_from_sfm=build["in_norm_mat"],
        ),
        frames=int(hold_json("c01_hold_keys")["n_frames"]),
    )
    seed = weight_seed()
    hand, object_ = model.hand_node("right"), model.object_node
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".params." not in name and ".server." not in name:
                parameter.copy_(recipe_value(seed, name, tuple(parameter.shape)))
        for name, node in (("right", hand), ("object", object_)):
            for number, layer in enumerate(node.implicit_network.layers):
                rows, columns = layer.weight.shape
                weight, bias = sphere_layer(seed, name, number, (rows, columns))
                layer.set_weight(weight)
                layer.bias.copy_(bias)
            node.density.beta.copy_(c06[f"density_beta_{name}"])
            for key in ("global_orient", "transl", "pose"):
                if f"in_{name}.{key}" in c06:
                    node.params[key].weight[c06["frame_idx"]] = c06[f"in_{name}.{key}"]
        hand.params["betas"].weight.copy_(c06["in_right.betas"][:1])
        object_.encoding.alpha_iter.copy_(c06["barf_counter"])
    return model.eval()


@pytest.fixture(scope="module")
def full() -> Arrays:
    return hold_tensors("c06_full_forward_eval")


@pytest.fixture(scope="module")
def rendering(full: Arrays) -> SceneRendering:
    origins, directions = rays_through_pixels(full["uv"], full["intrinsics"], full["cam2world"])
    rays = SceneRays(full["frame_idx"], origins, directions, full["in_object.params"][:, 0])
    return golden_model(full)(rays)


class TestWholeModel:
    def test_state_dict_is_that_of_a_checkpoint(self, full: Arrays) -> None:
        keys = hold_json("c01_hold_keys")
        model = golden_model(full)
        found = {
            f"model.{name}": [list(value.shape), str(value.dtype).removeprefix("torch.")]
            for name, value in model.state_dict().items()
        }
        assert found == keys["state_dict"]
        assert {f"model.{name}" for name, _ in model.named_parameters()} == set(keys["parameters"])

    def test_each_node_alone(self, full: Arrays, rendering: SceneRendering) -> None:
        for node, alone in rendering.alone.items():
            for name, value in outputs(alone).items():
                self._agrees(value, full[f"out_{node}.{name}"], f"{node}.{name}")

    def test_whole_scene(self, full: Arrays, rendering: SceneRendering) -> None:
        self._agrees(rendering.background_colour, full["out_bg_rgb_only"], "bg_rgb_only")
        values = outputs(rendering.foreground)
        values |= {"rgb": rendering.composite.colour, "semantics": rendering.composite.semantics}
        for name, value in values.items():
            self._agrees(value, full[f"out_{name}"], name, ties=True)
        tied = full["out_semantics"].topk(2, dim=1).values.diff(dim=1).abs()[:, 0] < 1e-3
        assert ((rendering.composite.semantics.argmax(1) == full["out_instance_map"]) | tied).all()

    def _agrees(self, value: Tensor, wanted: Tensor, name: str, *, ties: bool = False) -> None:
        """The README's tolerance; without the reference's sort of equal depths (AVX-512) only its second half."""
        error = (value.detach() - wanted).abs()
        same_sort = torch.backends.cpu.get_cpu_capability() == "AVX512"
        if same_sort or not ties:
            assert (error <= 1e-3).float().mean() >= 0.98, name
            assert error.max() <= 5e-2, name
        else:
            assert (error <= 5e-2).float().mean() >= 0.95, name
