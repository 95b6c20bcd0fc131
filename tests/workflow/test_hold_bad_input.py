"""HOLD's own build folders: the page comes of them alone, and a killed phase goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..reconstruction.held_box import write_small_build
from .project import Project, held_at_step, saved_steps
from .test_runs import planned

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

PHASE = {"steps": 10}
COMPACT = {
    **{"rays": 96, "hand_cells": 12, "coarse_samples": 16, "feature_cells": 8, "features": 3, "hidden": 8},
    **{"checkpoint_seconds": 0, "phase1": PHASE},
}


def with_sequence(project: Project, sequence: dict[str, Any]) -> Project:
    """The project with one more sequence, `own`, and the smallest fields."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    settings["hold"] = {"sequences": {"own": sequence}, "compact": COMPACT}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return project


def test_a_build_folder_needs_no_stage_before_it_and_is_trained_once(fresh: Callable[[str], Project]) -> None:
    """Protects users of HOLD's own folders: the page comes of the folder alone; and from training in vain."""
    project = with_sequence(fresh("whole_build"), {"kind": "build", "path": "box/build"})
    write_small_build(project.folder / "box")
    project.snakemake("results/hold/own/phase1/scene.html")
    made = {path.name for path in (project.folder / "results/hold/own").iterdir()}
    assert made == {"frames", "frames.json", "hand_template.npz", "shape.npz", "hull", "phase1"}

    dry = ("results/hold/own/phase1/predictions.npz", "--dry-run", "--config")
    for change in ("'phase3': {'steps': 9}", "'checkpoint_seconds': 1"):
        assert "Nothing to be done" in project.snakemake(*dry, f"hold={{'compact': {{{change}}}}}")
    longer = planned(project.snakemake(*dry, "hold={'compact': {'phase1': {'steps': 9}}}"))
    assert longer == {"train_phase", "hold_results"}
    finer = planned(project.snakemake(*dry, "hold={'compact': {'hand_cells': 13}}"))
    assert finer == {"object_shape", "train_phase", "hold_results"}


def test_a_killed_phase_goes_on_and_ends_bit_equal(fresh: Callable[[str], Project], tmp_path: Path) -> None:
    """Protects long trainings: snakemake and its job die of SIGKILL at once, the next run ends with the same bytes."""
    killed, whole = (with_sequence(fresh(name), {"kind": "build", "path": "box/build"}) for name in ("killed", "whole"))
    for project in (killed, whole):
        write_small_build(project.folder / "box")
    target = "results/hold/own/phase1/object.npz"
    with held_at_step(killed, target, 5, tmp_path / "tools"):
        pass
    assert max(saved_steps(killed, target)) == 5
    assert not (killed.folder / target).exists()
    killed.snakemake("--unlock")
    log = "logs/train_phase/own/phase1.log"
    for project, resumed in ((killed, True), (whole, False)):
        project.snakemake(target)
        assert ("going on at step" in (project.folder / log).read_text()) == resumed
        assert not saved_steps(project, target)
    folder = "results/hold/own/phase1"
    for name in ("network.safetensors", "poses.npz", "object.npz", "history.csv"):
        assert (killed.folder / folder / name).read_bytes() == (whole.folder / folder / name).read_bytes(), name
