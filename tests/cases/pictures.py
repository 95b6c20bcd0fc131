"""What a user films: a film or a folder of numbered pictures, and masks of them as tools write them.

The object and the hand of every picture lie elsewhere, so that a mask of another frame is seen as one.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..datasets.video_files import numbered, write_film

WIDTH, HEIGHT, COUNT = 96, 64, 12
OBJECT, RIGHT = 50, 150
BOXES = {"object": {"box": [4, 20, 30, 40]}, "right": {"box": [40, 42, 80, 60]}}

Made = dict[str, Any]
Maker = Callable[[Path], Made]
"""Writes a user's files into an empty folder and gives the settings that name them."""
Painted = Callable[[np.ndarray], Image.Image]


def labels(number: int) -> np.ndarray:
    """Where the object and the hand of a picture are."""
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    painted[20:40, 4 + 3 * number : 24 + 3 * number] = OBJECT
    painted[44:60, 60 - 3 * number : 80 - 3 * number] = RIGHT
    return painted


def film(name: str = "film.mp4", codec: str = "libx264", *, frames: Made | None = None, **written: Any) -> Maker:
    """A film; `frames` says which of its pictures are used."""

    def make(folder: Path) -> Made:
        write_film(folder / name, codec, COUNT, **written)
        return {"kind": "video", "path": str(folder / name), **(frames or {})}

    return make


def broken(make: Maker, damage: Callable[[bytes], bytes]) -> Maker:
    """What another maker makes, its one file damaged."""

    def damaged(folder: Path) -> Made:
        made = make(folder)
        path = Path(made["path"])
        path.write_bytes(damage(path.read_bytes()))
        return made

    return damaged


def content(name: str, given: bytes | str) -> Maker:
    """A file of this content, said to be a film."""

    def make(folder: Path) -> Made:
        (folder / name).write_bytes(given if isinstance(given, bytes) else given.encode())
        return {"kind": "video", "path": str(folder / name)}

    return make


def pictures(*names: str, change: Callable[[Path], None] = lambda folder: None, **saved: Any) -> Maker:
    """A folder of numbered pictures, {} in a name standing for their numbers; `change` is what else happened to it."""

    def make(folder: Path) -> Made:
        own = folder / "frames"
        own.mkdir()
        for name in names:
            for number in range(COUNT) if "{" in name else (0,):
                Image.fromarray(numbered(number)).save(own / name.format(number), **saved)
        change(own)
        return {"kind": "frames", "path": str(own)}

    return make


def masked(
    name: str = "{:06d}.png",
    painted: Painted = Image.fromarray,
    *,
    of: Maker | None = None,
    numbers: Iterable[int] = range(COUNT),
    first: int = 0,
    each: Callable[[Path], None] = lambda folder: None,
    **files: Any,
) -> Maker:
    """One file of labels a picture, counted from `first`; `files` is what masks.files says besides its folder."""

    def make(folder: Path) -> Made:
        own = folder / "masks"
        own.mkdir()
        for number in numbers:
            painted(labels(number)).save(own / name.format(number + first))
        each(own)
        return {**(of or film())(folder), "masks": {"source": "files", "files": {"folder": str(own), **files}}}

    return make


def binary(name: str, painted: Callable[[np.ndarray], Image.Image], **files: Any) -> Maker:
    """Two folders of masks of one entity each, painted from what is true where it is."""

    def make(folder: Path) -> Made:
        own = folder / "masks"
        for entity, label in {"object": OBJECT, "right": RIGHT}.items():
            (own / entity).mkdir(parents=True)
            for number in range(COUNT):
                painted(labels(number) == label).save(own / entity / name.format(number))
        given = {"folder": str(own), "convention": "entity_folders", **files}
        given.setdefault("entity_folders", {"object": "object", "right": "right"})
        return {**film()(folder), "masks": {"source": "files", "files": given}}

    return make


def levels(low: float, high: float, mode: Any = np.uint8) -> Callable[[np.ndarray], Image.Image]:
    """A picture of one entity: `high` where it is, `low` elsewhere."""
    return lambda mask: Image.fromarray(np.where(mask, high, low).astype(mode))


def with_alpha(colour: int | None) -> Callable[[np.ndarray], Image.Image]:
    """White on black beside an alpha channel that says nothing, or one colour whose alpha channel is the mask."""

    def painted(mask: np.ndarray) -> Image.Image:
        white = np.where(mask, 255, 0).astype(np.uint8)
        shown = white if colour is None else np.full_like(white, colour)
        alpha = np.full_like(white, 255) if colour is None else white
        return Image.fromarray(np.stack([shown, shown, shown, alpha], -1))

    return painted


def recoloured(*pairs: tuple[int, Any], palette: bool = False) -> Painted:
    """Labels in other numbers, in a palette if wanted, or in colours."""

    def painted(label: np.ndarray) -> Image.Image:
        given = np.zeros((*label.shape, *np.shape(pairs[0][1])), np.uint8)
        for before, after in pairs:
            given[label == before] = after
        image = Image.fromarray(given)
        if palette:
            image.putpalette([value for number in range(256) for value in (number, 255 - number, 7 * number % 256)])
        return image

    return painted


def marked(make: Maker, **boxes: Any) -> Maker:
    """Another maker's film or pictures with boxes on the first frame."""
    return lambda folder: {**make(folder), "masks": {"source": "propagation", "prompts": {**BOXES, **boxes}}}
