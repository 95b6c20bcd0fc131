"""One iteration of S2DHand: teacher, pseudo-labels, student, momentum (facts/s2dhand.md 3.4)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handloom.adaptation.augmentation import augment_heat_maps, augment_images, augment_joints, draw_augmentation
from handloom.adaptation.pseudo_labels import Fidelity, PseudoLabels, make_pseudo_labels, mirror_left
from handloom.adaptation.teacher import update_teacher
from handloom.estimators.detnet.loss import DetNetLoss, LossWeights, detnet_loss
from handloom.estimators.detnet.network import DetNet, DetNetMaps
from handloom.estimators.detnet.readout import read_out
from handloom.estimators.detnet.targets import delta_target, location_target
from handloom.runtime.config.adaptation import AdaptationSettings


class GroundTruthLeak(NamedTuple):
    """What the released code takes from annotations besides boxes and hand side: joint validity and heat-map veil."""

    valid_1: Bool[Tensor, "batch 21"]
    valid_2: Bool[Tensor, "batch 21"]
    veil_1: Float[Tensor, "batch 21"]
    veil_2: Float[Tensor, "batch 21"]


class PairBatch(NamedTuple):
    """Crops of both views as the network sees them (left hands mirrored); `leak` is None but in faithful mode."""

    images_1: Float[Tensor, "batch 3 px px"]
    images_2: Float[Tensor, "batch 3 px px"]
    is_left: Bool[Tensor, " batch"]
    leak: GroundTruthLeak | None


class TeacherView(NamedTuple):
    """The teacher's answer for a batch of pairs: poses in the true frame."""

    poses_1: Float[Tensor, "batch 21 3"]
    poses_2: Float[Tensor, "batch 21 3"]
    confidence_1: Float[Tensor, "batch 21"]
    confidence_2: Float[Tensor, "batch 21"]
    heat: Float[Tensor, "two_batch 21 rows cols"]


@dataclass(frozen=True)
class StepResult:
    """What an iteration found: the two views' losses, the labels and what they were made of."""

    loss_1: DetNetLoss
    loss_2: DetNetLoss
    teacher: TeacherView
    labels: PseudoLabels


def ask_teacher(teacher: DetNet, batch: PairBatch) -> TeacherView:
    """Both views through the teacher in one forward pass, without gradient; left hands un-mirrored."""
    with torch.no_grad():
        maps = teacher(torch.cat([batch.images_1, batch.images_2]))
        read = read_out(maps)
    poses = mirror_left(read.joints, torch.cat([batch.is_left, batch.is_left]))
    (poses_1, poses_2), (confidence_1, confidence_2) = poses.chunk(2), read.confidence.chunk(2)
    return TeacherView(poses_1, poses_2, confidence_1, confidence_2, maps.heat)


def adapt_once(
    student: DetNet,
    teacher: DetNet,
    optimiser: torch.optim.Optimizer,
    batch: PairBatch,
    rotation_12: Float[Tensor, "3 3"],
    settings: AdaptationSettings,
    *,
    root_joint: int,
    fidelity: Fidelity,
    momentum: float,
    generator: torch.Generator | None = None,
    analytic_gradient: bool = False,
) -> StepResult:
    """Label the batch by the teacher, move the student by one optimiser step, then the teacher by `momentum`.

    Both networks stay in evaluation mode: batch statistics frozen, their affine weights trained. The loss is DetNet's,
    summed over the views, with the teacher's heat maps as target and as weight of the delta and location terms.
    `generator` is needed when the settings augment the student's input.
    """
    asked = ask_teacher(teacher, batch)
    valid_1, valid_2 = _validity(batch, asked, settings)
    labels = make_pseudo_labels(
        *(asked.poses_1, asked.poses_2, asked.confidence_1, asked.confidence_2, valid_1, valid_2, rotation_12),
        root_joint=root_joint,
        consensus_weight=settings.consensus_weight,
        merge=settings.merge,
        sharpness=settings.attention_sharpness,
        fidelity=fidelity,
        analytic_gradient=analytic_gradient,
    )
    images, heat = torch.cat([batch.images_1, batch.images_2]), asked.heat
    taught = mirror_left(torch.cat([labels.view_1, labels.view_2]), torch.cat([batch.is_left, batch.is_left]))
    if settings.augmentation is not None:
        if generator is None:
            raise ValueError("adapt_once: the settings augment the student's input, so a generator is needed")
        augmentation = draw_augmentation(len(images), settings.augmentation, generator)
        images = augment_images(images, augmentation, generator)
        heat, taught = augment_heat_maps(heat, augmentation), augment_joints(taught, augmentation)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        maps = student(images)
    maps = DetNetMaps(*(m.float() for m in maps))
    loss_1, loss_2 = _losses(maps, heat, taught, batch, settings, root_joint, fidelity)
    optimiser.zero_grad()
    (loss_1.total + loss_2.total).backward()
    optimiser.step()
    update_teacher(teacher, student, momentum)
    return StepResult(loss_1, loss_2, asked, labels)


def _validity(batch: PairBatch, asked: TeacherView, settings: AdaptationSettings) -> tuple[Tensor, Tensor]:
    if batch.leak is not None:
        return batch.leak.valid_1, batch.leak.valid_2
    threshold = settings.confidence_threshold
    return asked.confidence_1 > threshold, asked.confidence_2 > threshold


def _losses(
    maps: DetNetMaps,
    heat: Tensor,
    taught: Tensor,
    batch: PairBatch,
    settings: AdaptationSettings,
    root_joint: int,
    fidelity: Fidelity,
) -> list[DetNetLoss]:
    size = len(batch.is_left)
    everything = heat.new_ones(size, taught.shape[1])
    veils = (everything, everything) if batch.leak is None else (batch.leak.veil_1, batch.leak.veil_2)
    weights = LossWeights(settings.heat_map_weight, settings.delta_map_weight, settings.location_map_weight)
    return [
        detnet_loss(
            DetNetMaps(*(m[rows] for m in maps)),
            heat[rows],
            delta_target(taught[rows], fidelity),
            location_target(taught[rows], root_joint),
            flag_3d=heat.new_ones(size),
            veil=veil,
            weights=weights,
            fidelity=fidelity,
        )
        for rows, veil in zip((slice(size), slice(size, None)), veils, strict=True)
    ]
