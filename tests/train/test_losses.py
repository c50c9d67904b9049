"""The balanced loss against an independent formula."""

import math

import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from genovox.train.losses import BalancedBinaryLoss


def test_equals_weighted_log_loss() -> None:
    logits = torch.tensor([0.3, -1.2, 2.0, 0.1, -0.4])
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    positives, negatives = 2, 3
    weights = [5 / (2 * positives) if label else 5 / (2 * negatives) for label in labels.tolist()]
    expected = log_loss(labels.numpy(), torch.sigmoid(logits).numpy(), sample_weight=weights, normalize=False) / 5
    assert BalancedBinaryLoss(positives, negatives)(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_balanced_classes_give_plain_cross_entropy() -> None:
    logits, labels = torch.randn(8), torch.tensor([0.0, 1.0] * 4)
    plain = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert torch.allclose(BalancedBinaryLoss(4, 4)(logits, labels), plain)


def test_a_constant_score_of_one_half_costs_log_two_whatever_the_prevalence() -> None:
    labels = torch.tensor([1.0] + [0.0] * 9)
    assert BalancedBinaryLoss(1, 9)(torch.zeros(10), labels).item() == pytest.approx(math.log(2), rel=1e-6)
