"""Images are decoded fully or refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.runtime.errors import InputError
from handloom.runtime.images import read_grey, read_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be decoded.*damaged or cut short"):
        read_rgb(path)


def test_colour_and_grey_come_back(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), PIXELS)
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "b.png"), PIXELS[..., 0])
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_a_grey_photograph_saved_as_colour_stays_grey(tmp_path: Path) -> None:
    grey = np.repeat(PIXELS[..., :1], 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), PIXELS[..., 0])


def test_the_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    assert read_rgb(tmp_path / "a.png").shape == (64, 48, 3)


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "P"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="8-bit grey or RGB was expected"):
        read_rgb(tmp_path / "a.png")


def test_missing_and_empty_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        read_rgb(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="cannot be decoded"):
        read_grey(tmp_path / "a.png")
