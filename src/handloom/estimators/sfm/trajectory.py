"""Poses of frames that were not registered, from their neighbours."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from handloom.runtime.errors import InputError


def filled_poses(
    cam_from_object: Float[np.ndarray, "frames 4 4"],
    registered: Bool[np.ndarray, " frames"],
    pivot_object: Float[np.ndarray, "3"] | None = None,
) -> Float[np.ndarray, "frames 4 4"]:
    """Poses with the gaps filled: SLERP of the rotation, linear camera position of `pivot_object`, ends held.

    With the pivot at the object's middle the object moves straight across a gap even where SfM's origin lies far from
    it; without one the translation itself is interpolated, as HOLD does. Raises InputError when nothing is registered.
    Source: facts/hold.md 1.7.
    """
    known = np.flatnonzero(registered)
    if len(known) == 0:
        raise InputError("object poses: no frame is registered, expected at least 1; see structure from motion's log")
    pivot = np.zeros(3) if pivot_object is None else pivot_object
    rotations, translations = cam_from_object[known, :3, :3], cam_from_object[known, :3, 3]
    frames = np.clip(np.arange(len(registered)), known[0], known[-1])
    if len(known) == 1:
        filled_rotations = np.repeat(rotations, len(registered), 0)
    else:
        filled_rotations = Slerp(known, Rotation.from_matrix(rotations))(frames).as_matrix()
    pivot_cam = rotations @ pivot + translations
    pivots = np.stack([np.interp(frames, known, pivot_cam[:, axis]) for axis in range(3)], -1)
    filled = np.tile(np.eye(4), (len(registered), 1, 1))
    filled[:, :3, :3] = filled_rotations
    filled[:, :3, 3] = pivots - filled_rotations @ pivot
    filled[known] = cam_from_object[known]
    return filled
