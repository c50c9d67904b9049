"""A small 3D CNN for small cohorts: 0.2 M parameters for 50-500 patients."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genovox.models.blocks import Network, global_maximum, global_mean, initialise

WIDTHS = (16, 32, 64)
GROUPS = 8
DROPOUT = 0.3


class GroupNormBlock(nn.Module):
    """Two 3x3x3 convolutions around a projection, halving every side, with group norm.

    Group norm, since a patient's score must not hang on the other patients of its batch, or, between hospitals,
    on their running statistics; it also trains on batches of one. Batch norm scored alike on small data.

    References:
        He et al. (2016), doi:10.1109/CVPR.2016.90. Wu & He (2018), doi:10.1007/978-3-030-01261-8_1.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_width, width, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        # Strided, not average-pooled: the CUDA gradient of a 3D average pool is not deterministic.
        self.downsample = nn.Sequential(
            nn.Conv3d(in_width, width, 1, stride=2, bias=False), nn.GroupNorm(GROUPS, width)
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

    Args:
        channels: Input channels, 1 or more.
    """

    minimum_side: ClassVar[int] = 16
    stride: ClassVar[int] = 8

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.conv1 = nn.Conv3d(channels, WIDTHS[0], 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, WIDTHS[0])
        self.block1 = GroupNormBlock(WIDTHS[0], WIDTHS[1])
        self.block2 = GroupNormBlock(WIDTHS[1], WIDTHS[2])
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(2 * WIDTHS[2], 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """Maps: (B, C, D, H, W) to (B, 64, D / 8, H / 8, W / 8), rounded up, not negative.

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
