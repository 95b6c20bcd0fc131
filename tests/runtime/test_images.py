"""Images are decoded fully or refused by name."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.runtime.errors import InputError
from handloom.runtime.images import image_size, read_grey, read_rgb, read_stored

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


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "CMYK", "1"])
def test_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a", format="JPEG" if mode == "CMYK" else "PNG")
    with pytest.raises(InputError, match="8-bit grey or RGB was expected"):
        read_rgb(tmp_path / "a")


def test_an_opaque_alpha_channel_and_a_palette_are_no_matter(tmp_path: Path) -> None:
    few = PIXELS // 128 * 128
    Image.fromarray(few).convert("RGBA").save(tmp_path / "a.png")
    Image.fromarray(few).quantize(8).save(tmp_path / "p.png")
    for name in ("a.png", "p.png"):
        np.testing.assert_array_equal(read_rgb(tmp_path / name), few)
    with pytest.raises(InputError, match="mode P"):
        read_grey(tmp_path / "p.png")


def test_sixteen_bits_of_colour_are_not_cut_to_eight(tmp_path: Path) -> None:
    """Pillow would take the upper half: nothing is left of a picture that uses twelve bits."""
    rows = b"".join(b"\0" + struct.pack(">12H", *range(12)) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    with pytest.raises(InputError, match="mode RGB and 16 bits"):
        read_rgb(tmp_path / "a.png")


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bombs() -> dict[str, tuple[bytes, str]]:
    """Files under a picture's name that are none, or whose few bytes are large in memory; and what is said of them."""
    small, large = (struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0) for side in (4, 30000))
    rows = (b"IDAT", zlib.compress(bytes(20)))
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30 * 2**20)))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    middling = struct.pack(">IIBBBBB", 13000, 13000, 8, 0, 0, 0, 0)
    return {
        "eps": (eps, "as any format that is read"),
        "text": (png((b"IHDR", small), text, rows, (b"IEND", b"")), "cannot be decoded"),
        "pixels": (png((b"IHDR", large), rows, (b"IEND", b"")), "has more pixels than"),
        "many pixels": (png((b"IHDR", middling), rows, (b"IEND", b"")), "13000 pixels|cannot be decoded"),
        "cut": (png((b"IHDR", small), rows)[:-9], "cannot be decoded"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "as any format that is read"),
    }


@pytest.mark.parametrize("kind", bombs())
def test_what_is_no_picture_or_a_bomb_is_refused_and_starts_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, told = bombs()[kind]
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    for read in (read_rgb, read_grey, read_stored):
        with pytest.raises(InputError, match=told) as raised:
            read(tmp_path / "a.png")
        assert "a.png" in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_several_pictures_in_one_file_are_refused(tmp_path: Path, form: str) -> None:
    first, *others = (Image.fromarray(PIXELS // each) for each in (1, 2, 3))
    first.save(tmp_path / "a", format=form, save_all=True, append_images=others)
    with pytest.raises(InputError, match="holds 3 pictures"):
        read_rgb(tmp_path / "a")


def test_pipes_folders_and_links_to_nothing_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere")
    for name, told in (
        ("pipe", "a named pipe"),
        ("link.png", "a named pipe"),
        ("lost.png", "no such image"),
        ("", "a folder"),
    ):
        for read in (read_rgb, read_grey, read_stored, image_size):
            with pytest.raises(InputError, match=told):
                read(tmp_path / name)


def test_stored_values_keep_their_depth_and_a_palette_its_numbers(tmp_path: Path) -> None:
    deep = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_stored(tmp_path / "deep.png").values, deep)
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    palette = Image.frombytes("P", (4, 3), numbers.tobytes())
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "p.png")
    found = read_stored(tmp_path / "p.png")
    np.testing.assert_array_equal(found.values, numbers)
    assert found.alpha is None
    assert found.colours is not None
    assert found.colours[0, 1].tolist() == [128, 0, 0]
    Image.fromarray(deep > 20000).save(tmp_path / "bits.png")
    assert set(np.unique(read_stored(tmp_path / "bits.png").values)) == {0, 1}
    shown = np.dstack([PIXELS, PIXELS[..., 0]])
    Image.fromarray(shown).save(tmp_path / "a.png")
    found = read_stored(tmp_path / "a.png")
    np.testing.assert_array_equal(found.values, PIXELS)
    np.testing.assert_array_equal(found.alpha, PIXELS[..., 0])


def test_missing_and_empty_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        read_rgb(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="cannot be decoded"):
        read_grey(tmp_path / "a.png")
