"""What a change of a sequence's settings or of the user's files runs again: that which depends on it, and no more."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
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
    for path in (project.folder / "data").rglob("*"):
        path.touch()
    (project.folder / "data/own/.DS_Store").write_text("left by a file manager")
    assert again() == set()
    project = Project(project.folder.rename(project.folder.with_name("moved")))
    assert again() == set()
    repainted = project.folder / "data/masks/1.png"
    Image.fromarray(np.asarray(Image.open(repainted))[::-1]).save(repainted)
    assert again() == {"sequence_masks"}
    project.snakemake(TARGET)
    assert again() == set()
    older = project.folder / "data/own/1.png"
    Image.new("RGB", (64, 48), (1, 2, 3)).save(older)
    os.utime(older, (1e9, 1e9))
    assert again() == {"extract_frames", "sequence_masks"}


def test_an_older_video_in_its_place_runs_a_sequence_and_a_view_again(fresh: Callable[[str], Project]) -> None:
    """Protects from results of another film: its date may be older, and a copy's time is no matter."""
    project = fresh("films")
    (project.folder / "data").mkdir()
    film, view = project.folder / "data/film.mp4", project.folder / "data/view.mp4"
    for path in (film, view):
        write_film(path, 0)
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["hold"] = {"sequences": {"film": {"kind": "video", "path": "data/film.mp4"}}}
    settings["footage"] = {"pairs": {"rig": {"left": "data/film.mp4", "right": "data/view.mp4"}}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    targets = [
        "results/hold/film/frames.json",
        *(f"results/footage/rig/{side}/frames.json" for side in ("left", "right")),
    ]
    project.snakemake(*targets)
    for path in (film, view):
        path.touch()
    assert "Nothing to be done" in project.snakemake("--dry-run", *targets)
    write_film(view, 9)
    os.utime(view, (1e9, 1e9))
    planned = project.snakemake("--dry-run", *targets)
    assert re.findall(r"^rule (\w+):", planned, flags=re.M) == ["footage_frames"]
    assert "results/footage/rig/right/frames" in planned
    write_film(film, 9)
    os.utime(film, (1e9, 1e9))
    planned = project.snakemake("--dry-run", *targets)
    assert sorted(re.findall(r"^rule (\w+):", planned, flags=re.M)) == ["extract_frames", *["footage_frames"] * 2]


def write_film(path: Path, start: int) -> None:
    """Eight grey frames, each brighter than the one before."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 30, (64, 48))
    for number in range(start, start + 8):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()


def test_masks_and_truth_that_a_sequence_lacks_are_refused_at_once(fresh: Callable[[str], Project]) -> None:
    project = with_sequence(fresh("own"), source="dataset")
    write_pictures(project.folder / "data")
    assert "a sequence of kind frames brings no masks" in project.snakemake(TARGET, fails=True)
    output = project.snakemake("results/hold/own/phase3/truth.npz", fails=True)
    assert "hold.sequences.own: is of kind frames; only ho3d sequences have a truth" in output
    assert not list((project.folder / "results").rglob("frames.json"))
