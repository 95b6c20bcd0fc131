"""The pixel features of an entity as a smoothed histogram that learns along the video."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter

_BINS = (16, 16, 16, 6)
_SMOOTHING = (0.7, 0.7, 0.7, 0.6)
_FORGET = 0.85
_FLOOR = 1e-2


@dataclass
class AppearanceModel:
    """Density of appearance: half from the marked frames for good, half from the frames since, the newest first."""

    _marked: Float[np.ndarray, "red green blue texture"] = field(default_factory=lambda: np.zeros(_BINS))
    _recent: Float[np.ndarray, "red green blue texture"] = field(default_factory=lambda: np.zeros(_BINS))

    def learn(
        self,
        pixels: UInt8[np.ndarray, "height width 4"],
        where: Bool[np.ndarray, "height width"],
        *,
        marked: bool = False,
    ) -> None:
        """Take in the appearance at the pixels `where`; that of marked frames is remembered apart, for good."""
        if not where.any():
            return
        flat = np.ravel_multi_index(tuple(_cells(pixels[where]).T), _BINS)
        counts = np.bincount(flat, minlength=int(np.prod(_BINS))).reshape(_BINS).astype(float)
        smooth = gaussian_filter(counts / counts.sum(), _SMOOTHING, mode="nearest")
        if marked:
            self._marked += smooth
        self._recent = _FORGET * self._recent + (1 - _FORGET) * smooth

    def density(self, pixels: UInt8[np.ndarray, "height width 4"]) -> Float[np.ndarray, "height width"]:
        """Density of each pixel's appearance, in units of the uniform one."""
        recent = self._recent / max(self._recent.sum(), 1e-12)
        table = (0.5 * self._marked / max(self._marked.sum(), 1e-12) + 0.5 * recent) * np.prod(_BINS)
        cells = _cells(pixels)
        return table[cells[..., 0], cells[..., 1], cells[..., 2], cells[..., 3]] + _FLOOR


def _cells(pixels: UInt8[np.ndarray, "*shape 4"]) -> np.ndarray:
    return pixels.astype(np.intp) * np.array(_BINS) // 256
