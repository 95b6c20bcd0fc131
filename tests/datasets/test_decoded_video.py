"""Every picture that a player shows, once, in order, upright, with square pixels, with rising times; or why not."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from handloom.datasets.decoded_video import DecodedVideo, rising_times
from handloom.runtime.errors import InputError

from .video_files import HEIGHT, RATE, WIDTH, number_of, numbered, with_matrix, write_film

STAMPED = "the video's time stamps"


def decoded(path: Path, chosen: slice = slice(0, None, 1)) -> tuple[list[np.ndarray], list[float], str]:
    video = DecodedVideo(path, chosen)
    pictures = [picture for _, picture in video]
    times, clock = video.times_s()
    assert len(times) == len(pictures)
    assert (np.diff(times) > 0).all()
    return pictures, times, clock


def numbers(path: Path, chosen: slice = slice(0, None, 1)) -> list[int]:
    return [number_of(picture) for picture in decoded(path, chosen)[0]]


@pytest.mark.parametrize(
    ("name", "codec", "muxer", "pixels"),
    [
        ("a.MTS", "libx264", "mpegts", "yuv420p"),
        ("a.m2ts", "libx264", "mpegts", "yuv420p"),
        ("a.mov", "libx265", "mov", "yuv420p10le"),
        ("a.wmv", "wmv2", "asf", "yuv420p"),
        ("a.flv", "flv", "flv", "yuv420p"),
        ("a.3gp", "mpeg4", "3gp", "yuv420p"),
        ("a.webm", "libvpx-vp9", "webm", "yuva420p"),
        ("a.mpg", "mpeg2video", "mpeg", "yuv420p"),
        ("a.gif", "gif", "gif", "rgb8"),
        ("a.png", "apng", "apng", "rgb24"),
        ("a.mkv", "ffv1", "matroska", "bgr0"),
        ("a.avi", "mjpeg", "avi", "yuvj420p"),
        ("a", "libsvtav1", "mp4", "yuv420p"),
        ("picture.jpg", "libx264", "mp4", "yuv420p"),
    ],
)
def test_no_matter_the_suffix_codec_and_depth(tmp_path: Path, name: str, codec: str, muxer: str, pixels: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_film(tmp_path / name, codec, muxer=muxer, pixels=pixels, codec_options=options)
    pictures, times, clock = decoded(path)
    assert [number_of(picture) for picture in pictures] == list(range(12))
    np.testing.assert_allclose(times, np.arange(12) / RATE, atol=1e-2)
    assert clock == STAMPED
    assert numbers(path, slice(1, 8, 3)) == [1, 4, 7]


def test_a_stream_without_stamps_has_its_own_rate(tmp_path: Path) -> None:
    _, times, clock = decoded(write_film(tmp_path / "pi.h264", muxer="h264"))
    np.testing.assert_allclose(times, np.arange(12) / RATE)
    assert clock == "frame number at the video's 30 Hz, as it has no time stamps"


def test_stamps_of_varying_rate_start_at_the_first_picture(tmp_path: Path) -> None:
    stamps = [0, 33, 67, 200, 240, 500, 533, 900]
    for late in (0, 50_000):
        path = write_film(tmp_path / f"{late}.mkv", count=8, stamps_ms=[stamp + late for stamp in stamps])
        np.testing.assert_allclose(decoded(path)[1], np.array(stamps) / 1000, atol=1e-9)


def test_sound_may_be_longer_and_counts_are_no_promises(tmp_path: Path) -> None:
    assert numbers(write_film(tmp_path / "a.mkv", sound_s=3)) == list(range(12))
    assert numbers(write_film(tmp_path / "a.mp4", sound_s=3)) == list(range(12))


def test_only_sound_or_nothing_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(InputError, match=r"a\.m4a: has no moving pictures, only audio"):
        decoded(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.m4a: is empty"):
        decoded(path)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
        ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
        ((0, -1, 1, 0), lambda picture: np.rot90(picture)),
        ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
        ((1, 0, 0, -1), lambda picture: picture[::-1]),
        ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).transpose(1, 0, 2)),
    ],
)
def test_pictures_are_turned_and_mirrored_as_players_do(tmp_path: Path, matrix: Any, shown: Any) -> None:
    path = write_film(tmp_path / "a.mp4", count=2)
    plain = decoded(path)[0][1]
    np.testing.assert_array_equal(decoded(with_matrix(path, *matrix))[0][1], shown(plain))


def test_a_turn_by_another_angle_is_refused(tmp_path: Path) -> None:
    path = with_matrix(write_film(tmp_path / "a.mp4", count=2), 0.94, 0.34, -0.34, 0.94)
    with pytest.raises(InputError, match="turned by no multiple of 90 degrees"):
        decoded(path)


@pytest.mark.parametrize(
    ("aspect", "size"), [("4/3", (128, 64)), ("2/3", (96, 96)), ("2560/2561", (96, 64)), ("16/11", (140, 64))]
)
def test_pixels_become_square(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)

    path = write_film(tmp_path / "a.mp4", count=2, prepare=prepare)
    pictures, *_ = decoded(path)
    assert {picture.shape for picture in pictures} == {(size[1], size[0], 3)}
    turned, *_ = decoded(with_matrix(path, 0, 1, -1, 0))  # its pixels are as wide before it is turned
    assert turned[0].shape == (*size, 3)


def test_pixels_of_no_shape_are_refused(tmp_path: Path) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(50)

    with pytest.raises(InputError, match="pixels 50 times as wide as high"):
        decoded(write_film(tmp_path / "a.mp4", count=2, prepare=prepare))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.ts", "libx264", {"x264-params": "tff=1"}), ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "4M"})],
)
def test_interlaced_pictures_show_one_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, codec: str, options: dict[str, str]
) -> None:
    def woven(index: int) -> np.ndarray:
        picture = numbered(2 * index)
        picture[1::2] = numbered(2 * index + 1)[1::2]
        return picture

    found = numbers(write_film(tmp_path / name, codec, codec_options=options, picture=woven))
    assert [number // 2 for number in found] == list(range(12))
    assert len({number % 2 for number in found}) == 1
    assert f"{name}: pictures are interlaced" in capsys.readouterr().err


@pytest.mark.parametrize("muxer", ["mpegts", "mpeg"])
def test_recordings_laid_end_to_end_go_on(tmp_path: Path, muxer: str) -> None:
    path = write_film(tmp_path / "a", "mpeg2video", 20, muxer=muxer)
    path.write_bytes(2 * path.read_bytes())
    pictures, times, clock = decoded(path)
    assert [number_of(picture) for picture in pictures] == 2 * list(range(20))
    np.testing.assert_allclose(times, np.arange(40) / RATE, atol=1e-4)
    assert clock == f"{STAMPED}, 20 of 40 of them mended"


def test_a_recording_cut_out_of_a_longer_one_begins_at_its_first_whole_picture(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.ts", count=60, codec_options={"g": "12", "bf": "0"})
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 3 // 188 * 188 :])
    found = numbers(path)
    assert found == list(range(found[0], 60))
    assert 0 < found[0] < 40


def test_a_size_that_changes_on_the_way_is_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.ts")
    path.write_bytes(path.read_bytes() + write_film(tmp_path / "b.ts", size=(HEIGHT * 2, WIDTH)).read_bytes())
    with pytest.raises(InputError, match=r"frame 000012 has 128 x 96 pixels, but those before have 96 x 64"):
        decoded(path)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx265", {"movflags": "faststart"}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mjpeg", {}),
        ("a.flv", "flv", {}),
    ],
)
def test_a_video_cut_short_is_refused(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_film(tmp_path / name, codec, 40, pixels=pixels, muxer_options=options, codec_options=quiet)
    assert len(decoded(path)[0]) == 40
    content = path.read_bytes()
    for share in (0.5, 0.8):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(InputError, match=rf"{name}: .* cut short or damaged"):
            decoded(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_damaged_video_is_refused(tmp_path: Path, name: str) -> None:
    path = write_film(tmp_path / name, count=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cut short or damaged"):
        decoded(path)


@pytest.mark.parametrize(("tag", "codec"), [(b"evc1", "evc"), (b"xyz1", "xyz1")])
def test_a_codec_that_cannot_be_decoded_is_named(tmp_path: Path, tag: bytes, codec: str) -> None:
    path = write_film(tmp_path / "a.mp4", count=2)
    path.write_bytes(path.read_bytes().replace(b"avc1", tag))
    with pytest.raises(InputError, match=rf"this build of FFmpeg cannot decode the codec {codec}; convert it first"):
        decoded(path)


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", "ffv1", 2, pixels="gray")
    content = path.read_bytes()
    for size, huge in ((WIDTH, 30_000), (HEIGHT, 20_000)):
        for element in (b"\xb0", b"\xba"):  # PixelWidth and PixelHeight
            one_byte = element + b"\x81" + bytes([size])
            assert content.count(one_byte) <= 1
            content = content.replace(one_byte, element + b"\x82" + huge.to_bytes(2, "big"))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mkv: "):
        decoded(path)


def test_only_the_named_file_is_opened(tmp_path: Path) -> None:
    other = write_film(tmp_path / "other.ts", muxer="mpegts")
    Image.fromarray(numbered(0)).save(tmp_path / "0000.png")
    for text in (
        f"ffconcat version 1.0\nfile '{other.name}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other.name}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90\n",
        "no video at all\n" * 100,
    ):
        path = tmp_path / "list.mp4"
        path.write_text(text)
        with pytest.raises(InputError, match=r"list\.mp4: cannot be decoded"):
            decoded(path)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        Image.fromarray(numbered(0)).save(tmp_path / "still.mp4", kind)
        with pytest.raises(InputError, match=r"still\.mp4: cannot be decoded"):
            decoded(tmp_path / "still.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"pipe\.mp4: is no regular file"):
        decoded(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match=r"%04d\.png: no such video"):
        decoded(tmp_path / "%04d.png")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match=r"folder\.mp4: is a folder"):
        decoded(tmp_path / "folder.mp4")


@pytest.mark.parametrize(
    ("stamps", "times", "mended"),
    [
        ([5.0, 5.1, 5.2], [0.0, 0.1, 0.2], 0),
        ([0.1, 0.3, 0.4, 0.2, 0.5], [0.0, 0.1, 0.2, 0.3, 0.4], 3),  # of B-frames in AVI
        ([0.0, 0.1, 0.1, 0.3], [0.0, 0.1, 0.2, 0.3], 1),
        ([0.0, 0.1, 0.1, 0.1], [0.0, 0.1, 0.2, 0.3], 2),
        ([None, None, None], [0.0, 0.1, 0.2], 3),
        ([None, 0.1, None, 0.5], [0.0, 0.1, 0.3, 0.5], 2),
        ([7.0, 7.1, 0.0, 0.2], [0.0, 0.1, 0.2, 0.4], 2),  # the clock began anew
        ([7.0, 7.1, 0.0, 7.3], [0.0, 0.1, 0.2, 0.3], 1),  # one stamp is wrong
        ([], [], 0),
    ],
)
def test_times_rise(stamps: list[float | None], times: list[float], mended: int) -> None:
    found, count = rising_times(stamps, 0.1)
    np.testing.assert_allclose(found, times, atol=1e-9)
    assert count == mended
