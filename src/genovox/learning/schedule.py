"""The learning rate over a run of training."""

import math
from typing import Literal

Kind = Literal["cosine", "one-cycle", "plateau"]

RISE = 0.3
"""Part of one cycle in which the rate rises."""
FLOOR = 1e-3
"""No rate falls under this part of the highest: an epoch of rate 0 would be time spent on nothing."""


class Schedule:
    """A factor of ``train.learning_rate`` for every moment of training.

    Args:
        kind: ``cosine`` rises linearly and falls along half a cosine; ``one-cycle`` rises over 30% of the run, from a
            25th, and falls; ``plateau`` rises, stays, and halves whenever the validation loss has not fallen for half
            of ``patience`` epochs.
        epochs: Epochs in all.
        warmup_epochs: Epochs of the rise (not of ``one-cycle``); at least one epoch is left for what follows.
        patience: Epochs without a lower validation loss after which training stops.

    References:
        Loshchilov & Hutter (2017), doi:10.48550/arXiv.1608.03983. Smith & Topin (2018),
        doi:10.48550/arXiv.1708.07120.
    """

    def __init__(self, kind: Kind, *, epochs: int, warmup_epochs: int, patience: int) -> None:
        self.kind = kind
        self.epochs = epochs
        self.warmup = RISE * epochs if kind == "one-cycle" else float(min(warmup_epochs, epochs - 1))
        self.start = 1 / 25 if kind == "one-cycle" else 1e-2
        self.wait = max(1, patience // 2)
        self._lowest = math.inf
        self._idle = 0
        self._plateau = 1.0

    def factor(self, epoch: float) -> float:
        """Factor in (0, 1] after ``epoch`` epochs, in [0, epochs); fractions count."""
        if epoch < self.warmup:
            return self.start + (1 - self.start) * epoch / self.warmup
        if self.kind == "plateau":
            return max(self._plateau, FLOOR)
        progress = (epoch - self.warmup) / (self.epochs - self.warmup)
        return max(0.5 * (1 + math.cos(math.pi * progress)), FLOOR)

    def observe(self, validation_loss: float) -> None:
        """Take note of an epoch that is over."""
        self._idle = 0 if validation_loss < self._lowest else self._idle + 1
        self._lowest = min(self._lowest, validation_loss)
        if self._idle >= self.wait:
            self._plateau *= 0.5
            self._idle = 0
