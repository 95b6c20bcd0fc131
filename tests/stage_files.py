"""Short ways to make what stages hand on: hands as a network finds them, an object's poses as SfM leaves them."""

from typing import Any

import numpy as np

from handloom.estimators.hands.found import FoundHands
from handloom.estimators.sfm.object_poses import ObjectPoses


def found_hands(joints_cam: np.ndarray, keypoints_px: np.ndarray, **given: Any) -> FoundHands:
    """Hands of every frame, seen with a confidence of 0.7, unless `given` says otherwise."""
    frames = len(joints_cam)
    fields: dict[str, Any] = {
        "found": np.ones(frames, bool),
        "centre_px": keypoints_px.mean(1).astype(np.float64),
        "side_px": np.full(frames, 100.0),
        "angle_rad": np.zeros(frames),
        "presence": np.ones(frames),
        "handedness": np.ones(frames),
        "confidence": np.full((frames, 21), 0.7),
        "vertices_cam": None,
        "intrinsics": None,
        "ray_share": 1.0,
        "side": "right",
        "network": "detnet",
    }
    return FoundHands(joints_cam=joints_cam, keypoints_px=keypoints_px, **fields | given)


def object_poses(cam_from_object: np.ndarray, points_object: np.ndarray, **given: Any) -> ObjectPoses:
    """Registered poses of every frame before a pinhole camera, unless `given` says otherwise."""
    fields: dict[str, Any] = {"registered": np.ones(len(cam_from_object), bool), "radial": 0.0, "mapper": "test"}
    fields |= {"reprojection_px": 1.0, "median_features": None, "intrinsics": np.eye(3)}
    return ObjectPoses(cam_from_object=cam_from_object, points_object=points_object, **fields | given)
