"""The text log of S2DHand's released code, and the numbers that its `calc_metrics.py` makes of one: an oracle.

A header line; two lines a pair (view 1, view 2) of 14 fields separated by spaces, vectors joined by commas; a footer
`AUC: x, EPE: y`. Lengths are millimetres.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from handloom.evaluation.pose_metrics import auc, dual_m, joint_errors, mono_m
from handloom.geometry.rotations import mean_rotation_unsigned, rotation_between

FIELDS = [
    *("img", "seq", "cam", "frame", "pred", "gt", "valid"),
    *("camrot", "campos", "focal", "pricpt", "hand", "pred_trans", "gt_trans"),
]


class ReferenceLog(NamedTuple):
    """What the metrics need of a log, and the footer as it stands there."""

    predicted_mm: Float[np.ndarray, "pairs 2 21 3"]
    true_mm: Float[np.ndarray, "pairs 2 21 3"]
    valid: Float[np.ndarray, "pairs 2 21"]
    cam_from_world_rotation: Float[np.ndarray, "pairs 2 3 3"]
    footer_auc: float
    footer_epe_mm: float

    def auc(self) -> float:
        """Area under the PCK curve, 20 to 50 mm."""
        return auc(joint_errors(self.predicted_mm, self.true_mm), self.valid)

    def mono_m(self) -> float:
        """Mono-M in millimetres."""
        return mono_m(joint_errors(self.predicted_mm, self.true_mm), self.valid)


class CalcMetrics(NamedTuple):
    """What the reference's `calc_metrics` reports of a log for one rotation."""

    views: int  # printed there as `num`: twice the pairs
    dual_m_mm: float
    dual_m_own_rotation_mm: float  # every pair merged with its own rotation instead
    rotation_from_log: Float[np.ndarray, "3 3"]  # unaligned quaternion mean over the pairs (`calc_R`)
    euler_difference_rad: Float[np.ndarray, "pairs 3"]  # its mean size, not wrapped, is `Rotation_quat_err`


def read_log(path: Path) -> ReferenceLog:
    """Read a log."""
    header, *lines, footer = path.read_text(encoding="utf-8").splitlines()
    assert header.split() == FIELDS
    rows = [line.split(" ") for line in lines]

    def vectors(name: str, *shape: int) -> np.ndarray:
        values = [[float(value) for value in row[FIELDS.index(name)].split(",")] for row in rows]
        return np.array(values).reshape(-1, 2, *shape)

    found = re.fullmatch(r"AUC: (\S+), EPE: (\S+)", footer)
    assert found is not None
    poses = vectors("pred", 21, 3), vectors("gt", 21, 3), vectors("valid", 21)
    return ReferenceLog(*poses, vectors("camrot", 3, 3), float(found[1]), float(found[2]))


def calc_metrics(log: ReferenceLog, rotation_12: Float[np.ndarray, "3 3"]) -> CalcMetrics:
    """The reference's two-view numbers for one camera pair; rotations are fitted without determinant correction."""
    both_valid = torch.from_numpy((log.valid[:, 0] * log.valid[:, 1] > 0) * 1.0)
    pose_1, pose_2 = torch.from_numpy(log.predicted_mm).unbind(1)
    own = rotation_between(pose_1, pose_2, both_valid, proper=False)
    over_all_joints = rotation_between(pose_1, pose_2, proper=False).numpy()
    cameras = log.cam_from_world_rotation
    true = cameras[:, 0] @ np.swapaxes(cameras[:, 1], -1, -2)
    return CalcMetrics(
        views=2 * len(log.valid),
        dual_m_mm=dual_m(log.predicted_mm, log.true_mm, log.valid, rotation_12),
        dual_m_own_rotation_mm=dual_m(log.predicted_mm, log.true_mm, log.valid, own.numpy()),
        rotation_from_log=mean_rotation_unsigned(own).numpy(),
        euler_difference_rad=euler_angles(over_all_joints) - euler_angles(true),
    )


def euler_angles(rotation: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Angles about x, y and z in radians: (atan2(M21, M22), asin(-M20), atan2(M10, M00))."""
    sine = np.clip(-rotation[..., 2, 0], -1, 1)
    about_x = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    about_z = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([about_x, np.arcsin(sine), about_z], axis=-1)
