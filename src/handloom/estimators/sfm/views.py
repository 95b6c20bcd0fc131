"""The pictures that poses are computed from: a sequence's frames, and about bad seams those that it skips."""

import bisect
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
    own: tuple[int, ...]
    """Numbers of the sequence's own frames."""
    numbers: tuple[int, ...]
    pictures: Callable[[], Iterator[tuple[int, Picture]]]
    """All pictures up to the last frame, each once, in order."""

    @property
    def position(self) -> Float[np.ndarray, " views"]:
        """Where each view lies among the sequence's frames."""
        return np.interp(self.numbers, self.own, np.arange(len(self.own)))

    @property
    def skips(self) -> bool:
        """Whether there are pictures between the sequence's own frames."""
        return self.own[-1] >= len(self.own)

    @property
    def names(self) -> tuple[str, ...]:
        """A file name for each view: its frame's, or one between."""
        places = map(self._place, self.numbers)
        return tuple(f"{frame:04d}{f'-{between}' if between else ''}.png" for frame, between in places)

    def about(self, seams: Int[np.ndarray, " seams"]) -> "Views":
        """The same with some of the pictures that were skipped between frames near seams."""
        frames = np.unique((seams[:, None] + np.arange(-_ABOUT + 1, _ABOUT)).clip(0, len(self.frames) - 2))
        new = {
            number
            for first, second in ((self.own[frame], self.own[frame + 1]) for frame in frames)
            for number in np.linspace(first, second, min(second - first - 1, _MOST_BETWEEN) + 2).astype(int).tolist()
        }
        return replace(self, numbers=tuple(sorted({*self.numbers, *new})))

    def _place(self, number: int) -> tuple[int, int]:
        """The last of the sequence's own frames up to a picture, and how many pictures after it that is."""
        frame = bisect.bisect_right(self.own, number) - 1
        return frame, number - self.own[frame]

    def object_mask(self, number: int) -> Bool[np.ndarray, "height width"]:
        """Where a view shows the object; between two frames anywhere where one of them does, but for both's hands."""
        frame, between = self._place(number)
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
        for path, number in zip(self.frames.pictures, self.own, strict=True):
            (folder / "frames" / name_of[number]).symlink_to(path.absolute())
        skipped = set(self.numbers) - set(self.own)
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
        numbers = tuple(range(count))
        return Views(frames, labels, numbers, numbers, lambda: _read(frames))
    numbers = frames.numbers or tuple(range(0, count * footage.chosen.step, footage.chosen.step))
    return Views(frames, labels, numbers, numbers, lambda: every_picture(source, footage, numbers[-1] + 1))


def _read(frames: Frames) -> Iterator[tuple[int, Picture]]:
    return ((row, read_rgb(path)) for row, path in enumerate(frames.pictures))


def _disc() -> UInt8[np.ndarray, "side side"]:
    side = 2 * _MASK_EROSION_PX + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
