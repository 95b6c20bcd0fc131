"""What a running training of the compact fields sees: a few frames beside their renderings."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from handloom.reconstruction.frame_previews import TILES, View, write_frame_previews

if TYPE_CHECKING:
    from handloom.reconstruction.compact.training import CompactTraining

WIDTH_PX = 160
_CHUNK_RAYS = 4096

__all__ = ["TILES", "WIDTH_PX", "write_preview"]


def write_preview(path: Path, training: "CompactTraining") -> None:
    """Write a picture of evenly spaced frames: photograph, rendering, classes; small and without random numbers."""
    frames, height, width = training.observations.class_u8.shape

    def look(frame: int, pixels: Tensor) -> View:
        return _view(training, frame, pixels)

    write_frame_previews(path, look, frames=frames, height=height, width=width, width_px=WIDTH_PX)


def _view(training: "CompactTraining", frame: int, pixels: Tensor) -> View:
    observations, scene = training.observations, training.scene
    pixels = pixels.to(observations.image_u8.device)
    batch = observations.rays(torch.full((len(pixels),), frame, device=pixels.device), pixels)
    plate = observations.plate_u8[pixels[:, 1], pixels[:, 0]].float() / 255
    colour, kind = [], []
    with torch.no_grad():
        rays = max(1, _CHUNK_RAYS // scene.chunks)
        for first in range(0, len(pixels), rays):
            part = slice(first, first + rays)
            found = scene.render(batch.directions[part], batch.frame[part], plate[part], training.beta_m)
            colour.append(found.colour)
            kind.append(found.semantics)
    return View(batch.colour, torch.cat(colour), torch.cat(kind))
