"""Losses of one logit against carrier or not."""

import torch
from torch import Tensor, nn


class BalancedBinaryLoss(nn.Module):
    """Binary cross-entropy in which both classes weigh the same, whatever the prevalence.

    Args:
        positives: Training cases with label 1, at least 1.
        negatives: Training cases with label 0, at least 1.
    """

    def __init__(self, positives: int, negatives: int) -> None:
        super().__init__()
        total = positives + negatives
        self.register_buffer("weights", torch.tensor([total / (2 * negatives), total / (2 * positives)]))
        self.weights: Tensor

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch of the weighted loss; logits and labels, 0.0 to 1.0 where cases were mixed, are (B,)."""
        weights = torch.lerp(self.weights[0], self.weights[1], labels)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels, weight=weights)
