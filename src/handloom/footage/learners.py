"""How a network of either kind learns from pairs of crops: what adaptation asks of it, whatever it answers with."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from handloom.adaptation.joint_step import JointPairs, adapt_joints_once, relative_to_wrist
from handloom.adaptation.step import PairBatch, adapt_once
from handloom.estimators.detnet.prediction import network_input as detnet_input
from handloom.estimators.detnet.readout import read_out
from handloom.runtime.config.footage import FootageAdaptationSettings

_PREDICTED_AT_ONCE = 32


class PairPoses(NamedTuple):
    """Both views' poses relative to the wrist, along each camera's axes, and their confidence."""

    joints_1: Float[Tensor, "pairs 21 3"]
    joints_2: Float[Tensor, "pairs 21 3"]
    confidence_1: Float[Tensor, "pairs 21"]
    confidence_2: Float[Tensor, "pairs 21"]


class PairLearner(ABC):
    """Crops of the pairs of two views, and what turns columns from the network's axes into the cameras'."""

    def __init__(
        self,
        crops_u8: tuple[UInt8[np.ndarray, "pairs px px 3"], UInt8[np.ndarray, "pairs px px 3"]],
        cam_from_crop: tuple[Float[np.ndarray, "pairs 3 3"], Float[np.ndarray, "pairs 3 3"]],
        device: str = "cpu",
    ) -> None:
        self.crops = torch.from_numpy(crops_u8[0]), torch.from_numpy(crops_u8[1])
        self.cam_from_crop = torch.from_numpy(cam_from_crop[0]), torch.from_numpy(cam_from_crop[1])
        self.device = device

    def __len__(self) -> int:
        return len(self.crops[0])

    @abstractmethod
    def step(
        self,
        student: Any,
        teacher: Any,
        optimiser: torch.optim.Optimizer,
        rows: Tensor,
        rotation_12: Float[Tensor, "3 3"],
        settings: FootageAdaptationSettings,
        *,
        momentum: float,
        generator: torch.Generator,
    ) -> tuple[dict[str, float], PairPoses]:
        """One step of adaptation on some pairs: the losses, and the teacher's poses before it."""

    @abstractmethod
    def _answer(self, network: Any, crops_u8: UInt8[Tensor, "batch px px 3"]) -> tuple[Tensor, Tensor]:
        """Joints in the network's axes and confidence, without gradient."""

    def poses(self, network: nn.Module) -> PairPoses:
        """The network's answer to all pairs."""
        views = []
        with torch.no_grad():
            for crops, turns in zip(self.crops, self.cam_from_crop, strict=True):
                answers = [self._answer(network, some) for some in crops.split(_PREDICTED_AT_ONCE)]
                joints, confidence = (torch.cat(parts).cpu().double() for parts in zip(*answers, strict=True))
                views.append((relative_to_wrist(joints) @ turns.mT, confidence))
        (joints_1, confidence_1), (joints_2, confidence_2) = views
        return PairPoses(joints_1, joints_2, confidence_1, confidence_2)


class JointLearner(PairLearner):
    """A network that gives joints and a score: RGB crops in [0, 1], never mirrored."""

    def step(
        self,
        student: nn.Module,
        teacher: nn.Module,
        optimiser: torch.optim.Optimizer,
        rows: Tensor,
        rotation_12: Float[Tensor, "3 3"],
        settings: FootageAdaptationSettings,
        *,
        momentum: float,
        generator: torch.Generator,
    ) -> tuple[dict[str, float], PairPoses]:
        """S2DHand with the loss on joints (`adapt_joints_once`)."""
        images = (unit_images(crops[rows].to(self.device)) for crops in self.crops)
        pairs = JointPairs(*images, *(turns[rows].to(self.device) for turns in self.cam_from_crop))
        found = adapt_joints_once(
            student, teacher, optimiser, pairs, rotation_12, settings, momentum=momentum, generator=generator
        )
        poses = PairPoses(
            *(joints.cpu().double() for joints in (found.poses_1, found.poses_2)),
            *(score.cpu().double()[:, None].expand(-1, 21) for score in (found.presence_1, found.presence_2)),
        )
        return {"joint_loss": found.joint_loss, "keypoint_loss": found.keypoint_loss}, poses

    def _answer(self, network: Any, crops_u8: UInt8[Tensor, "batch px px 3"]) -> tuple[Tensor, Tensor]:
        found = network(unit_images(crops_u8.to(self.device)))
        return found.joints_m, found.presence[:, None].expand(-1, 21)


class HeatMapLearner(PairLearner):
    """DetNet: RGB crops as it sees them, left hands already mirrored."""

    def __init__(
        self,
        crops_u8: tuple[UInt8[np.ndarray, "pairs px px 3"], UInt8[np.ndarray, "pairs px px 3"]],
        cam_from_crop: tuple[Float[np.ndarray, "pairs 3 3"], Float[np.ndarray, "pairs 3 3"]],
        device: str = "cpu",
        *,
        is_left: bool,
        root_joint: int,
    ) -> None:
        super().__init__(crops_u8, cam_from_crop, device)
        self.is_left, self.root_joint = is_left, root_joint

    def step(
        self,
        student: Any,
        teacher: Any,
        optimiser: torch.optim.Optimizer,
        rows: Tensor,
        rotation_12: Float[Tensor, "3 3"],
        settings: FootageAdaptationSettings,
        *,
        momentum: float,
        generator: torch.Generator,
    ) -> tuple[dict[str, float], PairPoses]:
        """S2DHand's own step (`adapt_once`); its labels take poses without the turns by viewing rays."""
        images_1, images_2 = (detnet_input(crops[rows].to(self.device)) for crops in self.crops)
        is_left = torch.full((len(rows),), self.is_left, device=self.device)
        found = adapt_once(
            *(student, teacher, optimiser, PairBatch(images_1, images_2, is_left, None)),
            rotation_12.to(self.device),
            settings.of_detnet(),
            root_joint=self.root_joint,
            fidelity="fixed",
            momentum=momentum,
            generator=generator,
        )
        mirror = torch.tensor([-1.0 if self.is_left else 1.0, 1.0, 1.0], dtype=torch.float64)
        poses, asked = [], found.teacher
        for joints, turns in zip((asked.poses_1, asked.poses_2), self.cam_from_crop, strict=True):
            # The step has un-mirrored its poses; the turns expect them as the network gives them.
            poses.append(relative_to_wrist(joints.cpu().double() * mirror) @ turns[rows].mT)
        confidence = [score.cpu().double() for score in (asked.confidence_1, asked.confidence_2)]
        losses = {
            "joint_loss": found.loss_1.location + found.loss_2.location,
            "heat_loss": found.loss_1.heat + found.loss_2.heat,
        }
        return {name: float(value.detach()) for name, value in losses.items()}, PairPoses(*poses, *confidence)

    def _answer(self, network: Any, crops_u8: UInt8[Tensor, "batch px px 3"]) -> tuple[Tensor, Tensor]:
        found = read_out(network(detnet_input(crops_u8.to(self.device))))
        return found.joints, found.confidence


def unit_images(crops_u8: UInt8[Tensor, "batch px px 3"]) -> Float[Tensor, "batch 3 px px"]:
    """RGB bytes as values in [0, 1], channels first."""
    return crops_u8.permute(0, 3, 1, 2).float() / 255
