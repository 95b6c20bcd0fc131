"""A folder of frames and its list belong together, and so do masks and frames; what does not is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.datasets.frames import Frames, read_frames
from handloom.datasets.masks import mask_files, read_masks, write_masks
from handloom.runtime.errors import InputError

CAMERA = np.array([[30.0, 0.0, 5.5], [0.0, 30.0, 3.5], [0.0, 0.0, 1.0]])


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    """Three pictures and their list."""
    (tmp_path / "frames").mkdir()
    for number in range(3):
        Image.new("RGB", (12, 8)).save(tmp_path / "frames" / f"{number:04d}.png")
    made = Frames(tmp_path / "frames", ("a.jpg", "b.jpg", "c.jpg"), (0.0, 0.1, 0.2), "test", 12, 8, "frames:a", CAMERA)
    made.write_list(tmp_path / "frames.json")
    return made


def test_frames_are_read_as_they_were_written(frames: Frames, tmp_path: Path) -> None:
    found = read_frames(frames.folder, tmp_path / "frames.json")
    assert found.names == frames.names
    assert found.times_s == frames.times_s
    assert (found.clock, found.source, found.size_px, len(found)) == ("test", "frames:a", (12, 8), 3)
    np.testing.assert_array_equal(found.intrinsics, CAMERA)
    assert found.pictures == sorted(frames.folder.iterdir())
    replace(frames, intrinsics=None).write_list(tmp_path / "frames.json")
    assert read_frames(frames.folder, tmp_path / "frames.json").intrinsics is None


def test_pictures_that_are_not_listed_or_lack_are_refused(frames: Frames, tmp_path: Path) -> None:
    """Protects from a folder and a list of two runs: all later stages would number frames by either."""
    Image.new("RGB", (12, 8)).save(frames.folder / "0003.png")
    with pytest.raises(InputError, match=r"frames: holds 4 frames, but .*frames\.json lists 3; run the rule"):
        read_frames(frames.folder, tmp_path / "frames.json")
    (frames.folder / "0001.png").unlink()
    with pytest.raises(InputError, match=r"holds 3 frames, and no 0001\.png, but"):
        read_frames(frames.folder, tmp_path / "frames.json")


def test_pictures_of_another_size_are_refused(frames: Frames, tmp_path: Path) -> None:
    Image.new("RGB", (12, 9)).save(frames.folder / "0001.png")
    with pytest.raises(InputError, match=r"1 frames differ in size from the 12x8 pixels of .*, first 0001\.png \(12x9"):
        read_frames(frames.folder, tmp_path / "frames.json")
    (frames.folder / "0001.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0001\.png: cannot be decoded"):
        read_frames(frames.folder, tmp_path / "frames.json")


@pytest.mark.parametrize("text", ['{"names": ["a"]}', "[1, 2]", '{"names": ['])
def test_a_list_of_another_format_is_refused(frames: Frames, tmp_path: Path, text: str) -> None:
    (tmp_path / "frames.json").write_text(text)
    with pytest.raises(InputError, match=r"frames\.json: "):
        read_frames(frames.folder, tmp_path / "frames.json")


def test_masks_are_those_of_the_frames(frames: Frames, tmp_path: Path) -> None:
    labels = np.zeros((3, 8, 12), np.uint8)
    labels[1, :4], labels[2, 4:] = 50, 150
    write_masks(tmp_path / "masks", frames, labels)
    np.testing.assert_array_equal(read_masks(tmp_path / "masks", frames), labels)
    (tmp_path / "masks" / "0001.png").unlink()
    with pytest.raises(InputError, match=r"masks: 1 of 3 frames have no mask, first 0001\.png"):
        mask_files(tmp_path / "masks", frames)
