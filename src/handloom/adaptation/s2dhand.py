"""S2DHand's training: one camera pair, one source network, no labels (facts/s2dhand.md 3).

`fixed` sees crops, their viewing rays and hand sides only; a joint counts as valid where the model itself is confident,
and the rotation follows the teacher's own poses slowly, epoch by epoch. `faithful` is the released code: it also
takes annotated joint validity and key points inside the map, moves a rotation that starts anew every epoch, and never
uses what it moved.
"""

import sys
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from handloom.adaptation.adaptation_files import predict_pairs, write_history, write_pair_predictions
from handloom.adaptation.diagnostics import pair_errors, read_truth, rotation_error_deg
from handloom.adaptation.epoch_notes import EpochNotes
from handloom.adaptation.loop import run_epochs
from handloom.adaptation.pseudo_labels import Fidelity, label_rotation
from handloom.adaptation.rotation_start import RotationInit, read_rotation
from handloom.adaptation.source_prediction import predict_view
from handloom.adaptation.step import adapt_once
from handloom.adaptation.teacher import make_teacher, momentum_at, parameter_distance
from handloom.adaptation.teacher_student import TeacherStudent
from handloom.adaptation.unlabelled import ground_truth_leak, unlabelled_pairs
from handloom.adaptation.view_turns import crop_rays, view_turns
from handloom.datasets.views import ViewSamples, load_views, pair_samples
from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet
from handloom.geometry.rotations import momentum_rotation
from handloom.runtime.checkpoints import CheckpointFolder, fingerprint
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.detnet import DetNetSettings
from handloom.runtime.devices import chosen_precision
from handloom.runtime.seeds import torch_generator

Variant = Literal["s2dhand", "s2dhand_sync"]
ROTATION_OF: dict[Variant, RotationInit] = {"s2dhand": "single", "s2dhand_sync": "synchronised"}


def adapt(
    settings: AdaptationSettings,
    detnet: DetNetSettings,
    views_1: Path,
    views_2: Path,
    source: Path,
    rotations: Path,
    pair: str,
    variant: Variant,
    weights: Path,
    predictions: Path,
    history: Path,
    *,
    work: Path,
    root_joint: int,
    fidelity: Fidelity,
    seed: int,
    ray_share: float = 0.0,
    device: str = "cpu",
    threads: int | None = None,
    code: str = "",
) -> None:
    """Stage: adapt the source network to a camera pair; write its weights, its predictions of all pairs and the curves.

    Adapts on the first `settings.pairs` pairs, predicts on all. Poses are turned by `ray_share` of their viewing rays
    before the teacher's own rotation is taken from them, as those of the first rotation were (`view_turns`).
    Goes on from the newest checkpoint under `work`, if a job with the same settings, inputs and code was killed, and
    then ends bit-equal on the CPU.
    Raises InputError for views without a common hand, an unfit checkpoint or a missing rotation.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    settings = settings.model_copy(update={"precision": chosen_precision(settings.precision, device)})
    view_1, view_2 = load_views(views_1), load_views(views_2)
    index_1, index_2 = (torch.from_numpy(index) for index in pair_samples(view_1, view_2))
    start = read_rotation(rotations, pair, ROTATION_OF[variant])
    # How often the state is saved does not change what comes out.
    deciding = settings.model_dump(mode="json", exclude={"checkpoint_seconds"})
    identity = (deciding, detnet, root_joint, fidelity, pair, variant, seed, code, start.tolist(), ray_share)
    folder = CheckpointFolder(work, fingerprint(*identity, views_1, views_2, source))
    job = Adaptation(
        settings=settings,
        detnet=detnet,
        student=load_checkpoint(source, detnet, root_joint),
        views=(view_1, view_2),
        rows=(index_1[: settings.pairs], index_2[: settings.pairs]),
        start=start,
        root_joint=root_joint,
        fidelity=fidelity,
        ray_share=ray_share,
        generator=torch_generator(seed, "s2dhand", pair),
        device=device,
    )
    run_epochs(
        job,
        folder,
        epochs=settings.epochs,
        checkpoint_seconds=settings.checkpoint_seconds,
        label=f"adapt {pair} {variant}",
    )
    adapted = job.student if settings.evaluate == "student" else job.teacher
    save_checkpoint(weights, adapted, root_joint, seed=seed, code=code)
    notes = {"root_joint": str(root_joint), "fidelity": fidelity, "pair": pair, "variant": variant}
    rows = (index_1, index_2)
    found = predict_pairs(adapted, (view_1, view_2), rows, device=device)
    write_pair_predictions(predictions, found, rows, job.rotation_at_test(), notes, seed=seed, code=code)
    write_history(history, job.history)
    folder.remove()


class Adaptation(TeacherStudent[DetNet]):
    """The two networks, the rotation and the curves, between epochs."""

    def __init__(
        self,
        *,
        settings: AdaptationSettings,
        detnet: DetNetSettings,
        student: DetNet,
        views: tuple[ViewSamples, ViewSamples],
        rows: tuple[Tensor, Tensor],
        start: Float[Tensor, "3 3"],
        root_joint: int,
        fidelity: Fidelity,
        ray_share: float,
        generator: torch.Generator,
        device: str,
    ) -> None:
        self.settings, self.root_joint, self.fidelity, self.device = settings, root_joint, fidelity, device
        self.student = student.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        self.teacher = make_teacher(self.student)
        self.optimiser = torch.optim.Adam(self.student.parameters(), lr=settings.learning_rate)
        rays_1, rays_2 = (crop_rays(v.crop_offset_half_widths, settings.field_of_view_deg) for v in views)
        images = (views[0].image_u8, views[1].image_u8)
        self.pairs = unlabelled_pairs(*images, views[0].is_left, rays_1, rays_2, *rows)
        self.turns = view_turns(self.pairs.rays_1, self.pairs.rays_2, ray_share)
        self.leak = ground_truth_leak(*views, *rows, detnet) if fidelity == "faithful" else None
        if self.leak is not None:
            print(
                "faithful: annotated joint validity and key points enter adaptation, as in the release", file=sys.stderr
            )
        self.start, self.rotation_12, self.generator = start, start, generator
        self.epoch = 0
        self.views, self.truth = views, read_truth(*views, *rows)
        shown = torch.linspace(0, len(rows[0]) - 1, min(settings.diagnostic_pairs, len(rows[0]))).round().long()
        self.shown, self.shown_rows = shown, (rows[0][shown].numpy(), rows[1][shown].numpy())
        self.history: list[dict[str, float]] = [{"epoch": 0.0, **self._scores()}]

    def run_epoch(self) -> None:
        """One pass over all pairs in a new order."""
        settings, notes = self.settings, EpochNotes()
        count = len(self.pairs.is_left)
        batches = torch.randperm(count, generator=self.generator).split(settings.batch_size)
        if self.fidelity == "faithful":
            self.rotation_12 = self.start
        for number, rows in enumerate(batches):
            update = self.epoch * len(batches) + number
            self.set_learning_rate(
                settings.learning_rate, settings.learning_rate_decay, update, settings.epochs * len(batches)
            )
            result = adapt_once(
                self.student,
                self.teacher,
                self.optimiser,
                self.pairs.batch(rows, self.leak, self.device),
                self.rotation_12.to(self.device),
                settings,
                root_joint=self.root_joint,
                fidelity=self.fidelity,
                momentum=momentum_at(
                    update, settings.teacher_momentum, warm_up=settings.teacher_warm_up, warm_up_start=len(batches)
                ),
                generator=self.generator,
            )
            notes.add(rows, result)
            if self.fidelity == "faithful":
                estimate = label_rotation(result.labels).cpu()
                self.rotation_12 = momentum_rotation(
                    self.rotation_12, estimate, settings.rotation_momentum, align_signs=False
                )
        seen = notes.teacher_rotation(self.turns).cpu()
        figures = notes.figures(self.truth, self.rotation_12, self.root_joint)
        if self.fidelity == "fixed":
            self.rotation_12 = momentum_rotation(self.rotation_12, seen, settings.rotation_momentum)
        self.epoch += 1
        figures["teacher_rotation_error_deg"] = rotation_error_deg(seen, self.truth)
        if self.turns is not None:
            plain = notes.teacher_rotation(None).cpu()
            figures["teacher_published_rotation_error_deg"] = rotation_error_deg(plain, self.truth)
        scores = self._scores(notes.teacher_poses(self.shown))
        self.history.append({"epoch": float(self.epoch), **scores, **figures})
        told = ", ".join(f"{name} {value:.4g}" for name, value in self.history[-1].items())
        print(told, file=sys.stderr, flush=True)

    def rotation_at_test(self) -> Float[Tensor, "3 3"]:
        """The rotation of Dual-M: the adapted one; faithful, the first one, since the release forgets what it moved."""
        return self.start if self.fidelity == "faithful" else self.rotation_12

    def _scores(self, teacher_poses: Tensor | None = None) -> dict[str, float]:
        """Diagnostics: the student on some pairs, the teacher as it answered there, the rotation, their distance."""
        scores = {
            "rotation_error_deg": rotation_error_deg(self.rotation_12, self.truth),
            "student_teacher_distance": parameter_distance(self.teacher, self.student),
        }
        if len(self.shown) > 0:
            rows = zip(self.views, self.shown_rows, strict=True)
            joints = [predict_view(self.student, view, index, device=self.device).joints for view, index in rows]
            student_poses = torch.stack(joints, 1)
            poses = {"student": student_poses, "teacher": student_poses if teacher_poses is None else teacher_poses}
            for name, answer in poses.items():
                errors = pair_errors(answer, self.truth.at(self.shown), self.rotation_12, self.root_joint)
                scores |= {f"{name}_mono_mm": errors.mono_mm, f"{name}_dual_mm": errors.dual_mm}
        return scores
