"""METRO's input: RGB squares about a right hand, 224 pixels wide, with ImageNet's mean and deviation."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

INPUT_PX = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def network_input(image_u8: UInt8[Tensor, "n px px 3"]) -> Float[Tensor, "n 3 px px"]:
    """RGB bytes as the network's input: (value / 255 - mean) / deviation of each channel."""
    mean, deviation = (
        torch.tensor(values, device=image_u8.device)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return (image_u8.permute(0, 3, 1, 2).float() / 255 - mean) / deviation
