"""Contact sheet and videos show what was reconstructed, in the photographs' colours, and which frames failed."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from handloom.figures.hold_pictures import (
    TURN_PICTURES,
    cells,
    draw_hold_overlay,
    overlaid,
    size_in_words,
    turning,
    write_hold_animation,
    write_hold_videos,
)
from handloom.figures.hold_sequence import read_hold_sequence
from handloom.figures.video_file import read_video
from handloom.reconstruction.tracks import HandTrack, ObjectTrack, SequencePoses
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError

from .hold_files import FAILED, FRAMES, GREEN, HEIGHT_PX, RED, WIDTH_PX, HoldFiles, block


def test_surface_colours_are_those_of_the_photographs(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    colours = sequence.object_colours.astype(float)
    _, _, true = block()
    red = (true == RED).all(1)
    inner = np.abs(sequence.object_vertices_m[:, 0]) > 0.015  # not at the seam
    assert (colours[red & inner].argmax(1) == 0).mean() > 0.97
    assert (colours[~red & inner].argmax(1) == 1).mean() > 0.97
    assert GREEN[1] * 0.5 < np.median(colours[~red & inner, 1]) < GREEN[1] * 1.05


def test_a_hand_that_is_posed_wrongly_leaves_no_colour_where_masks_tell_of_it(files: HoldFiles, tmp_path: Path) -> None:
    """A blue hand before the block that the posed hand does not cover."""
    pictures, masks = tmp_path / "frames", tmp_path / "masks"
    masks.mkdir()
    shutil.copytree(files.frames, pictures)
    for path in sorted(pictures.iterdir()):
        image = np.array(Image.open(path))
        label = np.where((image != [120, 120, 200]).any(2), 50, 0).astype(np.uint8)
        image[30:60, 40:47], label[30:60, 40:47] = (0, 0, 255), 150
        Image.fromarray(image).save(path)
        Image.fromarray(label).save(masks / path.name)
    without = read_hold_sequence(files.predictions, pictures, files.frames_json)
    with_masks = read_hold_sequence(files.predictions, pictures, files.frames_json, masks)
    blue = [int((found.object_colours.argmax(1) == 2).sum()) for found in (without, with_masks)]
    assert blue[0] > 10
    assert blue[1] == 0


def test_contact_sheet_is_drawn_headless_and_reproducibly(files: HoldFiles, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_hold_overlay(*files.inputs, tmp_path / name, sequence="block", rows=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1000
        assert np.asarray(image.convert("RGB")).std() > 20


def test_the_size_is_told_with_how_sure_it_is(tmp_path: Path) -> None:
    ends = np.array([[0.0, 0, 0], [0.03, 0.04, 0.12]])
    hand = HandTrack(torch.zeros(1, 16, 3), torch.zeros(10), torch.ones(1, 3))
    thing = ObjectTrack(torch.eye(3)[None], torch.ones(1, 3), torch.ones(()))
    poses = SequencePoses.of(hand, thing, "right")
    replace(poses, size_deviation=0.12).save(tmp_path / "sure.npz")
    poses.save(tmp_path / "unsaid.npz")
    assert size_in_words(ends, tmp_path / "sure.npz") == "130 mm across (\N{PLUS-MINUS SIGN} 12 %)"
    assert size_in_words(ends, tmp_path / "unsaid.npz") == size_in_words(ends, None) == "130 mm across"


def test_overlay_lies_where_the_photograph_shows_the_hand_and_the_object(files: HoldFiles) -> None:
    sequence = read_hold_sequence(*files.inputs)
    image, overlay, *around, alone = cells(sequence, 0, 0.3)
    seen = (image != [120, 120, 200]).any(2)
    changed = (overlay != image).any(2)
    assert (changed & ~seen).sum() == 0
    assert changed.sum() > 0.9 * seen.sum()
    for picture in (*around, alone):
        assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert 0.03 < (picture < 250).any(2).mean() < 0.8


def test_the_animation_loops_over_the_reconstructed_frames_beside_the_turning_object(
    files: HoldFiles, tmp_path: Path
) -> None:
    write_hold_animation(*files.inputs, tmp_path / "animation.webp")
    with Image.open(tmp_path / "animation.webp") as animation:
        assert animation.n_frames == len(read_hold_sequence(*files.inputs).usable)
        assert animation.info["loop"] == 0
        photograph = round(animation.height * WIDTH_PX / HEIGHT_PX)
        assert animation.width == 2 * photograph + animation.height


@pytest.fixture(scope="module")
def videos(files: HoldFiles, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The turntable and the overlay."""
    folder = tmp_path_factory.mktemp("video")
    paths = folder / "turntable.mp4", folder / "overlay.mp4"
    write_hold_videos(*files.inputs, *paths)
    return paths


def test_the_turntable_has_its_pictures_and_its_length(videos: tuple[Path, Path]) -> None:
    turntable, _ = videos
    capture = cv2.VideoCapture(str(turntable))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    found = read_video(turntable)
    assert len(found) == TURN_PICTURES
    assert len(found) / rate == pytest.approx(4)
    assert {picture.shape for picture in found} == {(240, 480, 3)}


def test_it_turns_all_the_time_and_once(videos: tuple[Path, Path]) -> None:
    """The block is red on one side and green on the other: each side faces the camera once in a turn."""
    alone = np.stack(read_video(videos[0]))[:, :, 240:].astype(int)
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
    for picture in turning(found, pictures=8, side_px=60):
        for panel in (picture[:, :60], picture[:, 60:]):
            shown = panel.min(2) < 250
            assert shown.mean() > 0.05
            assert not shown[[0, -1]].any()
            assert not shown[:, [0, -1]].any()


def test_the_overlay_video_has_every_frame_in_order(files: HoldFiles, videos: tuple[Path, Path]) -> None:
    found = read_video(videos[1])
    assert len(found) == FRAMES
    sequence = read_hold_sequence(*files.inputs)
    for frame, picture in enumerate(found):
        assert picture.shape == (HEIGHT_PX, 3 * WIDTH_PX, 3)
        photograph = picture[:, :WIDTH_PX].astype(int)
        assert np.abs(photograph - sequence.picture(frame)).mean() < 8
        others = [np.abs(photograph - sequence.picture(row)).mean() for row in range(FRAMES) if row != frame]
        assert np.abs(photograph - sequence.picture(frame)).mean() < min(others)
    capture = cv2.VideoCapture(str(videos[1]))
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


def test_nothing_to_show_is_said(files: HoldFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p\.npz"):
        write_hold_videos(tmp_path / "p.npz", *files.inputs[1:], tmp_path / "t.mp4", tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_sequences_that_do_not_belong_together_are_refused(files: HoldFiles, tmp_path: Path) -> None:
    arrays, _ = read_arrays(files.predictions, "hold_predictions")
    no_camera = {**arrays, "intrinsics": np.full((3, 3), np.nan)}
    write_arrays(tmp_path / "p.npz", no_camera, Header("hold_predictions"))
    with pytest.raises(InputError, match="intrinsics holds NaN"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
    strangers = {**arrays, "names": np.array([f"other{row}" for row in range(FRAMES)])}
    write_arrays(tmp_path / "p.npz", strangers, Header("hold_predictions"))
    with pytest.raises(InputError, match="does not list"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
    nothing = {**arrays, "cam_from_object": np.full((FRAMES, 4, 4), np.nan)}
    write_arrays(tmp_path / "p.npz", nothing, Header("hold_predictions"))
    with pytest.raises(InputError, match="nothing to show"):
        read_hold_sequence(tmp_path / "p.npz", files.frames, files.frames_json)
