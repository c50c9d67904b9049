"""What every network here is made of: the contract with the rest of genovox, and the residual block."""

from abc import ABC, abstractmethod
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
        stride: Input voxels from one cell of the last maps to the next; cell j is centred on voxel ``j * stride``, as
            padded, strided convolutions of odd size put it.
        fc: The head: one logit from what ``classify`` makes of the maps, a case's features.
    """

    fc: nn.Linear
    minimum_side: ClassVar[int]
    stride: ClassVar[int]

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


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions around a shortcut, named as MedicalNet names them.

    Shortcut 'A' has no parameters: every ``stride``-th voxel, new channels zero. MedicalNet and MONAI cut the
    gradient there (``out.data``); here it flows, the output is the same.

    References:
        He et al. (2016), doi:10.1109/CVPR.2016.90. Chen et al. (2019), doi:10.48550/arXiv.1904.00625.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_width: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = width * self.expansion - in_width
        self.conv1 = nn.Conv3d(in_width, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample: nn.Module | None = None
        if shortcut == "B" and (stride != 1 or self.new_channels):
            self.downsample = projection(in_width, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Residual maps: (B, in_width, D, H, W) to (B, width, D / stride, H / stride, W / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = self.downsample
        identity = shortcut(x) if shortcut else pad_channels(x, self.stride, self.new_channels)
        return functional.relu(out + identity)


def projection(in_width: int, out_width: int, stride: int) -> nn.Sequential:
    """Shortcut 'B': a 1x1x1 convolution and its norm, the state dict's ``downsample.0`` and ``downsample.1``."""
    return nn.Sequential(nn.Conv3d(in_width, out_width, 1, stride=stride, bias=False), nn.BatchNorm3d(out_width))


def pad_channels(x: Tensor, stride: int, new_channels: int) -> Tensor:
    """Shortcut 'A': every ``stride``-th voxel, and ``new_channels`` of zeros behind the given ones."""
    return functional.pad(x[:, :, ::stride, ::stride, ::stride], (0, 0, 0, 0, 0, 0, 0, new_channels))


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out); norms start as identities.

    Draws from torch's global generator, so ``torch.manual_seed`` before building decides every weight.

    References:
        He et al. (2015), doi:10.1109/ICCV.2015.123.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


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


def global_mean(features: Tensor) -> Tensor:
    """Mean of each map: (B, F, d, h, w) to (B, F).

    Not an adaptive pool: its CUDA gradient is not deterministic.
    """
    return features.mean(dim=(2, 3, 4))


def global_maximum(features: Tensor) -> Tensor:
    """Maximum of each map: (B, F, d, h, w) to (B, F); ties share the gradient, which keeps it deterministic."""
    return torch.amax(features, dim=(2, 3, 4))
