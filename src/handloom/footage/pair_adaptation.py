"""Stage: S2DHand on the user's own camera pair; no label, no calibration."""

import sys
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from handloom.adaptation.adaptation_files import write_history
from handloom.adaptation.loop import run_epochs
from handloom.adaptation.pseudo_labels import align_poses
from handloom.adaptation.teacher import make_teacher, parameter_distance
from handloom.adaptation.teacher_student import TeacherStudent
from handloom.footage.camera_rotation import StartRotation, keypoint_rotation, pose_rotation
from handloom.footage.hands_file import read_hands
from handloom.footage.learners import PairLearner, PairPoses
from handloom.footage.pair_rotation import write_rotation
from handloom.footage.pairing import read_pairs
from handloom.footage.source_networks import pair_learner, save_adapted, source_network, spread_rows
from handloom.geometry.rotations import angle_deg, momentum_rotation
from handloom.hand.joints import WRIST
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.footage import FootageAdaptationSettings, FootagePairSettings, FootageSettings
from handloom.runtime.devices import computing_on
from handloom.runtime.seeds import torch_generator


def adapt_footage(
    settings: FootageSettings,
    pair: FootagePairSettings,
    name: str,
    frames: tuple[Path, Path],
    hands: tuple[Path, Path],
    pairs: Path,
    source: Path,
    weights: Path,
    history: Path,
    rotation: Path,
    *,
    work: Path,
    network: Any = None,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Adapt the source network to a camera pair; write its weights, the curves and the cameras' rotation.

    Goes on from the newest checkpoint under `work`, if a job with the same settings, inputs and code was killed, and
    then ends bit-equal on the CPU. `network` replaces what `source` holds. Raises InputError for pairs without a common
    hand and for an unfit source.
    """
    seen = read_hands(hands[0])[0], read_hands(hands[1])[0]
    rows = spread_rows(read_pairs(pairs), settings.adaptation.pairs)
    deciding = settings.adaptation.model_dump(mode="json", exclude={"checkpoint_seconds"})
    rest = settings.model_dump(mode="json", exclude={"adaptation", "pairing", "pairs"})
    folder = CheckpointFolder(work, fingerprint(deciding, rest, pair.side, name, code, *hands, pairs, source))
    with computing_on(device, threads):
        learner = pair_learner(settings, frames, seen, rows, pair.side, device)
        student = (network or source_network(settings, source)).to(device).eval()
        poses = learner.poses(student)
        if settings.adaptation.rotation == "keypoints":
            start = keypoint_rotation(poses, seen, rows)
        else:
            start = StartRotation((of_poses := pose_rotation(poses)).rotation_12, of_poses, None)
        job = FootageAdaptation(
            settings.adaptation,
            learner,
            student,
            poses,
            start.rotation_12,
            generator=torch_generator(settings.seed, "footage", name),
        )
        run_epochs(
            job,
            folder,
            epochs=settings.adaptation.epochs,
            checkpoint_seconds=settings.adaptation.checkpoint_seconds,
            label=f"adapt {name}",
        )
    adapted = job.student if settings.adaptation.evaluate == "student" else job.teacher
    save_adapted(settings, weights, adapted, seed=settings.seed, code=code)
    write_history(history, job.history)
    write_rotation(rotation, start, job.rotation_12, len(rows[0]))
    folder.remove()


class FootageAdaptation(TeacherStudent[nn.Module]):
    """The two networks, the rotation and the curves, between epochs."""

    def __init__(
        self,
        settings: FootageAdaptationSettings,
        pairs: PairLearner,
        network: Any,
        poses: PairPoses,
        rotation_12: Float[Tensor, "3 3"],
        *,
        generator: torch.Generator,
    ) -> None:
        self.settings, self.pairs, self.generator = settings, pairs, generator
        self.student = network
        self.teacher = make_teacher(self.student)
        self.optimiser = torch.optim.Adam(self.student.parameters(), lr=settings.learning_rate)
        self.epoch = 0
        self.start = self.rotation_12 = rotation_12
        self.history: list[dict[str, float]] = [{"epoch": 0.0, **self._figures(poses)}]

    def run_epoch(self) -> None:
        """One pass over all pairs in a new order; the rotation then follows the teacher's poses, if it is theirs."""
        settings, count = self.settings, len(self.pairs)
        batches = torch.randperm(count, generator=self.generator).split(settings.batch_size)
        losses: list[tuple[int, dict[str, float]]] = []
        seen: list[PairPoses] = []
        for number, rows in enumerate(batches):
            self.set_learning_rate(
                settings.learning_rate,
                settings.learning_rate_decay,
                self.epoch * len(batches) + number,
                settings.epochs * len(batches),
                warm_up_steps=settings.warm_up_steps,
            )
            found, poses = self.pairs.step(
                self.student,
                self.teacher,
                self.optimiser,
                rows,
                self.rotation_12,
                settings,
                momentum=settings.teacher_momentum,
                generator=self.generator,
            )
            losses.append((len(rows), found))
            seen.append(poses)
        poses = PairPoses(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
        if settings.rotation == "poses":
            estimate = pose_rotation(poses).rotation_12
            self.rotation_12 = momentum_rotation(self.rotation_12, estimate, settings.rotation_momentum)
        self.epoch += 1
        means = {key: sum(size * terms[key] for size, terms in losses) / count for key in losses[0][1]}
        self.history.append({"epoch": float(self.epoch), **self._figures(poses), **means})
        told = ", ".join(f"{key} {value:.4g}" for key, value in self.history[-1].items())
        print(told, file=sys.stderr, flush=True)

    def _figures(self, poses: PairPoses) -> dict[str, float]:
        """What the poses show of the cameras, and how far the two views' poses and the two networks are apart."""
        return {
            "rotation_from_start_deg": float(angle_deg(self.rotation_12, self.start)),
            "pose_rotation_gap_deg": float(angle_deg(pose_rotation(poses).rotation_12, self.rotation_12)),
            "disagreement_bones": disagreement(poses, self.rotation_12),
            "student_teacher_distance": parameter_distance(self.teacher, self.student),
        }


def disagreement(poses: PairPoses, rotation_12: Float[Tensor, "3 3"]) -> float:
    """Mean distance |q1 R12 - q2| of the views' joints at the first view's size, in its bones 0-9."""
    aligned = align_poses(poses.joints_1, poses.joints_2, WRIST)
    bone = torch.linalg.vector_norm(aligned.view_1[:, 9] - aligned.view_1[:, 0], dim=-1)
    apart = torch.linalg.vector_norm(aligned.view_1 @ rotation_12 - aligned.view_2, dim=-1)
    return float((apart / bone[:, None]).mean())
