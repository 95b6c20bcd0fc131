"""What a camera pair's adaptation gives the user: one 3D pose of both views for every pair of frames, and the cameras'
rotation, before and after."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation
from torch import Tensor

from handloom.adaptation.pair_predictions import PairPredictions
from handloom.adaptation.pseudo_labels import merge_weights
from handloom.adaptation.triangulation import beside_rays, place_of_first, triangulated_poses
from handloom.datasets.frames import read_frames
from handloom.datasets.views import OWN_PAIR, FramePairs
from handloom.estimators.hands.found import FoundHands, bone_lengths
from handloom.hand.joints import SNAP_NAMES, SNAP_PARENTS, WRIST, Side
from handloom.hand.proportions import NOMINAL_BONE_M
from handloom.runtime.artifacts import Artifact
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.files import read_json, write_json


@dataclass(frozen=True)
class FusedPoses(Artifact, kind="fused_poses", units="m, s", frame="left camera (OpenCV)", joint_order="SNAP"):
    """One row per pair of frames with a common hand, in order of time.

    All joints are relative to the wrist. Those of a view are along its camera's axes, fused ones along the left's;
    `before` are the source network's, merged by confidence. Where key points tell the cameras' rotation, fused ones
    also fit both views' rays to the key points.
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
    side: Side
    size: str
    """Where the hand's size comes from."""
    sources: dict[str, str]
    """What the views were read from."""
    crossed_before_mm: float
    """How far the source's poses of a view lie beside the other view's rays to the key points, at a nominal hand."""
    crossed_mm: float
    """The same of the adapted network's."""
    kept: Literal["adapted", "source"]
    """Whose poses these are: the source's where the adapted ones lie farther beside the other view's rays."""


@dataclass(frozen=True)
class ViewPoses:
    """Both views' poses relative to the wrist along each camera's axes, their confidence, and what merges them."""

    joints: Float[Tensor, "2 pairs 21 3"]
    confidence: Float[Tensor, "2 pairs 21"]
    rotation_12: Float[Tensor, "3 3"]

    def of_bone(self, bone: float) -> Float[Tensor, "2 pairs 21 3"]:
        """Each view's joints at one size: the median of its bones 0-9."""
        return torch.stack([joints * (bone / np.median(bone_lengths(joints.numpy()))) for joints in self.joints])


class SeenKeypoints(NamedTuple):
    """What both pictures show of the joints, and what that tells of the cameras."""

    slopes: Float[Tensor, "2 pairs 21 2"]
    confidence: Float[Tensor, "2 pairs 21"]
    rotation_12: Float[Tensor, "3 3"]
    direction: Float[Tensor, "3"]
    """Of the left camera as the right one sees it."""

    def crossed(self, poses: ViewPoses) -> float:
        """Mean distance of each view's poses beside the other view's rays, in bones 0-9: no training looked at it."""
        left, right = poses.of_bone(1.0)
        others = torch.stack([right @ self.rotation_12.T, left @ self.rotation_12])
        return float(beside_rays(others, self.slopes, self.confidence).mean())

    def joined(self, poses: ViewPoses) -> Float[Tensor, "pairs 21 3"]:
        """Poses that fit both views' poses and rays, in bones 0-9."""
        place = place_of_first(self.slopes, self.rotation_12, self.direction)
        return triangulated_poses(poses.of_bone(1.0), self.slopes, self.confidence, self.rotation_12, place)


def fuse_poses(
    hands: tuple[Path, Path],
    frames: tuple[Path, Path],
    frames_json: tuple[Path, Path],
    pairs: Path,
    predictions: Path,
    start: Path,
    poses: Path,
    text: Path,
    rotation: Path,
    *,
    adaptation: AdaptationSettings,
    code: str = "",
) -> None:
    """Stage: write the poses as arrays, the fused ones as text, and the cameras' rotation.

    Before adaptation the poses are those of the found hands, brought together by the first rotation; after it, those
    that the adapted network predicts, or the source's again where they fit the other view's key points better. Raises
    InputError as the readers do.
    """
    found = FoundHands.load(hands[0]), FoundHands.load(hands[1])
    moments, adapted = FramePairs.load(pairs), PairPredictions.load(predictions)
    listed = read_frames(frames[0], frames_json[0]), read_frames(frames[1], frames_json[1])
    estimate = read_json(start)["estimates"][OWN_PAIR]
    rows = moments.rows("left"), moments.rows("right")
    start_12 = torch.tensor(estimate[adaptation.rotation], dtype=torch.float64)
    joints, confidence = (
        torch.stack(
            [torch.from_numpy(getattr(view, name)[index]).double() for view, index in zip(found, rows, strict=True)]
        )
        for name in ("joints_cam", "confidence")
    )
    before = ViewPoses(joints, confidence, start_12)
    joints, confidence, end_12 = (
        torch.from_numpy(values).double() for values in (adapted.joints, adapted.confidence, adapted.rotation_12)
    )
    after = ViewPoses((joints - joints[:, :, WRIST, None]).transpose(0, 1), confidence.transpose(0, 1), end_12)
    metric = adapted.metric
    rays = [torch.from_numpy(view.rays_of(index)) for view, index in zip(found, rows, strict=True)]
    seen = SeenKeypoints(
        torch.stack([each[..., :2] / each[..., 2:] for each in rays]),
        before.confidence,
        *(torch.tensor(estimate[name], dtype=torch.float64) for name in ("keypoints", "direction")),
    )
    crossed = [1000 * NOMINAL_BONE_M * seen.crossed(poses) for poses in (before, after)]
    kept: Literal["adapted", "source"] = "adapted" if crossed[1] <= crossed[0] else "source"
    if kept == "source":
        print(
            f"adaptation brought no gain: its poses lie {crossed[1]:.1f} mm beside the other view's key points, the "
            f"source network's {crossed[0]:.1f} mm; the source's are kept",
            file=sys.stderr,
        )
        after = before
    result = FusedPoses(
        index_left=rows[0],
        index_right=rows[1],
        names_left=np.array(listed[0].names)[rows[0]],
        names_right=np.array(listed[1].names)[rows[1]],
        times_left_s=np.array(listed[0].times_s)[rows[0]],
        times_right_s=np.array(listed[1].times_s)[rows[1]],
        **fused(
            *(before, after, adaptation.attention_sharpness),
            metric=metric,
            seen=seen if adaptation.rotation == "keypoints" else None,
        ),
        side=found[0].side,
        size="the network's own size of each view, averaged" if metric else f"bone 0-9 set to {NOMINAL_BONE_M} m",
        sources={"left": listed[0].source, "right": listed[1].source},
        crossed_before_mm=crossed[0],
        crossed_mm=crossed[1],
        kept=kept,
    )
    result.save(poses, code=code)
    write_json(text, as_text(result))
    write_json(rotation, rotation_report(estimate, adaptation.rotation, start_12, after.rotation_12))


def fused(
    before: ViewPoses, after: ViewPoses, sharpness: float, *, metric: bool, seen: SeenKeypoints | None = None
) -> dict[str, np.ndarray]:
    """The arrays of `FusedPoses` that poses give: in metres, both at one size of the hand.

    The hand's size is the median of its bone 0-9 in both views and all pairs (metric), or nominal; each view's poses
    are brought to it by one factor, so that adaptation cannot look better by shrinking hands. What is `seen` of the
    joints enters the poses after adaptation.
    """
    arrays: dict[str, np.ndarray] = {}
    bone_m = NOMINAL_BONE_M
    if metric:
        bone_m = float(np.median(np.concatenate([bone_lengths(joints.numpy()) for joints in before.joints])))
    for poses, ending in ((before, "_before"), (after, "")):
        own = poses.of_bone(bone_m)
        arrays[f"joints_left{ending}_m"], arrays[f"joints_right{ending}_m"] = (joints.numpy() for joints in own)
        every = torch.ones_like(poses.confidence, dtype=torch.bool)
        weights = merge_weights(every, poses.confidence, "soft", sharpness=sharpness)
        in_left = own[0], own[1] @ poses.rotation_12.T
        merged = sum((w[..., None] * joints for w, joints in zip(weights, in_left, strict=True)), torch.zeros(1))
        if not ending:
            arrays["confidence"] = poses.confidence.amax(0).numpy()
            merged = merged if seen is None else bone_m * seen.joined(poses)
        arrays[f"joints{ending}_m"] = merged.numpy()
        arrays[f"right_from_left{ending}"] = poses.rotation_12.T.numpy()
    return arrays


def as_text(poses: FusedPoses) -> dict[str, Any]:
    """poses.json: the fused poses with all that is needed to read them (docs/footage.md)."""
    rows = zip(
        *(poses.names_left.tolist(), poses.names_right.tolist()),
        *(poses.times_left_s.tolist(), poses.times_right_s.tolist()),
        *(poses.joints_m.round(6).tolist(), poses.confidence.round(4).tolist()),
        strict=True,
    )
    names = ("frame_left", "frame_right", "time_left_s", "time_right_s", "joints_m", "confidence")
    return {
        "schema": "handloom footage_poses 1 (docs/footage.md)",
        "units": "m",
        "size": poses.size,
        "frame": "axes of the left camera (OpenCV: x right, y down, z forward), relative to the wrist",
        "right_from_left": poses.right_from_left.tolist(),
        "hand": poses.side,
        "joint_names": list(SNAP_NAMES),
        "joint_parents": list(SNAP_PARENTS),
        "sources": poses.sources,
        "poses": [dict(zip(names, row, strict=True)) for row in rows],
    }


def rotation_report(
    estimate: dict[str, Any], used: str, start_12: Float[Tensor, "3 3"], end_12: Float[Tensor, "3 3"]
) -> dict[str, Any]:
    """rotation.json: how the second camera is turned against the first, at the start and after adaptation."""
    of_poses = _turn(torch.tensor(estimate["poses"], dtype=torch.float64))
    return {
        "start": _described(_turn(start_12)),
        "start_is_of": "poses" if used == "poses" else "key points",
        "start_deviation_deg": None if used == "poses" else estimate["keypoints_deviation_deg"],
        "field_of_view_deviation_deg": None if used == "poses" else estimate["field_of_view_deviation_deg"],
        "epipolar_error_percent": estimate["epipolar_error_percent"],
        "cameras": estimate["cameras"],
        "of_poses": _described(of_poses) | {"median_angle_of_single_pairs_deg": estimate["spread_deg"]},
        "end": _described(_turn(end_12)),
        "turned_deg": math.degrees((_turn(end_12) * _turn(start_12).inv()).magnitude()),
        "pairs": estimate["samples"],
        "frames": "OpenCV cameras: x right, y down, z forward; x_right = right_from_left x_left for directions",
    }


def _turn(rotation_12: Float[Tensor, "3 3"]) -> Rotation:
    """x_right = right_from_left x_left for columns; rows of poses turn by the transpose, p_right = p_left R12."""
    return Rotation.from_matrix(rotation_12.numpy().T)


def _described(turn: Rotation) -> dict[str, Any]:
    vector = turn.as_rotvec()
    angle = float(np.linalg.norm(vector))
    return {
        "right_from_left": turn.as_matrix().tolist(),
        "angle_deg": math.degrees(angle),
        "axis": (vector / angle if angle > 0 else np.array([0.0, 0.0, 1.0])).tolist(),
    }
