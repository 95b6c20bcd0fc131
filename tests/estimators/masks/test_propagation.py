"""Masks from a prompt: how much of the truth they cover on rendered footage, and how they fail."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from handloom.datasets.frames import write_frames_sheet
from handloom.datasets.masks import read_masks
from handloom.estimators.masks.appearance import PixelFeatures, still_background
from handloom.estimators.masks.grabcut import cleaned, cut_prompts
from handloom.estimators.masks.propagation import from_nearest_mark, guided_filter, propagated_masks
from handloom.estimators.masks.sequence_masks import advice_for, overlay
from handloom.runtime.config.sequences import FramePrompts, MaskSettings, Prompt, Prompts
from handloom.runtime.errors import InputError
from handloom.runtime.images import read_rgb

from ..sfm.footage import HEIGHT, WIDTH, Footage, turning_box

BOXES = {"object": Prompt(box=(95, 50, 222, 180)), "right": Prompt(box=(175, 80, 319, 225))}
CLICKS = {"object": Prompt(click=(145, 115)), "right": Prompt(click=(240, 120))}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    return turning_box(tmp_path_factory.mktemp("hand"), frames=10, hand=True)


def overlap(first: np.ndarray, second: np.ndarray, label: int) -> np.ndarray:
    """Intersection over union per frame."""
    a, b = first == label, second == label
    return (a & b).sum((1, 2)) / (a | b).sum((1, 2))


def masked(footage: Footage, folder: Path, *marks: FramePrompts, still_camera: bool = True) -> np.ndarray:
    """The masks that the stage writes."""
    places = footage.frames, footage.frames_json, marks, folder / "masks", folder / "masks.png"
    propagated_masks(*places, still_camera=still_camera, empty_fraction=0.3)
    return read_masks(folder / "masks", footage.taken)


@pytest.mark.parametrize(("prompts", "mean_floor", "worst_floor"), [(BOXES, 0.86, 0.7), (CLICKS, 0.78, 0.65)])
def test_masks_cover_object_and_hand_both_ways(
    footage: Footage, tmp_path: Path, prompts: dict[str, Prompt], mean_floor: float, worst_floor: float
) -> None:
    found, true = masked(footage, tmp_path, Prompts(frame=5, **prompts)), footage.labels()
    for label in (50, 150):
        assert overlap(found, true, label).mean() > mean_floor
        assert overlap(found, true, label).min() > worst_floor
    assert not (found == 250).any()


def test_a_resting_hand_is_not_taken_for_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resting = turning_box(tmp_path, frames=10, hand=True, sway_px=4)
    found = masked(resting, tmp_path / "found", Prompts(frame=5, **BOXES))
    assert "right hardly moves" in capsys.readouterr().err
    assert overlap(found, resting.labels(), 150).min() > 0.9
    assert overlap(found, resting.labels(), 50).min() > 0.85


def test_a_mark_inside_a_larger_one_is_of_what_stands_before_it() -> None:
    """A hand before a large box, all of it in the box's mark: the box's many colours had taken the hand."""
    rng = np.random.default_rng(0)
    image = np.full((120, 160, 3), 60, np.uint8) + rng.integers(0, 20, (120, 160, 3), np.uint8)
    tiles = rng.choice(np.array([[200, 20, 20], [250, 250, 250], [230, 150, 40]], np.uint8), (8, 8))
    image[20:100, 40:120] = np.repeat(np.repeat(tiles, 10, 0), 10, 1)
    image[50:80, 50:80] = (220, 170, 150)
    masks = cut_prompts(image, {"object": Prompt(box=(38, 18, 121, 101)), "right": Prompt(box=(47, 47, 82, 82))})
    assert masks["right"][52:78, 52:78].mean() > 0.95
    assert not masks["object"][52:78, 52:78].any()
    assert masks["object"].sum() > 0.9 * (80 * 80 - 30 * 30)


def test_masks_of_grey_footage_are_settled_without_the_background(footage: Footage, tmp_path: Path) -> None:
    shutil.copytree(footage.frames, tmp_path / "frames")
    for path in (tmp_path / "frames").iterdir():
        Image.open(path).convert("L").convert("RGB").save(path)
    grey = footage._replace(frames=tmp_path / "frames")
    found = masked(grey, tmp_path, Prompts(frame=5, **BOXES))
    assert overlap(found, footage.labels(), 150).mean() > 0.9
    # 0.84 with colour features, the still background and no new cut of the edge.
    assert overlap(found, footage.labels(), 50).mean() > 0.9
    assert not PixelFeatures.of(np.stack([read_rgb(path) for path in grey.taken.pictures])).coloured


def test_marks_on_several_frames_reach_halfway_and_what_has_none_is_not_seen(footage: Footage, tmp_path: Path) -> None:
    box, hand = Prompt(box=(95, 50, 222, 180)), Prompt(box=(175, 80, 319, 225))
    marks = FramePrompts(frame=5, object=box, right=hand), FramePrompts(frame=0, object=box)
    found = masked(footage, tmp_path, *marks)
    assert not (found[:3] == 150).any()
    assert (found[3:] == 150).any((1, 2)).all()
    assert overlap(found, footage.labels(), 50).min() > 0.6
    reach = [list(order) for order in from_nearest_mark([1, 4], 7)]
    assert reach == [[1, 2], [4, 5, 6], [1, 0], [4, 3]]


def test_an_outline_is_taken_as_it_is(footage: Footage, tmp_path: Path) -> None:
    corners = ((120.0, 80.0), (180.0, 80.0), (180.0, 140.0), (120.0, 140.0))
    labels = masked(footage, tmp_path, FramePrompts(frame=2, object=Prompt(outline=corners), right=BOXES["right"]))[2]
    assert (labels[80:141, 120:181] == 50).all()
    assert (labels == 50).sum() == 61 * 61
    image = read_rgb(footage.frames / "0000.png")
    with pytest.raises(InputError, match=r"prompts\.object: outline \[\[400.*outside the frame"):
        cut_prompts(image, {"object": Prompt(outline=((400, 0), (450, 0), (450, 40)))})


def test_lists_of_marks_that_cannot_be_used_are_errors() -> None:
    both = FramePrompts(frame=3, **BOXES)
    with pytest.raises(ValueError, match="a hand must each be marked"):
        MaskSettings(prompts=(FramePrompts(frame=0, object=BOXES["object"]),))
    with pytest.raises(ValueError, match="name a frame more than once"):
        MaskSettings(prompts=(both, both))
    assert MaskSettings.model_validate({"prompts": [both.model_dump()]}).marks == (both,)


def test_masks_do_not_need_a_still_camera(footage: Footage, tmp_path: Path) -> None:
    found = masked(footage, tmp_path, Prompts(frame=5, **BOXES), still_camera=False)
    assert overlap(found, footage.labels(), 150).mean() > 0.8


def test_background_is_found_behind_motion_and_not_in_a_moving_picture() -> None:
    generator = np.random.default_rng(0)
    still = generator.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    frames = np.repeat(still[None], 10, 0)
    for number in range(10):
        frames[number, 10:20, 5 * number : 5 * number + 10] = 255 - 20 * number
    background = still_background(frames)
    assert background is not None
    assert np.abs(background.colour - still).max() < 1
    hidden = background.hidden(frames[3])
    assert hidden[10:20, 15:25].mean() > 0.8
    hidden[10:20, 15:25] = False
    assert not hidden.any()
    shifted = np.stack([np.roll(still, 7 * number, axis=1) for number in range(10)])
    assert still_background(shifted) is None


def test_a_shadow_is_still_background() -> None:
    still = np.full((20, 20, 3), (120, 160, 90), np.uint8)
    background = still_background(np.repeat(still[None], 6, 0))
    assert background is not None
    shadowed = (still * 0.75).astype(np.uint8)
    assert background.shows(shadowed).all()
    assert background.hidden((still * np.array([0.4, 1, 1])).astype(np.uint8)).all()


def test_islands_and_holes_are_cleaned() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:25, 5:25] = True
    mask[12:15, 12:15] = False
    mask[30:33, 30:33] = True
    mask[36, 2] = True
    kept = cleaned(mask, 0.1)
    assert kept[12:15, 12:15].all()
    assert not kept[28:].any()
    assert cleaned(mask, 0.01)[31, 31]
    assert not cleaned(np.zeros((5, 5), bool)).any()


def test_guided_filter_smooths_within_regions_and_not_across_edges() -> None:
    guide = np.zeros((40, 40), np.float32)
    guide[:, 20:] = 1
    noisy = np.stack([guide, 1 - guide], -1) + np.random.default_rng(0).normal(0, 0.3, (40, 40, 2))
    smooth = guided_filter(guide, noisy, radius_px=4)
    assert np.abs(smooth[..., 0] - guide).mean() < 0.06
    assert (smooth.argmax(-1) == (guide == 0)).mean() > 0.99
    blurred = cv2.boxFilter(noisy[..., 0].astype(np.float32), -1, (9, 9))
    assert np.abs(blurred - guide)[:, 18:22].mean() > 3 * np.abs(smooth[..., 0] - guide)[:, 18:22].mean()


def test_prompts_that_cannot_be_used_are_errors(footage: Footage, tmp_path: Path) -> None:
    image = read_rgb(footage.frames / "0000.png")
    outside = {"object": Prompt(box=(400, 10, 450, 60)), "right": BOXES["right"]}
    with pytest.raises(InputError, match=r"prompts\.object: box.*outside the frame of 320x240"):
        cut_prompts(image, outside)
    with pytest.raises(InputError, match=r"masks\.prompts\.frame: is 99, but the sequence has 10"):
        masked(footage, tmp_path, Prompts(frame=99, **BOXES))
    with pytest.raises(ValueError, match="exactly one"):
        Prompt()
    with pytest.raises(ValueError, match="neither hand"):
        Prompts(object=BOXES["object"])
    assert not (tmp_path / "masks").exists()


def test_a_box_of_the_whole_picture_leaves_no_background_to_learn() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    marks = {"object": Prompt(box=(0, 0, 63, 47)), "right": Prompt(box=(20, 20, 50, 40))}
    with pytest.raises(
        InputError, match=r"prompts\.object: box \[0\.0, 0\.0, 63\.0, 47\.0\] covers the whole frame of 64x48"
    ):
        cut_prompts(image, marks)
    with pytest.raises(InputError, match=r"prompts\.right: .* covers the whole frame"):
        cut_prompts(image, {"object": marks["right"], "right": Prompt(box=(-5, -5, 99, 99))})


def test_what_to_try_next_is_not_what_was_tried() -> None:
    """An empty mask's message knows the marks: clicks, boxes, outlines."""
    click, box, outline = Prompt(click=(3, 4)), Prompt(box=(1, 2, 3, 4)), Prompt(outline=((0, 0), (9, 0), (9, 9)))
    told = [advice_for([FramePrompts(frame=0, object=mark, right=mark)]) for mark in (click, box, outline)]
    assert ["a box instead" in each for each in told] == [True, False, False]
    assert ["use an outline" in each for each in told] == [True, True, False]
    assert "mark more frames" in advice_for([FramePrompts(frame=n, object=click) for n in (0, 3)])


def test_picture_tints_object_and_hand(footage: Footage, tmp_path: Path) -> None:
    masks = footage.labels()
    write_frames_sheet(footage.taken, lambda number, image: overlay(image, masks[number]), tmp_path / "sheet.png")
    sheet = read_rgb(tmp_path / "sheet.png").astype(int)
    assert sheet.shape == (3 * HEIGHT, 4 * WIDTH, 3)
    labels = footage.labels()[0]
    change = sheet[:HEIGHT, :WIDTH] - read_rgb(footage.frames / "0000.png")
    assert change[labels == 50][:, 2].mean() > 5 + change[labels == 50][:, 0].mean()
    assert np.abs(change[30:][labels[30:] == 0]).max() == 0
