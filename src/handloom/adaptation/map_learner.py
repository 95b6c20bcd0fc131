"""How DetNet is taught poses: by its own loss, the teacher's heat maps as target and as weight (S2DHand, Sec. 3.4)."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.adaptation.learner import Asked, Learner
from handloom.adaptation.source_prediction import source_prediction
from handloom.adaptation.student_augmentation import (
    StudentAugmentation,
    augment_heat_maps,
    augment_images,
    augment_joints,
)
from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet, DetNetMaps, network_input, read_out
from handloom.estimators.detnet.targets import DetNetLoss, delta_target, detnet_loss, location_target
from handloom.runtime.config.adaptation import AdaptationSettings
from handloom.runtime.config.base import Fidelity
from handloom.runtime.errors import InputError


class MapLearner(Learner):
    """DetNet sees crops in [-0.5, 0.5]; both views of a batch have a loss each, which are added.

    Both networks stay in evaluation mode: batch statistics frozen, their affine weights trained.
    """

    metric = False

    def __init__(self, settings: AdaptationSettings, fidelity: Fidelity) -> None:
        self.fidelity = fidelity
        self.half_precision = settings.precision == "bfloat16"

    def load(self, path: Path, source: Path | None = None) -> DetNet:
        """A checkpoint that knows its root joint; raises InputError as `load_checkpoint` does."""
        network = load_checkpoint(path)
        if network.root_joint is None:
            raise InputError(f"{path}: does not tell its root joint; name it as a source's checkpoint")
        self.root_joint = network.root_joint
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def save(self, path: Path, network: Any, *, seed: int | None, code: str) -> None:
        """As DetNet's checkpoint."""
        save_checkpoint(path, network, seed=seed, code=code)

    def ask(self, network: nn.Module, image_u8: UInt8[Tensor, "crops px px channels"]) -> Asked:
        """Joints where the heat is highest, that heat as confidence, and the heat maps."""
        with torch.no_grad():
            maps = network(network_input(image_u8))
            read = read_out(maps)
        return Asked(read.joints, read.confidence, maps.heat)

    def losses(
        self,
        network: nn.Module,
        image_u8: UInt8[Tensor, "crops px px channels"],
        asked: Asked,
        taught: Float[Tensor, "crops 21 3"],
        augmentation: StudentAugmentation | None,
        generator: torch.Generator,
        veil: Float[Tensor, "crops 21"] | None = None,
    ) -> dict[str, Tensor]:
        """DetNet's loss of each view."""
        images, heat = network_input(image_u8), asked.kept
        if augmentation is not None:
            images = augment_images(images, augmentation, generator)
            heat, taught = augment_heat_maps(heat, augmentation), augment_joints(taught, augmentation)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half_precision):
            maps = network(images)
        maps = DetNetMaps(*(each.float() for each in maps))
        shown = heat.new_ones(heat.shape[:2]) if veil is None else veil
        half = len(images) // 2
        views = [
            detnet_loss(
                DetNetMaps(*(each[rows] for each in maps)),
                heat[rows],
                delta_target(taught[rows], self.fidelity),
                location_target(taught[rows], self.root_joint),
                flag_3d=heat.new_ones(half),
                veil=shown[rows],
                fidelity=self.fidelity,
            )
            for rows in (slice(half), slice(half, None))
        ]
        return {name: getattr(views[0], name) + getattr(views[1], name) for name in DetNetLoss._fields}


predict_source = source_prediction(MapLearner)
