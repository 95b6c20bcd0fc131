"""What a pixel looks like: its colour and texture or, in footage without colour, its grey and its surroundings."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_WINDOW_PX = 9
_FINE_WINDOW_PX, _COARSE_WINDOW_PX = 5, 15
_GREY_DIFFERENCE = 6
_GREY_SHARE = 0.995
_TAILS_PERCENT = (0.5, 99.5)


@dataclass(frozen=True)
class PixelFeatures:
    """How the pixels of a video are described.

    With colour: red, green, blue and the texture. Grey footage has one channel thrice, so colour models are blind in
    it; its features are the grey stretched to what the video uses, the mean around, the fine and the coarse texture.
    A texture is 50 log2(1 + standard deviation of grey over a window).
    """

    grey_range: tuple[float, float] | None

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, "frames height width 3"]) -> "PixelFeatures":
        """Those of a video; grey where its channels hardly differ anywhere."""
        some = frames[:: max(1, len(frames) // 8), ::4, ::4]
        differs = np.ptp(some.astype(np.int16), axis=-1) > _GREY_DIFFERENCE
        if differs.mean() > 1 - _GREY_SHARE:
            return cls(None)
        low, high = np.percentile(some[..., 1], _TAILS_PERCENT)
        return cls((float(low), float(max(high, low + 1))))

    @property
    def coloured(self) -> bool:
        """Whether the video has colours."""
        return self.grey_range is None

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 4"]:
        """The features of each pixel, 0 to 255."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        if self.grey_range is None:
            return np.concatenate([image, _texture(grey, _WINDOW_PX)[..., None]], -1)
        low, high = self.grey_range
        stretched = np.clip((grey - low) * (255 / (high - low)), 0, 255)
        around = cv2.blur(stretched, (_WINDOW_PX, _WINDOW_PX))
        textures = [_texture(stretched, window) for window in (_FINE_WINDOW_PX, _COARSE_WINDOW_PX)]
        return np.stack([stretched.astype(np.uint8), around.astype(np.uint8), *textures], -1)

    def colours(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """Three channels for GrabCut: the picture itself or, of grey footage, the first three features."""
        return image if self.grey_range is None else np.ascontiguousarray(self(image)[..., :3])


def _texture(grey: Float[np.ndarray, "height width"], window_px: int) -> UInt8[np.ndarray, "height width"]:
    window = (window_px, window_px)
    mean = cv2.blur(grey, window)
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, window) - mean * mean, 0))
    return np.clip(50 * np.log2(1 + deviation), 0, 255).astype(np.uint8)
