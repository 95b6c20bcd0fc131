"""Checkpoints of long trainings: a killed job goes on where it was and ends as one never killed.

The folder is not an output of any rule, so snakemake leaves it alone; its name is the fingerprint of configuration,
inputs and code, so that a training never goes on from another one's state.
"""

import hashlib
import io
import json
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from handloom.runtime.errors import InputError, StoppedError
from handloom.runtime.files import atomic_path
from handloom.runtime.outputs import when_in_place

_KEPT = 2
_FIRST_SECONDS = 2.0

Save = Callable[[int, Callable[[], dict[str, Any]]], None]


def fingerprint(*parts: object) -> str:
    """SHA-256 (hexadecimal) over JSON-able values, configuration models and the contents of files given as Path."""
    digest = hashlib.sha256()
    for part in parts:
        content = _file_digest(part) if isinstance(part, Path) else json.dumps(part, sort_keys=True, default=_plain)
        digest.update(f"{len(content)}:{content}".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file, so its fingerprint cannot be taken")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: object) -> object:
    """What json.dumps cannot write by itself, as something it can."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Path):
        return _file_digest(value)
    raise TypeError(f"a fingerprint takes JSON values, settings and paths, not {type(value).__name__}")


class CheckpointFolder:
    """The states of one training, newest last; each file's name holds its step and the start of its SHA-256."""

    def __init__(self, parent: Path, fingerprint: str) -> None:
        self.path = Path(parent) / fingerprint[:16]

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps and keep the newest two; tensors and plain values only."""
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        name = f"step-{step:09d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
        with atomic_path(self.path / name) as temporary:
            temporary.write_bytes(content)
        for old in self._files()[:-_KEPT]:
            old.unlink(missing_ok=True)

    @contextmanager
    def kept(self, seconds: int | float) -> Iterator[Save]:
        """Yield what to call after a step, with its number and the state's function; it saves now and then.

        First after two seconds, then at times twice as far apart, until they are `seconds` apart: a job with little
        time gets on too. SIGTERM, which SLURM sends half a minute before it kills, saves at the next call, which raises
        StoppedError.
        """
        asked: list[int] = []
        wait, last = min(seconds, _FIRST_SECONDS), time.monotonic()

        def save(step: int, state: Callable[[], dict[str, Any]]) -> None:
            nonlocal wait, last
            if not asked and time.monotonic() - last < wait:
                return
            self.save(step, state())
            if asked:
                raise StoppedError(f"asked to stop, saved at step {step}; the same command goes on from there")
            wait, last = min(seconds, 2 * wait), time.monotonic()

        before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        try:
            yield save
        finally:
            # What was stopped is about to end: a second signal must not cut its last words short.
            signal.signal(signal.SIGTERM, signal.SIG_IGN if asked else before)

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole, or None; a damaged file is named on stderr and passed over."""
        import torch

        for path in reversed(self._files()):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] != path.stem.rpartition("-")[2]:
                print(f"{path}: damaged checkpoint passed over", file=sys.stderr, flush=True)
                continue
            try:
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                raise InputError(
                    f"{path}: not a checkpoint of handloom ({error}); delete {self.path} to start again"
                ) from error
            return state
        return None

    def remove(self) -> None:
        """Delete the folder, once the training's results lie in their places."""
        when_in_place(lambda: shutil.rmtree(self.path, ignore_errors=True))

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.pt"))
