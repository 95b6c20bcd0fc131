"""Phases with the paper's networks: one word in the configuration, the same files, made again only when needed."""

from collections.abc import Callable

import pytest
import yaml

from ..reconstruction.held_box import write_small_build
from .project import Project
from .test_runs import planned

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow_fresh")]

PREDICTIONS = "results/hold/own/phase1/predictions.npz"


def with_networks(project: Project) -> Project:
    """The project with a build folder of its own, `own`, and HOLD-Net at the smoke preset's sizes."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    sequence = {"kind": "build", "path": "box/build"}
    settings["hold"] = {"field": "holdnet", "sequences": {"own": sequence}}
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    write_small_build(project.folder / "box")
    return project


def test_phase_1_is_made_by_the_networks_and_only_once(fresh: Callable[[str], Project]) -> None:
    """Protects the rule: prior, phase and prediction; then nothing, and what a changed setting reaches and what not."""
    project = with_networks(fresh("networks"))
    project.snakemake(PREDICTIONS)
    folder = project.folder / "results/hold/own"
    made = {path.name for path in (folder / "phase1").iterdir()}
    assert made >= {"network.safetensors", "poses.npz", "object.npz", "history.csv", "previews", "predictions.npz"}
    assert "work" not in made
    assert (folder / "hand_prior.json").is_file()
    assert not list(folder.glob("phase1/work/*"))
    assert "rays/s" in (project.folder / "logs/train_holdnet/own/phase1.log").read_text()

    assert "Nothing to be done" in project.snakemake(PREDICTIONS)
    dry = (PREDICTIONS, "--dry-run", "--config")
    assert "Nothing to be done" in project.snakemake(*dry, "hold={'holdnet': {'phase3': {'epochs': 9}}}")
    assert "Nothing to be done" in project.snakemake(*dry, "hold={'holdnet': {'chunks': 2, 'checkpoint_seconds': 1}}")
    longer = planned(project.snakemake(*dry, "hold={'holdnet': {'phase1': {'epochs': 9}}}"))
    assert longer == {"train_holdnet", "hold_results"}
    prior = planned(project.snakemake(*dry, "hold={'holdnet': {'prior': {'steps': 9}}}"))
    assert prior == {"hand_prior", "object_prior", "train_holdnet", "hold_results"}
    released = planned(project.snakemake(*dry, "hold={'holdnet': {'fidelity': 'faithful'}}"))
    assert released == {"train_holdnet", "hold_results"}
    voxels = planned(project.snakemake(*dry, "hold={'field': 'compact'}"))
    assert voxels == {"object_shape", "train_phase", "hold_results"}


def test_a_released_checkpoint_leaves_out_phases_1_and_2(fresh: Callable[[str], Project]) -> None:
    """Protects users of released weights: phase 3 needs nothing before it, and a missing file is named at once."""
    project = with_networks(fresh("released"))
    target = ("results/hold/own/phase3/object.npz", "--dry-run", "--config")
    change = "hold={'holdnet': {'checkpoints': {'own': 'last.ckpt'}}}"
    output = project.snakemake(*target, change, fails=True)
    assert "hold.holdnet.checkpoints.own: leads to last.ckpt, which does not exist" in output
    (project.folder / "last.ckpt").write_bytes(b"weights")
    assert planned(project.snakemake(*target, change)) == {"hand_prior", "train_holdnet"}
    without = planned(project.snakemake(*target[:2]))
    assert without == {"object_shape", "hand_prior", "object_prior", "train_holdnet", "refine_poses"}
