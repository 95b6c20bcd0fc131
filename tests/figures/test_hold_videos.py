"""The turntable turns once and shows all sides; the overlay video has every frame, also those that failed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.figures.hold_sequence import read_hold_sequence
from handloom.figures.hold_videos import (
    TURN_PICTURES,
    median_rate,
    overlaid,
    turning,
    write_overlay_video,
    write_turntable,
)
from handloom.figures.surface_colours import surface_colours
from handloom.figures.video_file import read_video
from handloom.runtime.errors import InputError

from .hold_files import FAILED, FRAMES, HEIGHT_PX, WIDTH_PX, HoldFiles, write_sequence


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> HoldFiles:
    return write_sequence(tmp_path_factory.mktemp("sequence"))


@pytest.fixture(scope="module")
def turntable_file(files: HoldFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "turntable.mp4"
    write_turntable(*files.inputs, path)
    return path


def test_the_turntable_has_its_pictures_and_its_length(turntable_file: Path) -> None:
    capture = cv2.VideoCapture(str(turntable_file))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    found = read_video(turntable_file)
    assert len(found) == TURN_PICTURES
    assert len(found) / rate == pytest.approx(4)
    assert {picture.shape for picture in found} == {(240, 480, 3)}
    assert [path.name for path in turntable_file.parent.iterdir()] == ["turntable.mp4"]


def test_it_turns_all_the_time_and_once(turntable_file: Path) -> None:
    """The block is red on one side and green on the other: each side faces the camera once in a turn."""
    alone = np.stack(read_video(turntable_file))[:, :, 240:].astype(int)
    shown = alone.min(3) < 200
    red = ((alone[..., 0] > alone[..., 1] + 40) & shown).sum((1, 2))
    green = ((alone[..., 1] > alone[..., 0] + 40) & shown).sum((1, 2))
    # Seen from one end the block is all red, half a turn later all green.
    share = red / (red + green)
    assert share.max() > 0.95
    assert share.min() < 0.05
    apart = abs(int(share.argmax()) - int(share.argmin()))
    assert abs(apart - TURN_PICTURES / 2) <= 4
    power = np.abs(np.fft.rfft(share - share.mean())) ** 2
    assert power[1] > 0.8 * power.sum(), "once per video, not twice and not half"
    # No two neighbours are alike, the last and the first included: nothing stands still, nothing jumps.
    steps = np.array([np.abs(a - b).mean() for a, b in zip(alone, np.roll(alone, -1, axis=0), strict=True)])
    assert steps.min() > 0.3
    assert steps.max() < 5 * np.median(steps)


def test_the_camera_sees_all_of_it_in_every_picture(files: HoldFiles) -> None:
    found = read_hold_sequence(*files.inputs)
    for picture in turning(found, surface_colours(found), pictures=8, side_px=60):
        for panel in (picture[:, :60], picture[:, 60:]):
            shown = panel.min(2) < 250
            assert shown.mean() > 0.05
            assert not shown[[0, -1]].any()
            assert not shown[:, [0, -1]].any()


def test_the_overlay_video_has_every_frame_in_order(files: HoldFiles, tmp_path: Path) -> None:
    write_overlay_video(*files.inputs, tmp_path / "overlay.mp4")
    found = read_video(tmp_path / "overlay.mp4")
    assert len(found) == FRAMES
    sequence = read_hold_sequence(*files.inputs)
    for frame, picture in enumerate(found):
        assert picture.shape == (HEIGHT_PX, 3 * WIDTH_PX, 3)
        photograph = picture[:, :WIDTH_PX].astype(int)
        assert np.abs(photograph - sequence.picture(frame)).mean() < 8
        others = [np.abs(photograph - sequence.picture(row)).mean() for row in range(FRAMES) if row != frame]
        assert np.abs(photograph - sequence.picture(frame)).mean() < min(others)
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)  # frames.json: 0.1 s apart
    capture.release()


def test_panels_show_the_reconstruction_or_say_that_there_is_none(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    for frame, picture in enumerate(overlaid(sequence)):
        photograph, over, aside = np.split(picture, 3, axis=1)
        changed = (over != photograph).any(2).mean()
        shown = (aside < 250).any(2).mean()
        if frame == FAILED:
            assert changed == 0
            assert 0.001 < shown < 0.1  # the words
        else:
            assert changed > 0.03
            assert shown > 0.02


def test_smaller_pictures_keep_the_overlay_in_place(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    picture = next(overlaid(sequence, height_px=44))
    assert picture.shape == (44, 3 * 58, 3)
    photograph, over, _ = np.split(picture, 3, axis=1)
    seen = np.abs(photograph.astype(int) - [120, 120, 200]).max(2) > 25
    changed = (over != photograph).any(2)
    both = (seen & changed).sum() / (seen | changed).sum()
    assert both > 0.9


@pytest.mark.parametrize(
    ("times", "rate"),
    [([0, 0.04, 0.08, 0.5], 25), ([0], 10), ([], 10), ([0, 0, 0], 10), ([0, 0.001], 60), ([0, 20], 1)],
)
def test_the_rate_is_the_median_one(times: list[float], rate: float) -> None:
    assert median_rate(np.array(times, dtype=float)) == pytest.approx(rate)


def test_nothing_to_show_is_said(files: HoldFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p\.npz"):
        write_turntable(tmp_path / "p.npz", *files.inputs[1:], tmp_path / "v.mp4")
    assert not (tmp_path / "v.mp4").exists()
