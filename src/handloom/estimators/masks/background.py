"""The still background behind the motion, for videos of a camera that stands still."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

_SAMPLED_FRAMES = 40
_CLOSE = 18.0
_STILL_SHARE = 0.25
_SHADES = (0.65, 1.1)
_RELIABLE = 0.7


@dataclass
class StillBackground:
    """Colour of the background per pixel and how far it is to be trusted, 0 to 1; all 0 if the camera moves."""

    colour: Float[np.ndarray, "height width 3"]
    trust: Float[np.ndarray, "height width"]

    def close(self, image: UInt8[np.ndarray, "height width 3"]) -> Bool[np.ndarray, "height width"]:
        """Where a frame looks like the background."""
        return np.abs(image.astype(np.float32) - self.colour).max(-1) < _CLOSE

    def likelihood(self, image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
        """Density of the frame's colour if it is background: a Gaussian about the background's, per unit RGB cube.

        The background may be darkened by a shadow, or a little brightened: it is scaled to fit within those limits.
        """
        colour = image.astype(np.float32)
        scale = (colour * self.colour).sum(-1) / np.maximum(np.square(self.colour).sum(-1), 1.0)
        shaded = np.clip(scale, *_SHADES)[..., None] * self.colour
        deviation = np.square((colour - shaded) / (_CLOSE / 2)).sum(-1)
        volume = (np.sqrt(2 * np.pi) * (_CLOSE / 2) / 256) ** 3
        return np.exp(-0.5 * deviation) / volume + 1e-3

    def distrust(self, image: UInt8[np.ndarray, "height width 3"], things: Bool[np.ndarray, "height width"]) -> None:
        """Forget the background where a known thing looks like it: there the thing itself stood still."""
        self.trust[self.close(image) & things] = 0.0


def still_background(frames: UInt8[np.ndarray, "frames height width 3"]) -> StillBackground:
    """Median over time, trusted where most frames are near it; nowhere if less than a quarter of the image is still."""
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLED_FRAMES)).astype(int)]
    colour = np.median(chosen, axis=0).astype(np.float32)
    near = np.mean([np.abs(frame.astype(np.float32) - colour).max(-1) < _CLOSE for frame in chosen], axis=0)
    if (near > _RELIABLE).mean() < _STILL_SHARE:
        near = np.zeros_like(near)
    return StillBackground(colour, np.clip(2 * near - 0.6, 0, 1).astype(np.float32))
