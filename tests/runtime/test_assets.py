"""The asset check works with nothing there, and sees what is."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from handloom.__main__ import main
from handloom.runtime.assets import assets, checkpoint_path, missing, print_assets, require
from handloom.runtime.config.hold import HoldSequenceSettings
from handloom.runtime.config.load import load_settings
from handloom.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
PAPER = load_settings(ROOT / "config.yaml", ROOT / "config/paper.yaml")


def test_with_nothing_there_everything_is_named_with_licence_home_and_use(tmp_path: Path) -> None:
    rows = assets(PAPER, tmp_path)
    assert not any(row.found for row in rows if "(Python package)" not in row.name)
    assert all(row.licence and row.home.startswith("https://") and row.enables and row.without for row in rows)
    page = io.StringIO()
    print_assets(PAPER, tmp_path, Console(file=page, width=100))
    for name in ("AssemblyHands", "RHD", "GANerated", "MANO_RIGHT", "checkpoint 37", "checkpoint 68", "smplx"):
        assert name in page.getvalue()
    for name in ("HO3D-v3 ABF12", "HO3D-v3 SMu40", "YCB-Video 3D models", "hloc", "sam2"):
        assert name in page.getvalue()


def test_what_is_there_is_found(tmp_path: Path) -> None:
    lacking = missing(PAPER, tmp_path)
    assert [line.partition(":")[0] for line in lacking] == [
        "sources.in.checkpoint",
        "sources.cross.checkpoint",
        "datasets.assembly_hands.root",
        "mano",
        "hold.sequences",
        "hold.sequences",
    ]
    assert all(f"data/HO3D_v3/train/{name}" in lacking[4] for name in PAPER.hold.chosen)
    assert "data/HO3D_v3/models" in lacking[5]
    (tmp_path / "data/HO3D_v3/models").mkdir(parents=True)
    for name in PAPER.hold.chosen:
        (tmp_path / "data/HO3D_v3/train" / name).mkdir(parents=True)
    (tmp_path / "data/assemblyhands/annotations").mkdir(parents=True)
    (tmp_path / "data/checkpoints").mkdir()
    (tmp_path / "data/mano").mkdir()
    (tmp_path / "data/mano/MANO_RIGHT.pkl").touch()
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
        "mano",
        "hold.sequences",
        "hold.sequences",
    ]


@pytest.mark.parametrize(
    ("setting", "name", "home"),
    [
        ("datasets.assembly_hands.root", "AssemblyHands-ego", "assemblyhands.github.io"),
        ("datasets.rhd.root", "Rendered Hand Pose", "lmb.informatik.uni-freiburg.de"),
        ("datasets.ganerated.root", "GANerated Hands", "handtracker.mpi-inf.mpg.de"),
        ("sources.cross.checkpoint", "DetNet checkpoint 68", "github.com/ut-vision/S2DHand"),
        ("hold.sequences.MC4.path", "HO3D-v3 MC4", "tugraz.at"),
    ],
)
def test_what_a_rule_lacks_is_named_with_licence_home_and_advice(
    tmp_path: Path, setting: str, name: str, home: str
) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(InputError) as raised:
        require(PAPER, tmp_path, setting, ["one", "two", "three"])
    told = str(raised.value)
    for words in ("two: not found (1 more", setting, name, "licence: ", home, "`snakemake --cores 1 check`"):
        assert words in told
    require(PAPER, tmp_path, setting, ["one"])


def test_the_hand_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fetch MANO_LEFT\.pkl \(licence: MANO"):
        require(PAPER, tmp_path, "mano", ["data/mano/MANO_LEFT.pkl"])


def test_rendered_sequences_are_no_assets_and_own_videos_are_asked_for_without_advice(tmp_path: Path) -> None:
    demo = load_settings(ROOT / "config.yaml")
    assert missing(demo, tmp_path) == []
    assert [row.expected for row in assets(demo, tmp_path) if row.name.startswith("HO3D")] == ["data/HO3D_v3/train"]
    cup = HoldSequenceSettings(kind="video", path="data/cup.mp4")
    hold = demo.hold.model_copy(update={"sequences": {**demo.hold.sequences, "cup": cup}})
    own = demo.model_copy(update={"hold": hold})
    assert missing(own, tmp_path) == ["hold.sequences: no data/cup.mp4"]
    with pytest.raises(InputError, match=r"^data/cup\.mp4: not found, but hold\.sequences\.cup\.path leads"):
        require(own, tmp_path, "hold.sequences.cup.path", ["data/cup.mp4"])


def test_the_unlabelled_test_split_is_explained(tmp_path: Path) -> None:
    dataset = PAPER.datasets.assembly_hands.model_copy(update={"split": "test"})
    datasets = PAPER.datasets.model_copy(update={"assembly_hands": dataset})
    with pytest.raises(InputError, match=r"test split has no labels: set datasets\.assembly_hands\.split to val"):
        require(PAPER.model_copy(update={"datasets": datasets}), tmp_path, "datasets.assembly_hands.root", ["a"])


def test_what_the_demo_renders_is_never_missing_but_its_checkpoint_may_be(tmp_path: Path) -> None:
    demo = load_settings(ROOT / "config.yaml")
    require(demo, tmp_path, "datasets.assembly_hands.root", ["a"])
    with pytest.raises(InputError, match=r"a\.pth: not found"):
        require(demo, tmp_path, "sources.in.checkpoint", ["a.pth"])


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
