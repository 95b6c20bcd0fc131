"""The asset check works with nothing there, and sees what is."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from handloom.__main__ import main
from handloom.runtime.assets import assets, checkpoint_path, missing, print_assets
from handloom.runtime.config.load import load_settings

ROOT = Path(__file__).parents[2]
PAPER = load_settings(ROOT / "config.yaml", ROOT / "config/paper.yaml")


def test_with_nothing_there_everything_is_named_with_licence_home_and_use(tmp_path: Path) -> None:
    rows = assets(PAPER, tmp_path)
    assert not any(row.found for row in rows if "smplx" not in row.name)
    assert all(row.licence and row.home.startswith("https://") and row.enables and row.without for row in rows)
    page = io.StringIO()
    print_assets(PAPER, tmp_path, Console(file=page, width=100))
    for name in ("AssemblyHands", "RHD", "GANerated", "MANO_RIGHT", "checkpoint 37", "checkpoint 68", "smplx"):
        assert name in page.getvalue()


def test_what_is_there_is_found(tmp_path: Path) -> None:
    lacking = missing(PAPER, tmp_path)
    assert [line.partition(":")[0] for line in lacking] == [
        "sources.in.checkpoint",
        "sources.cross.checkpoint",
        "datasets.assembly_hands.root",
    ]
    (tmp_path / "data/assemblyhands/annotations").mkdir(parents=True)
    (tmp_path / "data/checkpoints").mkdir()
    for number in (37, 68):
        (tmp_path / f"data/checkpoints/ckp_detnet_{number}.pth").touch()
    assert missing(PAPER, tmp_path) == []
    assert {row.name for row in assets(PAPER, tmp_path) if row.found} >= {"AssemblyHands-ego", "DetNet checkpoint 37"}


def test_training_the_sources_needs_their_data(tmp_path: Path) -> None:
    lacking = missing(PAPER.model_copy(update={"pretrain": True}), tmp_path)
    assert [line.partition(":")[0] for line in lacking] == [
        "datasets.assembly_hands.root",
        "datasets.ganerated.root",
        "datasets.rhd.root",
    ]


def test_shipped_checkpoints_lie_in_the_package() -> None:
    assert checkpoint_path("package:a.safetensors").parent == ROOT / "src/handloom/data"
    assert checkpoint_path("data/a.pth") == Path("data/a.pth")


def test_the_command_line_checks_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    assert "config.yaml: no such configuration file" in capsys.readouterr().err
    monkeypatch.chdir(ROOT)
    assert main(["check", "--configfile", "config/paper.yaml"]) == 0
    assert "AssemblyHands-ego" in capsys.readouterr().out
    assert main(["schema"]) == 0
