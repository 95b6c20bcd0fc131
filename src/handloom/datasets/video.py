"""Frames of a sequence, whatever it comes from, as numbered pictures of one size in their original order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from handloom.datasets.frames_file import FramesFile, write_frames_file
from handloom.datasets.ho3d import PICTURES, read_sequence
from handloom.runtime.config.sequences import SequenceSettings
from handloom.runtime.errors import InputError
from handloom.runtime.files import whole_folder
from handloom.runtime.images import read_rgb
from handloom.runtime.progress import progress

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_LOST_FRACTION = 0.02


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a source: its original base name, its time, and its picture in red, green, blue."""

    name: str
    time_s: float
    picture: UInt8[np.ndarray, "height width 3"]


def extract_frames(settings: SequenceSettings, output_folder: Path, frames_json: Path) -> None:
    """Write every `every`-th frame to `output_folder`/%04d.png, and what they are to `frames_json`.

    Frames keep their order; videos keep their time stamps and are turned upright. Frames with a side above
    `longest_side_px` are made smaller (Lanczos), and known intrinsics with them. Raises InputError for a source that is
    missing, cannot be decoded to its end, gives fewer than two frames, or changes its size.
    """
    source, clock, intrinsics = _opened(settings)
    names: list[str] = []
    times: list[float] = []
    original: tuple[int, int] | None = None
    with whole_folder(output_folder) as folder:
        for frame in progress(source, f"frames of {Path(settings.path).name}"):
            height, width = frame.picture.shape[:2]
            if original is None:
                original = (width, height)
            elif (width, height) != original:
                raise InputError(
                    f"{settings.path}: frame {frame.name} has {width} x {height} pixels, but those before have "
                    f"{original[0]} x {original[1]}; give frames of one size"
                )
            # The cameras of a build folder belong to its pictures as they are.
            picture = frame.picture if settings.kind == "build" else _at_most(frame.picture, settings.longest_side_px)
            Image.fromarray(picture).save(folder / f"{len(names):04d}.png", compress_level=3)
            names.append(frame.name)
            times.append(round(frame.time_s, 6))
        if original is None or len(names) < 2:
            raise InputError(
                f"{settings.path}: gives {len(names)} frame(s) with first {settings.first} and every {settings.every}; "
                "at least two are needed, and some dozens to be of use; give a longer sequence"
            )
        final_height, final_width = picture.shape[:2]
    if intrinsics is not None:
        intrinsics = _scaled(intrinsics, final_width / original[0], final_height / original[1])
    write_frames_file(
        frames_json,
        FramesFile(
            tuple(names), tuple(times), clock, final_width, final_height, f"{settings.kind}:{settings.path}", intrinsics
        ),
    )


def _opened(settings: SequenceSettings) -> tuple[Iterator[SourceFrame], str, Float[np.ndarray, "3 3"] | None]:
    """The chosen frames of the source, the origin of their times, and the camera if the source knows it."""
    path = Path(settings.path)
    stop = None if settings.most is None else settings.first + settings.most * settings.every
    chosen = slice(settings.first, stop, settings.every)
    if settings.kind == "video":
        return _video_frames(path, chosen), "the video's time stamps", _given_camera(settings)
    intrinsics = _given_camera(settings)
    if settings.kind == "ho3d":
        sequence = read_sequence(path)
        pictures, intrinsics = list(sequence.pictures), sequence.intrinsics
        names = [picture.name for picture in pictures]
    elif settings.kind == "build":
        pictures = _pictures(path / "image")
        names = _original_names(path / "corres.txt", pictures)
    else:
        pictures = _pictures(path)
        names = [picture.name for picture in pictures]
    frames = (
        SourceFrame(names[index], index / settings.frames_per_second, read_rgb(pictures[index]))
        for index in range(len(pictures))[chosen]
    )
    return frames, f"frame number at a nominal {settings.frames_per_second:g} Hz", intrinsics


def _given_camera(settings: SequenceSettings) -> Float[np.ndarray, "3 3"] | None:
    if settings.camera_px is None:
        return None
    focal_x, focal_y, centre_x, centre_y = settings.camera_px
    return np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]])


def _pictures(folder: Path) -> list[Path]:
    """Pictures in the order of their names, where 10 follows 9 with or without leading zeros."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one that holds the frames as pictures")
    pictures = [path for path in folder.iterdir() if path.suffix.lower() in (*PICTURES, ".jpeg")]
    if not pictures:
        raise InputError(f"{folder}: holds no pictures; expected frames as .jpg or .png")
    return sorted(pictures, key=lambda path: _natural(path.name))


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


def _original_names(path: Path, pictures: list[Path]) -> list[str]:
    """The names that HOLD's corres.txt gives its pictures, or the pictures' own where there is none."""
    if not path.is_file():
        return [picture.name for picture in pictures]
    names = path.read_text(encoding="utf-8").split("\n")
    names = [name.strip() for name in names if name.strip()]
    if len(names) != len(pictures):
        raise InputError(f"{path}: names {len(names)} frames, but {len(pictures)} pictures lie beside it")
    return [Path(name).name for name in names]


def _video_frames(path: Path, chosen: slice) -> Iterator[SourceFrame]:
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
        rate = capture.get(cv2.CAP_PROP_FPS)
        wanted = range(chosen.start, chosen.stop if chosen.stop is not None else 2**31, chosen.step)
        before_s = -1.0
        index = 0
        while index < wanted.stop and capture.grab():
            time_s = _time_s(path, index, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, before_s, rate)
            before_s = time_s
            if index in wanted:
                decoded, picture = capture.retrieve()
                if not decoded:
                    raise InputError(f"{path}: frame {index} cannot be decoded; the video is damaged, encode it again")
                upright = picture if turn is None else cv2.rotate(picture, turn)
                yield SourceFrame(f"{index:06d}", time_s, np.ascontiguousarray(upright[..., ::-1]))
            index += 1
    finally:
        capture.release()
    if index == 0:
        raise InputError(f"{path}: no frame can be decoded; expected a video that FFmpeg reads")
    if index < wanted.stop and index < promised * (1 - _LOST_FRACTION) - 1:
        raise InputError(
            f"{path}: ends after {index} frames, but promises {promised}; it is cut short or damaged, encode it again"
        )


def _time_s(path: Path, index: int, stamp_s: float, before_s: float, rate_hz: float) -> float:
    if index and stamp_s <= 0 and rate_hz > 0:
        return index / rate_hz
    if stamp_s <= before_s:
        raise InputError(
            f"{path}: frame {index} is stamped {stamp_s:.4f} s, not after the one before ({before_s:.4f} s); "
            "encode the video again"
        )
    return stamp_s


def _at_most(picture: UInt8[np.ndarray, "h w 3"], longest_px: int) -> UInt8[np.ndarray, "height width 3"]:
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
