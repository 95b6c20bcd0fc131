"""Hands that keep their place on an object: where each is, a ball in the object's frame, and how much is seen of it.

A hand at one end of an object is nearer to the camera in one frame than in another, and its forearm may be longer in
its mask than itself, so that a reach about the object in pixels (`mask_boxes`) cuts off hands or keeps forearms. But
structure from motion knows how the object turns. Where hand and object meet in the masks, the viewing rays of all
frames meet in one point of the object's frame; the widest circle inside the mask tells how large a palm is there.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from handloom.datasets.masks import BACKGROUND, LABEL_OF, OBJECT, Labels, labels_at
from handloom.estimators.sfm.object_poses import ObjectPoses
from handloom.hand.joints import Side
from handloom.runtime.images import read_grey

_CONTACT_PX, _FEWEST_CONTACT = 9, 30
"""Pixels of a hand so near to the object's mask touch it; a frame with fewer of them does not tell where."""
_FEWEST_FRAMES = 5
_PALM_NEAR = 0.6
"""Of the object's length about where hand and object meet: there the palm is sought."""
_PALM_QUANTILE = 0.8
"""Of the circles' radii: in most frames the object or the other hand hides a part of the palm."""
_REACH = 2.2
"""A hand's reach from where it touches the object, in radii of its palm."""
_ON_OTHERS, _ON_BACKGROUND = 0.3, 0.1
"""Confidence that is left of a key point on the object or the other hand, and of one on the background."""
_HIDDEN, _SEEN = 0.3, 0.7
"""Shares of the key points on the hand's mask below which a frame tells next to nothing, and above which all."""
_LEAST = 0.05
_ROUNDS, _WIDE = 12, 1.5
_MOST_RESIDUAL = 0.5
"""Of the reach: rays that miss the common point by more are of a hand that moves on the object."""


def held_boxes(masks: Sequence[Path], side: Side, thing: ObjectPoses) -> Float64[np.ndarray, "frames 4"] | None:
    """The box (x0, y0, x1, y1) about a held hand in each frame, whether its mask shows it or not.

    Its middle is where the hand's pixels, those within reach of where it touches the object, lie on average in the
    object's frame; its side is their boxes' median size there, seen from as far as the frame's camera is. None where
    too few frames show hand and object together, or their rays do not meet: the hand moves on the object.
    """
    labels = [read_grey(path) for path in masks]
    hands = [picture == LABEL_OF[side] for picture in labels]
    touching = np.array([_touching(hand, picture) for hand, picture in zip(hands, labels, strict=True)])
    if (thing.posed & np.isfinite(touching[:, 0])).sum() < _FEWEST_FRAMES:
        return None
    place, apart = _meeting_point(touching, thing)
    centre, px_per_unit = _seen(place, thing)
    length = np.ptp(np.percentile(thing.points_object, (2, 98), axis=0), axis=0).max()
    palms, means, extents = [], np.full((len(labels), 2), np.nan), np.full(len(labels), np.nan)
    grids = np.indices(labels[0].shape)[::-1]
    away = [np.linalg.norm(np.moveaxis(grids, 0, -1) - each, axis=-1) for each in centre]
    for hand, distance, scale in zip(hands, away, px_per_unit, strict=True):
        inscribed = cv2.distanceTransform(hand.astype(np.uint8), cv2.DIST_L2, 5)
        palms.append((inscribed * (distance < _PALM_NEAR * length * scale)).max() / scale)
    reach = _REACH * float(np.quantile(palms, _PALM_QUANTILE))
    if not reach > 0 or np.nanmedian(apart) > _MOST_RESIDUAL * reach:
        return None
    for frame, (hand, distance, scale) in enumerate(zip(hands, away, px_per_unit, strict=True)):
        pixels = np.argwhere(hand & (distance < reach * scale))[:, ::-1]
        if len(pixels) >= _FEWEST_CONTACT:
            means[frame], extents[frame] = pixels.mean(0), (np.ptp(pixels, axis=0).max() + 1) / scale
    middle, px_per_unit = _seen(_meeting_point(means, thing)[0], thing)
    half = np.nanmedian(extents) * px_per_unit[:, None] / 2
    return np.where(thing.posed[:, None], np.hstack([middle - half, middle + half]), np.nan)


def seen_weights(
    masks: Sequence[Path], keypoints_px: Float64[np.ndarray, "hands 21 2"], side: Side
) -> Float64[np.ndarray, "hands 21"]:
    """What is left of the confidence in key points by what the masks, one a hand, show where they lie.

    A network draws a whole hand, as sure of it, where most is hidden behind the object or the other hand. On the
    rendered sequence with two hands the error of its poses falls with the share of key points on the hand's own mask
    (correlations of -0.70 and -0.48), and does not with its own confidence (-0.10 and -0.15).
    """
    weights = np.empty(keypoints_px.shape[:2])
    for row, (path, points) in enumerate(zip(masks, keypoints_px, strict=True)):
        label = labels_at(read_grey(path), points)
        own = label == LABEL_OF[side]
        seen = np.clip((own.mean() - _HIDDEN) / (_SEEN - _HIDDEN), _LEAST, 1.0)
        on_others = np.where(label > BACKGROUND, _ON_OTHERS, _ON_BACKGROUND)
        weights[row] = seen * np.where(own, 1.0, on_others)
    return weights


def _touching(hand: Bool[np.ndarray, "height width"], labels: Labels) -> Float64[np.ndarray, "2"]:
    """The mean pixel (column, row) of a hand that lies beside the object; NaN where hardly any does."""
    near = cv2.dilate((labels == OBJECT).astype(np.uint8), np.ones((_CONTACT_PX,) * 2, np.uint8)) > 0
    pixels = np.argwhere(hand & near)[:, ::-1]
    return pixels.mean(0) if len(pixels) >= _FEWEST_CONTACT else np.full(2, np.nan)


def _meeting_point(
    pixels: Float64[np.ndarray, "frames 2"], thing: ObjectPoses
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, " frames"]]:
    """The point of the object's frame that viewing rays come nearest to, and how far each passes by; NaN: no ray.

    Distances count relative to the camera's, by Geman-McClure's weights, 12 times anew.
    """
    given = thing.posed & np.isfinite(pixels).all(1)
    rotation, translation = thing.cam_from_object[given, :3, :3], thing.cam_from_object[given, :3, 3]
    rays = np.column_stack([pixels[given], np.ones(given.sum())]) @ np.linalg.inv(thing.intrinsics).T
    rays = np.einsum("fji,fj->fi", rotation, rays / np.linalg.norm(rays, axis=1, keepdims=True))
    origin = -np.einsum("fji,fj->fi", rotation, translation)
    across = np.eye(3) - rays[:, :, None] * rays[:, None]
    weight = near = 1 / np.maximum((translation**2).sum(1), 1e-12)
    for _ in range(_ROUNDS):
        normal = (weight[:, None, None] * across).sum(0)
        point = np.linalg.solve(normal, (weight[:, None] * np.einsum("fij,fj->fi", across, origin)).sum(0))
        missed = np.linalg.norm(np.einsum("fij,fj->fi", across, point - origin), axis=1)
        angle = missed / np.linalg.norm(point - origin, axis=1)
        weight = near / (1 + (angle / max(_WIDE * np.median(angle), 1e-6)) ** 2) ** 2
    apart = np.full(len(given), np.nan)
    apart[given] = missed
    return point, apart


def _seen(
    point: Float64[np.ndarray, "3"], thing: ObjectPoses
) -> tuple[Float64[np.ndarray, "frames 2"], Float64[np.ndarray, " frames"]]:
    """Where a point of the object is in every picture, and how many pixels a unit of length is there."""
    cam = thing.cam_from_object[:, :3, :3] @ point + thing.cam_from_object[:, :3, 3]
    depth = np.where(cam[:, 2] > 0, cam[:, 2], np.nan)
    return (cam @ thing.intrinsics.T)[:, :2] / depth[:, None], thing.intrinsics[0, 0] / depth
