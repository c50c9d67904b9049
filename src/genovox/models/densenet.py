"""MONAI's 3D DenseNet121 in our contract."""

import importlib

from torch import Tensor, nn
from torch.nn import functional

from genovox.models.blocks import Network, global_mean, maximum_pool, mean_pool


class DenseNet121(Network):
    """MONAI's DenseNet121: its layers, names and initial weights, with pools that are deterministic on a GPU too.

    Its transitions average over 2 voxels without padding, so sides are rounded down and cell 0 is centred on voxel 14:
    each pool moves the centre by half of the 4, 8 and 16 voxels from cell to cell before it.

    Args:
        channels: Input channels, 1 or more.

    References:
        Huang et al. (2017), doi:10.1109/CVPR.2017.243. https://monai.readthedocs.io/en/stable/networks.html#densenet121
    """

    minimum_side = 32
    stride = 32
    offset = 14

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        # Seconds to import, which no other network should pay.
        monai = importlib.import_module("monai.networks.nets.densenet")
        parts = monai.DenseNet121(spatial_dims=3, in_channels=channels, out_channels=1)
        self.encoder: nn.Sequential = parts.features
        self.encoder.pool0 = _MaximumPool()
        for name, module in self.encoder.named_children():
            if name.startswith("transition"):
                module.pool = _MeanPool()
        self.fc: nn.Linear = parts.class_layers.out

    def features(self, x: Tensor) -> Tensor:
        """Maps: (B, C, D, H, W) to (B, 1024, D / 32, H / 32, W / 32), a quarter rounded up, then down; not negative.

        Raises:
            UsageError: If the batch has the wrong rank or channels, a side under 32, or, in training, one value
                a channel in the last maps, of which batch norm can take no variance.
        """
        self.check_batch(x)
        if self.encoder.training:
            self.check_variance(x, [-(-side // 4) // 8 for side in x.shape[2:]])
        return functional.relu(self.encoder(x))

    def classify(self, features: Tensor) -> Tensor:
        """Logits, shape (B,), of maps of shape (B, F, d, h, w)."""
        logits: Tensor = self.fc(global_mean(features))
        return logits.squeeze(1)


class _MaximumPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return maximum_pool(x)


class _MeanPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return mean_pool(x)
