"""Frames of a sequence, whatever it comes from, as numbered pictures of one size in their original order."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from handloom.datasets import told_focal_length
from handloom.datasets.decoded_video import DecodedVideo
from handloom.datasets.frame_choice import chosen_by_motion
from handloom.datasets.frames import Frames, Picture, picture_path
from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_text, whole_folder
from handloom.runtime.images import read_rgb
from handloom.runtime.progress import progress

SourceFrames = Iterable[tuple[str, Picture]]
"""Of each frame its original base name and its picture in red, green, blue."""
Clock = Callable[[], tuple[list[float], str]]
"""Of each frame its time in seconds, and where the times come from; known when all frames are read."""
Told = Callable[[tuple[int, int]], float | None]
"""The focal length that the source tells for its pictures of a size; known when all frames are read."""


def extract_frames(
    source: Path, settings: FrameSettings, frames: Path, frames_json: Path, marked: tuple[int, ...] = ()
) -> None:
    """Stage: write every `every`-th frame of the source to `frames`/%04d.png, and what they are to `frames_json`.

    With `every: auto` frames are chosen by motion, and the `marked` ones with them (`chosen_by_motion`).
    Frames keep their order; videos keep their time stamps and are taken as players show them (`DecodedVideo`). Frames
    with a side above `longest_side_px` are made smaller (Lanczos), and known intrinsics with them, or the focal length
    that the source tells. Raises InputError for a source that is missing, cannot be decoded to its end, gives fewer
    than two frames, or changes its size.
    """
    numbers = None
    if settings.every == "auto":
        every = (picture for _, picture in DecodedVideo(source, settings.chosen))
        numbers = chosen_by_motion(progress(every, f"motion in {source.name}"), settings.most, marked)
        print(f"{source}: {len(numbers)} frames are chosen by motion, see frames.json", file=sys.stderr)
    found, clock, intrinsics, told_focal = _opened(source, settings, numbers)
    names: list[str] = []
    original: tuple[int, int] | None = None
    with whole_folder(frames) as folder:
        for name, picture in progress(found, f"frames of {source.name}"):
            height, width = picture.shape[:2]
            if original is None:
                original = (width, height)
            elif (width, height) != original:
                raise InputError(
                    f"{source}: frame {name} has {width} x {height} pixels, but those before have "
                    f"{original[0]} x {original[1]}; give frames of one size"
                )
            # The cameras of a build folder belong to its pictures as they are.
            shown = picture if settings.kind == "build" else _at_most(picture, settings.longest_side_px)
            Image.fromarray(shown).save(picture_path(folder, len(names)), compress_level=3)
            names.append(name)
        if original is None or len(names) < 2:
            raise InputError(
                f"{source}: gives {len(names)} frame(s) with first {settings.first} and every {settings.every}; "
                "at least two are needed, and some dozens to be of use; give a longer sequence"
            )
        height, width = shown.shape[:2]
        times_s, told = clock()
    focal_px = None
    if intrinsics is None:
        focal_px = told_focal(original)
        focal_px = None if focal_px is None else focal_px * width / original[0]
    else:
        intrinsics = _scaled(intrinsics, width / original[0], height / original[1])
    origin = f"{settings.kind}:{source}"
    times = tuple(round(time_s, 6) for time_s in times_s)
    listed = None if numbers is None else tuple(numbers.tolist())
    Frames(frames, tuple(names), times, told, width, height, origin, intrinsics, focal_px, listed).write_list(
        frames_json
    )


def every_picture(source: Path, settings: FrameSettings, count: int) -> Iterator[tuple[int, Picture]]:
    """The first `count` pictures of a source from `first` on, those too that a sequence skips, as large as its frames.

    Raises InputError as `extract_frames` does.
    """
    found, *_ = _opened(source, settings.model_copy(update={"every": 1, "most": count}))
    for number, (_, picture) in enumerate(found):
        yield number, picture if settings.kind == "build" else _at_most(picture, settings.longest_side_px)


def _opened(
    source: Path, settings: FrameSettings, by_motion: Int[np.ndarray, " chosen"] | None = None
) -> tuple[SourceFrames, Clock, Float[np.ndarray, "3 3"] | None, Told]:
    """The chosen frames of the source, their times, the camera if it is known, and what is told of it else."""
    chosen = settings.chosen
    if settings.kind == "video":
        video = DecodedVideo(source, chosen if by_motion is None else (settings.first + by_motion).tolist())
        return video, video.times_s, _given_camera(settings), lambda size: told_focal_length.of_video(video.tags, size)
    intrinsics = _given_camera(settings)
    if settings.kind == "ho3d":
        from handloom.datasets.ho3d import read_sequence  # with PyTorch, whose import takes seconds

        sequence = read_sequence(source)
        pictures, intrinsics = list(sequence.pictures), sequence.intrinsics
    else:
        pictures = numbered_pictures(source / "image" if settings.kind == "build" else source)
    names = [picture.name for picture in pictures]
    if settings.kind == "build" and (source / "corres.txt").is_file():
        names = _original_names(source / "corres.txt", len(pictures))
    numbers = range(len(pictures))[chosen]
    frames = ((names[index], read_rgb(pictures[index])) for index in numbers)
    rate_hz = settings.frames_per_second
    clock = [index / rate_hz for index in numbers], f"frame number at a nominal {rate_hz:g} Hz"
    if settings.kind == "frames" and len(numbers):
        first = pictures[numbers[0]]
        return frames, lambda: clock, intrinsics, lambda size: told_focal_length.of_picture(first, size)
    return frames, lambda: clock, intrinsics, lambda _: None


def _given_camera(settings: FrameSettings) -> Float[np.ndarray, "3 3"] | None:
    if settings.camera_px is None:
        return None
    focal_x, focal_y, centre_x, centre_y = settings.camera_px
    return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])


def _original_names(path: Path, count: int) -> list[str]:
    """The names that HOLD's corres.txt gives its pictures."""
    text = read_text(path, "the list of the frames' names, one a line", "fetch the folder again")
    names = [name.strip() for name in text.split("\n") if name.strip()]
    if len(names) != count:
        raise InputError(f"{path}: names {len(names)} frames, but {count} pictures lie beside it")
    return [Path(name).name for name in names]


def _at_most(picture: UInt8[np.ndarray, "h w 3"], longest_px: int) -> Picture:
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _scaled(intrinsics: Float[np.ndarray, "3 3"], across: float, down: float) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a resized picture: its corners stay corners, and pixel centres are integers in both."""
    scaled = intrinsics.copy()
    for row, scale in ((0, across), (1, down)):
        scaled[row] *= scale
        scaled[row, 2] += (scale - 1) / 2
    return scaled
