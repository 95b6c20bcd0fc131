"""The loop that all adaptation methods share: epoch after epoch to a fixed last one, resumable."""

import sys
import time
from typing import Any, Protocol, runtime_checkable

from handloom.runtime.checkpoints import CheckpointFolder
from handloom.runtime.progress import progress


@runtime_checkable
class Job(Protocol):
    """A method at work on one camera pair, between epochs."""

    epoch: int

    def run_epoch(self) -> None:
        """One pass over all pairs in a new order."""

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""


def run_epochs(job: Job, folder: CheckpointFolder, *, epochs: int, checkpoint_seconds: float, label: str) -> None:
    """Run a job to its last epoch, from its newest checkpoint if there is one; no epoch is chosen by any score."""
    saved = folder.load()
    if saved is not None:
        job.restore(saved)
        print(f"going on at epoch {job.epoch}", file=sys.stderr)
    last_save = time.monotonic()
    for _ in progress(range(job.epoch, epochs), label):
        job.run_epoch()
        if time.monotonic() - last_save >= checkpoint_seconds and job.epoch < epochs:
            folder.save(job.epoch, job.state())
            last_save = time.monotonic()
