"""What a running training sees: a few frames beside their renderings."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from handloom.runtime.artifacts import atomic_path

if TYPE_CHECKING:
    from handloom.reconstruction.compact.training import CompactTraining

TILES = 4
WIDTH_PX = 160
_CHUNK_RAYS = 4096
_CLASS_RGB = np.array([[40, 40, 40], [86, 150, 200], [229, 178, 140]])


def write_preview(path: Path, training: "CompactTraining") -> None:
    """Write a picture of evenly spaced frames: photograph, rendering, classes; small and without random numbers."""
    observations = training.observations
    frames = np.linspace(0, len(observations.image_u8) - 1, TILES).round().astype(int)
    columns = [np.concatenate(_tiles(training, int(frame)), axis=0) for frame in frames]
    picture = np.concatenate(columns, axis=1)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), picture[..., ::-1])


def _tiles(training: "CompactTraining", frame: int) -> list[UInt8[np.ndarray, "rows columns 3"]]:
    observations, scene = training.observations, training.scene
    height, width = observations.class_u8.shape[1:]
    stride = max(1, -(-width // WIDTH_PX))
    device = observations.image_u8.device
    across, down = (torch.arange(0, side, stride, device=device) for side in (width, height))
    rows, columns = torch.meshgrid(down, across, indexing="ij")
    pixels = torch.stack([columns, rows], -1).view(-1, 2)
    batch = observations.rays(torch.full((len(pixels),), frame, device=device), pixels)
    plate = observations.plate_u8[pixels[:, 1], pixels[:, 0]].float() / 255
    colour, kind = [], []
    with torch.no_grad():
        rays = max(1, _CHUNK_RAYS // scene.chunks)
        for first in range(0, len(pixels), rays):
            part = slice(first, first + rays)
            found = scene.render(batch.directions[part], batch.frame[part], plate[part], training.beta_m)
            colour.append(found.colour)
            kind.append(found.semantics)
    shape = (*rows.shape, 3)
    seen = (255 * torch.cat(colour).clamp(0, 1)).byte().view(shape).cpu().numpy()
    classes = (torch.cat(kind).cpu().numpy() @ _CLASS_RGB).clip(0, 255).astype(np.uint8).reshape(shape)
    photograph = (255 * batch.colour).byte().view(shape).cpu().numpy()
    return [photograph, seen, classes]
