"""What adaptation does to the error, measured against annotations: for logs and plots, never read by the training."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.pseudo_labels import BONE, AlignedPoses
from handloom.adaptation.rotation_start import calibrated_rotation
from handloom.datasets.views import ViewSamples
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
    """Mono-M (mean of the joints' means) and Dual-M (views merged by `rotation_12`) of poses in network units."""
    predicted_mm, true_mm = _placed_mm(poses.double(), truth.joints_m, root_joint)
    rotation = rotation_12.double()
    weights = truth.valid.double()
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)[..., None]
    p1, p2 = predicted_mm.unbind(1)
    w1, w2 = (weights / weights.sum(1, keepdim=True)).unbind(1)
    merged = torch.stack([w1 * p1 + w2 * p2 @ rotation.T, w1 * p1 @ rotation + w2 * p2], 1)
    mono = torch.linalg.vector_norm(predicted_mm - true_mm, dim=-1).masked_fill(~truth.valid, torch.nan)
    dual = torch.linalg.vector_norm(merged - true_mm, dim=-1)[truth.valid]
    return PairErrors(float(mono.flatten(0, 1).nanmean(0).nanmean()), float(dual.mean()))


def pose_error_mm(poses: Float[Tensor, "pairs 2 21 3"], truth: Truth, root_joint: int) -> float:
    """Mean error of poses in network units over all annotated joints, placed as Mono-M places them."""
    predicted_mm, true_mm = _placed_mm(poses.double(), truth.joints_m, root_joint)
    return float(torch.linalg.vector_norm(predicted_mm - true_mm, dim=-1)[truth.valid].mean())


def disagreement(aligned: AlignedPoses, rotation_12: Float[Tensor, "3 3"]) -> float:
    """Mean distance of the views' poses |q1 R12 - q2| over all joints, in bone lengths: needs no annotation."""
    return float(
        torch.linalg.vector_norm(aligned.view_1 @ rotation_12.to(aligned.view_1) - aligned.view_2, dim=-1).mean()
    )


def rotation_error_deg(rotation_12: Float[Tensor, "3 3"], truth: Truth) -> float:
    """Angle to the calibrated rotation."""
    return float(angle_deg(rotation_12.double(), truth.rotation_12))


def _placed_mm(poses: Tensor, joints_m: Tensor, root_joint: int) -> tuple[Tensor, Tensor]:
    def bone(p: Tensor) -> Tensor:
        return torch.linalg.vector_norm(p[..., BONE[1], :] - p[..., BONE[0], :], dim=-1)[..., None, None]

    def rooted(p: Tensor) -> Tensor:
        return p - p[..., root_joint, None, :]

    return 1000 * bone(joints_m) / bone(poses) * rooted(poses), 1000 * rooted(joints_m)
