"""What annotation tools write means the same masks; what means nothing, or another thing, is refused or said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handloom.estimators.masks.mask_contents import read_binary_files, read_label_files
from handloom.runtime.config.sequences import MaskConvention
from handloom.runtime.errors import InputError

SIZE = (48, 32)
COUNT = 4


def truth(frame: int, kind: str = "object") -> np.ndarray:
    """A box that moves; in the last frame there is none."""
    mask = np.zeros(SIZE[::-1], bool)
    if frame < COUNT - 1:
        top = 4 if kind == "object" else 18
        mask[top : top + 11, 5 + 6 * frame : 20 + 6 * frame] = True
    return mask


def two(low: object, high: object, mode: str | None = None) -> Callable[[np.ndarray], Image.Image]:
    """A binary mask of two values or colours."""

    def image(mask: np.ndarray) -> Image.Image:
        shape = mask[..., None] if isinstance(high, tuple) else mask
        values = np.where(shape, np.array(high), np.array(low))
        dtype = np.uint16 if mode == "I;16" else np.uint8
        made = Image.fromarray(values.astype(dtype))
        return made.convert(mode) if mode not in (None, "I;16") else made

    return image


def alpha(mask: np.ndarray) -> Image.Image:
    made = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    made.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    return made


def palette(mask: np.ndarray) -> Image.Image:
    made = Image.frombytes("P", SIZE, mask.astype(np.uint8).tobytes())
    made.putpalette([0, 0, 0, 128, 0, 0])
    return made


def blurred(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255).resize((96, 64)).resize(SIZE, Image.Resampling.BILINEAR)


def binary(folder: Path, image: Callable[[np.ndarray], Image.Image], suffix: str = "png") -> list[np.ndarray]:
    files = []
    for frame in range(COUNT):
        files.append(folder / f"{frame}.{suffix}")
        image(truth(frame)).save(files[-1])
    return list(read_binary_files(folder, files, SIZE))


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (two(0, 255), "png"),
        (two(0, 1), "png"),
        (two(3, 255), "png"),
        (two(0, 200), "bmp"),
        (two(0, 255), "jpg"),
        (two(0, 255, "1"), "png"),
        (two(0, 65535, "I;16"), "png"),
        (two(0, 1, "I;16"), "png"),
        (two((0, 0, 0), (255, 0, 0)), "png"),
        (two((0, 0, 0), (255, 255, 255)), "jpeg"),
        (two((30, 60, 20), (200, 60, 20)), "png"),
        (two((0, 0, 0, 255), (255, 255, 255, 255)), "png"),
        (two((0, 0, 0, 0), (255, 255, 255, 0)), "png"),
        (two((0, 0, 0, 0), (0, 200, 0, 255)), "png"),
        (two(0, 255, "LA"), "png"),
        (alpha, "png"),
        (two((0, 0, 0, 0), (0, 0, 0, 255)), "png"),
        (palette, "png"),
        (blurred, "png"),
    ],
)
def test_a_binary_mask_is_the_brighter_half_of_what_its_files_use(
    tmp_path: Path, image: Callable[[np.ndarray], Image.Image], suffix: str
) -> None:
    for frame, mask in enumerate(binary(tmp_path, image, suffix)):
        np.testing.assert_array_equal(mask, truth(frame), err_msg=str(frame))


def test_the_alpha_channel_is_taken_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary(tmp_path, alpha)
    assert "the alpha channel is taken for the mask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (lambda mask: Image.new("L", SIZE, 255), "every pixel of its 4 files has the brightness 255"),
        (
            lambda mask: two((255, 255, 255, 0), (20, 0, 0, 255))(mask),
            "its colours and its alpha channel show different",
        ),
        (lambda mask: Image.fromarray((mask * 50 + np.roll(mask, 14, 0) * 150).astype(np.uint8)), "hold 0, 50, 150"),
        (lambda mask: two(0, 255 if mask[:, 5].any() else 1)(mask), "holds 0 and 1, while other files.* reach 255"),
        (lambda mask: Image.new("L", (48, 31)), "mask is 48x31"),
    ],
)
def test_files_that_are_no_binary_masks_are_refused(
    tmp_path: Path, image: Callable[[np.ndarray], Image.Image], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        binary(tmp_path, image)


NUMBERS = np.array([0, 50, 150], np.uint8)
COLOURS = np.array([[0, 0, 0], [0, 128, 0], [128, 0, 0]], np.uint8)
INDEX = {"convention": "index", "index": {"object": 1, "right": 2}}
TRUE = np.stack([np.where(truth(n), 1, np.where(truth(n, "hand"), 2, 0)) for n in range(COUNT)])


def labelled(
    folder: Path, image: Callable[[np.ndarray], Image.Image], settings: dict[str, object], suffix: str = "png"
) -> np.ndarray:
    """Labels read from images that are made of 0 (background), 1 (object) and 2 (hand)."""
    files = [folder / f"{frame}.{suffix}" for frame in range(COUNT)]
    for path, classes in zip(files, TRUE, strict=True):
        image(classes).save(path)
    return read_label_files(files, MaskConvention.model_validate(settings), SIZE)


def grey(classes: np.ndarray) -> Image.Image:
    return Image.fromarray(classes.astype(np.uint8))


def as_palette(colours: np.ndarray) -> Callable[[np.ndarray], Image.Image]:
    def image(classes: np.ndarray) -> Image.Image:
        made = Image.frombytes("P", SIZE, classes.astype(np.uint8).tobytes())
        made.putpalette(colours.astype(np.uint8).reshape(-1).tolist())
        return made

    return image


def with_rim(classes: np.ndarray) -> Image.Image:
    rimmed = classes.astype(np.uint8)
    rimmed[4, (classes == 1).any(0)] = 9
    return Image.fromarray(rimmed)


GREEN = {"convention": "colours", "colours": {"object": (0, 128, 0), "right": (128, 0, 0)}}


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (lambda classes: Image.fromarray(NUMBERS[classes]), {}),
        (lambda classes: Image.fromarray(NUMBERS[classes]).convert("RGB"), {}),
        (lambda classes: Image.fromarray(NUMBERS[classes]).convert("LA"), {}),
        (lambda classes: Image.fromarray(NUMBERS[classes].astype(np.uint16)), {}),
        (as_palette(np.repeat(NUMBERS[:, None], 3, 1)), {}),
        (grey, INDEX),
        (lambda classes: Image.fromarray(classes.astype(np.uint16)), INDEX),
        (lambda classes: grey(classes).convert("RGBA"), INDEX),
        (as_palette(COLOURS), INDEX),
        (as_palette(COLOURS), GREEN),
        (lambda classes: Image.fromarray(COLOURS[classes]), GREEN),
        (lambda classes: Image.fromarray(COLOURS[classes] + np.uint8(7)), GREEN | {
            "colours": {"object": (7, 135, 7), "right": (135, 7, 7)}, "background_colours": [(7, 7, 7)]
        }),
        (lambda classes: Image.fromarray(
            np.dstack([np.where(classes[..., None] > 0, COLOURS[classes], 255), 255 * (classes > 0)]).astype(np.uint8)
        ), GREEN),
    ],
)  # fmt: skip
def test_labels_numbers_and_colours_mean_the_same(
    tmp_path: Path, image: Callable[[np.ndarray], Image.Image], settings: dict[str, object]
) -> None:
    np.testing.assert_array_equal(labelled(tmp_path, image, settings), NUMBERS[TRUE])


@pytest.mark.parametrize(
    ("image", "settings", "told"),
    [
        (grey, {}, r"holds the labels \[1, 2\].*masks\.files\.convention"),
        (two(0, 255), {}, r"holds the labels \[255\]"),
        (grey, INDEX | {"index": {"object": 3, "right": 5}}, r"hold the numbers 0 \(\d+ pixels\), 1 \(.*"
         r"masks\.files\.index names 3 \(object\), 5 \(right\)"),
        (lambda classes: Image.fromarray(COLOURS[classes]), INDEX, "holds colours.*set it to 'colours'"),
        (lambda classes: Image.fromarray(COLOURS[classes] + np.uint8(7)), GREEN,
         r"\[7, 7, 7\] on \d+%.*background_colours"),
    ],
)  # fmt: skip
def test_other_numbers_and_colours_than_the_settings_are_named(
    tmp_path: Path, image: Callable[[np.ndarray], Image.Image], settings: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        labelled(tmp_path, image, settings)


def test_a_rim_of_another_number_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = labelled(tmp_path, with_rim, INDEX)
    assert ((found == 50).sum((1, 2)) == [150, 150, 150, 0]).all()
    assert "no setting names the numbers 9 on 45 pixels" in capsys.readouterr().err


def test_numbers_in_jpeg_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0\.jpg is a JPEG, which blurs"):
        labelled(tmp_path, grey, INDEX, "jpg")


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_arrays_of_numbers_are_read_as_pictures_are(tmp_path: Path, kind: type) -> None:
    files = [tmp_path / f"{frame}.npy" for frame in range(COUNT)]
    for path, classes in zip(files, TRUE, strict=True):
        np.save(path, classes.astype(kind)[None])
    found = read_label_files(files, MaskConvention.model_validate(INDEX), SIZE)
    np.testing.assert_array_equal(found, NUMBERS[TRUE])
    for path, classes in zip(files, TRUE, strict=True):
        np.save(path, classes == 1)
    np.testing.assert_array_equal(np.stack(list(read_binary_files(tmp_path, files, SIZE))), TRUE == 1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((3, 32, 48)), "expected one number for each pixel"),
        (np.array([{"a": 1}]), "cannot be read as an array"),
        (np.zeros((32, 47), np.uint8), "mask is 47x32"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, value: np.ndarray, told: str) -> None:
    np.save(tmp_path / "0.npy", value)
    with pytest.raises(InputError, match=told):
        read_label_files([tmp_path / "0.npy"], MaskConvention.model_validate(INDEX), SIZE)
