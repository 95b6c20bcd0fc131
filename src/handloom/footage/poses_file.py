"""poses.npz and poses.json: what a camera pair's adaptation gives the user."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from handloom.hand.joints import SNAP_NAMES, SNAP_PARENTS, Side
from handloom.runtime.artifacts import Header, read_arrays, write_arrays
from handloom.runtime.errors import InputError
from handloom.runtime.files import write_json

KIND = "footage_poses"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FootagePoses:
    """One row per pair of frames with a common hand, in order of time; joints in SNAP order, metres.

    All joints are relative to the wrist. Those of a view are along its camera's axes, fused ones along the left's;
    `before` are the source network's.
    """

    index_left: Int[np.ndarray, " pairs"]
    index_right: Int[np.ndarray, " pairs"]
    names_left: np.ndarray
    names_right: np.ndarray
    times_left_s: Float[np.ndarray, " pairs"]
    times_right_s: Float[np.ndarray, " pairs"]
    joints_m: Float[np.ndarray, "pairs 21 3"]
    confidence: Float[np.ndarray, "pairs 21"]
    """The larger of both views'."""
    joints_left_m: Float[np.ndarray, "pairs 21 3"]
    joints_right_m: Float[np.ndarray, "pairs 21 3"]
    right_from_left: Float[np.ndarray, "3 3"]
    joints_before_m: Float[np.ndarray, "pairs 21 3"]
    joints_left_before_m: Float[np.ndarray, "pairs 21 3"]
    joints_right_before_m: Float[np.ndarray, "pairs 21 3"]
    right_from_left_before: Float[np.ndarray, "3 3"]


def write_poses(
    poses_npz: Path,
    poses_json: Path,
    poses: FootagePoses,
    sources: Mapping[str, str],
    *,
    side: Side,
    size: str,
    code: str = "",
) -> None:
    """Write the poses as arrays, and the fused ones as text with all that is needed to read them."""
    extra = {"side": side, "size": size, **{f"source_{view}": source for view, source in sources.items()}}
    write_arrays(poses_npz, asdict(poses), Header(KIND, "m, s", "left camera (OpenCV)", "SNAP", code=code, extra=extra))
    rows = zip(
        *(poses.names_left.tolist(), poses.names_right.tolist()),
        *(poses.times_left_s.tolist(), poses.times_right_s.tolist()),
        *(poses.joints_m.round(6).tolist(), poses.confidence.round(4).tolist()),
        strict=True,
    )
    names = ("frame_left", "frame_right", "time_left_s", "time_right_s", "joints_m", "confidence")
    write_json(
        poses_json,
        {
            "schema": f"handloom {KIND} {SCHEMA_VERSION} (docs/footage.md)",
            "units": "m",
            "size": size,
            "frame": "axes of the left camera (OpenCV: x right, y down, z forward), relative to the wrist",
            "right_from_left": poses.right_from_left.tolist(),
            "hand": side,
            "joint_names": list(SNAP_NAMES),
            "joint_parents": list(SNAP_PARENTS),
            "sources": dict(sources),
            "poses": [dict(zip(names, row, strict=True)) for row in rows],
        },
    )


def read_poses(path: Path) -> FootagePoses:
    """Read the arrays that `write_poses` wrote; raises InputError as `read_arrays` does."""
    arrays, _ = read_arrays(path, KIND)
    try:
        return FootagePoses(**arrays)
    except TypeError as error:
        raise InputError(f"{path}: holds {sorted(arrays)} ({error}); make the poses again") from error
