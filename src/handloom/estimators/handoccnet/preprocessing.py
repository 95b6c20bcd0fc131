"""HandOccNet's input: RGB squares about a right hand, 256 pixels wide, with values from 0 to 1."""

from jaxtyping import Float, UInt8
from torch import Tensor

INPUT_PX = 256


def network_input(image_u8: UInt8[Tensor, "n px px 3"]) -> Float[Tensor, "n 3 px px"]:
    """RGB bytes as the network's input, value / 255: no mean and no deviation is taken out."""
    return image_u8.permute(0, 3, 1, 2).float() / 255
