"""What a running training sees: a few frames beside their renderings and classes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handloom.runtime.files import atomic_path

TILES = 4
_CLASS_RGB = np.array([[40, 40, 40], [86, 150, 200], [229, 178, 140], [150, 200, 120]])


class View(NamedTuple):
    """What pixels of a frame show, and what a training renders there."""

    photograph: Float[Tensor, "pixels 3"]
    colour: Float[Tensor, "pixels 3"]
    semantics: Float[Tensor, "pixels classes"]
    """Shares of background, object and hands."""


Look = Callable[[int, Int[Tensor, "pixels 2"]], View]
"""From a frame and pixels (column, row) on the CPU to what is seen there."""


def write_frame_previews(path: Path, look: Look, *, frames: int, height: int, width: int, width_px: int) -> None:
    """Write a picture of evenly spaced frames, each about `width_px` wide: photograph, rendering, classes."""
    stride = max(1, -(-width // width_px))
    across, down = (torch.arange(0, side, stride) for side in (width, height))
    rows, columns = torch.meshgrid(down, across, indexing="ij")
    pixels = torch.stack([columns, rows], -1).view(-1, 2)
    pictures = []
    for frame in np.linspace(0, frames - 1, TILES).round().astype(int):
        view = look(int(frame), pixels)
        photograph, seen = ((255 * v.clamp(0, 1)).byte().cpu().numpy() for v in (view.photograph, view.colour))
        shares = view.semantics.cpu().numpy()
        classes = (shares @ _CLASS_RGB[: shares.shape[1]]).clip(0, 255).astype(np.uint8)
        tiles = [tile.reshape(*rows.shape, 3) for tile in (photograph, seen, classes)]
        pictures.append(np.concatenate(tiles, axis=0))
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(pictures, axis=1)[..., ::-1])
