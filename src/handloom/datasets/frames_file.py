"""frames.json: which frames were taken from a sequence, when, how large they are, and their camera if it is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json, write_json

_KEYS = {"names", "times_s", "width_px", "height_px", "source", "intrinsics"}


@dataclass(frozen=True)
class FramesFile:
    """The frames in order; picture `index` is %04d.png of the frames' folder.

    `clock` says where the times come from; `intrinsics` belong to pictures of this size (pixel centres at integers).
    """

    names: tuple[str, ...]
    times_s: tuple[float, ...]
    clock: str
    width_px: int
    height_px: int
    source: str
    intrinsics: Float[np.ndarray, "3 3"] | None


def write_frames_file(path: Path, frames: FramesFile) -> None:
    """Write the frames as JSON."""
    matrix = None if frames.intrinsics is None else frames.intrinsics.tolist()
    write_json(
        path,
        {
            "names": list(frames.names),
            "times_s": list(frames.times_s),
            "clock": frames.clock,
            "width_px": frames.width_px,
            "height_px": frames.height_px,
            "source": frames.source,
            "intrinsics": matrix,
        },
    )


def read_frames_file(path: Path) -> FramesFile:
    """Read what `write_frames_file` wrote; raises InputError when it is missing, cut short or of another format."""
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= _KEYS or len(content["names"]) != len(content["times_s"]):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: holds {found}, but {sorted(_KEYS)} were expected; extract the frames again")
    matrix = content["intrinsics"]
    return FramesFile(
        names=tuple(content["names"]),
        times_s=tuple(content["times_s"]),
        clock=content.get("clock", ""),
        width_px=content["width_px"],
        height_px=content["height_px"],
        source=content["source"],
        intrinsics=None if matrix is None else np.array(matrix, dtype=np.float64),
    )
