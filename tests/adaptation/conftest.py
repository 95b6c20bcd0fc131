"""The tiny rig, and jobs that are killed before one of their epochs."""

from pathlib import Path

import pytest

from handloom.adaptation.adapt import Job

from .rig import Rig, written_rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return written_rig(tmp_path)


class Killed(Exception):
    """A job that is no more."""


class Epochs:
    """Which epochs were run since this was last emptied, and the one before which jobs are killed."""

    def __init__(self) -> None:
        self.run: list[int] = []
        self.kill_before: int | None = None


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> Epochs:
    watched, run_epoch = Epochs(), Job.run_epoch

    def run(job: Job) -> None:
        if job.epoch == watched.kill_before:
            raise Killed
        watched.run.append(job.epoch)
        run_epoch(job)

    monkeypatch.setattr(Job, "run_epoch", run)
    return watched
