"""A training or an adaptation killed mid-way through a run goes on in the next run and ends with the same bytes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    "pretraining": {"epochs": 50, "batch_size": 4, "precision": "float32"},
    "checkpoint_seconds": 0,
}
PAIR = "results/s2d/cross/headset1/1-2/s2dhand"
ADAPTATION = {"adaptation": {"epochs": 30, "precision": "float32"}, "checkpoint_seconds": 0}


def training(project: Project) -> Project:
    """Let the project train its cross-dataset network instead of taking the ready one."""
    settings = yaml.safe_load((project.folder / "tiny.yaml").read_text())
    del settings["sources"]
    (project.folder / "tiny.yaml").write_text(yaml.safe_dump(settings | TRAINING))
    return project


@contextmanager
def to_be_killed(project: Project, target: str, far_enough: Callable[[], bool], seconds: float = 900) -> Iterator[None]:
    """Make the target until it is far enough; when the block ends, snakemake and its jobs are killed at once."""
    run = subprocess.Popen(
        project.command(target),
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + seconds
        while not far_enough():
            assert run.poll() is None, "the run ended too early"
            assert time.monotonic() < deadline, "the job never came so far"
            time.sleep(0.02)
        yield
        assert run.poll() is None, "the run ended before it was killed"
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def checkpoints(project: Project, folder: str) -> list[int]:
    """The steps of the checkpoints that lie in the work folder of a job."""
    return sorted(int(path.name.split("-")[1]) for path in (project.folder / folder).glob("work/*/step-*.pt"))


def ends_alike(killed: Project, whole: Project, target: str, log: str, files: list[str]) -> None:
    """Run both to their end: the killed one must go on, the other must not, and both must end with the same bytes."""
    killed.snakemake("--unlock")
    killed.snakemake(target)
    assert "going on at" in (killed.folder / log).read_text()
    whole.snakemake(target)
    assert "going on at" not in (whole.folder / log).read_text()
    for name in files:
        assert (killed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_a_killed_training_goes_on_and_ends_bit_equal(fresh: Callable[[str], Project], tmp_path: Path) -> None:
    killed = training(fresh("killed"))
    killed.snakemake("results/s2d/training/rhd.npz")
    whole = killed.copied(tmp_path / "whole")
    with to_be_killed(killed, NETWORK, lambda: max(checkpoints(killed, SOURCE), default=0) >= 20):
        # A second run in the same folder is refused while the first one works.
        refusal = killed.snakemake(NETWORK, fails=True)
        assert "Directory cannot be locked" in refusal
        assert "--unlock" in refusal
    assert checkpoints(killed, SOURCE)
    assert not (killed.folder / NETWORK).exists()
    ends_alike(killed, whole, NETWORK, "logs/pretrain_source/cross.log", [NETWORK, HISTORY])
    assert not checkpoints(killed, SOURCE)


def test_a_killed_adaptation_goes_on_and_ends_bit_equal(built: Project, tmp_path: Path) -> None:
    whole = built.copied(tmp_path / "whole")
    settings = yaml.safe_load((whole.folder / "tiny.yaml").read_text())
    (whole.folder / "tiny.yaml").write_text(yaml.safe_dump(settings | ADAPTATION))
    killed = whole.copied(tmp_path / "killed")
    network = f"{PAIR}/seed1.safetensors"
    with to_be_killed(killed, network, lambda: max(checkpoints(killed, PAIR), default=0) >= 3):
        pass
    assert 3 <= max(checkpoints(killed, PAIR)) < ADAPTATION["adaptation"]["epochs"] - 1
    outputs = [network, f"{PAIR}/seed1.predictions.npz", f"{PAIR}/seed1.history.csv"]
    assert [name for name in outputs if (killed.folder / name).exists()] == []
    ends_alike(killed, whole, network, "logs/adapt/cross/headset1/1-2/s2dhand/seed1.log", outputs)
    assert not checkpoints(killed, PAIR)
