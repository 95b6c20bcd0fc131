"""Small videos of every kind, made with FFmpeg's encoders: each picture has its number on its top edge."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT, RATE = 96, 64, 30
_BAR = 8
_UPRIGHT = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 0x40000000)


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Its number as bars (white 1, lowest bit left) after a red square in the corner."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[:16, :16] = (220, 20, 20)
    for bit in range(8):
        picture[:16, 16 + bit * _BAR : 16 + (bit + 1) * _BAR] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture: np.ndarray) -> int:
    """The number of a picture."""
    bars = [picture[4:12, 18 + bit * _BAR : 22 + bit * _BAR].mean() for bit in range(8)]
    assert all(bar < 60 or bar > 190 for bar in bars), "two pictures in one"
    return sum(1 << bit for bit, bar in enumerate(bars) if bar > 128)


def write_film(
    path: Path,
    codec: str = "libx264",
    count: int = 12,
    *,
    muxer: str | None = None,
    pixels: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    stamps_ms: Sequence[int] | None = None,
    codec_options: dict[str, str] | None = None,
    muxer_options: dict[str, str] | None = None,
    sound_s: float = 0.0,
    picture: Callable[[int], np.ndarray] | None = None,
    tags: dict[str, str] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Write numbered pictures; `prepare` gets the stream before anything is encoded."""
    rate = RATE if stamps_ms is None else 1000
    with av.open(str(path), "w", format=muxer, options=muxer_options or {}) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=rate, options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        prepare(stream)
        sound = container.add_stream("aac", rate=48000) if sound_s else None
        for index in range(count):
            image = numbered(index, *size) if picture is None else picture(index)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = index if stamps_ms is None else stamps_ms[index], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for index in range(int(sound_s * 48000 / 1024)):
            assert sound is not None
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts = 48000, index * 1024
            container.mux(sound.encode(silence))
        if sound is not None:
            container.mux(sound.encode())
    return path


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """The same MP4, shown by the display matrix (a b; c d): x' = a x + c y, y' = b x + d y."""
    content = path.read_bytes()
    place = content.rindex(_UPRIGHT)  # the track's, after the film's
    turned = struct.pack(">9i", *(round(65536 * value) for value in (a, b, 0, c, d, 0, 0, 0)), 0x40000000)
    result = path.with_name("turned.mp4")
    result.write_bytes(content[:place] + turned + content[place + 36 :])
    return result
