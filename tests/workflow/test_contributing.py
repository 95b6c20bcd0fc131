"""docs/contributing.md, taken at its word: its examples are put into a copy of the repository and run."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from handloom.datasets.training_samples import load_samples
from handloom.estimators.hands.found import FoundHands

from .project import ROOT, Project, copied_project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

FENCE = re.compile(
    r"^```python (?P<how>new|in) (?P<path>\S+)(?: (?P<where>after|before|replacing) \"(?P<anchor>.+)\")?$"
)
PLAIN_HANDS = 3


def put_in(page: str, folder: Path) -> list[str]:
    """Do what the page's fences say in a copy of the repository; returns the files that were touched."""
    touched = []
    lines = iter(page.split("\n"))
    for line in lines:
        if not (fence := FENCE.match(line)):
            assert not line.startswith(("```python new", "```python in")), line
            continue
        text = ""
        while (code := next(lines)) != "```":
            text += f"{code}\n"
        path = folder / fence["path"]
        if fence["how"] == "new":
            assert not path.exists(), path
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        else:
            path.write_text(edited(path.read_text(), fence["where"], fence["anchor"], text))
        touched.append(fence["path"])
    return touched


def edited(text: str, where: str, anchor: str, new: str) -> str:
    """The text with the new lines at its one place."""
    assert text.count(anchor) == 1, f"{anchor} stands {text.count(anchor)} times"
    if where == "replacing":
        return text.replace(anchor, new.rstrip("\n"))
    return text.replace(anchor, f"{new}{anchor}" if where == "before" else f"{anchor}\n{new.rstrip(chr(10))}")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with all the page's examples, in which they ran."""
    project = copied_project(tmp_path_factory.mktemp("contributing"))
    put_in((ROOT / "docs/contributing.md").read_text(), project.folder)
    data = project.folder / "data/plain_hands"
    data.mkdir(parents=True)
    generator = np.random.default_rng(0)
    labels = {}
    for number in range(PLAIN_HANDS):
        Image.fromarray(generator.integers(0, 255, (120, 160, 3), dtype=np.uint8)).save(data / f"{number}.png")
        keypoints, joints = generator.uniform(40, 80, (21, 2)), generator.normal((0, 0, 0.5), 0.05, (21, 3))
        labels[str(number)] = {"keypoints_px": keypoints.tolist(), "joints_m": joints.tolist()}
    (data / "labels.json").write_text(json.dumps(labels))
    tiny = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    planned = project.snakemake("--dry-run", "results/tables/s2d_methods.csv")
    assert "method=noise" in planned, "its row alone brings a method into the table"
    tiny["methods"] = {"names": ["noise"], "long_names": [], "pairs": ["1-2"]}
    tiny["hold"] = {"hand": {"estimation": {"backend": "mean_hand"}}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    project.snakemake(
        "results/tables/s2d_methods.csv",
        "results/tables/s2d_cross.csv",
        "results/s2d/training/plain_hands.npz",
        "results/hold/jug1/hand_estimates.npz",
    )
    return project


def rows(project: Project, table: str) -> list[dict[str, str]]:
    with (project.folder / "results/tables" / table).open() as file:
        return list(csv.DictReader(file))


def test_a_method_of_a_file_and_a_row_is_in_the_table(extended: Project) -> None:
    noise = next(row for row in rows(extended, "s2d_methods.csv") if row["method"] == "Noise consistency")
    assert float(noise["mono_m_mm"]) > 0
    assert (noise["source_free"], noise["note"]) == ("yes", "noise 0.05")


def test_a_network_of_a_folder_and_a_row_serves_hold(extended: Project) -> None:
    found = FoundHands.load(extended.folder / "results/hold/jug1/hand_estimates.npz")
    assert found.network == "mean_hand"
    assert found.found.any()


def test_a_data_set_of_a_reader_and_a_row_is_trained_on(extended: Project) -> None:
    assert len(load_samples(extended.folder / "results/s2d/training/plain_hands.npz")) == PLAIN_HANDS


def test_a_metric_of_two_lines_is_in_the_table(extended: Project) -> None:
    shown = [row for row in rows(extended, "s2d_cross.csv") if row["metric"] == "p90_m" and row["pair"] == "1-2"]
    assert float(shown[0]["s2dhand_mm"]) > 0


def test_each_addition_touches_as_few_files_as_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/contributing.md").read_text()
    sections = dict(re.findall(r"^## (Add [^\n]*)\n(.*?)(?=^## )", page, flags=re.MULTILINE | re.DOTALL))
    project = copied_project(tmp_path / "copy")
    touched = {title: set(put_in(text, project.folder)) for title, text in sections.items()}
    network = touched.pop("Add a hand network: a folder and a row")
    assert {path for path in network if "/mean_hand/" not in path} == {"src/handloom/estimators/hands/registry.py"}
    assert [len(paths) for paths in touched.values()] == [2, 2, 2]
