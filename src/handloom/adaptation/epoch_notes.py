"""What one epoch of adaptation leaves behind: the teacher's poses, for its own rotation, and figures for the curves."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.diagnostics import Truth, disagreement, pose_error_mm
from handloom.adaptation.pseudo_labels import AlignedPoses
from handloom.adaptation.rotation_start import consensus_rotation
from handloom.adaptation.step import StepResult
from handloom.adaptation.view_turns import ViewTurns, turned
from handloom.estimators.detnet.loss import DetNetLoss


@dataclass
class EpochNotes:
    """Collects the results of an epoch's steps."""

    rows: list[Tensor] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)

    def add(self, rows: Tensor, step: StepResult) -> None:
        """Note a step on the pairs `rows`; drops what holds memory: maps and gradients."""
        loss_1, loss_2 = (DetNetLoss(*(term.detach() for term in loss)) for loss in (step.loss_1, step.loss_2))
        teacher = step.teacher._replace(heat=step.teacher.heat[:0].clone())
        self.rows.append(rows)
        self.steps.append(StepResult(loss_1, loss_2, teacher, step.labels))

    def teacher_rotation(self, turns: ViewTurns | None) -> Float[Tensor, "3 3"]:
        """The rotation that the teacher's own poses of this epoch show, joints weighted by both views' confidence.

        `turns`, of all pairs, are what the poses lack; None takes the poses as they are.
        """
        poses = turned(self._aligned(), None if turns is None else turns.at(torch.cat(self.rows)))
        weights = [s.labels.common * s.teacher.confidence_1 * s.teacher.confidence_2 for s in self.steps]
        return consensus_rotation(*poses, torch.cat(weights)).rotation_12

    def teacher_poses(self, pairs: Tensor) -> Float[Tensor, "pairs 2 21 3"]:
        """The teacher's poses of the given pairs, as it answered when their batch came."""
        order = torch.cat(self.rows).argsort()
        poses = torch.cat([torch.stack([s.teacher.poses_1, s.teacher.poses_2], 1) for s in self.steps])
        return poses.cpu()[order[pairs]]

    def figures(self, truth: Truth, rotation_12: Tensor, root_joint: int) -> dict[str, float]:
        """Mean losses of both views, the labels' error, the views' disagreement, and how many pairs were unrefined."""
        labels = torch.cat([torch.stack([s.labels.view_1, s.labels.view_2], 1) for s in self.steps]).cpu()
        sizes = torch.tensor([len(rows) for rows in self.rows], dtype=torch.float64)
        losses = torch.tensor(
            [[float(a + b) for a, b in zip(s.loss_1, s.loss_2, strict=True)] for s in self.steps], dtype=torch.float64
        )
        mean = (losses * sizes[:, None]).sum(0) / sizes.sum()
        return {
            **{
                f"{name}_loss": float(value)
                for name, value in zip(("total", "heat", "delta", "location"), mean, strict=True)
            },
            "label_error_mm": pose_error_mm(labels, truth.at(torch.cat(self.rows)), root_joint),
            "label_disagreement": disagreement(self._aligned(), rotation_12),
            "unrefined_pairs": float(sum(int(s.labels.refined.unchanged.sum()) for s in self.steps)),
        }

    def _aligned(self) -> AlignedPoses:
        return AlignedPoses(*(torch.cat(parts) for parts in zip(*(s.labels.aligned for s in self.steps), strict=True)))
