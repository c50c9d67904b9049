"""A running mean of a network's weights: steadier than its last step."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


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
        self._network = network
        self._decay = decay
        self._mean = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True) if decay else None
        )
        self._steps = 0

    def update(self) -> None:
        """Take in the weights after a step."""
        if self._mean is None:
            return
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 9))
        self._mean.multi_avg_fn = get_ema_multi_avg_fn(decay)
        self._mean.update_parameters(self._network)

    @property
    def network(self) -> nn.Module:
        """The network to validate and to keep."""
        return self._network if self._mean is None else self._mean.module
