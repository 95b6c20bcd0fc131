"""A focal length that the camera wrote into its files reaches the list of frames, in pixels of these."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from handloom.datasets.frames import read_frames
from handloom.datasets.video import extract_frames
from handloom.runtime.config.sequences import FrameSettings

from .video_files import HEIGHT, WIDTH, write_film


def told(source: Path, folder: Path, **settings: object) -> float | None:
    """The focal length in the list of frames."""
    frames, listed = folder / "taken", folder / "frames.json"
    extract_frames(source, FrameSettings.model_validate(settings), frames, listed)
    found = read_frames(frames, listed)
    assert ("focal_px" in json.loads(listed.read_text())) == (found.focal_px is not None)
    return found.focal_px


@pytest.mark.parametrize(("length", "expected_px"), [("26", 26 / 34.616 * 64), ("0", None), ("wide", None)])
def test_a_phones_video_tells_its_equivalent_length(tmp_path: Path, length: str, expected_px: float | None) -> None:
    """That of the whole width of a 4:3 sensor; a frame made smaller has a shorter one in pixels."""
    tags = {"com.apple.quicktime.camera.focal_length.35mm_equivalent": length}
    film = write_film(tmp_path / "a.mov", count=3, muxer_options={"movflags": "use_metadata_tags"}, tags=tags)
    found = told(film, tmp_path, kind="video", longest_side_px=64)
    assert found == (None if expected_px is None else pytest.approx(expected_px, rel=1e-3))


@pytest.mark.parametrize(
    ("length", "expected_px"), [(35, 35 / 43.27 * np.hypot(WIDTH, HEIGHT)), (0, None), (None, None)]
)
def test_pictures_tell_it_in_exif(tmp_path: Path, length: int | None, expected_px: float | None) -> None:
    exif = Image.Exif()
    if length is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = length
    (tmp_path / "shots").mkdir()
    for number in range(2):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 60, 30)).save(tmp_path / "shots" / f"{number}.jpg", exif=exif)
    found = told(tmp_path / "shots", tmp_path, kind="frames")
    assert found == (None if expected_px is None else pytest.approx(expected_px, rel=1e-3))


def test_a_given_camera_counts_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 35
    (tmp_path / "shots").mkdir()
    for number in range(2):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "shots" / f"{number}.jpg", exif=exif)
    assert told(tmp_path / "shots", tmp_path, kind="frames", camera_px=[90, 90, 47, 31]) is None
