"""Batches for pretraining: which samples, which augmentation, which targets, each a function of seed and step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handloom.datasets.labelled_hands import FIELD_MARGIN
from handloom.datasets.training_samples import TrainingSamples
from handloom.estimators.detnet.augmentation import Augmentation, sample_images, sample_keypoints, turn_joints
from handloom.estimators.detnet.targets import delta_target, key_point_heat_maps, location_target
from handloom.hand.joints import BONE
from handloom.runtime.config.sources import DetNetSettings
from handloom.runtime.errors import InputError
from handloom.runtime.seeds import numpy_generator


class TrainingBatch(NamedTuple):
    """Images and the targets of the three heads."""

    images: Float[Tensor, "batch 3 px px"]
    heat: Float[Tensor, "batch 21 rows cols"]
    veil: Float[Tensor, "batch 21"]
    delta: Float[Tensor, "batch 21 3"]
    location: Float[Tensor, "batch 21 3"]
    bone_m: Float[Tensor, " batch"]
    """Length of the bone 0-9."""


class SamplePool:
    """The samples of several data sets under one index; the last share of each data set is held out.

    Neighbouring frames of a video are alike, so a random choice would leave near-copies of every held-out image.
    """

    def __init__(self, sets: Sequence[TrainingSamples], held_out_fraction: float) -> None:
        """Raises InputError when there is nothing to train on or the stored crops differ in size."""
        sides = {samples.image_u8.shape[1] for samples in sets}
        if len(sides) != 1:
            raise InputError(
                f"training samples have crops of {sorted(sides)} px; expected one size; prepare them again"
            )
        self.crop_px: int = sides.pop()
        self._channels = max(samples.image_u8.shape[3] for samples in sets)
        self._sets = sets
        self._first = np.cumsum([0, *(len(samples) for samples in sets)])
        trained, held_out = [], []
        for first, samples in zip(self._first, sets, strict=False):
            kept = len(samples) - int(held_out_fraction * len(samples))
            trained.append(first + np.arange(kept))
            held_out.append(first + np.arange(kept, len(samples)))
        self.trained = np.concatenate(trained)
        self.held_out = np.concatenate(held_out)
        if not len(self.trained):
            raise InputError("there are no training samples; check the data sets and `held_out_fraction`")

    def batch_order(self, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The batches of one epoch, shuffled anew for every epoch; an incomplete last batch is left out."""
        order = numpy_generator(seed, "order", epoch).permutation(self.trained)
        whole = max(len(order) // batch_size, 1)
        return np.array_split(order[: whole * batch_size], whole)

    def batch(
        self, samples: np.ndarray, augmentation: Augmentation, network: DetNetSettings, root_joint: int, device: str
    ) -> TrainingBatch:
        """Augmented images of some samples with their targets, on `device`."""
        crops = np.empty((len(samples), self.crop_px, self.crop_px, self._channels), np.uint8)
        keypoints, joints = np.empty((len(samples), 21, 2)), np.empty((len(samples), 21, 3))
        valid = np.empty((len(samples), 21))
        of_set = np.searchsorted(self._first, samples, side="right") - 1
        for index, source in enumerate(self._sets):
            here = np.flatnonzero(of_set == index)
            rows = samples[here] - self._first[index]
            crops[here] = source.stored(rows)
            keypoints[here], joints[here] = source.keypoints_px[rows], source.joints_m[rows]
            valid[here] = source.joint_valid[rows]
        field_px = self.crop_px / FIELD_MARGIN
        augmentation = Augmentation(*(value.to(device) for value in augmentation))
        crops_u8, keypoints_px, joints_m, joint_valid = (
            torch.from_numpy(array).to(device) for array in (crops, keypoints, joints, valid)
        )
        images = sample_images(crops_u8, augmentation, field_px=field_px, input_px=network.input_px)
        keypoints_256px = sample_keypoints(keypoints_px, augmentation, crop_px=self.crop_px, field_px=field_px)
        heat, veil = key_point_heat_maps(keypoints_256px, network.input_px, network.map_cells)
        turned = turn_joints(joints_m, augmentation)
        return TrainingBatch(
            images=images.contiguous(memory_format=torch.channels_last),
            heat=heat,
            veil=veil * joint_valid.to(veil),
            delta=delta_target(turned).float(),
            location=location_target(turned, root_joint).float(),
            bone_m=torch.linalg.vector_norm(joints_m[:, BONE[1]] - joints_m[:, BONE[0]], dim=-1).float(),
        )
