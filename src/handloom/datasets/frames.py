"""The frames of a sequence or of a view: a folder of pictures, the list of what they are, frames.json, and sheets on
which a stage is checked by eye.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json
from handloom.runtime.images import image_size, read_rgb, write_contact_sheet

Picture = UInt8[np.ndarray, "height width 3"]

_OPTIONAL = ("focal_px", "numbers")
_AGAIN = "run the rule that extracts them again"
# A contact sheet's pictures, how many stand in a row, and how wide each is shown.
_TILES, _COLUMNS = 12, 4
_TILE_WIDTH_PX = 320


@dataclass(frozen=True)
class Frames:
    """Pictures of one size in their order; picture `index` is %04d.png of the folder, and a mask is named as it.

    `names` are their base names before extraction, and `clock` says where the times come from. `intrinsics` belong to
    pictures of this size (pixel centres at integers); None where the source knows no camera, of which it may tell the
    focal length. Without a `source` they are the first frames of a video that nobody has counted.
    """

    folder: Path
    names: tuple[str, ...]
    times_s: tuple[float, ...]
    clock: str
    width_px: int
    height_px: int
    source: str
    intrinsics: Float[np.ndarray, "3 3"] | None
    focal_px: float | None = None
    numbers: tuple[int, ...] | None = None
    """Of each frame its number among the source's pictures from the first one used on, where motion has chosen."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of every picture."""
        return self.width_px, self.height_px

    @cached_property
    def pictures(self) -> list[Path]:
        """The pictures, in order."""
        return [picture_path(self.folder, index) for index in range(len(self))]

    def write_list(self, path: Path) -> None:
        """Write all but the pictures as JSON."""
        content = asdict(self)
        del content["folder"]
        for name in _OPTIONAL:
            if content[name] is None:
                del content[name]
        matrix = None if self.intrinsics is None else self.intrinsics.tolist()
        write_json(path, {**content, "intrinsics": matrix})


def picture_path(folder: Path, index: int) -> Path:
    """The file of a frame in a folder of frames or masks."""
    return folder / f"{index:04d}.png"


def read_frames(folder: Path, frames_json: Path) -> Frames:
    """The frames of a folder and its list.

    Raises InputError when the list is missing, cut short or of another format, when it lists other pictures than the
    folder holds, and for pictures of another size than the list says.
    """
    content, keys = read_json(frames_json), [field.name for field in fields(Frames)][1:]
    fits = isinstance(content, dict) and set(content) | set(_OPTIONAL) == set(keys)
    if not fits or len(content["names"]) != len(content["times_s"]):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{frames_json}: holds {found}, but {sorted(keys)} were expected; extract the frames again")
    content |= {name: tuple(content[name]) for name in ("names", "times_s", "numbers") if name in content}
    if content["intrinsics"] is not None:
        content["intrinsics"] = np.array(content["intrinsics"], dtype=np.float64)
    frames = Frames(folder, **content)
    held = set(folder.glob("*.png"))
    if held != set(frames.pictures):
        missing = [path.name for path in frames.pictures if path not in held]
        first = f", and no {missing[0]}" if missing else ""
        raise InputError(f"{folder}: holds {len(held)} frames{first}, but {frames_json} lists {len(frames)}; {_AGAIN}")
    odd = {path.name: size for path in frames.pictures if (size := image_size(path)) != frames.size_px}
    if odd:
        name, (width, height) = next(iter(odd.items()))
        raise InputError(
            f"{folder}: {len(odd)} frames differ in size from the {frames.width_px}x{frames.height_px} pixels of "
            f"{frames_json}, first {name} ({width}x{height}); a sequence needs one size, {_AGAIN}"
        )
    return frames


def median_picture(
    pictures: UInt8[np.ndarray, "frames height width 3"], shown: Bool[np.ndarray, "frames height width"]
) -> Picture:
    """Per pixel the median of the frames in which it is `shown`; 0 where it never is."""
    # Hidden values sort behind all others; numpy's masked median takes many times as long.
    ordered = np.where(shown[..., None], pictures, np.int16(256)).transpose(1, 2, 3, 0).copy()
    ordered.sort(-1)
    count = shown.sum(0)[..., None, None]
    middle = [np.take_along_axis(ordered, (count - 1 + more).clip(min=0) // 2, -1)[..., 0] for more in (0, 1)]
    return np.where(count[..., 0] > 0, (middle[0] + middle[1]) // 2, 0).astype(np.uint8)


def write_frames_sheet(
    frames: Frames, drawn: Callable[[int, Picture], Picture], output: Path, also: Collection[int] = ()
) -> None:
    """Write twelve frames and `also` others, or all of a shorter sequence, in rows, each with its name in the corner.

    `drawn` makes what is shown of a frame from its number and its picture.
    """
    size = (_TILE_WIDTH_PX, round(_TILE_WIDTH_PX * frames.height_px / frames.width_px))
    tiles = []
    spread = np.linspace(0, len(frames) - 1, _TILES).astype(int)
    for number in np.unique([*spread, *also]).astype(int).tolist():
        path = frames.pictures[number]
        tile = cv2.resize(drawn(number, read_rgb(path)), size, interpolation=cv2.INTER_AREA)
        for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(tile, path.stem, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
        tiles.append(tile)
    write_contact_sheet(output, tiles, _COLUMNS)
