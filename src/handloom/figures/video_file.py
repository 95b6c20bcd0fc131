"""MP4 files from pictures, whole or not at all."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handloom.datasets.decoded_video import DecodedVideo
from handloom.runtime.errors import InputError, OutputError
from handloom.runtime.files import atomic_path

CODECS = ("vp09", "mp4v")
"""VP9 plays in browsers; MPEG-4, which any build of OpenCV writes, in players only."""
_NO_TIMES_FPS = 10.0  # slow enough to follow


def write_video(
    path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], *, frames_per_second: float
) -> None:
    """Write RGB pictures of one size, with even sides, as MP4.

    The first of `CODECS` that this build of OpenCV can encode is taken. OpenCV leaves out pictures of another size and
    says nothing about a full disk: sizes are checked before, and the finished file is read back. Raises ValueError for
    no picture, odd or different sizes, OutputError when the file does not hold every picture.
    """
    with atomic_path(path) as temporary:
        temporary.touch()  # a full disk or an unwritable folder shows here with its own reason
        count = _encode(temporary, pictures, frames_per_second)
        found = len(read_video(temporary))
        if found != count:
            raise OutputError(f"{path}: {found} of {count} pictures can be read back; is the disk full?")


def median_rate(times_s: Float[np.ndarray, " frames"]) -> float:
    """Frames per second from time stamps; 10 when they do not tell, and within what players take."""
    steps = np.diff(times_s)
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(np.clip(1 / step, 1, 60)) if step > 0 else _NO_TIMES_FPS


def read_video(path: Path) -> list[UInt8[np.ndarray, "height width 3"]]:
    """The RGB pictures of a short video; none for a file that cannot be decoded to its end."""
    try:
        return [picture for _, picture in DecodedVideo(path, slice(0, None, 1))]
    except InputError:
        return []


def _encode(path: Path, pictures: Iterable[np.ndarray], frames_per_second: float) -> int:
    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        raise ValueError("a video needs at least one picture")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"pictures are {width}x{height}, but even sides are needed")
    writer, count = _writer(path, frames_per_second, width, height), 0
    try:
        for count, picture in enumerate(chain([first], remaining), start=1):
            if picture.shape != first.shape:
                raise ValueError(f"picture {count - 1} has shape {picture.shape}, the others {first.shape}")
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
    finally:
        writer.release()
    return count


def _writer(path: Path, frames_per_second: float, width_px: int, height_px: int) -> cv2.VideoWriter:
    for codec in CODECS:
        code = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, frames_per_second, (width_px, height_px))
        if writer.isOpened():
            return writer
        writer.release()
    raise OutputError(
        f"{path}: this build of OpenCV encodes none of {', '.join(CODECS)}; pip install opencv-python-headless"
    )
