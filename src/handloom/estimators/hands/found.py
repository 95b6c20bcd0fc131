"""The hands that a network finds: its answer about some squares, and hands.npz with a row for every frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int

from handloom.estimators.hands.squares import Squares
from handloom.geometry.camera import turns_to_rays, viewing_rays
from handloom.hand.joints import BONE, JOINT_COUNT, WRIST, Side
from handloom.runtime.artifacts import Artifact

UNKNOWN_SIDE = 0.5
"""Handedness of a network that cannot tell the sides."""
SearchedSide = Literal["right", "left", "auto"]
"""Which hand is looked for; auto: either."""
_SURE_SIDE = 0.2
"""A mean handedness nearer than this to 0 or to 1 tells the side. Of real right hands it is 0.96, of left ones 0.05."""


class Answer(NamedTuple):
    """What a network says of the hand in each of some squares, true to the picture: left hands are not mirrored."""

    squares: Squares
    """Where it looked in the end."""
    keypoints_px: Float64[np.ndarray, "hands 21 2"]
    joints: Float64[np.ndarray, "hands 21 3"]
    """SNAP, of any origin, along the picture's axes, as a camera would see them that looks at the square's centre."""
    confidence: Float64[np.ndarray, "hands 21"]
    presence: Float64[np.ndarray, " hands"]
    """Its score that there is a hand."""
    handedness: Float64[np.ndarray, " hands"]
    """Its score that the hand is a right one; `UNKNOWN_SIDE` where it has none."""
    vertices: Float64[np.ndarray, "hands vertices 3"] | None = None
    """Of networks that give the hand model's mesh: metres, along the same axes as the joints."""

    def at(self, rows: Int[np.ndarray, " some"] | Bool[np.ndarray, " hands"]) -> "Answer":
        """Some of the hands."""
        arrays: dict[str, Any] = {
            name: None if value is None else value[rows] for name, value in self._asdict().items() if name != "squares"
        }
        return Answer(self.squares.at(rows), **arrays)


def joined(answers: Sequence[Answer]) -> Answer:
    """The hands of several answers, one after the other; none of none."""
    if not answers:
        none = np.zeros(0)
        squares = Squares(none.reshape(0, 2), none, none)
        return Answer(squares, none.reshape(0, 21, 2), none.reshape(0, 21, 3), none.reshape(0, 21), none, none)
    squares = Squares(*(np.concatenate(parts) for parts in zip(*(each.squares for each in answers), strict=True)))
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(each, name) for each in answers])
        for name in Answer._fields[1:]
        if getattr(answers[0], name) is not None
    }
    return Answer(squares, **arrays)


_NONE = ("centre_px", "side_px", "angle_rad", "keypoints_px", "joints_cam", "vertices_cam")


@dataclass(frozen=True)
class FoundHands(
    Artifact, kind="found_hands", units="px, rad, m or bones 0-9", frame="camera", joint_order="SNAP", may_be_nan=_NONE
):
    """The hand of each frame; NaN, or 0 for scores, where there is none."""

    found: Bool[np.ndarray, " frames"]
    centre_px: Float[np.ndarray, "frames 2"]
    side_px: Float[np.ndarray, " frames"]
    angle_rad: Float[np.ndarray, " frames"]
    presence: Float[np.ndarray, " frames"]
    handedness: Float[np.ndarray, " frames"]
    keypoints_px: Float[np.ndarray, "frames 21 2"]
    joints_cam: Float[np.ndarray, "frames 21 3"]
    """Relative to the wrist, along the camera's axes; metres, or bones 0-9 of a network that knows no size."""
    confidence: Float[np.ndarray, "frames 21"]
    vertices_cam: Float[np.ndarray, "frames vertices 3"] | None
    intrinsics: Float[np.ndarray, "3 3"] | None
    """Of the camera whose axes these are; None where none was known, and axes are those of the squares' centres."""
    ray_share: float
    """Share of the turn from the optical axis to the hand that joints were given."""
    side: Side
    network: str
    distortion: Float[np.ndarray, " coefficients"] | None = None
    """Of the camera's lens, as OpenCV counts the coefficients; None for none that is known."""

    @classmethod
    def of(
        cls,
        answer: Answer,
        rows: Int[np.ndarray, " hands"],
        frames: int,
        intrinsics: Float64[np.ndarray, "3 3"] | None,
        bone_m: float | None,
        *,
        ray_share: float,
        side: Side,
        network: str,
        distortion: Float64[np.ndarray, " coefficients"] | None = None,
    ) -> "FoundHands":
        """A network's hands of the frames `rows`, turned into the camera's axes.

        With `bone_m` joints get one size: the median bone 0-9 is that long. Meshes keep the network's.
        """
        joints, vertices = answer.joints, answer.vertices
        if intrinsics is not None:
            turns = camera_turns(answer.squares.centre_px, intrinsics, ray_share).swapaxes(1, 2)
            joints = joints @ turns
            vertices = None if vertices is None else vertices @ turns
        joints = joints - joints[:, WRIST, None]
        if bone_m is not None:
            joints = joints * (bone_m / np.quantile(bone_lengths(joints), 0.5, method="lower"))

        def spread(values: np.ndarray, empty: float, dtype: type = np.float32) -> np.ndarray:
            all_frames = np.full((frames, *values.shape[1:]), empty, dtype)
            all_frames[rows] = values
            return all_frames

        return cls(
            found=spread(np.ones(len(rows), bool), 0.0, np.bool_),
            **{name: spread(value, np.nan, np.float64) for name, value in answer.squares._asdict().items()},
            presence=spread(answer.presence, 0.0),
            handedness=spread(answer.handedness, UNKNOWN_SIDE),
            keypoints_px=spread(answer.keypoints_px, np.nan),
            joints_cam=spread(joints, np.nan),
            confidence=spread(answer.confidence, 0.0),
            vertices_cam=None if vertices is None else spread(vertices, np.nan),
            intrinsics=intrinsics,
            ray_share=ray_share,
            side=side,
            network=network,
            distortion=distortion,
        )

    def squares(self, rows: Int[np.ndarray, " some"]) -> Squares:
        """The squares of some frames."""
        return Squares(self.centre_px[rows], self.side_px[rows], self.angle_rad[rows])

    @property
    def mean_handedness(self) -> float:
        """Mean score of the found hands that they are right ones."""
        return float(self.handedness[self.found].mean()) if self.found.any() else UNKNOWN_SIDE

    @property
    def side_shown(self) -> Side | None:
        """Which hand the pictures show, whatever was told; None where the network cannot tell or is not sure."""
        mean = self.mean_handedness
        return "right" if mean >= 1 - _SURE_SIDE else "left" if mean <= _SURE_SIDE else None

    def rays_of(self, rows: Int[np.ndarray, " some"], focal_scale: float = 1.0) -> Float64[np.ndarray, "some 21 3"]:
        """Unit viewing rays of some frames' key points along the camera's axes, for a focal length times a factor.

        The camera must be known.
        """
        assert self.intrinsics is not None, "hands without a camera have no rays"
        points = self.keypoints_px[rows].astype(np.float64)
        if self.distortion is not None:
            points = undistorted(points, self.intrinsics, self.distortion)
        return pixel_rays(points, self.intrinsics * [[focal_scale, 1, 1], [1, focal_scale, 1], [1, 1, 1]])


def undistorted(
    points_px: Float64[np.ndarray, "some 21 2"],
    intrinsics: Float64[np.ndarray, "3 3"],
    distortion: Float64[np.ndarray, " coefficients"],
) -> Float64[np.ndarray, "some 21 2"]:
    """Where a camera without lens distortion (OpenCV's k1, k2, p1, p2, k3, ...) would see the points."""
    flat = cv2.undistortPoints(points_px.reshape(-1, 1, 2), intrinsics, distortion, P=intrinsics)
    return np.asarray(flat, np.float64).reshape(points_px.shape)


def pixel_rays(
    points_px: Float64[np.ndarray, "*points 2"], intrinsics: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "*points 3"]:
    """Unit rays through pixels of a pinhole camera."""
    matrix = torch.from_numpy(intrinsics)
    points = torch.from_numpy(points_px)
    focal, centre = (value.expand(points.shape) for value in (matrix.diagonal()[:2], matrix[:2, 2]))
    return viewing_rays(points, focal, centre).numpy()


def camera_turns(
    centre_px: Float64[np.ndarray, "hands 2"], intrinsics: Float64[np.ndarray, "3 3"], share: float = 1.0
) -> Float64[np.ndarray, "hands 3 3"]:
    """Rotations from the axes of cameras that look at squares' centres to those of the camera that took the picture.

    A network that sees only the square knows the hand as a camera would that looks straight at it; `share` is how much
    of that turn its poses lack. On 240 rendered pictures with squares 14 degrees off the axis on average, the whole
    turn lowers DetNet's error from 24.8 to 23.9 mm, and the opposite one raises it to 28.3 mm.
    """
    return turns_to_rays(torch.from_numpy(pixel_rays(centre_px, intrinsics)), share).numpy()


def bone_lengths(joints: Float[np.ndarray, "hands 21 3"]) -> Float[np.ndarray, " hands"]:
    """Length of the bone from wrist to middle finger of each hand, in the joints' unit."""
    return np.asarray(np.linalg.norm(joints[:, BONE[1]] - joints[:, BONE[0]], axis=-1))


def of_side(handedness: Float[np.ndarray, " hands"], side: SearchedSide) -> Float[np.ndarray, " hands"]:
    """Scores that hands are of the side that is looked for: all 1 for either."""
    if side == "auto":
        return np.ones_like(handedness)
    return handedness if side == "right" else 1 - handedness


def certain(scores: Float64[np.ndarray, " hands"]) -> Float64[np.ndarray, "hands 21"]:
    """One score of a hand as the confidence of all its joints."""
    return np.repeat(scores[:, None], JOINT_COUNT, axis=1)
