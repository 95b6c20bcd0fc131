"""The still background behind the motion, for videos of a camera that stands still."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

_SAMPLED_FRAMES = 24
_CLOSE = 12
_STILL_SHARE = 0.25
_SHADES = (0.65, 1.1)
_OUTLIER = 1e-4
_NO_TRUST, _FULL_TRUST = 0.4, 0.6


@dataclass(frozen=True)
class StillBackground:
    """The commonest colour per pixel and the share of frames that show it; the share is 0 everywhere if unusable."""

    colour: Float[np.ndarray, "height width 3"]
    share: Float[np.ndarray, "height width"]

    @property
    def usable(self) -> bool:
        """Whether the camera stood still."""
        return bool(self.share.any())

    @property
    def trust(self) -> Float[np.ndarray, "height width"]:
        """How far the colour is to be taken for the background's, 0 to 1."""
        return np.clip((self.share - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), 0, 1)

    def shows(self, image: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
        """Where a frame surely shows the background."""
        return (self.trust == 1) & (self.likelihood(image) > 1)

    def hidden(self, image: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
        """Where something surely stands before the background."""
        return (self.trust == 1) & (self.likelihood(image) < 2 * _OUTLIER)

    def likelihood(self, image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
        """Density of the frame's colour if it is background: a Gaussian about the background's, per unit RGB cube.

        The background may be darkened by a shadow, or a little brightened: it is scaled to fit within those limits.
        """
        colour = image.astype(np.float32)
        scale = (colour * self.colour).sum(-1) / np.maximum(np.square(self.colour).sum(-1), 1.0)
        shaded = np.clip(scale, *_SHADES)[..., None] * self.colour
        deviation = np.square((colour - shaded) / (_CLOSE / 2)).sum(-1)
        volume = (np.sqrt(2 * np.pi) * (_CLOSE / 2) / 256) ** 3
        return np.exp(-0.5 * deviation) / volume + _OUTLIER


def no_background(frames: UInt8[np.ndarray, "frames height width 3"]) -> StillBackground:
    """One that is known nowhere."""
    return StillBackground(np.zeros(frames.shape[1:], np.float32), np.zeros(frames.shape[1:3]))


def still_background(frames: UInt8[np.ndarray, "frames height width 3"]) -> StillBackground:
    """The colour that most sampled frames share at each pixel, within a tolerance, averaged over those frames.

    Unusable where less than a quarter of the image is still in most frames.
    """
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLED_FRAMES)).astype(int)].astype(np.int16)
    best = np.zeros(chosen.shape[1:3], np.int64)
    colour = np.zeros(chosen.shape[1:], np.float32)
    for candidate in chosen:
        near = np.abs(chosen - candidate).max(-1) <= _CLOSE
        count = near.sum(0)
        better = count > best
        best[better] = count[better]
        mean = np.where(near[:, better, None], chosen[:, better], 0).sum(0) / count[better, None]
        colour[better] = mean
    share = best / len(chosen)
    if len(chosen) < 4 or (share > 0.7).mean() < _STILL_SHARE:
        share = np.zeros_like(share)
    return StillBackground(colour, share)
