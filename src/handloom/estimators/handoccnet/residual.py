"""Bottlenecks that normalise before they convolve, as hourglass networks have them (Newell et al., ECCV 2016)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class PreActivatedBottleneck(nn.Module):
    """x + conv 1x1, 3x3, 1x1 of x, a batch norm and a leaky ReLU before each; half as wide inside.

    The published checkpoint names the batch norms differently in its two uses: `norms`, in their order.
    """

    def __init__(self, width: int, norms: Sequence[str]) -> None:
        super().__init__()
        inner = width // 2
        self.norms = tuple(norms)
        for name, channels in zip(self.norms, (width, inner, inner), strict=True):
            self.add_module(name, nn.BatchNorm2d(channels))
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(width, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.Conv2d(inner, width, 1),
        )

    def forward(self, features: Float[Tensor, "batch width rows cols"]) -> Float[Tensor, "batch width rows cols"]:
        inner = features
        for norm, convolution in zip(self.norms, (self.conv1, self.conv2, self.conv3), strict=True):
            inner = convolution(functional.leaky_relu(self.get_submodule(norm)(inner)))
        return features + inner
