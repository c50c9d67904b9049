"""What every network here is made of: the contract with the rest of genovox, residual blocks, pools."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from genovox.core.errors import UsageError

Shortcut = Literal["A", "B"]


class Network(nn.Module, ABC):
    """A 3D classifier split where explanations need it: convolutional maps, then one logit.

    Attributes:
        channels: Input channels.
        minimum_side: Smallest side in voxels that still gives the last maps something to see.
        stride: Input voxels from one cell of the last maps to the next.
        offset: Voxel that cell 0 is centred on; cell j is centred on ``offset + j * stride``. Padded convolutions of
            odd size, whatever their stride or dilation, leave it at 0; a pool over 2 voxels moves it.
        fc: The head: one logit from what ``classify`` makes of the maps, a case's features.
    """

    fc: nn.Linear
    minimum_side: int
    stride: int
    offset: int = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise UsageError(f"a network needs at least 1 input channel, got {channels}; list some channels")
        self.channels = channels

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Last convolutional maps, never changed in place by ``classify``.

        Args:
            x: Batch, shape (B, C, D, H, W), floating point.

        Returns:
            Maps, shape (B, F, d, h, w), not negative.

        Raises:
            UsageError: If the batch has the wrong rank or channels, or a side under ``minimum_side``.
        """

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Logit of being a carrier from the maps of ``features``.

        Args:
            features: Shape (B, F, d, h, w).

        Returns:
            Logits, shape (B,), unbounded; a raw score is their sigmoid.
        """

    def forward(self, x: Tensor) -> Tensor:
        """Logit of each volume: (B, C, D, H, W) to (B,)."""
        return self.classify(self.features(x))

    def check_batch(self, x: Tensor) -> None:
        """Refuse a batch this network cannot read, before torch does in its own words.

        Raises:
            UsageError: If the batch has the wrong rank or channels, or a side under ``minimum_side``.
        """
        if x.ndim != 5:
            raise UsageError(f"a batch must have shape (B, C, D, H, W), got {tuple(x.shape)}; add what is missing")
        if x.shape[1] != self.channels:
            raise UsageError(
                f"this network was built for {self.channels} channels, got {x.shape[1]}; "
                "use the channels it was trained on or build it anew"
            )
        if min(x.shape[2:]) < self.minimum_side:
            shape = "x".join(str(side) for side in x.shape[2:])
            raise UsageError(
                f"{type(self).__name__} needs at least {self.minimum_side} voxels on every side, got {shape}; "
                "enlarge preprocess.shape or choose a smaller spacing"
            )

    def check_variance(self, x: Tensor, cells: Sequence[int]) -> None:
        """Refuse, where batch norm trains, one value a channel, of which it can take no variance.

        Args:
            x: Batch, shape (B, C, D, H, W).
            cells: Shape (d, h, w) of its last maps.

        Raises:
            UsageError: If the last maps hold one cell in all.
        """
        if len(x) * math.prod(cells) == 1:
            raise UsageError(
                "training with batch norm needs 2 values a channel in the last maps, got a batch of 1 volume of "
                f"{'x'.join(str(side) for side in x.shape[2:])}; use batches of 2 or a larger preprocess.shape"
            )


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions around a shortcut, named as MedicalNet names them.

    References:
        He et al. (2016), doi:10.1109/CVPR.2016.90. Chen et al. (2019), doi:10.48550/arXiv.1904.00625.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_width: int, width: int, stride: int, shortcut: Shortcut, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = _convolution(in_width, width, stride, dilation)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample = make_shortcut(in_width, width * self.expansion, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Residual maps: (B, in_width, D, H, W) to (B, width, D / stride, H / stride, W / stride), rounded up."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """A 3x3x3 convolution between two of 1x1x1, the last four times as wide, around a shortcut, named as MedicalNet's.

    References:
        He et al. (2016), doi:10.1109/CVPR.2016.90. Chen et al. (2019), doi:10.48550/arXiv.1904.00625.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_width: int, width: int, stride: int, shortcut: Shortcut, dilation: int = 1) -> None:
        super().__init__()
        out_width = width * self.expansion
        self.conv1 = nn.Conv3d(in_width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, out_width, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_width)
        self.downsample = make_shortcut(in_width, out_width, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Residual maps: (B, in_width, D, H, W) to (B, 4 width, D / stride, H / stride, W / stride), rounded up."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        return functional.relu(self.bn3(self.conv3(out)) + self.downsample(x))


def _convolution(in_width: int, out_width: int, stride: int, dilation: int) -> nn.Conv3d:
    return nn.Conv3d(in_width, out_width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def make_shortcut(in_width: int, out_width: int, stride: int, shortcut: Shortcut) -> nn.Module:
    """The way around a block: the input itself where shapes agree, else the shortcut named.

    Args:
        in_width: Channels the block takes.
        out_width: Channels it gives.
        stride: Voxels of its input a voxel of its output.
        shortcut: 'A' takes every ``stride``-th voxel and adds channels of zeros; 'B' is a 1x1x1 convolution and its
            norm, the state dict's ``downsample.0`` and ``downsample.1``.
    """
    if stride == 1 and in_width == out_width:
        return nn.Identity()
    if shortcut == "A":
        return PaddedShortcut(stride, out_width - in_width)
    return nn.Sequential(nn.Conv3d(in_width, out_width, 1, stride=stride, bias=False), nn.BatchNorm3d(out_width))


class PaddedShortcut(nn.Module):
    """Shortcut 'A', without parameters: every ``stride``-th voxel, and channels of zeros behind the given ones.

    MedicalNet and MONAI cut the gradient here (``out.data``); ours flows, the output is the same.
    """

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, F, D, H, W) to (B, F + new_channels, D / stride, H / stride, W / stride), rounded up."""
        step = self.stride
        return functional.pad(x[:, :, ::step, ::step, ::step], (0, 0, 0, 0, 0, 0, 0, self.new_channels))


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out, of the one group an output belongs to); norms start as identities.

    Draws from torch's global generator, so ``torch.manual_seed`` before building decides every weight.

    References:
        He et al. (2015), doi:10.1109/ICCV.2015.123.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.groups > 1:
                # torch counts the outputs of every group; an input voxel feeds those of its own alone.
                with torch.no_grad():
                    module.weight.mul_(math.sqrt(module.groups))


def maximum_pool(x: Tensor) -> Tensor:
    """Maximum over 3x3x3 voxels with stride 2: (B, C, D, H, W), not negative, to half of each side, rounded up.

    The CUDA gradient of torch's own 3D pool is not deterministic; on the CPU it is, and its gradient is faster.
    """
    return strided_maximum(x) if x.is_cuda else functional.max_pool3d(x, 3, stride=2, padding=1)


def strided_maximum(x: Tensor) -> Tensor:
    """The pool of ``maximum_pool`` as maxima of shifted copies, one axis after the other.

    Zeros pad the border: among values that are not negative they never win against one that is positive.
    """
    x = functional.pad(x, (1, 1, 1, 1, 1, 1))
    for dim in (2, 3, 4):
        window = x.unfold(dim, 3, 2)
        first, second, third = window.unbind(-1)
        x = torch.maximum(torch.maximum(first, second), third)
    return x


def mean_pool(x: Tensor) -> Tensor:
    """Mean over 2x2x2 voxels with stride 2: (B, C, D, H, W) to half of each side, rounded down.

    The CUDA gradient of torch's own 3D pool is not deterministic; on the CPU it is.
    """
    return halved_mean(x) if x.is_cuda else functional.avg_pool3d(x, 2)


def halved_mean(x: Tensor) -> Tensor:
    """The pool of ``mean_pool`` as means of neighbours, one axis after the other; an odd last voxel is left out."""
    for dim in (2, 3, 4):
        first, second = x.unfold(dim, 2, 2).unbind(-1)
        x = (first + second) / 2
    return x


def global_mean(features: Tensor) -> Tensor:
    """Mean of each map: (B, F, d, h, w) to (B, F).

    Not an adaptive pool: its CUDA gradient is not deterministic.
    """
    return features.mean(dim=(2, 3, 4))


def global_maximum(features: Tensor) -> Tensor:
    """Maximum of each map: (B, F, d, h, w) to (B, F); ties share the gradient, which keeps it deterministic."""
    return torch.amax(features, dim=(2, 3, 4))
