"""Frames of a sequence, whatever it comes from, as numbered pictures of one size in their original order."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.datasets.frames import Frames, Picture, picture_path
from handloom.datasets.numbered_pictures import numbered_pictures
from handloom.runtime.config.sequences import FrameSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_rgb
from handloom.runtime.progress import progress

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
# Containers promise a frame count that is a little off in whole videos too.
_LOST_FRACTION = 0.02


SourceFrames = Iterator[tuple[str, float, Picture]]
"""Of each frame its original base name, its time in seconds, and its picture in red, green, blue."""


def extract_frames(source: Path, settings: FrameSettings, frames: Path, frames_json: Path) -> None:
    """Stage: write every `every`-th frame of the source to `frames`/%04d.png, and what they are to `frames_json`.

    Frames keep their order; videos keep their time stamps and are turned upright. Frames with a side above
    `longest_side_px` are made smaller (Lanczos), and known intrinsics with them. Raises InputError for a source that is
    missing, cannot be decoded to its end, gives fewer than two frames, or changes its size.
    """
    found, clock, intrinsics = _opened(source, settings)
    names: list[str] = []
    times: list[float] = []
    original: tuple[int, int] | None = None
    with whole_folder(frames) as folder:
        for name, time_s, picture in progress(found, f"frames of {source.name}"):
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
            times.append(round(time_s, 6))
        if original is None or len(names) < 2:
            raise InputError(
                f"{source}: gives {len(names)} frame(s) with first {settings.first} and every {settings.every}; "
                "at least two are needed, and some dozens to be of use; give a longer sequence"
            )
        height, width = shown.shape[:2]
    if intrinsics is not None:
        intrinsics = _scaled(intrinsics, width / original[0], height / original[1])
    origin = f"{settings.kind}:{source}"
    Frames(frames, tuple(names), tuple(times), clock, width, height, origin, intrinsics).write_list(frames_json)


def _opened(source: Path, settings: FrameSettings) -> tuple[SourceFrames, str, Float[np.ndarray, "3 3"] | None]:
    """The chosen frames of the source, the origin of their times, and the camera if the source knows it."""
    stop = None if settings.most is None else settings.first + settings.most * settings.every
    chosen = slice(settings.first, stop, settings.every)
    if settings.kind == "video":
        return _video_frames(source, chosen), "the video's time stamps", _given_camera(settings)
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
    frames = (
        (names[index], index / settings.frames_per_second, read_rgb(pictures[index]))
        for index in range(len(pictures))[chosen]
    )
    return frames, f"frame number at a nominal {settings.frames_per_second:g} Hz", intrinsics


def _given_camera(settings: FrameSettings) -> Float[np.ndarray, "3 3"] | None:
    if settings.camera_px is None:
        return None
    focal_x, focal_y, centre_x, centre_y = settings.camera_px
    return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])


def _original_names(path: Path, count: int) -> list[str]:
    """The names that HOLD's corres.txt gives its pictures."""
    names = [name.strip() for name in path.read_text(encoding="utf-8").split("\n") if name.strip()]
    if len(names) != count:
        raise InputError(f"{path}: names {len(names)} frames, but {count} pictures lie beside it")
    return [Path(name).name for name in names]


def _video_frames(path: Path, chosen: slice) -> SourceFrames:
    """The chosen frames of a video, decoded one after the other: seeking is not exact in every container."""
    if not path.is_file():
        raise InputError(f"{path}: no such video; check the sequence's path")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"{path}: cannot be decoded; expected a video that FFmpeg reads, such as H.264 in .mp4")
        # Turned here: whether OpenCV turns by itself depends on its version and backend.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        turn = _TURNS.get(int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360)
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        wanted = range(chosen.start, chosen.stop if chosen.stop is not None else 2**31, chosen.step)
        before_s, index = -1.0, 0
        while index < wanted.stop and capture.grab():
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if index and time_s <= 0 and rate_hz > 0:  # a container without time stamps
                time_s = index / rate_hz
            elif time_s <= before_s:
                raise InputError(
                    f"{path}: frame {index} is stamped {time_s:.4f} s, not after the one before ({before_s:.4f} s); "
                    "encode the video again"
                )
            before_s = time_s
            if index in wanted:
                decoded, picture = capture.retrieve()
                if not decoded:
                    raise InputError(f"{path}: frame {index} cannot be decoded; the video is damaged, encode it again")
                upright = picture if turn is None else cv2.rotate(picture, turn)
                yield f"{index:06d}", time_s, np.ascontiguousarray(upright[..., ::-1])
            index += 1
    finally:
        capture.release()
    if index == 0:
        raise InputError(f"{path}: no frame can be decoded; expected a video that FFmpeg reads")
    if index < wanted.stop and index < promised * (1 - _LOST_FRACTION) - 1:
        raise InputError(
            f"{path}: ends after {index} frames, but promises {promised}; it is cut short or damaged, encode it again"
        )


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
