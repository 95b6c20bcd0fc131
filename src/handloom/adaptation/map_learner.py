"""How DetNet is taught poses: by its own loss, the teacher's heat maps as target and as weight (S2DHand, Sec. 3.4)."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.adaptation.learner import Asked, Learner, Lesson, source_prediction
from handloom.adaptation.student_augmentation import augment_images, augment_joints, augment_maps
from handloom.estimators.detnet.checkpoint import load_checkpoint, save_checkpoint
from handloom.estimators.detnet.network import DetNet, DetNetMaps, network_input, read_out
from handloom.estimators.detnet.targets import DetNetLoss, delta_target, detnet_loss, location_target
from handloom.runtime.errors import InputError


class MapLearner(Learner):
    """DetNet sees crops in [-0.5, 0.5]; both views of a batch have a loss each, which are added.

    Both networks stay in evaluation mode: batch statistics frozen, their affine weights trained.
    """

    metric = False

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

    def losses(self, network: nn.Module, lesson: Lesson, generator: torch.Generator) -> dict[str, Tensor]:
        """DetNet's loss of each view."""
        images, taught, heat = network_input(lesson.image_u8), lesson.taught, lesson.asked.kept
        if lesson.augmentation is not None:
            images = augment_images(images, lesson.augmentation, generator)
            heat, taught = augment_maps(heat, lesson.augmentation), augment_joints(taught, lesson.augmentation)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            maps = network(images)
        maps = DetNetMaps(*(each.float() for each in maps))
        return self.map_losses(maps, heat, taught, lesson.veil)

    def map_losses(
        self,
        maps: DetNetMaps,
        heat: Float[Tensor, "crops 21 rows cols"],
        taught: Float[Tensor, "crops 21 3"],
        veil: Float[Tensor, "crops 21"] | None = None,
    ) -> dict[str, Tensor]:
        """DetNet's loss of both views' maps, for the heat maps and poses that they are taught, by its terms' names."""
        shown = heat.new_ones(heat.shape[:2]) if veil is None else veil
        half = len(taught) // 2
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
