"""The benchmark of rays runs through, on what it renders and on a sequence's folder, and reports honestly."""

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from handloom.hand.open_hand import open_hand
from handloom.runtime.config.compact import CompactSettings

TOOL = Path(__file__).parents[2] / "tools" / "benchmark_rays.py"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_rays", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    threads = torch.get_num_threads()
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)


def test_defaults_are_the_published_and_the_shipped_sizes(tool: ModuleType) -> None:
    """A benchmark of smaller networks would flatter."""
    network = tool.FULL.hold_net.network
    sdf, sampler = network.sdf, network.sampler
    assert (sdf.width, sdf.hidden_layers, sampler.samples, sampler.rounds) == (256, 8, 98, 5)
    assert tool.FULL.compact.rays == 768
    assert tool.FULL.compact == CompactSettings()


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_grids_share_the_phase(tool: ModuleType, stages: int) -> None:
    assert sum(tool.stage_shares(stages)) == pytest.approx(1)
    assert len(tool.stage_shares(stages)) == stages


def test_a_step_is_a_whole_one(tool: ModuleType, tmp_path: Path) -> None:
    """Sampling, all losses, the backward pass and Adam: networks, poses, codes and density move, all by numbers."""
    model = open_hand()
    build = tool.speckled_build(tmp_path, model)
    training = tool.hold_net_training(build, model, tool.TINY)
    before = {name: value.detach().clone() for name, value in training.net.named_parameters()}
    loss = training.run_step()
    assert loss.dropped_rays == 0
    terms = {name: float(value.detach()) for name, value in loss.terms().items()}
    assert {"rgb", "sem", "mano_cano", "opacity_sparse"} <= set(terms)
    assert all(math.isfinite(value) and value > 0 for value in terms.values()), terms
    moved = {name for name, value in training.net.named_parameters() if not torch.equal(value, before[name])}
    for part in (
        *("nodes.right.implicit_network.lin0", "nodes.right.rendering_network.lin0", "nodes.right.density"),
        *("nodes.object.implicit_network.lin0", "nodes.object.rendering_network.lin0", "nodes.object.density"),
        *("background.bg_implicit_network.lin0", "background.bg_rendering_network.lin0"),
        *("nodes.right.params.pose", "nodes.object.params.transl", "nodes.object.frame_latent_encoder"),
    ):
        assert any(name.startswith(part) for name in moved), part


def test_it_prints_both_rates_and_their_ratios(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.speckled_build(tmp_path, open_hand())
    status = tool.main([str(tmp_path), "--tiny"])
    lines = capsys.readouterr().out
    found = {
        name: float(value) for name, value in re.findall(r"^  ([\w-]+),.*? {3,}(\d+(?:\.\d+)?) ", lines, re.MULTILINE)
    }
    assert found["reference"] == tool.REFERENCE_RAYS_PER_SECOND
    times = re.search(r"(\d+) x reference, (\d+) x HOLD-Net", lines)
    assert times is not None
    assert float(times[1]) == pytest.approx(found["compact"] / found["reference"], abs=1)
    assert float(times[2]) == pytest.approx(found["compact"] / found["HOLD-Net"], rel=0.05)
    assert status == int(float(times[1]) < tool.GOAL)
    assert "toy sizes" in lines
