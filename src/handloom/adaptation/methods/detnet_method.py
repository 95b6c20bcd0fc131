"""What the methods beside S2DHand have in common: DetNet from inside, its features and the heat maps' logits."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from handloom.adaptation.method import Method, Surroundings
from handloom.adaptation.pairs import PairBatch
from handloom.estimators.detnet.network import DetNet, DetNetMaps, network_input
from handloom.estimators.detnet.targets import DetNetLoss, detnet_loss
from handloom.estimators.detnet.training_batches import TrainingBatch

Features = Float[Tensor, "batch features rows cols"]


class TargetLabels(NamedTuple):
    """What the three heads should show for target images, in the frame that the network sees (left hands mirrored)."""

    heat: Float[Tensor, "batch 21 rows cols"]
    veil: Float[Tensor, "batch 21"]
    """1 where the joint is annotated as valid and its heat map touches the map."""
    delta: Float[Tensor, "batch 21 3"]
    location: Float[Tensor, "batch 21 3"]

    def at(self, rows: Tensor, device: str) -> "TargetLabels":
        """The labels of some of the images."""
        return TargetLabels(*(values[rows].to(device) for values in self))


def supervised_loss(maps: DetNetMaps, labels: TrainingBatch | TargetLabels) -> DetNetLoss:
    """DetNet's loss of labelled images, all of which have joints in 3D."""
    flag_3d = maps.heat.new_ones(len(maps.heat))
    return detnet_loss(maps, labels.heat, labels.delta, labels.location, flag_3d=flag_3d, veil=labels.veil)


class NetworkAnswer(NamedTuple):
    """What one forward pass gives, in single precision."""

    features: Features
    heat_logits: Float[Tensor, "batch 21 rows cols"]
    maps: DetNetMaps

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "NetworkAnswer":
        """All of it changed alike."""
        return NetworkAnswer(change(self.features), change(self.heat_logits), DetNetMaps(*map(change, self.maps)))


def answer(network: DetNet, images: Float[Tensor, "batch 3 px px"], precision: str = "float32") -> NetworkAnswer:
    """One pass of the network: `maps` are those of `network(images)`."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return answer_from(network, network.resnet50(images))


def answer_from(network: DetNet, features: Features) -> NetworkAnswer:
    """The heads' answer to given features, in the precision of the surrounding block."""
    seen = head_input(network, features)
    logits = network.hmap_0(seen)
    heat = torch.sigmoid(logits)
    seen = torch.cat([seen, heat], dim=1)
    delta = network.dmap_0(seen)
    location = network.lmap_0(torch.cat([seen, delta], dim=1))
    maps = DetNetMaps(heat.float(), *(m.float().unflatten(1, (heat.shape[1], 3)) for m in (delta, location)))
    return NetworkAnswer(features.float(), logits.float(), maps)


def head_input(network: DetNet, features: Features) -> Float[Tensor, "batch inputs rows cols"]:
    """What the heat-map head sees: features and the cells' positions."""
    return torch.cat([features, network.cell_positions.expand(len(features), -1, -1, -1)], dim=1)


def peak_cells(heat: Float[Tensor, "batch 21 rows cols"]) -> Int64[Tensor, "batch 21"]:
    """The highest cell of each map, counted row by row; the first one of equals."""
    return heat.flatten(2).max(dim=2).indices


def at_cells(features: Features, cells: Int64[Tensor, "batch 21"]) -> Float[Tensor, "batch 21 features"]:
    """The features at one cell per joint."""
    index = cells[:, None].expand(-1, features.shape[1], -1)
    return features.flatten(2).gather(2, index).transpose(1, 2)


class DetNetMethod(Method):
    """A method that adapts DetNet by target images, each view alone."""

    network: DetNet

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.precision = surroundings.settings.precision

    def images(self, batch: PairBatch) -> Float[Tensor, "crops 3 px px"]:
        """Both views' crops as DetNet takes them."""
        return network_input(batch.image_u8)

    def adapted(self) -> DetNet:
        """The network itself."""
        return self.network
