"""The colours of an entity as a smoothed histogram that learns along the video."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter

_BINS = 16
_FORGET = 0.85
_FLOOR = 1e-2


@dataclass
class ColourModel:
    """Density over the RGB cube: half from the marked frame for good, half from the frames since, the newest first."""

    _first: Float[np.ndarray, "bins bins bins"] = field(default_factory=lambda: np.zeros((_BINS,) * 3))
    _recent: Float[np.ndarray, "bins bins bins"] = field(default_factory=lambda: np.zeros((_BINS,) * 3))

    def learn(self, image: UInt8[np.ndarray, "height width 3"], where: Bool[np.ndarray, "height width"]) -> None:
        """Take in the colours at the pixels `where`; the first frame that has any is remembered apart."""
        if not where.any():
            return
        counts = np.histogramdd(image[where], bins=(_BINS,) * 3, range=((0, 256),) * 3)[0]
        smooth = gaussian_filter(counts / counts.sum(), 0.7, mode="nearest")
        if not self._first.any():
            self._first = smooth
        self._recent = _FORGET * self._recent + (1 - _FORGET) * smooth

    def density(self, image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
        """Density of each pixel's colour, per unit RGB cube (1 is uniform)."""
        recent = self._recent / max(self._recent.sum(), 1e-12)
        table = (0.5 * self._first + 0.5 * recent) * _BINS**3
        index = image.astype(np.intp) * _BINS // 256
        return table[index[..., 0], index[..., 1], index[..., 2]] + _FLOOR
