"""The size of a sequence's pictures, from the first one, before any other is decoded."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from handloom.runtime.config.sequences import FrameSettings, SequenceKind
from handloom.runtime.errors import InputError

if TYPE_CHECKING:
    from handloom.datasets.frames import Frames
# The readers are imported where they are asked: most runs are planned without them.

PICTURES_INSIDE: dict[SequenceKind, str] = {"ho3d": "rgb", "build": "image", "frames": "."}


def planned_frames(path: Path, settings: FrameSettings, size_px: tuple[int, int], most: int) -> "Frames":
    """What the frames will be, as far as headers tell, without times: all, or of a video the first `most`."""
    from handloom.datasets.frames import Frames
    from handloom.datasets.numbered_pictures import numbered_pictures

    if settings.kind == "video":
        names = [f"{number:06d}" for number in range(2**31)[settings.chosen][:most]]
    else:
        pictures = numbered_pictures(path / PICTURES_INSIDE[settings.kind])
        names = [picture.name for picture in pictures[settings.chosen]]
    source = "" if settings.kind == "video" else f"{settings.kind}:{path}"
    return Frames(path, tuple(names), (), "", *size_px, source, None)


def frame_size(path: Path, settings: FrameSettings) -> tuple[int, int] | None:
    """Width and height of the extracted frames, in pixels; None where the first picture does not tell."""
    size = source_size(path, settings.kind)
    if size is None:
        return None
    scale = min(1.0, settings.longest_side_px / max(size)) if settings.kind != "build" else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@cache
def source_size(path: Path, kind: SequenceKind) -> tuple[int, int] | None:
    """Width and height of the frames as players show them; None where the first picture does not tell."""
    if kind == "video":
        return None if video_fault(path) else _video_size(path)
    folder = path / PICTURES_INSIDE[kind]
    from handloom.datasets.numbered_pictures import numbered_pictures
    from handloom.runtime.images import image_size

    try:
        return image_size(numbered_pictures(folder)[0])
    except InputError:
        return None


@cache
def pictures_fault(folder: Path, used: tuple[int | None, int | None, int | None]) -> str | None:
    """What headers tell to be wrong with a folder's pictures from, to, every; None: nothing."""
    from handloom.datasets.numbered_pictures import numbered_pictures
    from handloom.runtime.images import rgb_size

    try:
        pictures = numbered_pictures(folder)[slice(*used)]
        sizes = {path.name: rgb_size(path) for path in pictures}
    except InputError as error:
        return str(error)
    for before, after in pairwise(sizes.items()):
        if before[1] != after[1]:
            return (
                f"{folder}: {after[0]} has {after[1][0]} x {after[1][1]} pixels, but {before[0]} has {before[1][0]} x "
                f"{before[1][1]}; give frames of one size"
            )
    return None


@cache
def video_fault(path: Path) -> str | None:
    """Why not even the first picture of a video can be had; None if it can."""
    try:
        _video_size(path)
    except InputError as error:
        return str(error)
    return None


@cache
def _video_size(path: Path) -> tuple[int, int]:
    from handloom.datasets.decoded_video import DecodedVideo

    for _, picture in DecodedVideo(path, slice(0, 1, 1)):
        return picture.shape[1], picture.shape[0]
    raise InputError(f"{path}: has no pictures; expected a video")
