"""Every row of the tables: one run for all that jobs judge, one look for what settings tell."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from handloom.check import missing, refuse_stopped
from handloom.obstacles import sequence_obstacles, stopping
from handloom.runtime.config.load import load_settings, merged
from handloom.runtime.errors import InputError

from ..datasets.video_files import number_of
from ..workflow.project import ROOT, copied_project
from .pictures import BOXES, film, labels, pictures
from .settings_table import SETTINGS, Setting
from .table import RUNS, Row

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("cases")]


STAGE = {"frames.json": "frames", "masks.png": "masks", "object_poses.npz": "object_poses"}
OF_THE_RUN = ("results/", "resources/")


class Tried(NamedTuple):
    """A project in which all files were asked for that nothing stands before, and what was told of the others."""

    folder: Path
    refused: dict[str, str]
    output: str


def place_of(row: Row) -> str:
    """The file that a row asks for."""
    if row.target.startswith(OF_THE_RUN):
        return row.target
    kind = "footage" if row.target.endswith("hands.npz") else "hold"
    return f"results/{kind}/{row.name.partition('/')[0]}/{row.target}"


def settings_of(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """All rows' inputs, written into folders of theirs, and one configuration that names them."""
    real = {name: {"root": "data/nowhere"} for name in ("assembly_hands", "rhd", "ganerated")}
    settings: dict[str, Any] = {"demo": None, "datasets": real}
    sequences: dict[str, Any] = {"jug1": None, "carton1": None}
    pairs: dict[str, Any] = {}
    for row in rows:
        own = folder / row.name
        own.mkdir(parents=True)
        made = row.make(own)
        if row.target.startswith(OF_THE_RUN):
            settings = merged(settings, made)
        else:
            (pairs if row.target.endswith("hands.npz") else sequences)[row.name.partition("/")[0]] = made
    settings["hold"] = {"demo": None, "sequences": sequences, "sfm": {"backend": "known"}}
    settings["footage"] = {"pairs": pairs, "backend": "detnet", "checkpoint": "cross.safetensors"}
    return settings


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """One run for all rows: what is refused before a run would end it for the others, so it is looked up apart."""
    project = copied_project(tmp_path_factory.mktemp("cases"))
    refused: dict[str, str] = {}
    output = ""
    for rows in RUNS:
        settings = settings_of(rows, project.folder / "data")
        (project.folder / "cases.yaml").write_text(yaml.safe_dump(settings))
        presets = ["config.yaml", "config/smoke.yaml", "tiny.yaml", "cases.yaml"]
        run = load_settings(*(project.folder / name for name in presets))
        for row in rows:
            if row.name in run.hold.chosen:
                found = sequence_obstacles(run, row.name, project.folder)
                if stopping(found, STAGE.get(row.target, "phases")):
                    refused[row.name] = "\n".join(map(str, found))
        command = project.command("--keep-going", *(place_of(row) for row in rows if row.name not in refused))
        place = command.index("tiny.yaml") + 1
        output += project.run([*command[:place], "cases.yaml", *command[place:]], fails=True)
    return Tried(project.folder, refused, output)


@pytest.mark.parametrize("row", [row for rows in RUNS for row in rows], ids=lambda row: row.name)
def test_a_row_of_the_table(tried: Tried, row: Row) -> None:
    logs, made = logs_of(tried.folder / "logs", row), tried.folder / place_of(row)
    told = tried.refused.get(row.name) or "\n".join(logs)
    if made.name == "frames.json" and made.exists():
        told += made.read_text()
    assert made.exists() == (row.verdict != "refused"), told or tried.output
    if row.verdict == "refused":
        lines = [line for line in told.splitlines() if row.name in tried.refused or "InputError: " in line]
        assert "Traceback" not in told
        assert any(row.says in line for line in lines), told
        return
    assert row.says in told
    if made.name == "frames.json":
        assert pictures_in(made.parent / "frames", row) == list(row.frames)
    elif made.name == "masks.png":
        for number, shown in zip(row.frames, masks_in(made.parent / "masks"), strict=True):
            assert (shown != labels(number)).mean() <= row.differ, number


def logs_of(folder: Path, row: Row) -> list[str]:
    """What the jobs of a row said: logs are named RULE/NAME.log, or RULE.log where there is one job."""
    told = []
    for path in sorted(folder.rglob("*.log")):
        parts = path.relative_to(folder).with_suffix("").parts
        if f"{'/'.join(parts[1:] or parts)}/".startswith(f"{row.name}/"):
            told.append(path.read_text())
    return told


def pictures_in(folder: Path, row: Row) -> list[int]:
    """The numbers of the pictures; none where they are of another size."""
    return [number_of(np.asarray(Image.open(path))) for path in sorted(folder.glob("*.png"))] if row.frames else []


def masks_in(folder: Path) -> Iterator[np.ndarray]:
    yield from (np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png")))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies beside the files of the second table."""
    folder = tmp_path_factory.mktemp("settings")
    film()(folder)
    pictures("{:06d}.png")(folder)
    (folder / "page.pth").write_text("<!DOCTYPE html><html>Sign in to download</html>")
    return folder


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_row_of_settings(beside: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """What the Snakefile asks, without the seconds that snakemake takes to start."""
    monkeypatch.chdir(beside)
    text = setting.text
    Path("own.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = refusal_of(Path("own.yaml"))
    lines = [line for line in refused.splitlines() if setting.says in line]
    assert len(lines) == 1 if setting.says else not refused, refused


def refusal_of(path: Path) -> str:
    """The words in which a configuration file is refused that is laid over the demo's; none where it is not."""
    try:
        run = load_settings(ROOT / "config.yaml", path, more=lambda run: missing(run, Path()))
        for name in run.hold.chosen:
            refuse_stopped(run, Path(), "sequences", name, "phases")
        for name in run.footage.chosen:
            refuse_stopped(run, Path(), "pairs", name, "phases")
    except InputError as error:
        return str(error)
    return ""


def test_settings_and_files_are_refused_by_a_dry_run_all_at_once(beside: Path) -> None:
    """Protects the words on their way through snakemake, which has others for what it does not know."""
    project = copied_project(beside / "project")
    wrong = {"kind": "video", "path": "../flim.mp4", "masks": {"source": "files"}}
    given = {"hold": {"sequences": {"own": wrong, "mug": {**wrong, "path": "../frames"}}, "sfm": {"backend": "known"}}}
    (project.folder / "own.yaml").write_text(yaml.safe_dump(given))
    command = project.command("--dry-run", "results/hold/own/masks.png")
    command[command.index("tiny.yaml")] = "own.yaml"
    output = project.run(command, fails=True)
    assert "Traceback" not in output
    for words in ("own.path: leads to ../flim.mp4", "own.masks.files: is not set", "hold.sfm.backend: is known"):
        assert words in output
    assert "hold.sequences.mug.path: leads to ../frames, which is a folder" in output
    film()(project.folder)
    right = {"kind": "video", "path": "film.mp4", "masks": {"prompts": BOXES}}
    (project.folder / "own.yaml").write_text(yaml.safe_dump({"hold": {"sequences": {"mug": right}}}))
    command[command.index("results/hold/own/masks.png")] = "results/hold/mgu/masks.png"
    output = project.run(command, fails=True)
    assert "Exception" not in output
    assert "hold.sequences: has no mgu; it has mug, jug1; did you mean mug?" in output
    given["hold"] = {"sequences": {"Becher_ä": wrong, "mug": {**wrong, "every": True}}}
    (project.folder / "own.yaml").write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    output = project.run(command, fails=True)
    assert "hold.sequences.Becher_ä: a name has letters" in output
    assert "hold.sequences.mug.every: expected no truth value" in output
