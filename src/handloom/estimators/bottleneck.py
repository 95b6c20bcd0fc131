"""The bottleneck of residual networks (He et al., CVPR 2016): DetNet, METRO's HRNet and HandOccNet are built of it."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4
"""Outer over inner channels of a bottleneck."""


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size of the map (at stride 1)."""
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which may stride or dilate) and 1x1 convolutions with batch norms, added to a shortcut.

    Unless it is given, the shortcut is the input itself, projected where it has another shape than the output. `name`
    is what a published checkpoint calls the shortcut.
    """

    def __init__(
        self,
        inputs: int,
        inner: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        shortcut: nn.Module | None = None,
        name: str = "downsample",
        activation: Callable[[Tensor], Tensor] = functional.relu,
    ) -> None:
        super().__init__()
        outputs = EXPANSION * inner
        self.conv1, self.bn1 = convolution(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = convolution(inner, inner, 3, stride, dilation), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = convolution(inner, outputs, 1), nn.BatchNorm2d(outputs)
        if shortcut is None and (inputs, stride) == (outputs, 1):
            shortcut = nn.Identity()
        elif shortcut is None:
            shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.add_module(name, shortcut)
        self.shortcut_name, self.activation = name, activation

    def forward(self, features: Float[Tensor, "batch a rows cols"]) -> Float[Tensor, "batch b rows2 cols2"]:
        inner = self.activation(self.bn1(self.conv1(features)))
        inner = self.activation(self.bn2(self.conv2(inner)))
        return self.activation(self.bn3(self.conv3(inner)) + self.get_submodule(self.shortcut_name)(features))
