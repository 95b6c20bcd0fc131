"""Joints for many images with one network."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from handloom.estimators.detnet.network import DetNet
from handloom.estimators.detnet.readout import read_out


class Predictions(NamedTuple):
    """Joints in network units, in the frame of the images (left hands still mirrored), on the CPU."""

    joints: Float[Tensor, "n 21 3"]
    confidence: Float[Tensor, "n 21"]


def network_input(image_u8: UInt8[Tensor, "n px px"] | UInt8[Tensor, "n px px 3"]) -> Float[Tensor, "n 3 px px"]:
    """Grey or RGB bytes as the network's input, value / 255 - 0.5, channels last in memory (the fastest on CPU)."""
    image = image_u8[..., None].expand(-1, -1, -1, 3) if image_u8.ndim == 3 else image_u8
    return (image.to(torch.float32) / 255 - 0.5).permute(0, 3, 1, 2)


def predict(
    network: DetNet, image_u8: np.ndarray | Tensor, *, batch_size: int = 64, device: torch.device | str = "cpu"
) -> Predictions:
    """Joints and confidence of each image, (n, px, px) grey or (n, px, px, 3) RGB bytes, in evaluation mode.

    The network is moved to `device` in channels-last layout and left in the mode it was in.
    """
    images = torch.from_numpy(image_u8) if isinstance(image_u8, np.ndarray) else image_u8
    was_training = network.training
    network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stubs lack this form
    with torch.no_grad():
        readouts = [read_out(network(network_input(batch.to(device)))) for batch in images.split(batch_size)]
    network.train(was_training)
    if not readouts:
        return Predictions(torch.zeros(0, 21, 3), torch.zeros(0, 21))
    joints = torch.cat([readout.joints for readout in readouts]).cpu()
    return Predictions(joints, torch.cat([readout.confidence for readout in readouts]).cpu())
