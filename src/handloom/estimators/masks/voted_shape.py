"""Where the object is in each frame by its poses: the points that the masks of all frames vote for.

A point of the object projects into its mask, or behind the hand, in nearly all frames. A leak (a shadow, a cup behind,
an arm) lies elsewhere on the turning object in each frame, so its points get few votes.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handloom.datasets.masks import BACKGROUND, OBJECT, OUTSIDE, LabelSequence, labels_at
from handloom.estimators.sfm.object_poses import ObjectPoses

SURE_SHARE, AGREED_SHARE, LEAST_SHARE = 0.97, 0.9, 0.7
"""Of the frames: what more of them show is surely or most likely the object's, what fewer than the last show is not."""
_REACH = 2.0
"""The first grid's half side, of the largest extent of the SfM points: parts without texture have none."""
_COARSE_CELLS, _FINE_CELLS = 40, 64
_KEPT_SHARE = 0.5
"""Of the frames: points that fewer show are forgotten."""
_OBJECT_SHARE = 0.5
"""Of the frames that show object or hand at a point, those that show the object; the forearm has less."""
_FEWEST_POINTS = 30
_NEAREST = 1e-6
_ROUGH = np.ones((5, 5), np.uint8)
"""What edges may be off by: two pixels."""
_NEAR_SHARE = 0.03
"""Of the square root of the object's area: votes leave out what poses that are slightly off blur, and thin parts."""
_MOST_LACKED = 0.1
"""Of the object's area, that a mask lacks at a right pose: at most 9 % at ends that were right, from 13 % at wrong ones
(docs/real_video.md)."""


@dataclass(frozen=True)
class VotedShape:
    """Points of the object's space with the share of frames that show them as object, or as the hand before it."""

    points_object: Float[np.ndarray, "points 3"]
    share: Float[np.ndarray, " points"]
    """Ascending, at least 0.5."""
    spacing: float
    """Of the grid, in the poses' unit."""
    poses: ObjectPoses

    @classmethod
    def of(cls, labels: LabelSequence, poses: ObjectPoses) -> "VotedShape | None":
        """The votes of the registered frames' masks: on a coarse grid, then on a fine one about what that kept.

        None where masks and poses do not fit: nothing is shown as object by half of the frames.
        """
        low, high = np.quantile(poses.points_object, (0.02, 0.98), axis=0)
        centre, half = (low + high) / 2, _REACH * float((high - low).max())
        for cells in (_COARSE_CELLS, _FINE_CELLS):
            axis = np.linspace(-half, half, cells)
            points = centre + np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
            share = _shares(points, labels, poses)
            kept = np.flatnonzero(share >= _KEPT_SHARE)
            if len(kept) < _FEWEST_POINTS:
                return None
            spacing = float(axis[1] - axis[0])
            low, high = points[kept].min(0), points[kept].max(0)
            centre, half = (low + high) / 2, float((high - low).max()) / 2 + spacing
        order = kept[np.argsort(share[kept], kind="stable")]
        return cls(points[order], share[order], spacing, poses)

    def shares(self, frame: int, height: int, width: int) -> Float[np.ndarray, "height width"]:
        """Of each pixel, the largest share of a point that it may show; 0 where it can show none."""
        pixels, depth = pixels_of(self.points_object, self.poses, frame)
        column, row = pixels.T
        there = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        image = np.zeros((height, width), np.float32)
        # Shares ascend, and of several points at a pixel the last one stays.
        image[row[there], column[there]] = self.share[there]
        if there.any():
            gap_px = self.spacing * self.poses.intrinsics[0, 0] / np.median(depth[there])
            window = np.ones((2 * round(gap_px / 2) + 3,) * 2, np.uint8)
            return np.asarray(cv2.morphologyEx(image, cv2.MORPH_CLOSE, window))
        return image


def _shares(
    points_object: Float[np.ndarray, "points 3"], labels: LabelSequence, poses: ObjectPoses
) -> Float[np.ndarray, " points"]:
    """Share of the frames that show each point as object or hand; 0 where the hand is shown too often."""
    shown, object_shown, hand_shown = np.zeros((3, len(points_object)), np.int32)
    for frame in np.flatnonzero(poses.posed).tolist():
        pixels, depth = pixels_of(points_object, poses, frame)
        label = labels_at(labels[frame], pixels)
        there = (depth > 0) & (label != OUTSIDE)
        shown += there
        object_shown += there & (label == OBJECT)
        hand_shown += there & (label != OBJECT) & (label != BACKGROUND)
    either = object_shown + hand_shown
    return np.where(object_shown >= _OBJECT_SHARE * either, either / np.maximum(shown, 1), 0.0)


def pixels_of(
    points_object: Float[np.ndarray, "points 3"], poses: ObjectPoses, frame: int
) -> tuple[np.ndarray, Float[np.ndarray, " points"]]:
    """Nearest pixels (column, row) of points in a frame as it was taken, distortion included, and their depths."""
    pose = poses.cam_from_object[frame]
    points_cam = points_object @ pose[:3, :3].T + pose[:3, 3]
    depth = points_cam[:, 2]
    plane = points_cam[:, :2] / np.maximum(depth, _NEAREST)[:, None]
    plane = plane * (1 + poses.radial * np.square(plane).sum(1, keepdims=True))
    pixels = plane @ poses.intrinsics[:2, :2].T + poses.intrinsics[:2, 2]
    return np.rint(pixels.clip(-1e6, 1e6)).astype(np.int64), depth


def strayed_shares(labels: LabelSequence, poses: ObjectPoses) -> tuple[Float[np.ndarray, " frames"], ...]:
    """Per frame, of the object's area by votes: mask beyond the voted shape (a leak), shape without mask (a cut).

    NaN in frames that were not registered; all NaN where masks and poses do not fit at all.
    """
    leaked, cut = np.full((2, len(labels)), np.nan)
    shape = VotedShape.of(labels, poses)
    if shape is None:
        return leaked, cut
    for frame in np.flatnonzero(poses.posed).tolist():
        share = shape.shares(frame, *labels.shape[1:])
        agreed, possible = share >= AGREED_SHARE, share >= LEAST_SHARE
        area = max(int(agreed.sum()), 1)
        inner = cv2.erode(agreed.astype(np.uint8), _ROUGH).astype(bool)
        near_px = max(round(_NEAR_SHARE * float(np.sqrt(area))), 2)
        near = cv2.dilate(possible.astype(np.uint8), np.ones((2 * near_px + 1,) * 2, np.uint8)).astype(bool)
        leaked[frame] = ((labels[frame] == OBJECT) & ~near).sum() / area
        cut[frame] = (inner & (labels[frame] == BACKGROUND)).sum() / area
    return leaked, cut


def without_contradicted_ends(labels: LabelSequence, poses: ObjectPoses) -> Bool[np.ndarray, " frames"]:
    """The registered frames but for those at either end whose masks lack too much of what all of them vote for.

    Where one face alone comes into view, points of its own hold up poses that drift off, and no frame beyond shows
    them wrong; but the object would have to be seen where there is background. Wrong poses vote too, so the rest is
    judged anew until it agrees.
    """
    kept = poses.registered
    while True:
        lacked = strayed_shares(labels, replace(poses, registered=kept))[1]
        agreeing = np.flatnonzero(kept & ~(lacked > _MOST_LACKED))
        if not len(agreeing) or agreeing[[0, -1]].tolist() == np.flatnonzero(kept)[[0, -1]].tolist():
            return kept
        frame = np.arange(len(kept))
        kept = kept & (frame >= agreeing[0]) & (frame <= agreeing[-1])
