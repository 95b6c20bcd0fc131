"""What adaptation does to the error, measured against annotations: for logs and plots, never read by the training."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import AlignedPoses
from handloom.adaptation.rotation_start import calibrated_rotation
from handloom.datasets.views import ViewSamples
from handloom.evaluation import alignment
from handloom.evaluation.pose_metrics import dual_m, joint_errors, mean_over_instances, mono_m
from handloom.geometry.rotations import angle_deg


class Truth(NamedTuple):
    """Annotated poses of pairs, in metres and the true camera frame, and which joints are annotated and seen."""

    joints_m: Float[Tensor, "pairs 2 21 3"]
    valid: Bool[Tensor, "pairs 2 21"]
    rotation_12: Float[Tensor, "3 3"]

    def at(self, rows: Tensor) -> "Truth":
        """The truth of some of the pairs."""
        return Truth(self.joints_m[rows], self.valid[rows], self.rotation_12)


@dataclass(frozen=True)
class PairErrors:
    """Mean errors in millimetres over the annotated joints of both views."""

    mono_mm: float
    dual_mm: float


def read_truth(view_1: ViewSamples, view_2: ViewSamples, index_1: Tensor, index_2: Tensor) -> Truth:
    """The annotations of the given pairs."""
    rows = ((view_1, index_1.numpy()), (view_2, index_2.numpy()))
    joints = torch.stack([torch.from_numpy(view.joints_cam_m[i]).double() for view, i in rows], 1)
    valid = torch.stack([torch.from_numpy(view.joint_valid[i]) > 0 for view, i in rows], 1)
    return Truth(joints, valid, calibrated_rotation(view_1, view_2, index_1.numpy(), index_2.numpy()))


def pair_errors(
    poses: Float[Tensor, "pairs 2 21 3"], truth: Truth, rotation_12: Float[Tensor, "3 3"], root_joint: int
) -> PairErrors:
    """Mono-M and Dual-M (views merged by `rotation_12`) of poses in network units, as the evaluation takes them."""
    placed, valid = _placed_mm(poses, truth, root_joint)
    return PairErrors(mono_m(joint_errors(*placed), valid), dual_m(*placed, valid, rotation_12.double().numpy()))


def pose_error_mm(poses: Float[Tensor, "pairs 2 21 3"], truth: Truth, root_joint: int) -> float:
    """Mean error of poses in network units over all annotated joints, placed as Mono-M places them."""
    placed, valid = _placed_mm(poses, truth, root_joint)
    return mean_over_instances(joint_errors(*placed), valid)


def disagreement(aligned: AlignedPoses, rotation_12: Float[Tensor, "3 3"]) -> float:
    """Mean distance of the views' poses |q1 R12 - q2| over all joints, in bone lengths: needs no annotation."""
    return float(
        torch.linalg.vector_norm(aligned.view_1 @ rotation_12.to(aligned.view_1) - aligned.view_2, dim=-1).mean()
    )


def rotation_error_deg(rotation_12: Float[Tensor, "3 3"], truth: Truth) -> float:
    """Angle to the calibrated rotation."""
    return float(angle_deg(rotation_12.double(), truth.rotation_12))


def _placed_mm(
    poses: Tensor, truth: Truth, root_joint: int
) -> tuple[alignment.AlignedPoses, Float[np.ndarray, "pairs 2 21"]]:
    """Poses and truth in millimetres as the evaluation compares them, and its weights of the joints."""
    placed = alignment.place_on_ground_truth(poses.numpy(), truth.joints_m.numpy(), root_joint)
    return placed, truth.valid.double().numpy()
