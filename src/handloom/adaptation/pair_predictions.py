"""What is scored and drawn: the source network's poses of all hands, and an adapted one's of the pairs of two cameras.

Only arrays, so that the jobs that read them need not import torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from handloom.geometry.bounds import rotation_fault
from handloom.runtime.artifacts import Artifact
from handloom.runtime.errors import InputError
from handloom.runtime.files import read_json


@dataclass(frozen=True)
class PairPredictions(
    Artifact,
    kind="pair_predictions",
    units="bone 0-9",
    frame="camera",
    joint_order="SNAP",
    may_be_nan=("joints", "confidence", "rotation_12", "own_rotation_12"),  # of a network that diverged
):
    """Poses of the pairs of two cameras in network units and the true camera frames, left hands un-mirrored."""

    pair: str  # 1-based camera numbers, as in `1-3`
    variant: str  # source, source_rays, source_turned, s2dhand, s2dhand_plus, or method/budget
    seed: int | None  # None for the source network
    root_joint: int
    rows: Int[np.ndarray, "pairs 2"]  # rows of the two cameras' samples
    joints: Float[np.ndarray, "pairs 2 21 3"]
    rotation_12: Float[np.ndarray, "3 3"]  # what Dual-M merges the views with
    metric: bool = False
    """Whether joints are in metres, and not in bones 0-9."""
    fidelity: str | None = None
    confidence: Float[np.ndarray, "pairs 2 21"] | None = None
    own_rotation_12: Float[np.ndarray, "3 3"] | None = None
    """The rotation that these poses themselves show, another way to merge them; None where it is `rotation_12`."""


@dataclass(frozen=True)
class SourcePredictions(
    Artifact,
    kind="source_predictions",
    units="bone 0-9 or m",
    frame="camera",
    joint_order="SNAP",
    may_be_nan=("joints", "confidence"),  # of a network that diverged: told by who scores it
):
    """The poses of all cameras' hands, one camera after the other, left hands un-mirrored."""

    camera: Int[np.ndarray, " hands"]
    """Counted from 0, in the headset's order."""
    joints: Float[np.ndarray, "hands 21 3"]
    confidence: Float[np.ndarray, "hands 21"]
    root_joint: int
    turned: bool
    """Whether the poses were turned by their viewing rays."""
    ray_turns: Float[np.ndarray, "hands 3 3"] | None = None
    """Q: the turns towards their hands that S2DHand+ gives poses, `p @ Q^T`; None where it is left out."""

    def of_camera(self, camera: int) -> tuple[Float[np.ndarray, "hands 21 3"], Float[np.ndarray, "hands 21"]]:
        """Joints and confidence of a camera's hands."""
        own = self.camera == camera
        return self.joints[own], self.confidence[own]

    def turned_joints(self) -> Float[np.ndarray, "hands 21 3"]:
        """The poses after the turns to their viewing rays."""
        if self.turned or self.ray_turns is None:
            return self.joints
        turned: np.ndarray = self.joints @ np.swapaxes(self.ray_turns, -1, -2)
        return turned


@dataclass(frozen=True)
class DrawnAnswers(
    Artifact,
    kind="drawn_answers",
    units="bone 0-9",
    frame="camera",
    joint_order="SNAP",
    may_be_nan=("joints", "joints_of_rotation", "slopes", "confidence"),  # of a network that diverged
):
    """The source network's mean answers to several draws of every hand's crop, one camera after the other.

    Left hands are un-mirrored; poses have the turn to their viewing rays.
    """

    camera: Int[np.ndarray, " hands"]
    """Counted from 0, in the headset's order."""
    joints: Float[np.ndarray, "hands 21 3"]
    joints_of_rotation: Float[np.ndarray, "hands 21 3"]
    """With the turn that is best for rotations between cameras, which may be another share of it."""
    confidence: Float[np.ndarray, "hands 21"]
    slopes: Float[np.ndarray, "hands 21 2"]
    """x / z and y / z of the rays to the joints' key points, by the nominal field of view."""


def first_rotation(path: Path, pair: str, kind: str) -> Float[np.ndarray, "3 3"]:
    """A pair's R(0); raises InputError as `rotation_in` does."""
    what = f"{kind} 3x3 rotation of pair {pair}"
    return rotation_in(path, "estimates", pair, kind, what=what, remedy="run the rule that makes it again")


def rotation_in(path: Path, *keys: str, what: str, remedy: str) -> Float[np.ndarray, "3 3"]:
    """The rotation at some keys of a JSON file, in float64; raises InputError when the file lacks it or it is none."""
    try:
        values: Any = read_json(path)
        for key in keys:
            values = values[key]
        rotation = np.array(values, dtype=np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: has no {what} ({error}); {remedy}") from error
    if fault := rotation_fault(rotation):
        raise InputError(f"{path}: the {what} {fault}; {remedy}")
    return rotation
