"""What trainings of a phase share whatever field they train: checkpoints, progress, loss curve and preview pictures."""

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.datasets.numbered_pictures import pictures_and_masks
from handloom.runtime.checkpoints import CheckpointFolder
from handloom.runtime.errors import InputError, listed
from handloom.runtime.files import atomic_path
from handloom.runtime.progress import progress

NOTE_STEPS = 25
"""Steps between two rows of the history."""
TILES = 4
"""Frames in a preview."""
_CLASS_RGB = np.array([[40, 40, 40], [86, 150, 200], [229, 178, 140], [150, 200, 120]])
"""Of background, object, right and left hand in previews."""


@dataclass(frozen=True)
class PhaseLength:
    """How long a phase is, and how often it is looked at and saved."""

    label: str
    steps: int
    rays: int
    """Per step."""
    preview_steps: int
    preview_width_px: int
    """About, of a frame."""
    checkpoint_seconds: int | float


class Preview(NamedTuple):
    """What pixels of a frame show, and what a training renders there."""

    photograph: Float[Tensor, "pixels 3"]
    colour: Float[Tensor, "pixels 3"]
    semantics: Float[Tensor, "pixels classes"]
    """Shares of background, object and hands."""


@runtime_checkable
class PhaseTraining(Protocol):
    """A training that goes on bit for bit from its own state."""

    step: int

    @property
    def video_size(self) -> torch.Size:
        """Frames, height and width."""

    def run_step(self) -> Any:
        """One optimiser step; its losses."""

    def note(self, terms: Any) -> None:
        """Add the losses to the history."""

    def view(self, frame: int, pixels: Int[Tensor, "pixels 2"]) -> Preview:
        """Pixels (column, row) of a frame; nothing random, and the training stays as it is."""

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""


def run_phase(training: PhaseTraining, length: PhaseLength, folder: CheckpointFolder, previews: Path) -> None:
    """Train to the end, from the folder's last checkpoint if there is one, with pictures in `previews`.

    They grow beside the checkpoints, so that those of a killed run are kept. The folder stays: it is to be removed when
    the results are written.
    """
    if (saved := folder.load()) is not None:
        training.restore(saved)
        print(f"going on at step {training.step}", file=sys.stderr)
    began, first = time.monotonic(), training.step
    growing = folder.path / "previews"
    growing.mkdir(parents=True, exist_ok=True)

    def write_step() -> None:
        write_preview(growing / f"step-{training.step:06d}.png", training, length.preview_width_px)

    if not length.steps:
        write_step()
    label = f"{length.label}, {length.rays} rays a step"
    with folder.kept(length.checkpoint_seconds) as save:
        for _ in progress(range(training.step, length.steps), label):
            terms = training.run_step()
            if training.step % NOTE_STEPS == 0 or training.step == length.steps:
                training.note(terms)
            if training.step % length.preview_steps == 0 or training.step == length.steps:
                write_step()
            if training.step < length.steps:
                save(training.step, training.state)
    shutil.copytree(growing, previews, dirs_exist_ok=True)
    seconds = time.monotonic() - began
    trained = training.step - first
    print(f"{length.label}: {trained * length.rays / max(seconds, 1e-9):.0f} rays/s", file=sys.stderr, flush=True)


def given_files(build: Path, *others: Path | None) -> list[Path]:
    """The build folder's files and others, where given: a run goes on only from a checkpoint of the same ones."""
    images, masks = pictures_and_masks(build)
    return [build / "data.npy", *images, *masks, *(path for path in others if path is not None)]


def require_frames(build: Path, names: tuple[str, ...], seen: Mapping[str, Bool[Tensor, " frames"]]) -> None:
    """Two frames at least; those in which object or hand are hidden are told. Raises InputError for a single frame."""
    if len(names) < 2:
        raise InputError(
            f"{build}: has {len(names)} frame; a shape needs at least two views, and some dozens to be right"
        )
    for what, there in seen.items():
        absent = [name for name, present in zip(names, there.tolist(), strict=True) if not present]
        if absent:
            found = f"masks: no {what} in {len(absent)} of {len(names)} frames: {listed(absent)}"
            print(found, file=sys.stderr, flush=True)


def write_preview(path: Path, training: PhaseTraining, width_px: int) -> None:
    """Write a picture of evenly spaced frames, each about `width_px` wide: photograph, rendering, classes."""
    frames, height, width = training.video_size
    stride = max(1, -(-width // width_px))
    across, down = (torch.arange(0, side, stride) for side in (width, height))
    rows, columns = torch.meshgrid(down, across, indexing="ij")
    pixels = torch.stack([columns, rows], -1).view(-1, 2)
    pictures = []
    for frame in np.linspace(0, frames - 1, TILES).round().astype(int):
        view = training.view(int(frame), pixels)
        photograph, seen = ((255 * v.clamp(0, 1)).byte().cpu().numpy() for v in (view.photograph, view.colour))
        shares = view.semantics.cpu().numpy()
        classes = (shares @ _CLASS_RGB[: shares.shape[1]]).clip(0, 255).astype(np.uint8)
        tiles = [tile.reshape(*rows.shape, 3) for tile in (photograph, seen, classes)]
        pictures.append(np.concatenate(tiles, axis=0))
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(pictures, axis=1)[..., ::-1])
