"""`check` works with nothing there and sees what is; a run that lacks something is told what it is and where it is."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from handloom.__main__ import main
from handloom.check import assets, handoccnet_lacks, missing, print_assets, require
from handloom.estimators.hands.registry import NETWORKS
from handloom.estimators.mediapipe import LANDMARKS_FILE, PALMS_FILE
from handloom.runtime.config.load import load_settings, merged, read_yaml, settings_from
from handloom.runtime.config.root import RunSettings
from handloom.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
PAPER = load_settings(ROOT / "config.yaml", ROOT / "config/paper.yaml")
DEMO = read_yaml(ROOT / "config.yaml")
CHECKPOINTS = "data/checkpoints"
WEIGHTS = [
    ("metro", "checkpoint", f"{CHECKPOINTS}/metro_hand_state_dict.bin", "https://github.com/microsoft/MeshTransformer"),
    ("handoccnet", "checkpoint", f"{CHECKPOINTS}/snapshot_demo.pth.tar", "https://github.com/namepllet/HandOccNet"),
    ("mediapipe", "landmarks", "mine/hand.tflite", "https://pypi.org/project/mediapipe"),
]
"""What the user fetches of a network: its settings' name, the file, and where from."""


def demo(**changed: Any) -> RunSettings:
    return settings_from(merged(DEMO, changed))


def hand(backend: str, mano: str | None = "data/mano", **estimation: Any) -> RunSettings:
    """The demo with another hand network."""
    return demo(hold={"hand": {"estimation": {"backend": backend, **estimation}}}, mano=mano)


def settings_of(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something")


def test_with_nothing_there_everything_is_named_with_licence_home_and_use(tmp_path: Path) -> None:
    rows = assets(PAPER)
    assert not any(row.found(tmp_path) for row in rows if row.package is None)
    assert all(row.licence and row.home.startswith("https://") and row.enables and row.without for row in rows)
    page = io.StringIO()
    print_assets(PAPER, tmp_path, Console(file=page, width=100))
    for name in ("AssemblyHands", "RHD", "GANerated", "MANO_RIGHT", "checkpoint 37", "checkpoint 68", "smplx", "hloc"):
        assert name in page.getvalue()
    for name in ("HO3D-v3 ABF12", "HO3D-v3 SMu40", "YCB-Video 3D models", "sam2", "METRO", "HandOccNet", "MediaPipe's"):
        assert name in page.getvalue()


def test_what_is_there_is_found(tmp_path: Path) -> None:
    lacking = missing(PAPER, tmp_path)
    assert settings_of(lacking) == [
        *("sources.in.checkpoint", "sources.cross.checkpoint", "datasets.assembly_hands.root"),
        *("hold.sequences.ABF12.path", "mano", "mano"),
        *(f"hold.sequences.{name}.path" for name in list(PAPER.hold.chosen)[1:]),
    ]
    touched(tmp_path, "data/assemblyhands/annotations/a", "data/mano/MANO_RIGHT.pkl", "data/mano/MANO_LEFT.pkl")
    parts = ("rgb/a", "meta/a", "seg/a")
    touched(tmp_path, *(f"data/HO3D_v3/train/{name}/{part}" for name in PAPER.hold.chosen for part in parts))
    assert all("no folder data/HO3D_v3/models" in line for line in missing(PAPER, tmp_path)[2:])
    touched(tmp_path, "data/HO3D_v3/models/a")
    touched(tmp_path, *(f"{CHECKPOINTS}/ckp_detnet_{number}.pth" for number in (37, 68)))
    assert missing(PAPER, tmp_path) == []
    found = {row.name for row in assets(PAPER) if row.found(tmp_path)}
    assert found >= {"AssemblyHands-ego", "DetNet checkpoint 37"}


def test_training_the_sources_needs_their_data(tmp_path: Path) -> None:
    lacking = missing(PAPER.model_copy(update={"pretrain": True}), tmp_path)
    lacking_paths = [f"hold.sequences.{name}.path" for name in list(PAPER.hold.chosen)[1:]]
    datasets = [f"datasets.{name}.root" for name in ("assembly_hands", "ganerated", "rhd")]
    assert settings_of(lacking) == [*datasets, "hold.sequences.ABF12.path", "mano", "mano", *lacking_paths]


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
    touched(tmp_path, "one")
    with pytest.raises(InputError) as raised:
        require(PAPER, tmp_path, setting, ["one", "two", "three"])
    told = str(raised.value)
    for words in (
        "leads to two, which does not exist (and 1 more)",
        setting,
        name,
        "licence: ",
        home,
        "`snakemake --cores 1 check`",
    ):
        assert words in told
    require(PAPER, tmp_path, setting, ["one"])


def test_the_hand_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fetch MANO_LEFT\.pkl \(licence: MANO"):
        require(PAPER, tmp_path, "mano", ["data/mano/MANO_LEFT.pkl"])


def test_rendered_sequences_are_no_assets_and_own_videos_are_asked_for_without_advice(tmp_path: Path) -> None:
    assert missing(demo(), tmp_path) == []
    assert [row.expected for row in assets(demo()) if row.name.startswith("HO3D")] == ["data/HO3D_v3/train"]
    marks = {"prompts": {"object": {"click": [9, 9]}, "right": {"click": [5, 5]}}}
    own = demo(hold={"sequences": {"cup": {"kind": "video", "path": "data/cup.mp4", "masks": marks}}})
    lacking = "hold.sequences.cup.path: leads to data/cup.mp4, which does not exist"
    assert missing(own, tmp_path) == [f"{lacking} (nor does its folder data)"]
    with pytest.raises(InputError, match=rf"^{lacking}"):
        require(own, tmp_path, "hold.sequences.cup.path", ["data/cup.mp4"])


def test_what_the_demo_renders_is_never_missing_but_its_checkpoint_may_be(tmp_path: Path) -> None:
    require(demo(), tmp_path, "datasets.assembly_hands.root", ["a"])
    with pytest.raises(InputError, match=r"leads to a\.pth, which does not exist"):
        require(demo(), tmp_path, "sources.in.checkpoint", ["a.pth"])


@pytest.mark.parametrize(("backend", "name", "file", "home"), WEIGHTS)
def test_a_networks_weights_lack_only_to_a_run_that_uses_them(
    tmp_path: Path, backend: str, name: str, file: str, home: str
) -> None:
    """Protects from finding out after an hour of structure from motion."""
    setting, own = f"hold.hand.estimation.{backend}.{name}", {backend: {name: file}}
    run = hand(backend, **own)
    row = next(row for row in assets(run) if row.setting == setting)
    assert (row.expected, row.found(tmp_path)) == (file, False)
    line = f"{setting}: leads to {file}, which does not exist"
    assert any(each.startswith(line) for each in missing(run, tmp_path))
    assert not any(each.startswith(line) for each in missing(hand("detnet", **own), tmp_path))
    with pytest.raises(InputError, match=rf"{setting}: leads to {file}, which does not exist.*; fetch .*{home}"):
        require(run, tmp_path, setting, [file])
    touched(tmp_path, file)
    assert row.found(tmp_path)
    assert not any(each.startswith(line) for each in missing(run, tmp_path))


def test_nothing_lacks_that_a_rule_fetches(tmp_path: Path) -> None:
    run = hand("mediapipe", mano=None)  # it needs no MANO
    assert missing(run, tmp_path) == []
    rows = [row for row in assets(run) if "mediapipe" in row.setting]
    assert [row.expected for row in rows] == [LANDMARKS_FILE, PALMS_FILE]
    assert all(row.licence == "Apache-2.0" and "fetched by its rule" in row.enables for row in rows)
    own = hand("mediapipe", mediapipe={"landmarks": "mine/hand.tflite"})
    assert "your own file" in next(row.enables for row in assets(own) if row.expected == "mine/hand.tflite")


@pytest.mark.parametrize("backend", [name for name, row in NETWORKS.items() if row.needs_mano])
def test_networks_of_meshes_need_mano(backend: str) -> None:
    with pytest.raises(InputError, match=rf"mano: is null, but hold\.hand\.estimation\.backend is {backend}"):
        hand(backend, mano=None)


def test_what_handoccnet_lacks_is_told_in_the_picture(tmp_path: Path) -> None:
    file = WEIGHTS[1][2]
    assert handoccnet_lacks(demo(), tmp_path) == f"its weights ({file}, from https://github.com/namepllet/HandOccNet)"
    touched(tmp_path, file)
    assert handoccnet_lacks(demo(mano=None), tmp_path).startswith("the MANO hand (mano, from")
    assert handoccnet_lacks(demo(mano="data/mano"), tmp_path) == ""


def test_missing_views_boxes_and_networks_of_own_camera_pairs_are_named(tmp_path: Path) -> None:
    def lines(**footage: Any) -> list[str]:
        boxes = {"left_boxes": "data/left.csv", "right_boxes": "data/right.csv"}
        pair = {"left": "data/left.mp4", "right": "data/right", **boxes}
        found = missing(demo(footage={"pairs": {"rig": pair}, **footage}), tmp_path)
        return [line for line in found if line.startswith("footage")]

    touched(tmp_path, "data/right/0.png", "data/left.csv")
    files = [
        "footage.pairs.rig.left: leads to data/left.mp4, which does not exist",
        "footage.pairs.rig.right_boxes: leads to data/right.csv, which does not exist",
    ]
    assert lines() == lines(backend="detnet") == files
    advice = "footage.checkpoint: leads to mine.safetensors, which does not exist; give it, or choose the other backend"
    assert lines(backend="detnet", checkpoint="mine.safetensors") == [*files, advice]
    assert lines(backend="detnet", checkpoint="package:detnet_small_in.safetensors") == files


def test_the_command_line_checks_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 1
    assert "config.yaml: no such file; expected a configuration file" in capsys.readouterr().err
    monkeypatch.chdir(ROOT)
    assert main(["check", "--configfile", "config/paper.yaml"]) == 0
    assert "AssemblyHands-ego" in capsys.readouterr().out
    assert main(["schema"]) == 0
