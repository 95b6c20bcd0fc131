"""Checkpoints of long trainings: a killed job goes on where it was and ends as one never killed.

The folder is not an output of any rule, so snakemake leaves it alone; its name is the fingerprint of configuration,
inputs and code, so that a training never goes on from another one's state.
"""

import hashlib
import io
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from handloom.runtime.errors import InputError
from handloom.runtime.files import atomic_path

_KEPT = 2


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
        """Delete the folder, once the training's result is written."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.pt"))
