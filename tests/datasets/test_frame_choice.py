"""Frames chosen by motion: many where things move fast, the sharp ones, and those that are marked."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handloom.datasets.frame_choice import FEWEST, chosen_by_motion
from handloom.datasets.frames import read_frames
from handloom.datasets.video import extract_frames
from handloom.estimators.masks.sequence_masks import marks_of
from handloom.estimators.sfm.views import views_of
from handloom.runtime.config.sequences import FramePrompts, FrameSettings
from handloom.runtime.errors import InputError

from .test_video import write_video

SLOW_PX, FAST_PX, SLOW, FAST = 0.5, 3.0, 60, 30


def moving(blurred: int | None = None) -> list[np.ndarray]:
    """A textured square that moves slowly, then fast; one picture may be blurred."""
    texture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    texture = cv2.resize(texture, (96, 96), interpolation=cv2.INTER_CUBIC)
    pictures, place = [], 10.0
    for number in range(SLOW + FAST):
        shift = np.float32([[1, 0, place], [0, 1, 60]])
        picture = cv2.warpAffine(texture, shift, (320, 240), flags=cv2.INTER_LINEAR, borderValue=(90, 90, 90))
        pictures.append(cv2.GaussianBlur(picture, (0, 0), 3) if number == blurred else picture)
        place += SLOW_PX if number < SLOW else FAST_PX
    return pictures


def test_fast_motion_gets_more_frames_and_blurred_pictures_none() -> None:
    chosen = chosen_by_motion(moving(), 30)
    assert len(chosen) in (29, 30)
    assert chosen[0] == 0
    # 30 px of the way are slow, 90 px fast.
    assert (chosen >= SLOW).sum() == pytest.approx(22, abs=3)
    slow = int(chosen[3])
    swapped = chosen_by_motion(moving(blurred=slow), 30)
    assert slow not in swapped
    assert slow in chosen_by_motion(moving(blurred=slow), 30, marked=[slow])


def test_a_short_video_is_used_whole_and_marks_beyond_it_are_refused() -> None:
    few = moving()[:FEWEST]
    np.testing.assert_array_equal(chosen_by_motion(few), np.arange(FEWEST))
    with pytest.raises(InputError, match=r"prompts\.frame: is 99, but there are 80 pictures"):
        chosen_by_motion(few, marked=[99])


def test_the_list_of_frames_says_what_was_chosen_for_marks_and_skipped_pictures(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40)
    settings = FrameSettings(kind="video", first=2, last=37, most=8, every="auto")
    extract_frames(path, settings, tmp_path / "frames", tmp_path / "frames.json", marked=(17,))
    numbers = json.loads((tmp_path / "frames.json").read_text())["numbers"]
    taken = read_frames(tmp_path / "frames", tmp_path / "frames.json")
    assert [int(name) - 2 for name in taken.names] == numbers == sorted(set(numbers))
    assert 17 in numbers
    assert numbers[-1] <= 35
    assert list(marks_of([FramePrompts(frame=17)], taken)) == [numbers.index(17)]
    labels = np.zeros((len(taken), taken.height_px, taken.width_px), np.uint8)
    views = views_of(taken, labels, path, settings).about(np.array([3]))
    between = set(views.numbers) - set(numbers)
    assert between
    assert all(np.diff(views.numbers) > 0)
    whole = views.position[np.isin(views.numbers, numbers)]
    np.testing.assert_array_equal(whole, np.arange(len(taken)))
    assert (views.position[np.isin(views.numbers, [*between])] % 1 > 0).all()


def test_a_video_of_which_nothing_is_counted_out_has_its_frames_chosen() -> None:
    assert FrameSettings(kind="video").every == "auto"
    assert FrameSettings(kind="video", most=5).every == 1
    assert FrameSettings(kind="frames").every == 1
    with pytest.raises(ValueError, match="every: is auto, which looks for motion in a video; with kind frames"):
        FrameSettings(kind="frames", every="auto")
    with pytest.raises(ValueError, match="last: is 4, which is not after first, 4"):
        FrameSettings(kind="video", first=4, last=4)
