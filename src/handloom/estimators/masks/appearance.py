"""What the things in a video look like: features of pixels, histograms that learn along the video, and the still
background behind the motion.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter

from handloom.datasets.frames import Picture

# Windows in which a texture is measured: one beside colours, two where there are none.
_WINDOW_PX = 9
_FINE_WINDOW_PX, _COARSE_WINDOW_PX = 5, 15
# Channels that differ by no more than this, in nearly all pixels, are those of grey footage as codecs leave it.
_GREY_DIFFERENCE = 6
_GREY_SHARE = 0.995
_TAILS_PERCENT = (0.5, 99.5)  # between which grey is stretched: a few pixels are glare, or the frame's black edge
# Cells of a histogram over red, green, blue and texture, and by how many of them a colour may wander.
_BINS = (16, 16, 16, 6)
_SMOOTHING = (0.7, 0.7, 0.7, 0.6)
# A frame's share of what is remembered falls by this with each that follows.
_FORGET = 0.85
# Of the uniform density, for appearances never seen.
_FLOOR = 1e-2
# The still background: so many frames are looked at, and at least four; colours this near count as the same (of 255);
# a quarter of the image must be still, which is to show one colour in most frames.
_SAMPLED_FRAMES, _FEWEST_FRAMES = 24, 4
_CLOSE = 12
_STILL_SHARE, _MOST_FRAMES = 0.25, 0.7
# What a shadow, or light from a moving thing, may do to the background.
_SHADES = (0.65, 1.1)
_OUTLIER = 1e-4  # density of any other colour
# Of the frames: a colour shown by fewer says nothing, by more it is the background's for sure.
_NO_TRUST, _FULL_TRUST = 0.4, 0.6

Features = UInt8[np.ndarray, "height width 4"]
Video = UInt8[np.ndarray, "frames height width 3"]


@dataclass(frozen=True)
class PixelFeatures:
    """How the pixels of a video are described.

    With colour: red, green, blue and the texture. Grey footage has one channel thrice, so colour models are blind in
    it; its features are the grey stretched to what the video uses, the mean around, the fine and the coarse texture.
    A texture is 50 log2(1 + standard deviation of grey over a window).
    """

    grey_range: tuple[float, float] | None
    """Of grey footage the darkest and the lightest grey in use; None of footage with colours."""

    @classmethod
    def of(cls, frames: Video) -> "PixelFeatures":
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

    def __call__(self, image: Picture) -> Features:
        """The features of each pixel, 0 to 255."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        if self.grey_range is None:
            return np.concatenate([image, _texture(grey, _WINDOW_PX)[..., None]], -1)
        low, high = self.grey_range
        stretched = np.clip((grey - low) * (255 / (high - low)), 0, 255)
        around = cv2.blur(stretched, (_WINDOW_PX, _WINDOW_PX))
        textures = [_texture(stretched, window) for window in (_FINE_WINDOW_PX, _COARSE_WINDOW_PX)]
        return np.stack([stretched.astype(np.uint8), around.astype(np.uint8), *textures], -1)

    def colours(self, image: Picture) -> Picture:
        """Three channels for GrabCut: the picture itself or, of grey footage, the first three features."""
        return image if self.grey_range is None else np.ascontiguousarray(self(image)[..., :3])


def _texture(grey: Float[np.ndarray, "height width"], window_px: int) -> UInt8[np.ndarray, "height width"]:
    window = (window_px, window_px)
    mean = cv2.blur(grey, window)
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, window) - mean * mean, 0))
    return np.clip(50 * np.log2(1 + deviation), 0, 255).astype(np.uint8)


@dataclass
class AppearanceModel:
    """Density of appearance: half from the marked frames for good, half from the frames since, the newest first."""

    _marked: Float[np.ndarray, "red green blue texture"] = field(default_factory=lambda: np.zeros(_BINS))
    _recent: Float[np.ndarray, "red green blue texture"] = field(default_factory=lambda: np.zeros(_BINS))

    def learn(self, pixels: Features, where: Bool[np.ndarray, "height width"], *, marked: bool = False) -> None:
        """Take in the appearance at the pixels `where`; that of marked frames is remembered apart, for good."""
        if not where.any():
            return
        flat = np.ravel_multi_index(tuple(_cells(pixels[where]).T), _BINS)
        counts = np.bincount(flat, minlength=int(np.prod(_BINS))).reshape(_BINS).astype(float)
        smooth = gaussian_filter(counts / counts.sum(), _SMOOTHING, mode="nearest")
        if marked:
            self._marked += smooth
        self._recent = _FORGET * self._recent + (1 - _FORGET) * smooth

    def with_recent(self, pixels: Features, where: Bool[np.ndarray, "height width"]) -> "AppearanceModel":
        """What is remembered for good, and the appearance at the pixels `where` in the place of the recent frames'."""
        model = AppearanceModel(self._marked)
        model.learn(pixels, where)
        return model

    def density(self, pixels: Features) -> Float[np.ndarray, "height width"]:
        """Density of each pixel's appearance, in units of the uniform one."""
        recent = self._recent / max(self._recent.sum(), 1e-12)
        table = (0.5 * self._marked / max(self._marked.sum(), 1e-12) + 0.5 * recent) * np.prod(_BINS)
        cells = _cells(pixels)
        return table[cells[..., 0], cells[..., 1], cells[..., 2], cells[..., 3]] + _FLOOR


def _cells(pixels: UInt8[np.ndarray, "*shape 4"]) -> np.ndarray:
    return pixels.astype(np.intp) * np.array(_BINS) // 256


@dataclass(frozen=True)
class StillBackground:
    """The commonest colour per pixel, and the share of the frames that show it."""

    colour: Float[np.ndarray, "height width 3"]
    share: Float[np.ndarray, "height width"]

    @property
    def trust(self) -> Float[np.ndarray, "height width"]:
        """How far the colour is to be taken for the background's, 0 to 1."""
        return np.clip((self.share - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), 0, 1)

    def shows(self, image: Picture) -> Bool[np.ndarray, "height width"]:
        """Where a frame surely shows the background."""
        return (self.trust == 1) & (self.likelihood(image) > 1)

    def hidden(self, image: Picture) -> Bool[np.ndarray, "height width"]:
        """Where something surely stands before the background."""
        return (self.trust == 1) & (self.likelihood(image) < 2 * _OUTLIER)

    def likelihood(self, image: Picture) -> Float[np.ndarray, "height width"]:
        """Density of the frame's colour if it is background: a Gaussian about the background's, per unit RGB cube.

        The background may be darkened by a shadow, or a little brightened: it is scaled to fit within those limits.
        """
        colour = image.astype(np.float32)
        scale = (colour * self.colour).sum(-1) / np.maximum(np.square(self.colour).sum(-1), 1.0)
        shaded = np.clip(scale, *_SHADES)[..., None] * self.colour
        deviation = np.square((colour - shaded) / (_CLOSE / 2)).sum(-1)
        volume = (np.sqrt(2 * np.pi) * (_CLOSE / 2) / 256) ** 3
        return np.exp(-0.5 * deviation) / volume + _OUTLIER


def still_background(frames: Video) -> StillBackground | None:
    """The colour that most sampled frames share at each pixel, within a tolerance, averaged over those frames.

    None unless the camera stood still: where less than a quarter of the image is still in most frames.
    """
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLED_FRAMES)).astype(int)].astype(np.int16)
    best = np.zeros(chosen.shape[1:3], np.int64)
    colour = np.zeros(chosen.shape[1:], np.float32)
    for candidate in chosen:
        near = np.abs(chosen - candidate).max(-1) <= _CLOSE
        count = near.sum(0)
        better = count > best
        best[better] = count[better]
        colour[better] = np.where(near[:, better, None], chosen[:, better], 0).sum(0) / count[better, None]
    share = best / len(chosen)
    still = len(chosen) >= _FEWEST_FRAMES and (share > _MOST_FRAMES).mean() >= _STILL_SHARE
    return StillBackground(colour, share) if still else None
