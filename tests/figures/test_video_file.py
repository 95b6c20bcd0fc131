"""Videos hold every picture that was given, in order, or there is no file."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.figures import video_file
from handloom.figures.video_file import median_rate, read_video, write_video
from handloom.runtime.errors import OutputError


def moving_bars(count: int = 7) -> list[np.ndarray]:
    """A red bar that moves to the right over green."""
    pictures = np.zeros((count, 48, 64, 3), np.uint8)
    pictures[..., 1] = 120
    for number in range(count):
        pictures[number, :, 8 * number : 8 * number + 8] = [230, 20, 20]
    return list(pictures)


@pytest.mark.parametrize("codec", video_file.CODECS)
def test_pictures_come_back_in_order_and_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    monkeypatch.setattr(video_file, "CODECS", (codec,))
    write_video(tmp_path / "v.mp4", moving_bars(), frames_per_second=12.0)
    found = read_video(tmp_path / "v.mp4")
    assert len(found) == 7
    for picture, expected in zip(found, moving_bars(), strict=True):
        assert np.abs(picture.astype(int) - expected).mean() < 12
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12, abs=0.1)
    capture.release()


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, moving_bars(), frames_per_second=10.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_browsers_get_a_codec_that_they_play(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", moving_bars(), frames_per_second=10.0)
    assert b"vp09" in (tmp_path / "v.mp4").read_bytes()


def test_a_failing_picture_leaves_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"older")

    def broken() -> Iterator[np.ndarray]:
        yield from moving_bars(3)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_video(tmp_path / "v.mp4", broken(), frames_per_second=10.0)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_bytes() == b"older"


def test_a_video_that_cannot_be_read_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV says nothing when the disk is full; a file cut short stands in for that."""
    read = read_video
    monkeypatch.setattr(video_file, "read_video", lambda path: read(path)[:-2])
    with pytest.raises(OutputError, match="5 of 7 pictures can be read back"):
        write_video(tmp_path / "v.mp4", moving_bars(), frames_per_second=10.0)
    assert list(tmp_path.iterdir()) == []


def test_wrong_sizes_and_builds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV leaves out such pictures without a word."""
    odd, other = np.zeros((48, 63, 3), np.uint8), np.zeros((50, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="63x48, but even sides"):
        write_video(tmp_path / "v.mp4", [odd], frames_per_second=10.0)
    with pytest.raises(ValueError, match="picture 1 has shape"):
        write_video(tmp_path / "v.mp4", [*moving_bars(1), other], frames_per_second=10.0)
    with pytest.raises(ValueError, match="at least one picture"):
        write_video(tmp_path / "v.mp4", [], frames_per_second=10.0)
    monkeypatch.setattr(video_file, "CODECS", ("zzzz",))
    with pytest.raises(OutputError, match="encodes none of zzzz"):
        write_video(tmp_path / "v.mp4", moving_bars(), frames_per_second=10.0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.mp4").write_text("no video")
    assert read_video(tmp_path / "text.mp4") == []


@pytest.mark.parametrize(
    ("times", "rate"),
    [([0, 0.04, 0.08, 0.5], 25), ([0], 10), ([], 10), ([0, 0, 0], 10), ([0, 0.001], 60), ([0, 20], 1)],
)
def test_the_rate_is_the_median_one(times: list[float], rate: float) -> None:
    assert median_rate(np.array(times, dtype=float)) == pytest.approx(rate)
