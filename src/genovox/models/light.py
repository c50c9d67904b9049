"""Small 3D CNNs for small cohorts: 0.21 or 0.05 M parameters for 50-500 patients."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from genovox.models.blocks import Network, global_maximum, global_mean, initialise

Norm = Literal["group", "batch"]

WIDTHS = (16, 32, 64)
SEPARABLE_WIDTHS = (32, 64, 128)
GROUPS = 8
DROPOUT = 0.3


class LightBlock(nn.Module):
    """Two 3x3x3 convolutions around a projection, halving every side.

    A separable convolution filters each channel alone, then mixes them voxel by voxel, with nothing in between.

    References:
        He et al. (2016), doi:10.1109/CVPR.2016.90. Chollet (2017), doi:10.1109/CVPR.2017.195.
    """

    def __init__(self, in_width: int, width: int, *, separable: bool, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _convolution(in_width, width, stride=2, separable=separable)
        self.norm1 = _normalisation(norm, width)
        self.conv2 = _convolution(width, width, stride=1, separable=separable)
        self.norm2 = _normalisation(norm, width)
        # Strided, not average-pooled: the CUDA gradient of a 3D average pool is not deterministic.
        self.downsample = nn.Sequential(
            nn.Conv3d(in_width, width, 1, stride=2, bias=False), _normalisation(norm, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Residual maps: (B, in_width, D, H, W) to (B, width, D / 2, H / 2, W / 2), rounded up."""
        out = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(out)) + self.downsample(x))


class LightNet(Network):
    """Strided stem, two residual blocks, mean and maximum of each map, dropout, one logit.

    The maps stay at an eighth of the input's sides (4^3 for 32^3, 12^3 for 96^3), fine enough to say where the
    network looked. The mean tells how much of a pattern there is, the maximum whether there is any: a lesion
    filling 1% of the volume all but vanishes from a mean.

    Separable convolutions spend a part of what they save on twice the width: a quarter of the parameters and a third
    of the multiplications remain, though not of the time, since a CPU waits for memory in them. The stem stays plain:
    filters of single channels could not tell one phase from another.

    Group norm, since a patient's score must not hang on the other patients of its batch, or, between hospitals,
    on their running statistics; it also trains on batches of one. Batch norm scored alike on small data.

    Args:
        channels: Input channels, 1 or more.
        separable: Depthwise-separable convolutions in the blocks.
        norm: ``group`` (8 groups) or ``batch``.
        widths: Maps of the stem and of each block, multiples of 8; None: 16, 32, 64, separable 32, 64, 128.

    References:
        Howard et al. (2017), doi:10.48550/arXiv.1704.04861. Wu & He (2018), doi:10.1007/978-3-030-01261-8_1.
    """

    minimum_side = 16
    stride = 8

    def __init__(
        self,
        channels: int,
        *,
        separable: bool = False,
        norm: Norm = "group",
        widths: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(channels)
        first, second, third = widths or (SEPARABLE_WIDTHS if separable else WIDTHS)
        self.conv1 = _convolution(channels, first, stride=2, separable=False)
        self.norm1 = _normalisation(norm, first)
        self.block1 = LightBlock(first, second, separable=separable, norm=norm)
        self.block2 = LightBlock(second, third, separable=separable, norm=norm)
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(2 * third, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """Maps: (B, C, D, H, W) to (B, 64 or 128, D / 8, H / 8, W / 8), rounded up, not negative.

        Raises:
            UsageError: If the batch has the wrong rank or channels, or a side under 16.
        """
        self.check_batch(x)
        out = functional.relu(self.norm1(self.conv1(x)))
        maps: Tensor = self.block2(self.block1(out))
        return maps

    def classify(self, features: Tensor) -> Tensor:
        """Logits, shape (B,), of maps of shape (B, F, d, h, w)."""
        pooled = torch.cat([global_mean(features), global_maximum(features)], dim=1)
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits.squeeze(1)


def _convolution(in_width: int, width: int, *, stride: int, separable: bool) -> nn.Module:
    if not separable:
        return nn.Conv3d(in_width, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(
        nn.Conv3d(in_width, in_width, 3, stride=stride, padding=1, groups=in_width, bias=False),
        nn.Conv3d(in_width, width, 1, bias=False),
    )


def _normalisation(norm: Norm, width: int) -> nn.Module:
    return nn.GroupNorm(GROUPS, width) if norm == "group" else nn.BatchNorm3d(width)
