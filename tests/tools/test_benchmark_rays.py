"""The benchmark of rays runs through, on what it renders and on a sequence's folder, and reports honestly."""

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

from handloom.hand.models import open_hand
from handloom.runtime.config.fields import CompactSettings


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Imported here, as it limits the threads of all libraries that are imported after it."""
    return importlib.import_module("benchmark_rays")


@pytest.fixture(scope="module")
def build(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tool.speckled_build(tmp_path_factory.mktemp("block"), open_hand())


def test_defaults_are_the_published_and_the_shipped_sizes(tool: ModuleType) -> None:
    """A benchmark of smaller networks would flatter."""
    network = tool.FULL.hold_net.network
    sdf, sampler = network.sdf, network.sampler
    assert (sdf.width, sdf.hidden_layers, sampler.final_samples, sampler.rounds) == (256, 8, 64, 5)
    assert tool.FULL.compact.rays == 768
    assert tool.FULL.compact == CompactSettings()


def test_a_step_is_a_whole_one(tool: ModuleType, build: Path) -> None:
    """Sampling, all losses, the backward pass and Adam: networks, poses, codes and density move, all by numbers."""
    training = tool.hold_net_training(build, open_hand(), tool.TINY)
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


def test_it_runs_through_on_a_sequences_folder(
    tool: ModuleType, build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However fast it may be."""
    tool.main([str(build.parent), "--tiny"])
    said = capsys.readouterr().out
    assert "one thread, toy sizes" in said
    assert all(name in said for name in ("reference", "HOLD-Net", "compact, phase 3", "goal: "))


@pytest.mark.parametrize(("rate", "status"), [(400.0, 1), (1000.0, 0)])
def test_it_prints_what_it_measured(
    tool: ModuleType,
    build: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rate: float,
    status: int,
) -> None:
    monkeypatch.setattr(tool, "hold_net_rate", lambda *_: 20.0)
    monkeypatch.setattr(tool, "compact_rate", lambda *_: rate)
    assert tool.main([str(build.parent)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[-4:] == ["20.0", "2.0", "x", "reference"]
    assert f"{rate:.0f}" in lines[3]
    assert f"{rate / 10:.0f} x reference, {rate / 20:.0f} x HOLD-Net" in lines[3]
    assert ("NOT REACHED" in lines[4]) == bool(status)
