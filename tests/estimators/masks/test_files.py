"""Masks from files: the conventions mean the same masks, and wrong files are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.estimators.masks.files import read_mask_files
from handloom.estimators.masks.sequence_masks import write_masks
from handloom.runtime.config.masks import MaskFilesSettings, MaskSettings
from handloom.runtime.errors import InputError

NAMES = ["0000.png", "0001.png"]


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    (tmp_path / "frames").mkdir()
    paths = [tmp_path / "frames" / name for name in NAMES]
    for path in paths:
        Image.new("RGB", (12, 8)).save(path)
    return paths


@pytest.fixture
def labels() -> np.ndarray:
    made = np.zeros((2, 8, 12), np.uint8)
    made[:, 1:4, 1:5], made[:, 4:7, 1:5], made[1, 4:7, 8:11] = 50, 150, 250
    return made


def save(folder: Path, name: str, values: np.ndarray, palette: list[int] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette is not None:
        image = Image.frombytes("P", values.shape[::-1], values.tobytes())
        image.putpalette(palette)
    image.save(folder / name)


def test_all_conventions_give_the_same_labels(tmp_path: Path, frames: list[Path], labels: np.ndarray) -> None:
    number_of = {0: 0, 50: 2, 150: 1, 250: 3}
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)
    everyone = {"right": 1, "object": 2, "left": 3}
    for name, image in zip(NAMES, labels, strict=True):
        numbers = np.vectorize(number_of.get)(image).astype(np.uint8)
        save(tmp_path / "labels", name, image)
        save(tmp_path / "index", name, numbers, colours.reshape(-1).tolist())
        save(tmp_path / "colours", name, colours[numbers])
        for entity, label in (("object", 50), ("right", 150), ("left", 250)):
            mask = (image == label) | (entity == "right") & (image == 50)
            save(tmp_path / "entities" / entity, name, np.where(mask, np.uint8(255), np.uint8(0)))
    settings = [
        MaskFilesSettings(folder=str(tmp_path / "labels")),
        MaskFilesSettings(folder=str(tmp_path / "index"), convention="index", index=everyone),
        MaskFilesSettings(
            folder=str(tmp_path / "colours"),
            convention="colours",
            colours={entity: tuple(colours[number].tolist()) for entity, number in everyone.items()},
        ),
        # A palette image serves as colours too; object pixels of the right hand's file go to the object.
        MaskFilesSettings(
            folder=str(tmp_path / "index"),
            convention="colours",
            colours={entity: tuple(colours[number].tolist()) for entity, number in everyone.items()},
        ),
        MaskFilesSettings(
            folder=str(tmp_path / "entities"),
            convention="entity_folders",
            entity_folders={entity: entity for entity in everyone},
        ),
    ]
    for setting in settings:
        np.testing.assert_array_equal(read_mask_files(setting, frames), labels, err_msg=setting.convention)


def test_files_are_found_by_original_name_or_by_order(tmp_path: Path, frames: list[Path], labels: np.ndarray) -> None:
    save(tmp_path / "m", "img_7.png", labels[1])
    save(tmp_path / "m", "img_9.png", labels[0])
    settings = MaskFilesSettings(folder=str(tmp_path / "m"))
    by_name = read_mask_files(settings, frames, ["img_9.jpg", "img_7.jpg"])
    np.testing.assert_array_equal(by_name, labels)
    np.testing.assert_array_equal(read_mask_files(settings, frames), labels[::-1])
    save(tmp_path / "m", "img_11.png", labels[0])
    with pytest.raises(InputError, match=r"2 of 2 frames have no mask file, first 0000.*files, 3"):
        read_mask_files(settings, frames)


def test_wrong_files_are_errors(tmp_path: Path, frames: list[Path], labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="found no mask images"):
        read_mask_files(MaskFilesSettings(folder=str(tmp_path / "nowhere")), frames)
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "odd", name, np.where(image == 50, np.uint8(51), image))
        save(tmp_path / "small", name, image[:4])
        save(tmp_path / "colourful", name, np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"labels \[51\]"):
        read_mask_files(MaskFilesSettings(folder=str(tmp_path / "odd")), frames)
    for convention in ("labels", "index", "colours"):
        with pytest.raises(InputError, match="mask is 12x4"):
            read_mask_files(MaskFilesSettings(folder=str(tmp_path / "small"), convention=convention), frames)
    with pytest.raises(InputError, match=r"colours that masks\.files\.colours does not name"):
        read_mask_files(MaskFilesSettings(folder=str(tmp_path / "colourful"), convention="colours"), frames)
    (tmp_path / "odd" / "0000.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0000\.png"):
        read_mask_files(MaskFilesSettings(folder=str(tmp_path / "odd"), convention="index"), frames)


def test_stage_writes_them_under_the_frames_names(tmp_path: Path, frames: list[Path], labels: np.ndarray) -> None:
    for name, image in zip(NAMES, labels, strict=True):
        save(tmp_path / "m", name, image)
    settings = MaskSettings(source="files", files=MaskFilesSettings(folder=str(tmp_path / "m")))
    write_masks(settings, tmp_path / "frames", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / NAMES[1])), labels[1])
    with pytest.raises(InputError, match=r"masks\.files: is not set"):
        write_masks(MaskSettings(source="files"), tmp_path / "frames", tmp_path / "out")
