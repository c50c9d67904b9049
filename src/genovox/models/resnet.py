"""3D ResNets that MedicalNet's weights fit by name and shape."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from genovox.core.errors import UsageError
from genovox.models.blocks import BasicBlock, Network, Shortcut, global_mean, initialise, maximum_pool

WIDTHS = (64, 128, 256, 512)


class Layout(NamedTuple):
    """One depth: its block, the blocks of layers 1 to 4, and MedicalNet's shortcut for it."""

    block: type[BasicBlock]
    blocks: tuple[int, int, int, int]
    shortcut: Shortcut


LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        10: Layout(BasicBlock, (1, 1, 1, 1), "B"),
        18: Layout(BasicBlock, (2, 2, 2, 2), "A"),
    }
)


class ResNet(Network):
    """MedicalNet's 3D ResNet in its classification reading: stride 2 in layers 2 to 4, no dilation.

    The encoder's names and shapes are MedicalNet's; ``fc`` is ours, since its segmentation head has no use here.

    Args:
        channels: Input channels, 1 or more; MedicalNet's own weights have 1.
        depth: A key of ``LAYOUTS``.

    References:
        Chen et al. (2019), doi:10.48550/arXiv.1904.00625. He et al. (2016), doi:10.1109/CVPR.2016.90.
    """

    minimum_side: ClassVar[int] = 32
    stride: ClassVar[int] = 32

    def __init__(self, channels: int, *, depth: int) -> None:
        super().__init__(channels)
        layout = LAYOUTS[depth]
        self.conv1 = nn.Conv3d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(WIDTHS[0])
        self.layer1 = _layer(layout, 0, stride=1)
        self.layer2 = _layer(layout, 1, stride=2)
        self.layer3 = _layer(layout, 2, stride=2)
        self.layer4 = _layer(layout, 3, stride=2)
        self.fc = nn.Linear(WIDTHS[3] * layout.block.expansion, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """Maps of layer 4: (B, C, D, H, W) to (B, F, D / 32, H / 32, W / 32), rounded up, not negative.

        Raises:
            UsageError: If the batch has the wrong rank or channels, a side under 32, or, in training, one value
                a channel in layer 4, of which batch norm can take no variance.
        """
        self.check_batch(x)
        self._check_variance(x)
        out = maximum_pool(functional.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return maps

    def classify(self, features: Tensor) -> Tensor:
        """Logits, shape (B,), of maps of shape (B, F, d, h, w)."""
        logits: Tensor = self.fc(global_mean(features))
        return logits.squeeze(1)

    def _check_variance(self, x: Tensor) -> None:
        if self.bn1.training and len(x) == 1 and max(x.shape[2:]) <= self.minimum_side:
            raise UsageError(
                "training with batch norm needs 2 values a channel in the last maps, got a batch of 1 volume of "
                f"{'x'.join(str(side) for side in x.shape[2:])}; use batches of 2 or a larger preprocess.shape"
            )


def _layer(layout: Layout, index: int, stride: int) -> nn.Sequential:
    expansion = layout.block.expansion
    in_width = WIDTHS[0] if index == 0 else WIDTHS[index - 1] * expansion
    first = layout.block(in_width, WIDTHS[index], stride, layout.shortcut)
    rest = (
        layout.block(WIDTHS[index] * expansion, WIDTHS[index], 1, layout.shortcut)
        for _ in range(layout.blocks[index] - 1)
    )
    return nn.Sequential(first, *rest)
