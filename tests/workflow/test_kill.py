"""A training killed mid-way through a run goes on in the next run and ends with the same bytes."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

SOURCE = "results/s2d/source/cross"
NETWORK, HISTORY = f"{SOURCE}/detnet.safetensors", f"{SOURCE}/history.csv"
TRAINING = {
    "sources": {"cross": {"datasets": ["rhd"], "checkpoint": None}},
    "demo": {"rhd_training_images": 16},
    # A checkpoint after every step, and so many steps that none of this is over before it is killed.
    "pretraining": {"epochs": 50, "batch_size": 4, "checkpoint_minutes": 1e-9, "precision": "float32"},
}


def training(project: Project) -> Project:
    """Let the project train its cross-dataset network instead of taking the ready one."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    del settings["sources"]
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings | TRAINING))
    return project


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[bytes], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline, "the training never came so far"
        time.sleep(0.02)


def checkpoints(project: Project) -> list[Path]:
    return sorted((project.folder / SOURCE).glob("work/*/step-*.pt"))


def test_a_killed_training_goes_on_and_ends_bit_equal(fresh: Callable[[str], Project], tmp_path: Path) -> None:
    killed = training(fresh("killed"))
    killed.snakemake("results/s2d/training/rhd.npz")
    whole = Project(shutil.copytree(killed.folder, tmp_path / "whole", copy_function=shutil.copy2))
    run = subprocess.Popen(
        killed.command(NETWORK),
        cwd=killed.folder,
        env=killed.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: any(int(path.name.split("-")[1]) >= 20 for path in checkpoints(killed)), run)
        # A second run in the same folder is refused while the first one works.
        assert "lock" in killed.snakemake(NETWORK, fails=True).lower()
        assert run.poll() is None
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert checkpoints(killed)
    assert not (killed.folder / NETWORK).exists()

    killed.snakemake("--unlock")
    killed.snakemake(NETWORK)
    assert "going on at step" in (killed.folder / "logs/pretrain_source/cross.log").read_text()
    assert not checkpoints(killed)

    whole.snakemake(NETWORK)
    assert "going on" not in (whole.folder / "logs/pretrain_source/cross.log").read_text()
    for name in (NETWORK, HISTORY):
        assert (killed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
