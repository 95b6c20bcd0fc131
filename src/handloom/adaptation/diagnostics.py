"""What adaptation does to the error, measured against annotations: for logs and plots, never read by the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handloom.adaptation.camera_rotation import calibrated_rotation
from handloom.adaptation.method import Method
from handloom.datasets.views import HandLabels
from handloom.evaluation.pose_metrics import (
    PlacedPoses,
    dual_m,
    joint_errors,
    mean_over_instances,
    mono_m,
    place_on_ground_truth,
)
from handloom.geometry.rotations import angle_deg
from handloom.runtime.errors import InputError


class PairLabels(NamedTuple):
    """Annotations of pairs of hands, in metres and the cameras' frames."""

    joints_m: Float[Tensor, "2 pairs 21 3"]
    valid: Float[Tensor, "2 pairs 21"]
    """Which joints are annotated as valid and seen."""
    keypoints_256px: Float[Tensor, "2 pairs 21 2"]
    is_left: Bool[Tensor, " pairs"]
    rotation_12: Float[Tensor, "3 3"]
    """By the cameras' calibration."""

    @classmethod
    def of(
        cls, paths: Sequence[Path], rows: tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
    ) -> "PairLabels":
        """The labels of two views' files whose rows are given; raises InputError unless there are two."""
        if len(paths) != 2:
            raise InputError(f"labels: found {len(paths)} files, expected one for each view")
        views = HandLabels.load(paths[0]), HandLabels.load(paths[1])
        joints, valid, keypoints = (
            torch.stack([torch.from_numpy(getattr(view, name)[index]) for view, index in zip(views, rows, strict=True)])
            for name in ("joints_cam_m", "joint_valid", "keypoints_256px")
        )
        is_left = torch.from_numpy(views[0].is_left[rows[0]])
        return cls(joints.double(), valid, keypoints, is_left, calibrated_rotation(*views, *rows))


class Curves:
    """Errors of a method's networks on some pairs, of its labels, and of its rotations."""

    def __init__(self, labels: PairLabels, root_joint: int, pairs: int, start_12: Float[Tensor, "3 3"]) -> None:
        self.labels, self.root_joint, self.start_12 = labels, root_joint, start_12
        count = labels.joints_m.shape[1]
        self.shown = torch.linspace(0, count - 1, min(pairs, count)).round().long()

    def of(self, method: Method) -> dict[str, float]:
        """Mono-M and Dual-M of what the method's networks answer, and the errors of its labels and rotations."""
        figures = {
            f"{name}_error_deg": float(angle_deg(rotation.double(), self.labels.rotation_12))
            for name, rotation in method.rotations().items()
        }
        merged_by = method.rotations().get("rotation", self.start_12)
        for name, poses in method.answers(self.shown).items() if len(self.shown) else ():
            start = f"{name}_" if name else ""
            placed, valid = self._placed_mm(poses, self.shown)
            figures[f"{start}mono_mm"] = mono_m(joint_errors(*placed), valid)
            figures[f"{start}dual_mm"] = dual_m(*placed, valid, merged_by.double().numpy())
        taught = method.labels()
        if taught is not None:
            placed, valid = self._placed_mm(taught, slice(None))
            figures["label_error_mm"] = mean_over_instances(joint_errors(*placed), valid)
        return figures

    def _placed_mm(
        self, poses: Float[Tensor, "pairs 2 21 3"], rows: Int[Tensor, " pairs"] | slice
    ) -> tuple[PlacedPoses, np.ndarray]:
        """Poses and truth in millimetres as the evaluation compares them, and its weights of the joints."""
        truth = self.labels.joints_m[:, rows].transpose(0, 1)
        placed = place_on_ground_truth(poses.numpy(), truth.numpy(), self.root_joint)
        return placed, (self.labels.valid[:, rows].transpose(0, 1) > 0).double().numpy()
