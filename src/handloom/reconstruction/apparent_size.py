"""How large the hand looks in its masks: a check on key points, whose spread an unsure network underestimates.

From one camera a hand's distance follows from its apparent size. Key points that shrink towards their mean by a tenth
put the hand, and with it the object, a tenth too far away and too large. Masks do not shrink.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float64, Int, UInt8

from handloom.datasets.masks import BACKGROUND
from handloom.geometry.camera import project
from handloom.hand.forearm import lengths_behind_wrist
from handloom.hand.joints import MIDDLE_BASE, WRIST
from handloom.runtime.images import read_grey

_CELLS_ACROSS = 240
"""Cells along the longer side of the image in which areas are counted."""
_LEAST, _GREATEST, _HALVINGS = 0.6, 1.6, 12
"""Where the factor is sought, and how often that range is halved: to 0.02 %."""
_NEAREST_M = 1e-3
_CLOSING_CELLS = 3
"""Gaps between projected points that are still covered."""
_SAMPLES = np.concatenate([np.full((1, 3), 1 / 3), np.eye(3) / 2 + 1 / 6])
"""Barycentric places of four points per face."""
_SHORTEST_PALM = 0.03
"""A palm seen shorter than this share of the image points at the camera: where its forearm begins cannot be told."""


def distance_factor(
    vertices_cam_m: Float64[np.ndarray, "frames vertices 3"],
    keypoints_cam_m: Float64[np.ndarray, "frames 21 3"],
    faces: Int[np.ndarray, "faces 3"],
    intrinsics: Float64[np.ndarray, "3 3"],
    masks: Sequence[Path],
    hand_label: int,
) -> float | None:
    """The factor f by which all hands must be moved away (1.1: ten percent farther) to look as large as in their masks.

    Two areas are summed over all frames: background that the projected hand covers, and hand that it leaves open. In a
    hand of the right size that is merely misplaced they are equal, so f is where their difference vanishes, found by
    bisection between 0.6 and 1.6. Pixels of the object count neither way, as the hand may be behind it, nor do those on
    the forearm's side of the wrist. None when no frame can be used, or both ends of the range have the same sign.
    """
    labels = [_reduced(read_grey(path)) for path in masks]
    samples = np.einsum("sk,fnkd->fnsd", _SAMPLES, vertices_cam_m[:, faces])
    points = np.concatenate([vertices_cam_m, samples.reshape(len(samples), -1, 3)], axis=1)
    root = keypoints_cam_m[:, WRIST]

    def excess(factor: float) -> float | None:
        shift = (factor - 1.0) * root[:, None]
        pixels, palms = (project(seen + shift, intrinsics, _NEAREST_M) for seen in (points, keypoints_cam_m))
        areas = [
            _area_excess(cells, step, pixel, palm, hand_label)
            for (cells, step), pixel, palm in zip(labels, pixels, palms, strict=True)
        ]
        used = [area for area in areas if area is not None]
        return float(np.sum(used)) if used else None

    low, high = _LEAST, _GREATEST
    at_low, at_high = excess(low), excess(high)
    if at_low is None or at_high is None or not at_low > 0 > at_high:
        return None
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        found = excess(middle)
        if found is not None and found > 0:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)


def _reduced(labels: UInt8[np.ndarray, "height width"]) -> tuple[UInt8[np.ndarray, "rows columns"], int]:
    step = max(1, max(labels.shape) // _CELLS_ACROSS)
    return labels[step // 2 :: step, step // 2 :: step], step


def _area_excess(
    cells: UInt8[np.ndarray, "rows columns"],
    step: int,
    pixels: Float64[np.ndarray, "points 2"],
    keypoints: Float64[np.ndarray, "21 2"],
    hand_label: int,
) -> float | None:
    """Covered background minus open hand, in cells; None for a frame without a hand or with its palm end on."""
    rows, columns = cells.shape
    wrist, middle = keypoints[WRIST], keypoints[MIDDLE_BASE]
    is_hand = cells == hand_label
    if not is_hand.any() or np.linalg.norm(middle - wrist) < _SHORTEST_PALM * step * max(rows, columns):
        return None
    place = np.floor(pixels / step).astype(np.int64)
    inside = ((place >= 0) & (place < [columns, rows])).all(1)
    covered = np.zeros(cells.shape, np.uint8)
    covered[place[inside, 1], place[inside, 0]] = 1
    covered = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((_CLOSING_CELLS,) * 2, np.uint8)).astype(bool)
    grid = (torch.arange(side, dtype=torch.float64) * step for side in (rows, columns))
    beyond_wrist = lengths_behind_wrist(torch.from_numpy(wrist), torch.from_numpy(middle), *grid).numpy() < 0
    background = cells == BACKGROUND  # neither the object nor another hand, which this one may be behind
    return float((covered & background & beyond_wrist).sum()) - float((is_hand & ~covered & beyond_wrist).sum())
