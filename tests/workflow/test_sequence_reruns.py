"""What a change of a sequence's settings or of the user's files runs again: that which depends on it, and no more."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

TARGET = "results/hold/own/masks.png"


def with_sequence(project: Project, **masks: Any) -> Project:
    """The project with a sequence of pictures and masks in files, whose settings may be said again."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    sources = {"source": "files", "files": {"folder": "data/masks"}}
    settings["hold"] = {"sequences": {"own": {"kind": "frames", "path": "data/own", "masks": {**sources, **masks}}}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return project


def write_pictures(folder: Path) -> None:
    """Three pictures, and masks of the same names."""
    for kind in ("own", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (64, 48), (90, 30 * number, 0)).save(folder / "own" / f"{number}.png")
        labels = np.zeros((48, 64), np.uint8)
        labels[:20], labels[20:30] = 50, 150
        Image.fromarray(labels).save(folder / "masks" / f"{number}.png")


def test_a_change_runs_again_what_depends_on_it(fresh: Callable[[str], Project]) -> None:
    """Protects finished stages from other stages' settings, and results from files that were repainted in place."""
    project = with_sequence(fresh("own"))
    write_pictures(project.folder / "data")
    project.snakemake(TARGET)

    def again() -> set[str]:
        planned = project.snakemake("--dry-run", TARGET)
        return set(re.findall(r"^rule (\w+):", planned, flags=re.M))

    marks = {"frame": 0, "object": {"click": [3, 4]}, "right": {"click": [5, 6]}}
    with_sequence(project, prompts=marks, propagation={"still_camera": False})
    assert again() == set()
    with_sequence(project, empty_fraction=0.2)
    assert again() == {"sequence_masks"}
    with_sequence(project)
    Image.new("L", (64, 48), 50).save(project.folder / "data/masks/1.png")
    assert again() == {"sequence_masks"}
    Image.new("RGB", (64, 48), (1, 2, 3)).save(project.folder / "data/own/1.png")
    assert again() == {"extract_frames", "sequence_masks"}


def test_masks_and_truth_that_a_sequence_lacks_are_refused_at_once(fresh: Callable[[str], Project]) -> None:
    project = with_sequence(fresh("own"), source="dataset")
    write_pictures(project.folder / "data")
    assert "a sequence of kind frames brings no masks" in project.snakemake(TARGET, fails=True)
    output = project.snakemake("results/hold/own/truth.npz", fails=True)
    assert "hold.sequences.own: is of kind frames; only ho3d sequences have a truth" in output
    assert not list((project.folder / "results").rglob("frames.json"))
