"""Where a hand and the object are in every frame of a video: what the stages of HOLD hand on to each other.

A track belongs to one hand or to the object, in the frame that its name says: the camera's or HOLD's world. Lengths are
metres. Hand poses are absolute rotation vectors in radians, wrist first, MANO's joint order; zero is the flat hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from pydantic import FiniteFloat
from torch import Tensor

from handloom.hand.joints import Side
from handloom.hand.mano import HandModel, SkinnedHand, skin
from handloom.runtime.artifacts import Artifact
from handloom.runtime.errors import InputError

Grasp = Literal["held", "free"]
"""Whether a hand is still on the object, or moves on it."""


@dataclass(frozen=True)
class HandTrack:
    """One hand over a video: a pose and a place per frame, one shape."""

    rotvec: Float[Tensor, "frames 16 3"]
    shape: Float[Tensor, " shape"]
    translation_m: Float[Tensor, "frames 3"]

    def to(self, dtype: torch.dtype) -> "HandTrack":
        """The same track in another precision."""
        return HandTrack(self.rotvec.to(dtype), self.shape.to(dtype), self.translation_m.to(dtype))

    def skinned(self, model: HandModel) -> SkinnedHand:
        """The posed hand of every frame."""
        shape = self.shape.expand(len(self.rotvec), -1)
        return skin(model, pose_rotvec=self.rotvec, shape=shape, translation_m=self.translation_m)


@dataclass(frozen=True)
class ObjectTrack:
    """The object over a video: x = R (sigma x_object) + t for points of its own frame, structure from motion's."""

    rotation: Float[Tensor, "frames 3 3"]
    translation_m: Float[Tensor, "frames 3"]
    scale: Float[Tensor, ""]
    """sigma, metres per unit of the object's frame."""

    def to(self, dtype: torch.dtype) -> "ObjectTrack":
        """The same track in another precision."""
        return ObjectTrack(self.rotation.to(dtype), self.translation_m.to(dtype), self.scale.to(dtype))

    @classmethod
    def of_sfm(cls, cam_from_object: Float[np.ndarray, "frames 4 4"]) -> "ObjectTrack":
        """What structure from motion found, in its own units: one metre each."""
        matrix = torch.from_numpy(cam_from_object).double()
        return cls(matrix[:, :3, :3], matrix[:, :3, 3], matrix.new_ones(()))

    def at_scale(self, scale: Float[Tensor, ""]) -> "ObjectTrack":
        """The track and the object so many times as large."""
        return ObjectTrack(self.rotation, scale * self.translation_m, scale * self.scale)

    def placed(self, points_object: Float[Tensor, "points 3"]) -> Float[Tensor, "frames points 3"]:
        """Points of the object in every frame."""
        turned = torch.einsum("tij,nj->tni", self.rotation, self.scale * points_object)
        return turned + self.translation_m[:, None]


@dataclass(frozen=True)
class HandPoses(HandTrack, Artifact, kind="hand_poses", units="rad, m", frame="camera", joint_order="MANO16"):
    """The file hand_poses.npz: the hand model laid onto the estimated joints."""

    found: Bool[Tensor, " frames"]
    """Frames that rest on an estimate of their own; the others are interpolated."""
    side: Side


@dataclass(frozen=True)
class SequencePoses(Artifact, kind="sequence_poses", units="m, rad", frame="camera", joint_order="MANO16"):
    """The files aligned.npz and poses.npz: a hand and the object together; rotations as the trainings learn them.

    Of two hands that hold one object the files hold both, by their sides, and the object once (`load_each`).
    """

    hand_rotvec: Float[Tensor, "frames 16 3"]
    hand_shape: Float[Tensor, " shape"]
    hand_translation_m: Float[Tensor, "frames 3"]
    object_rotvec: Float[Tensor, "frames 3"]
    object_translation_m: Float[Tensor, "frames 3"]
    object_scale: Float[Tensor, ""]
    side: Side
    grasp: Grasp | None = None
    """What the alignment took the grasp for, if it asked."""
    size_deviation: FiniteFloat | None = None
    """Standard deviation of the logarithm of `object_scale`; None where nothing told it."""
    object_extent_m: FiniteFloat | None = None
    """The largest distance between two of the object's points at that scale; None as above."""

    @classmethod
    def of(cls, hand: HandTrack, thing: ObjectTrack, side: Side) -> "SequencePoses":
        """The poses of two tracks."""
        rotvec = roma.rotmat_to_rotvec(thing.rotation)
        return cls(hand.rotvec, hand.shape, hand.translation_m, rotvec, thing.translation_m, thing.scale, side)

    def of_frames(self, frames: Sequence[int]) -> "SequencePoses":
        """The poses of some of the frames."""
        rows = list(frames)
        per_frame = ("hand_rotvec", "hand_translation_m", "object_rotvec", "object_translation_m")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_frame})

    @property
    def hand(self) -> HandTrack:
        """The hand's track."""
        return HandTrack(self.hand_rotvec, self.hand_shape, self.hand_translation_m)

    @property
    def object(self) -> ObjectTrack:
        """The object's track."""
        return ObjectTrack(roma.rotvec_to_rotmat(self.object_rotvec), self.object_translation_m, self.object_scale)


def read_poses(path: Path, frames: int, models: Mapping[Side, HandModel]) -> dict[Side, SequencePoses]:
    """Poses of a video of so many frames, of every hand model; raises InputError for those of others."""
    found = SequencePoses.load_each(path)
    has = {side: (len(each.hand_rotvec), len(each.hand_shape)) for side, each in found.items()}
    if has != (wanted := {side: (frames, model.shape_count) for side, model in models.items()}):
        told = " and ".join(
            f"{rows} frames and {size} shape coefficients of a {s} hand" for s, (rows, size) in has.items()
        )
        expected = " and ".join(f"{rows}, {size} and {s}" for s, (rows, size) in wanted.items())
        raise InputError(
            f"{path}: has {told} instead of {expected}; it belongs to another video or hand model, run the phase again"
        )
    return found
