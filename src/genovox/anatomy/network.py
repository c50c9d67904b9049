"""The network of HD-BET, a 3D U-Net with residual encoders, as its published weights need it.

References:
    Isensee et al. (2019), Automated brain extraction of multisequence MRI using artificial neural networks,
    doi:10.1002/hbm.24750.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_FILTERS = 21
_LEVELS = 5
_SLOPE = 1e-2
# The published weights were trained with another slope in these places.
_OUTER_SLOPE = 1e-1


class _Context(nn.Module):
    """Two convolutions, each after normalisation, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn_1, self.conv1 = _normalise(channels), _convolve(channels, channels)
        self.bn_2, self.conv2 = _normalise(channels), _convolve(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.leaky_relu(self.bn_1(x), _SLOPE, inplace=True))
        inner = self.conv2(functional.leaky_relu(self.bn_2(inner), _SLOPE, inplace=True))
        added: Tensor = inner.add_(x)
        return added


class _Down(nn.Module):
    """Half the resolution, twice the channels; what was normalised goes across to the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn, self.downsample = _normalise(channels), nn.Conv3d(channels, 2 * channels, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.leaky_relu(self.bn(x), _SLOPE, inplace=True)
        return x, self.downsample(x)


class _Up(nn.Module):
    """Twice the resolution, half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample_conv, self.bn = _convolve(channels, channels // 2), _normalise(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        return functional.leaky_relu(self.bn(self.upsample_conv(x)), _SLOPE, inplace=True)


class _Localisation(nn.Module):
    """What came up and what came across, joined into half as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn_1 = _convolve(channels, channels), _normalise(channels)
        self.conv2, self.bn_2 = nn.Conv3d(channels, channels // 2, 1), _normalise(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.bn_1(self.conv1(x)), _SLOPE, inplace=True)
        return functional.leaky_relu(self.bn_2(self.conv2(x)), _SLOPE, inplace=True)


class BrainNetwork(nn.Module):
    """Scan of 1.5 mm to the logits of background and brain.

    Attribute names are those of the published weights; their running statistics and their heads for deep supervision
    are not used.
    """

    def __init__(self) -> None:
        super().__init__()
        sizes = [_FILTERS * 2**level for level in range(_LEVELS)]
        self.init_conv = _convolve(1, _FILTERS)
        for level, size in enumerate(sizes, start=1):
            self.add_module(f"context{level}", _Context(size))
            if level < _LEVELS:
                self.add_module(f"down{level}", _Down(size))
                self.add_module(f"up{_LEVELS - level}", _Up(2 * size))
            if 1 < level < _LEVELS:
                self.add_module(f"loc{_LEVELS - level}", _Localisation(2 * size))
        self.bn_after_context5 = _normalise(sizes[-1])
        self.end_conv_1, self.end_conv_1_bn = _convolve(2 * _FILTERS, 2 * _FILTERS), _normalise(2 * _FILTERS)
        self.end_conv_2, self.end_conv_2_bn = _convolve(2 * _FILTERS, 2 * _FILTERS), _normalise(2 * _FILTERS)
        self.seg_layer = nn.Conv3d(2 * _FILTERS, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Shape (B, 1, D, H, W), sizes divisible by 16, mean 0 and SD 1.

        Returns:
            Shape (B, 2, D, H, W).
        """
        x = self.init_conv(x)
        across = []
        for level in range(1, _LEVELS):
            x = self.get_submodule(f"context{level}")(x)
            skip, x = self.get_submodule(f"down{level}")(x)
            across.append(skip)
        x = self.get_submodule(f"context{_LEVELS}")(x)
        x = functional.leaky_relu(self.bn_after_context5(x), _OUTER_SLOPE, inplace=True)
        for level in range(1, _LEVELS):
            x = torch.cat((across.pop(), self.get_submodule(f"up{level}")(x)), dim=1)
            if level < _LEVELS - 1:
                x = self.get_submodule(f"loc{level}")(x)
        x = functional.leaky_relu(self.end_conv_1_bn(self.end_conv_1(x)), _OUTER_SLOPE, inplace=True)
        x = functional.leaky_relu(self.end_conv_2_bn(self.end_conv_2(x)), _OUTER_SLOPE, inplace=True)
        logits: Tensor = self.seg_layer(x)
        return logits


def _normalise(channels: int) -> nn.InstanceNorm3d:
    return nn.InstanceNorm3d(channels, affine=True)


def _convolve(incoming: int, outgoing: int) -> nn.Conv3d:
    return nn.Conv3d(incoming, outgoing, 3, padding=1)
