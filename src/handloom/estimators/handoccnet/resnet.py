"""ResNet's bottleneck stages with leaky ReLUs (He et al., CVPR 2016).

Parameter names and shapes are those of HandOccNet's published checkpoint. Source: facts/comparisons.md 2.2.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (which may stride) and 1x1 convolutions added to their input, projected where it has another shape."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * inner
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, features: Float[Tensor, "batch a rows cols"]) -> Float[Tensor, "batch b rows2 cols2"]:
        inner = functional.leaky_relu(self.bn1(self.conv1(features)))
        inner = functional.leaky_relu(self.bn2(self.conv2(inner)))
        return functional.leaky_relu(self.bn3(self.conv3(inner)) + self.downsample(features))


def stem(channels: int) -> nn.Sequential:
    """From the image to a quarter of its resolution."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def stage(inputs: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    """Bottlenecks in a row, of which the first strides; wrapped once more, as the published names are."""
    first = Bottleneck(inputs, inner, stride)
    return nn.Sequential(nn.Sequential(first, *(Bottleneck(EXPANSION * inner, inner, 1) for _ in range(blocks - 1))))
