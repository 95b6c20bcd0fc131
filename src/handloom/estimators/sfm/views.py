"""The pictures that poses are computed from: a sequence's frames, and about bad seams those that it skips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from handloom.datasets.frames import Frames, Picture
from handloom.datasets.masks import OBJECT, LabelSequence
from handloom.datasets.video import every_picture
from handloom.estimators.sfm.matches import Matches
from handloom.estimators.sfm.optical_tracks import followed
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.images import read_rgb

# The mask's edge is the background's or the hand's as much as the object's.
_MASK_EROSION_PX = 2
# Between two frames of the sequence, at most; and about a seam, in frames of the sequence.
_MOST_BETWEEN, _ABOUT = 3, 4


@dataclass(frozen=True)
class Views:
    """Pictures by number: of the source's pictures from the first frame on, or of the frames where none are skipped."""

    frames: Frames
    labels: LabelSequence
    every: int
    numbers: tuple[int, ...]
    pictures: Callable[[], Iterator[tuple[int, Picture]]]
    """All pictures up to the last frame, each once, in order."""

    @property
    def position(self) -> Float[np.ndarray, " views"]:
        """Where each view lies among the sequence's frames."""
        return np.array(self.numbers, float) / self.every

    @property
    def names(self) -> tuple[str, ...]:
        """A file name for each view: its frame's, or one between."""
        return tuple(
            f"{number // self.every:04d}{f'-{number % self.every}' if number % self.every else ''}.png"
            for number in self.numbers
        )

    def about(self, seams: Int[np.ndarray, " seams"]) -> "Views":
        """The same with some of the pictures that were skipped between frames near seams."""
        steps = np.unique(np.linspace(0, self.every, min(self.every - 1, _MOST_BETWEEN) + 2).astype(int))[1:-1]
        frames = np.unique((seams[:, None] + np.arange(-_ABOUT + 1, _ABOUT)).clip(0, len(self.frames) - 2))
        new = (frames[:, None] * self.every + steps).reshape(-1).tolist()
        return replace(self, numbers=tuple(sorted({*self.numbers, *new})))

    def object_mask(self, number: int) -> Bool[np.ndarray, "height width"]:
        """Where a view shows the object; between two frames anywhere where one of them does, but for both's hands."""
        frame, between = divmod(number, self.every)
        if not between:
            return self.labels[frame] == OBJECT
        before, after = self.labels[frame], self.labels[frame + 1]
        thing = ((before == OBJECT) | (after == OBJECT)).astype(np.uint8)
        hand = (before > OBJECT) & (after > OBJECT)
        return (cv2.dilate(thing, _disc()) > 0) & ~hand

    def followed(self, reach: float) -> Matches:
        """Matches of spots followed through all pictures, `reach` frames of the sequence far."""
        masks = {number: self.object_mask(number) for number in self.numbers}
        position = dict(zip(self.numbers, self.position.tolist(), strict=True))
        return followed(self.pictures(), masks, position, reach)

    def write(self, folder: Path) -> None:
        """Write `frames` and `masks` as COLMAP looks for them: `<name>.png`, 255 where features may lie."""
        for kind in ("frames", "masks"):
            (folder / kind).mkdir(parents=True)
        name_of = dict(zip(self.numbers, self.names, strict=True))
        skipped = {number for number in self.numbers if number % self.every}
        for number in set(self.numbers) - skipped:
            (folder / "frames" / name_of[number]).symlink_to(self.frames.pictures[number // self.every].absolute())
        if skipped:
            for number, picture in self.pictures():
                if number in skipped:
                    Image.fromarray(picture).save(folder / "frames" / name_of[number], compress_level=1)
        for number, name in name_of.items():
            mask: UInt8[np.ndarray, "height width"] = np.where(self.object_mask(number), np.uint8(255), np.uint8(0))
            # The picture's border is no edge of the object's.
            Image.fromarray(cv2.erode(mask, _disc())).save(folder / "masks" / f"{name}.png")


def views_of(frames: Frames, labels: LabelSequence, source: Path | None, footage: FrameSettings | None) -> Views:
    """The views of all frames; pictures between them are there if the source is given and some are skipped."""
    count = len(frames)
    if source is None or footage is None or footage.every == 1:
        return Views(frames, labels, 1, tuple(range(count)), lambda: _read(frames))
    every = footage.every
    numbers = tuple(range(0, count * every, every))
    return Views(frames, labels, every, numbers, lambda: every_picture(source, footage, numbers[-1] + 1))


def _read(frames: Frames) -> Iterator[tuple[int, Picture]]:
    return ((row, read_rgb(path)) for row, path in enumerate(frames.pictures))


def _disc() -> UInt8[np.ndarray, "side side"]:
    side = 2 * _MASK_EROSION_PX + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
