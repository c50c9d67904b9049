"""Losses of one logit against carrier or not."""

from typing import Literal

import torch
from torch import Tensor, nn

FOCUS = 2.0
"""Exponent of the focal loss, as its authors found best."""


class BinaryLoss(nn.Module):
    """Binary cross-entropy of carriers and non-carriers, weighed as the study says.

    Args:
        kind: ``balanced`` weighs both classes the same, whatever the prevalence; ``plain`` weighs every case the same;
            ``focal`` is ``balanced`` with less weight on cases that are already told apart.
        positives: Training cases with label 1, at least 1.
        negatives: Training cases with label 0, at least 1.
        smoothing: Part of a label given to the other class, in [0, 1); in training only, so that a validation loss
            means the same whatever it is.

    References:
        Focal loss: Lin et al. (2017), doi:10.1109/ICCV.2017.324. Label smoothing: Szegedy et al. (2016),
        doi:10.1109/CVPR.2016.308.
    """

    def __init__(
        self, kind: Literal["balanced", "plain", "focal"], positives: int, negatives: int, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        total = positives + negatives
        weights = [1.0, 1.0] if kind == "plain" else [total / (2 * negatives), total / (2 * positives)]
        self.register_buffer("weights", torch.tensor(weights))
        self.weights: Tensor
        self.focus = FOCUS if kind == "focal" else 0.0
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch of the weighted loss; logits and labels, 0.0 to 1.0 where cases were mixed, are (B,)."""
        weights = torch.lerp(self.weights[0], self.weights[1], labels)
        if self.training and self.smoothing:
            labels = torch.lerp(labels, torch.full_like(labels, 0.5), self.smoothing)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels, weight=weights, reduction="none")
        if self.focus:
            loss = loss * (labels - torch.sigmoid(logits)).abs() ** self.focus
        return loss.mean()
