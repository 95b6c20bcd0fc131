"""Folders of numbered pictures: in the order of their numbers, none dropped, none twice."""

import os
from pathlib import Path

import pytest
from PIL import Image

from handloom.datasets.numbered_pictures import numbered_pictures, pictures_and_masks, stem_of
from handloom.runtime.errors import InputError


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def found(folder: Path) -> list[str]:
    return [path.name for path in numbered_pictures(folder)]


@pytest.mark.parametrize(
    "names",
    [
        ["0.png", "1.png", "2.png", "10.png", "100.png"],
        ["frame_9_mask.png", "frame_10_mask.png", "frame_11_mask.png"],
        ["0000.png", "0001.webp", "0002.bmp", "0003.tif", "0004.JPG", "0005.jpeg", "0006.pgm"],
        ["IMG (00).jpg", "IMG (01).jpg", "IMG (02).jpg"],
        ["task-5-annotation-9.png", "task-6-annotation-10.png", "task-10-annotation-14.png"],
        ["1305031102.175304.png", "1305031102.211214.png", "1305031103.043227.png"],
        ["9998.png", "9999.png", "10000.png"],
        ["a.png", "b.png", "c.png"],
    ],
)
def test_numbers_are_read_as_numbers(tmp_path: Path, names: list[str]) -> None:
    folder_of(tmp_path, *sorted(names, key=lambda name: hash(name) % 97))
    assert found(tmp_path) == names


def test_what_file_managers_leave_and_what_lies_beside_is_left_out(tmp_path: Path) -> None:
    folder_of(
        tmp_path, "._1.jpg", ".2.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "times.csv", "1.json", "1.jpg", "2.jpg"
    )
    (tmp_path / "__MACOSX").mkdir()
    assert found(tmp_path) == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["0.jpg", "0.png", "1.png"], "0.jpg and 0.png are two files of one frame"),
        (["0003.png", "3.png", "4.png"], "0003.png and 3.png"),
        (["0003.png", "0003 (1).png"], r"0003.png and 0003 \(1\).png"),
        (["0003.png", "0003 copy 2.png"], "0003.png and 0003 copy 2.png|0003 copy 2.png and 0003.png"),
        (["0003.png", "0003_depth.png"], "0003.png and 0003_depth.png"),
        (["left_3.png", "right_3.png"], "left_3.png and right_3.png"),
        (["IMG_7.jpg", "IMG_E7.jpg"], "IMG_7.jpg and IMG_E7.jpg"),
        (["a.png", "A.jpg"], "A.jpg and a.png|a.png and A.jpg"),
        (["0.png", "1.heic", "2.AVIF"], r"2 of its pictures are of a format that is not read \(1.heic, 2.AVIF\)"),
        (["0.png", "1.gif"], "not read"),
        (["notes.txt"], "holds no pictures, found notes.txt"),
        ([], "holds no pictures, found nothing"),
    ],
)
def test_what_would_be_dropped_or_taken_twice_is_refused(tmp_path: Path, names: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        found(folder_of(tmp_path, *names))


def test_pipes_folders_and_lost_links_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"1\.png: is a named pipe"):
        found(folder_of(tmp_path, "0.png"))
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").mkdir()
    with pytest.raises(InputError, match=r"1\.png: is a folder"):
        found(tmp_path)
    (tmp_path / "1.png").rmdir()
    (tmp_path / "1.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"1\.png: no such picture"):
        found(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        found(tmp_path / "elsewhere")


def test_what_tools_hang_onto_names_is_taken_off() -> None:
    assert stem_of("0007_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.png") == "0007"
    assert stem_of("0007_png.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9_mask.png") == "0007_mask"
    assert stem_of("0007.jpg.png") == "0007"
    assert stem_of("000010") == "000010"


def test_masks_of_a_build_folder_have_the_numbers_of_its_images(tmp_path: Path) -> None:
    for kind, first in (("image", 0), ("mask", 1)):
        (tmp_path / kind).mkdir()
        for number in range(first, first + 3):
            Image.new("L", (4, 4)).save(tmp_path / kind / f"{number:04d}.png")
    with pytest.raises(InputError, match=r"0000\.png and 0001\.png in one place"):
        pictures_and_masks(tmp_path)
    (tmp_path / "mask" / "0003.png").rename(tmp_path / "mask" / "0.png")
    images, masks = pictures_and_masks(tmp_path)
    assert [path.name for path in masks] == ["0.png", "0001.png", "0002.png"]
    assert len(images) == 3
