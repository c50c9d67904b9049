"""A running mean of a network's weights: steadier than its last step."""

import copy
from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class RunningMean:
    """Exponential moving average of weights and statistics, where the study asks for one.

    Args:
        network: The network that is trained.
        decay: Part of the mean that a step keeps, in [0, 1); 0 keeps no mean, and the network itself is scored. After
            a few steps the mean of all so far counts more, so that short runs do not average over fresh weights.

    References:
        Polyak & Juditsky (1992), doi:10.1137/0330046.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._mean = copy.deepcopy(network) if decay else network
        # torch's AveragedModel counts its steps on the CPU and asks a GPU to wait at each.
        self._pairs = [
            (kept, seen.detach())
            for kept, seen in zip(_list_values(self._mean), _list_values(network), strict=True)
            if kept is not seen
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 9)) if self._steps > 1 else 0.0
        for is_float in (True, False):
            pairs = [pair for pair in self._pairs if pair[0].is_floating_point() == is_float]
            if pairs:
                get_ema_multi_avg_fn(decay)([kept for kept, _ in pairs], [seen for _, seen in pairs], None)

    @property
    def network(self) -> nn.Module:
        """The network to validate and to keep."""
        return self._mean


def _list_values(network: nn.Module) -> list[torch.Tensor]:
    """Weights, and statistics such as those of batch norm."""
    return list(chain(network.parameters(), network.buffers()))
