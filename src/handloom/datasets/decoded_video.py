"""The pictures of a video file as players show them: each once, in order, upright, with square pixels, and its time."""

import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float

from handloom.datasets.frames import Picture
from handloom.runtime.errors import InputError

MOST_PIXELS = 2**26
"""Of one picture: two to one in 8K are half of it."""
# Files of pictures in motion; none that names other files, devices or addresses, and no single picture.
_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,asf,flv,ogg,mxf,dv,wtv,gif,apng,ivf,obu,h264,hevc,vvc,m4v,mpegvideo,mjpeg,"
    "yuv4mpegpipe"
)
# Their headers say when the last picture or sound ends; a few frames less are normal in whole files.
_TIMED_FORMATS = ("matroska,webm", "asf", "flv")
_LOST_FRACTION, _LOST_FRAMES = 0.02, 2
# Codecs show a picture at most so many places from where it is decoded, and so far are time stamps out of order.
_REORDERED_FRAMES = 16
# Encoders that mean square pixels write 2560:2561 and the like.
_SQUARE_WITHIN = 0.005
_MOST_ASPECT = 5.0
_CONVERT = "convert it first, as with: ffmpeg -i IN -c:v libx264 -crf 16 -pix_fmt yuv420p OUT.mp4"


class DecodedVideo:
    """The chosen pictures of a video, by ascending numbers; iterating decodes all up to the last one.

    Seeking is inexact in some containers.

    Raises InputError, from iterating, for what is no video, cannot be decoded, is damaged or ends before it says, and
    for pictures whose size changes on the way.
    """

    def __init__(self, path: Path, chosen: slice | Sequence[int]) -> None:
        self._path = path
        self._wanted = range(2**31)[chosen] if isinstance(chosen, slice) else chosen
        self._is_wanted = self._wanted if isinstance(self._wanted, range) else frozenset(self._wanted)
        self._stamps_s: list[float | None] = []
        self._rate_hz = 0.0
        self.tags: dict[str, str] = {}
        """What container and stream tell about themselves, once decoding has begun."""

    def __iter__(self) -> Iterator[tuple[str, Picture]]:
        """Yield of each chosen picture its number in the video, and itself in red, green, blue."""
        with _opened(self._path) as container:
            stream = _film(self._path, container)
            self.tags = {**container.metadata, **stream.metadata}
            # Of streams without stamps the average is a default; the guess is what the codec's header says.
            rate_hz = stream.guessed_rate if stream.start_time is None else stream.average_rate
            self._rate_hz = float(rate_hz or 30)
            aspect = float(stream.sample_aspect_ratio or 1)
            decoded = _decoded(self._path, container, stream, self._rate_hz)
            for index, frame in enumerate(_deinterlaced(self._path, decoded)):
                if index > max(self._wanted[-1:], default=-1) + _REORDERED_FRAMES:
                    break
                self._stamps_s.append(frame.time)
                if index in self._is_wanted:
                    yield f"{index:06d}", _as_shown(self._path, frame, aspect)

    def times_s(self) -> tuple[list[float], str]:
        """Of each chosen picture its time from the video's first one, and where the times come from; once decoded."""
        times, mended = rising_times(self._stamps_s, 1 / self._rate_hz)
        count = len(self._stamps_s)
        if mended == count:
            clock = f"frame number at the video's {self._rate_hz:g} Hz, as it has no time stamps"
        elif mended:
            clock = f"the video's time stamps, {mended} of {count} of them mended"
        else:
            clock = "the video's time stamps"
        if mended:
            print(f"{self._path}: time stamps are missing or do not rise; times are {clock}", file=sys.stderr)
        return [times[index] for index in itertools.takewhile(lambda index: index < count, self._wanted)], clock


def rising_times(stamps_s: Sequence[float | None], step_s: float) -> tuple[list[float], int]:
    """Times from 0 that rise, of pictures in their order, and how many differ from the stamps (less the first time).

    Stamps are sorted where neighbours are out of order. After a fall of more than `_REORDERED_FRAMES` steps the clock
    began anew, and goes on after the time before. What is missing, alone in the past, or equal to the one before is put
    evenly between its neighbours; at the ends `step_s` apart.
    """
    times = np.array([np.nan if stamp is None else stamp for stamp in stamps_s], float)
    given = np.flatnonzero(np.isfinite(times))
    latest, shift, fall_s = -np.inf, 0.0, step_s * _REORDERED_FRAMES
    for order, place in enumerate(given):
        if times[place] + shift < latest - fall_s:
            following = times[given[order + 1 : order + 2]] + shift
            if (following >= latest - fall_s).any():  # the clock goes on
                times[place] = np.nan
                continue
            shift = latest + step_s - times[place]
        times[place] += shift
        latest = max(latest, times[place])
    given = given[np.isfinite(times[given])]
    times[given] = np.sort(times[given])
    given = given[np.diff(times[given], prepend=-np.inf) > 0]
    if not len(given):
        return (step_s * np.arange(len(times))).tolist(), len(times)
    first, last = given[0], given[-1]
    anchors = [-1, *given, len(times)]
    ends = times[first] - step_s * (first + 1), times[last] + step_s * (len(times) - last)
    times = np.interp(np.arange(len(times)), anchors, [ends[0], *times[given], ends[1]])
    mended = sum(stamp is None or bool(abs(stamp - time) > 1e-9) for stamp, time in zip(stamps_s, times, strict=True))
    return (times - times[0]).tolist(), mended


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """The video in a regular file, whose name and suffix FFmpeg does not learn, and from which it opens no other."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, but a video is expected; pictures in a folder are of kind: frames")
    if not path.exists():
        raise InputError(f"{path}: no such video; check the sequence's path")
    if not path.is_file():
        raise InputError(f"{path}: is no regular file; expected a video in a file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; expected a video, copy it again")
    options = {"format_whitelist": _FORMATS, "max_pixels": str(MOST_PIXELS)}
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="replace", io_open=_refuse)
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            raise InputError(
                f"{path}: cannot be decoded; expected a video that FFmpeg reads, such as H.264 in .mp4; if it is one, "
                "it is cut short or damaged, copy it again"
            ) from error
        except (av.FFmpegError, OSError) as error:
            raise InputError(
                f"{path}: cannot be decoded, as it is no video (single pictures, WebP and playlists are none); "
                "expected one that FFmpeg reads, such as H.264 in .mp4"
            ) from error
        with container:
            yield container


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise InputError(f"names another file, {url}, which is not opened")


def _film(path: Path, container: InputContainer) -> VideoStream:
    """The stream that players show, ready to be decoded; cover pictures are not."""
    films = [
        stream
        for stream in container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    ]
    if not films:
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(
            f"{path}: has no moving pictures, only {found}; expected a video, or one that is not cut short or damaged"
        )
    best = container.streams.best("video")
    stream = next((film for film in films if best is not None and film.index == best.index), films[0])
    if stream.codec_context is None:
        raise InputError(f"{path}: this build of FFmpeg cannot decode {_codec_name(container, stream)}; {_CONVERT}")
    if len(films) > 1:
        print(f"{path}: has {len(films)} streams of pictures; stream {stream.index} is taken", file=sys.stderr)
    _require_size(path, stream.codec_context.width, stream.codec_context.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    stream.codec_context.thread_count = min(8, os.cpu_count() or 1)
    stream.codec_context.thread_type = "AUTO"
    return stream


def _codec_name(container: Any, stream: VideoStream) -> str:
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # or nothing is dumped
    try:
        dumped = container.dumps_format()
    finally:
        av.logging.set_level(before)
    named = re.search(rf"Stream #0:{stream.index}\b.*?: Video: (\w+)(?: \((\w+) /)?", dumped)
    return "its codec" if named is None else f"the codec {named[2] if named[1] == 'none' else named[1]}"


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{path}: has pictures of {width} x {height} pixels; expected at most {MOST_PIXELS} pixels, make "
            "them smaller"
        )


def _decoded(path: Path, container: InputContainer, stream: VideoStream, rate_hz: float) -> Iterator[VideoFrame]:
    """All pictures of the stream, as they are stored; counts of frames in headers are no promises."""
    count, size = 0, None
    end_s, begun = 0.0, False
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            # A packet that ends too early; transport streams also mark the seam of two good recordings.
            partial = packet.is_corrupt and container.format.name != "mpegts"
            begun |= packet.is_keyframe  # before it, a recording was cut out of a longer one
            try:
                frames: list[Any] = packet.decode()
            except av.error.InvalidDataError as error:
                if begun:
                    raise _damaged(path, f"a picture after frame {count} cannot be decoded") from error
                continue
            for frame in frames:
                if begun and (frame.is_corrupt or partial):
                    raise _damaged(path, f"frame {count} is not whole")
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise InputError(
                        f"{path}: frame {count:06d} has {frame.width} x {frame.height} pixels, but those before have "
                        f"{size[0]} x {size[1]}; cut the video there, and give one of the parts"
                    )
                yield frame
                count += 1
    except av.FFmpegError as error:
        codec = stream.codec_context.name
        raise InputError(
            f"{path}: this build of FFmpeg cannot decode {codec} any further than {count} frames ({error.strerror}); "
            f"{_CONVERT}"
        ) from error
    if count == 0:
        raise _damaged(path, "no frame can be decoded")
    promised_s = _promised_s(container, stream, rate_hz)
    if end_s < promised_s * (1 - _LOST_FRACTION) - _LOST_FRAMES / rate_hz:
        raise _damaged(path, f"ends after {count} frames at {end_s:.2f} s, but promises {promised_s:.2f} s")
    file_size = path.stat().st_size
    if any(entry.pos + entry.size > file_size for entry in stream.index_entries):
        raise _damaged(path, f"ends after {count} frames, but its index names more")


def _promised_s(container: InputContainer, stream: VideoStream, rate_hz: float) -> float:
    """When the last packet ends by the header; 0 where headers do not tell, or FFmpeg guesses."""
    if container.format.name == "avi":
        return stream.frames / rate_hz
    return (container.duration or 0) / av.time_base if container.format.name in _TIMED_FORMATS else 0.0


def _damaged(path: Path, found: str) -> InputError:
    return InputError(f"{path}: {found}; it is cut short or damaged, copy it again, or encode it again")


def _deinterlaced(path: Path, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """The frames; from the first one on that holds two moments in alternate rows, each with its first moment only."""
    graph = None
    for frame in frames:
        if graph is None and frame.interlaced_frame:
            print(f"{path}: pictures are interlaced, and made whole from every other row", file=sys.stderr)
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            # Of one field alone: filters that look at the other keep both moments where nothing seems to move.
            deinterlacer = graph.add("estdif", "mode=frame:deint=interlaced")
            graph.link_nodes(source, deinterlacer, graph.add("buffersink")).configure()
        if graph is None:
            yield frame
        else:
            graph.vpush(frame)
            yield from _filtered(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _filtered(graph)


def _filtered(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield frame


def _as_shown(path: Path, frame: VideoFrame, aspect: float) -> Picture:
    """A frame in RGB with square pixels, turned and mirrored as its display matrix says; `aspect` is a pixel's."""
    if not 1 / _MOST_ASPECT < aspect < _MOST_ASPECT:
        raise InputError(f"{path}: has pixels {aspect:g} times as wide as high, which cannot be; encode it again")
    width, height = frame.width, frame.height
    if abs(aspect - 1) > _SQUARE_WITHIN:
        width, height = round(width * max(1.0, aspect)), round(height * max(1.0, 1 / aspect))
        _require_size(path, width, height)
        frame = frame.reformat(width, height, "rgb24", interpolation="LANCZOS")
    picture = frame.to_ndarray(format="rgb24")
    matrix = _display_matrix(frame)
    if matrix is None:
        return picture
    turned = np.abs(matrix[0, 1]) > np.abs(matrix[0, 0])
    along = np.diag(matrix[:, ::-1] if turned else matrix)
    if np.abs(matrix).sum() - np.abs(along).sum() >= 0.1 * np.abs(along).min():
        raise InputError(f"{path}: is to be shown turned by no multiple of 90 degrees; turn and encode it first")
    upright = picture.transpose(1, 0, 2) if turned else picture
    right, down = np.sign(along).astype(int)
    return np.ascontiguousarray(upright[::down, ::right])


def _display_matrix(frame: VideoFrame) -> Float[np.ndarray, "2 2"] | None:
    """From (column, row) as stored to (column, row) as shown; None for a picture that is shown as it is stored."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    fixed_point = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].T
    return fixed_point / 65536 if fixed_point.any() else None
