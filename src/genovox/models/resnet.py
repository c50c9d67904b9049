"""3D ResNets that MedicalNet's weights fit by name and shape."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from genovox.models.blocks import BasicBlock, Bottleneck, Network, Shortcut, global_mean, initialise, maximum_pool

Reading = Literal["classification", "dilated"]

WIDTHS = (64, 128, 256, 512)


class Layout(NamedTuple):
    """One depth: its block, the blocks of layers 1 to 4, and MedicalNet's shortcut for it."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    shortcut: Shortcut


LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        10: Layout(BasicBlock, (1, 1, 1, 1), "B"),
        18: Layout(BasicBlock, (2, 2, 2, 2), "A"),
        34: Layout(BasicBlock, (3, 4, 6, 3), "A"),
        50: Layout(Bottleneck, (3, 4, 6, 3), "B"),
        101: Layout(Bottleneck, (3, 4, 23, 3), "B"),
        152: Layout(Bottleneck, (3, 8, 36, 3), "B"),
        200: Layout(Bottleneck, (3, 24, 36, 3), "B"),
    }
)


class Sampling(NamedTuple):
    """How layers 1 to 4 sample their input, and input voxels from cell to cell of the last maps."""

    strides: tuple[int, int, int, int]
    dilations: tuple[int, int, int, int]
    cell_voxels: int


SAMPLINGS: Mapping[Reading, Sampling] = MappingProxyType(
    {
        "classification": Sampling((1, 2, 2, 2), (1, 1, 1, 1), 32),
        "dilated": Sampling((1, 2, 1, 1), (1, 1, 2, 4), 8),
    }
)


class ResNet(Network):
    """MedicalNet's 3D ResNet in one of two readings that share every parameter.

    ``classification`` halves each side in layers 2 to 4, as ResNets for images and video do. ``dilated`` is
    MedicalNet's own file, made for segmentation: layers 3 and 4 keep the sides and look 2 and 4 cells far instead, so
    its maps stay at an eighth, for four to five times the work; below 40 voxels a side, layer 4 looks past the border.
    The encoder's names and shapes are MedicalNet's; ``fc`` is ours, since its segmentation head has no use here.

    Args:
        channels: Input channels, 1 or more; MedicalNet's own weights have 1.
        depth: A key of ``LAYOUTS``.
        reading: A key of ``SAMPLINGS``.
        shortcut: None: MedicalNet's for the depth. The Kinetics ResNets have B at every depth.

    References:
        Chen et al. (2019), doi:10.48550/arXiv.1904.00625 and https://github.com/Tencent/MedicalNet. He et al. (2016),
        doi:10.1109/CVPR.2016.90.
    """

    minimum_side = 32

    def __init__(
        self, channels: int, *, depth: int, reading: Reading = "classification", shortcut: Shortcut | None = None
    ) -> None:
        super().__init__(channels)
        layout, sampling = LAYOUTS[depth], SAMPLINGS[reading]
        layout = layout._replace(shortcut=shortcut or layout.shortcut)
        self.stride = sampling.cell_voxels
        self.conv1 = nn.Conv3d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(WIDTHS[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = (_layer(layout, sampling, index) for index in range(4))
        self.fc = nn.Linear(WIDTHS[3] * layout.block.expansion, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """Maps of layer 4: (B, C, D, H, W) to (B, F, D / stride, H / stride, W / stride), rounded up, not negative.

        Raises:
            UsageError: If the batch has the wrong rank or channels, a side under 32, or, in training, one value
                a channel in layer 4, of which batch norm can take no variance.
        """
        self.check_batch(x)
        if self.layer4.training:
            self.check_variance(x, [-(-side // self.stride) for side in x.shape[2:]])
        out = maximum_pool(functional.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return maps

    def classify(self, features: Tensor) -> Tensor:
        """Logits, shape (B,), of maps of shape (B, F, d, h, w)."""
        logits: Tensor = self.fc(global_mean(features))
        return logits.squeeze(1)


def _layer(layout: Layout, sampling: Sampling, index: int) -> nn.Sequential:
    block, shortcut = layout.block, layout.shortcut
    stride, dilation = sampling.strides[index], sampling.dilations[index]
    in_width = WIDTHS[index - 1] * block.expansion if index else WIDTHS[0]
    width, repeats = WIDTHS[index], layout.blocks[index] - 1
    first = block(in_width, width, stride, shortcut, dilation)
    rest = (block(width * block.expansion, width, 1, shortcut, dilation) for _ in range(repeats))
    return nn.Sequential(first, *rest)
