"""The learning rate over a run of training."""

import math


def cosine_with_warmup(epoch: float, *, epochs: int, warmup_epochs: int) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to zero.

    Args:
        epoch: Epochs done so far, in [0, epochs); fractions count.
        epochs: Epochs in all.
        warmup_epochs: Epochs of the rise; at least one epoch is left for the fall.

    Returns:
        A factor in (0, 1].

    References:
        Loshchilov & Hutter (2017), doi:10.48550/arXiv.1608.03983.
    """
    warmup = min(warmup_epochs, epochs - 1)
    if epoch < warmup:
        return (epoch + 1e-2) / (warmup + 1e-2)
    progress = (epoch - warmup) / (epochs - warmup)
    return max(0.5 * (1 + math.cos(math.pi * progress)), 1e-3)
