"""S2DHand: a network adapts itself to an uncalibrated pair of cameras (Liu et al., CVPR 2024, Sec. 3.3 and 3.4).

A momentum teacher answers both views, cross-view pseudo-labels are made of its poses, the student learns them. After
every epoch (in the released code: every step) the rotation between the cameras follows what the poses show.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from handloom.adaptation.camera_rotation import consensus_rotation, disagreement
from handloom.adaptation.learner import Asked, Lesson
from handloom.adaptation.method import Method, Surroundings
from handloom.adaptation.pairs import PairBatch, ray_turned
from handloom.adaptation.pseudo_labels import AlignedPoses, PseudoLabels, label_rotation, make_pseudo_labels
from handloom.adaptation.student_augmentation import draw_augmentation
from handloom.geometry.rotations import angle_deg, momentum_rotation
from handloom.runtime.config.adaptation import AdaptationSettings


class GroundTruthLeak(NamedTuple):
    """What the released code takes from annotations besides boxes and hand side: joint validity and heat-map veil."""

    valid: Bool[Tensor, "2 pairs 21"]
    veil: Float[Tensor, "2 pairs 21"]


@dataclass
class _Epoch:
    """The teacher's answers and the labels of an epoch's pairs, without maps and gradients."""

    rows: list[Int[Tensor, " pairs"]] = field(default_factory=list)
    answers: list[Float[Tensor, "pairs 2 21 3"]] = field(default_factory=list)
    confidence: list[Float[Tensor, "pairs 2 21"]] = field(default_factory=list)
    labels: list[PseudoLabels] = field(default_factory=list)

    def aligned(self) -> AlignedPoses:
        """The teacher's poses, as the labels' first step aligned them."""
        return AlignedPoses(*(torch.cat(parts) for parts in zip(*(each.aligned for each in self.labels), strict=True)))

    def in_order(self, parts: list[Tensor]) -> Tensor:
        """Values of all pairs in their own order, on the CPU."""
        return torch.cat(parts).cpu()[torch.cat(self.rows).argsort()]


class S2DHand(Method):
    """Teacher and student, and the rotation between the cameras."""

    def __init__(self, surroundings: Surroundings, leak: GroundTruthLeak | None = None) -> None:
        super().__init__(surroundings)
        self.settings, self.leak = surroundings.settings, leak
        self.student, self.teacher = self.network, make_teacher(self.network)
        self.networks = {"student": self.student, "teacher": self.teacher}
        self.optimisers = {"student": torch.optim.Adam(self.student.parameters(), lr=self.settings.learning_rate)}
        self.rotation_12 = surroundings.start_12
        self.seen: Float[Tensor, "3 3"] | None = None
        """The rotation that the teacher's poses of the last epoch show."""
        self._epoch = _Epoch()

    def start_epoch(self, epoch: int) -> None:
        """Forget the last epoch's poses; the released code also forgets how far the rotation had moved."""
        self._epoch = _Epoch()
        if self.surroundings.fidelity == "faithful":
            self.rotation_12 = self.surroundings.start_12

    def step(self, batch: PairBatch, update: int) -> dict[str, Tensor]:
        """Label the batch by the teacher, move the student by one optimiser step, then the teacher by its momentum."""
        settings, surroundings = self.settings, self.surroundings
        for group in self.optimisers["student"].param_groups:
            group["lr"] = learning_rate(settings, update, settings.epochs * surroundings.updates_per_epoch)
        asked = self.learner.ask(self.teacher, batch.image_u8)
        labels = self._labels(batch, asked)
        taught = torch.cat([labels.view_1, labels.view_2])
        taught = taught @ batch.axes_from_crop.to(taught)
        drawn = None
        if settings.augmentation is not None:
            drawn = draw_augmentation(len(taught), settings.augmentation, surroundings.generator)
        veil = None if self.leak is None else self.leak.veil[:, batch.rows].flatten(0, 1).to(taught.device)
        lesson = Lesson(batch.image_u8, asked, taught, drawn, veil)
        losses = self.learner.losses(self.student, lesson, surroundings.generator)
        self.optimisers["student"].zero_grad()
        losses["total"].backward()
        self.optimisers["student"].step()
        update_teacher(self.teacher, self.student, momentum_at(settings, update, surroundings.updates_per_epoch))
        if surroundings.fidelity == "faithful":
            estimate = label_rotation(labels).cpu()
            self.rotation_12 = momentum_rotation(
                self.rotation_12, estimate, settings.rotation_momentum, align_signs=False
            )
        return {name: value.detach() for name, value in losses.items()}

    def _labels(self, batch: PairBatch, asked: Asked) -> PseudoLabels:
        poses = (asked.joints @ batch.axes_from_crop.to(asked.joints).mT).unflatten(0, (2, -1))
        confidence = asked.confidence.unflatten(0, (2, -1))
        valid = confidence > 0 if self.leak is None else self.leak.valid[:, batch.rows].to(poses.device)
        labels = make_pseudo_labels(
            *(poses, confidence, valid, self.rotation_12.to(poses.device)),
            root_joint=self.learner.root_joint,
            consensus_weight=self.settings.consensus_weight,
            merge=self.settings.merge,
            sharpness=self.settings.attention_sharpness,
            fidelity=self.surroundings.fidelity,
        )
        epoch = self._epoch
        epoch.rows.append(batch.rows)
        epoch.answers.append(poses.transpose(0, 1))
        epoch.confidence.append(confidence.transpose(0, 1))
        epoch.labels.append(labels)
        return labels

    def end_epoch(self) -> dict[str, float]:
        """Let the rotation follow the teacher's poses; returns how far views, networks and rotation are apart."""
        epoch, settings = self._epoch, self.settings
        before = self.rotation_12
        self.seen = self._shown_rotation(turned=True)
        if self.surroundings.fidelity == "fixed" and settings.rotation == "poses":
            self.rotation_12 = momentum_rotation(self.rotation_12, self.seen, settings.rotation_momentum)
        return {
            "label_disagreement": disagreement(epoch.aligned(), before),
            "unrefined_pairs": float(sum(int(each.refined.unchanged.sum()) for each in epoch.labels)),
            "rotation_from_start_deg": float(angle_deg(self.rotation_12, self.surroundings.start_12)),
            "pose_rotation_gap_deg": float(angle_deg(self.seen, self.rotation_12)),
        }

    def _shown_rotation(self, *, turned: bool) -> Float[Tensor, "3 3"]:
        """The rotation that the teacher's poses of this epoch show, joints weighted by both views' confidence.

        `turned`: after the turns to their viewing rays, if the poses lack them.
        """
        epoch = self._epoch
        aligned, pairs = epoch.aligned(), self.surroundings.pairs
        poses = [aligned.view_1, aligned.view_2]
        if turned and not pairs.turned:
            poses = ray_turned(poses, pairs.ray_turns[:, torch.cat(epoch.rows)])
        confidence = torch.cat(epoch.confidence)
        common = torch.cat([each.common for each in epoch.labels])
        weights = common * confidence[:, 0] * confidence[:, 1]
        return consensus_rotation(poses[0], poses[1], weights).rotation_12.cpu()

    def adapted(self) -> nn.Module:
        """The network that the settings name."""
        return self.student if self.settings.evaluate == "student" else self.teacher

    def rotation_at_test(self) -> Float[Tensor, "3 3"]:
        """The rotation of Dual-M: the adapted one; faithful, the first one, since the release forgets what it moved."""
        return self.surroundings.start_12 if self.surroundings.fidelity == "faithful" else self.rotation_12

    def answers(self, rows: Int[Tensor, " pairs"]) -> dict[str, Float[Tensor, "pairs 2 21 3"]]:
        """The student's poses of some pairs, and the teacher's as it answered them in the last epoch."""
        student = self.poses(self.student, rows)
        teacher = self._epoch.in_order(self._epoch.answers)[rows] if self._epoch.rows else student
        return {"student": student, "teacher": teacher}

    def rotations(self) -> dict[str, Float[Tensor, "3 3"]]:
        """The rotation that labels are made with, and those that the teacher's poses show."""
        found = {"rotation": self.rotation_12}
        if self.seen is not None:
            found["teacher_rotation"] = self.seen
            if not self.surroundings.pairs.turned:
                found["teacher_published_rotation"] = self._shown_rotation(turned=False)
        return found

    def labels(self) -> Float[Tensor, "pairs 2 21 3"] | None:
        """The labels of the last epoch's pairs, in their order."""
        made = [torch.stack([each.view_1, each.view_2], 1) for each in self._epoch.labels]
        return self._epoch.in_order(made) if made else None

    def distances(self) -> dict[str, float]:
        """Of the two networks."""
        return {"student_teacher_distance": parameter_distance(self.teacher, self.student)}

    def state(self) -> dict[str, Any]:
        """All that later steps depend on."""
        return {**super().state(), "rotation_12": self.rotation_12}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        super().restore(state)
        self.rotation_12 = state["rotation_12"]


def make_teacher(student: nn.Module) -> Any:
    """A copy of the student in evaluation mode whose parameters take no gradient."""
    return copy.deepcopy(student).eval().requires_grad_(False)


def momentum_at(settings: AdaptationSettings, update: int, updates_per_epoch: int) -> float:
    """Momentum of the 0-based update: constant, or with warm-up min(1 - 1/(t + 1), momentum).

    t counts updates from those of one epoch on, since the released code counts epochs from 1.
    """
    warm = 1 - 1 / (updates_per_epoch + update + 1)
    return min(warm, settings.teacher_momentum) if settings.teacher_warm_up else settings.teacher_momentum


def learning_rate(settings: AdaptationSettings, update: int, updates: int) -> float:
    """The rate of the 0-based update: the first one, or, cosine, first (1 + cos(pi update / updates)) / 2.

    During a warm-up of w updates it is multiplied by (update + 1) / (w + 1), since Adam's first steps are large.
    """
    cosine = settings.learning_rate_decay == "cosine"
    factor = 0.5 * (1 + math.cos(math.pi * (update / updates))) if cosine else 1.0
    return settings.learning_rate * factor * min(1.0, (update + 1) / (settings.warm_up_steps + 1))


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """theta_teacher <- m theta_teacher + (1 - m) theta_student (Eq. 10), over parameters only: buffers never change."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


@torch.no_grad()
def parameter_distance(teacher: nn.Module, student: nn.Module) -> float:
    """Euclidean distance of two networks' parameters relative to the teacher's norm."""
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    difference = sum(float((slow - fast).double().square().sum()) for slow, fast in pairs)
    norm = sum(float(slow.double().square().sum()) for slow, _ in pairs)
    return (difference / norm) ** 0.5
