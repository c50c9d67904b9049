"""A stem that gives a processor's bf16 units enough to do."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 7
"""Of the kernels that are folded, with stride 2."""


class FoldedConv3d(nn.Conv3d):
    """The 7x7x7 convolution of stride 2 over one channel, under autocast as one of 4x4x4 over eight.

    The eight voxels of each 2x2x2 cube become channels: the same sums, of which eight instead of one feed a dot product
    of the processor. Stem of a ResNet over two volumes of 96^3, forward and backward on one core with AMX: 363 ms
    plain, 159 folded into a volume with channels first (torch 2.11); in fp32, and with four channels, plain is faster.

    References:
        Ying et al. (2018), doi:10.48550/arXiv.1811.06992, section 3.1 (space to depth).
    """

    def forward(self, x: Tensor) -> Tensor:
        """As the plain convolution, up to rounding."""
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        return functional.conv3d(fold_volumes(x), fold_kernels(self.weight), self.bias)


def fold_stems(network: nn.Module) -> list[str]:
    """Fold every convolution that gains from it, for good.

    Args:
        network: To be trained in bf16; its state dict keeps its names and values.

    Returns:
        Names of the convolutions.
    """
    folded = []
    for name, module in network.named_modules():
        if type(module) is nn.Conv3d and _gains(module):
            module.__class__ = FoldedConv3d
            folded.append(name)
    return folded


def _gains(convolution: nn.Conv3d) -> bool:
    return (
        convolution.in_channels == 1
        and convolution.kernel_size == (SIDE,) * 3
        and convolution.stride == (2,) * 3
        and convolution.padding == (SIDE // 2,) * 3
        and convolution.dilation == (1,) * 3
        and convolution.padding_mode == "zeros"
    )


def fold_volumes(x: Tensor) -> Tensor:
    """Cubes of 2x2x2 voxels as channels: (B, C, D, H, W) to (B, 8C, D / 2 + 3, H / 2 + 3, W / 2 + 3), rounded up.

    Padded so that a 4x4x4 convolution without padding sees, at cell o, the voxels from 2o - 4 to 2o + 3.
    """
    margins = [margin for side in reversed(x.shape[2:]) for margin in (SIDE // 2 + 1, 2 + side % 2)]
    padded = functional.pad(x, margins)
    batch, channels, *sides = padded.shape
    d, h, w = (side // 2 for side in sides)
    cubes = padded.reshape(batch, channels, d, 2, h, 2, w, 2).permute(0, 2, 4, 6, 1, 3, 5, 7)
    # Channels last, as the network that follows has them.
    return cubes.reshape(batch, d, h, w, 8 * channels).permute(0, 4, 1, 2, 3)


def fold_kernels(weight: Tensor) -> Tensor:
    """Kernels for ``fold_volumes``: (F, C, 7, 7, 7), a zero before each line, to (F, 8C, 4, 4, 4)."""
    width, channels = weight.shape[:2]
    half = (SIDE + 1) // 2
    lines = functional.pad(weight, (1, 0) * 3).reshape(width, channels, half, 2, half, 2, half, 2)
    return lines.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(width, 8 * channels, half, half, half)
