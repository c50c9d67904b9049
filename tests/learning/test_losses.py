"""Each loss against an independent formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch import nn

from genovox.learning.losses import BinaryLoss


def test_balanced_equals_a_weighted_log_loss() -> None:
    logits = torch.tensor([0.3, -1.2, 2.0, 0.1, -0.4])
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    positives, negatives = 2, 3
    weights = [5 / (2 * positives) if label else 5 / (2 * negatives) for label in labels.tolist()]
    expected = log_loss(labels.numpy(), torch.sigmoid(logits).numpy(), sample_weight=weights, normalize=False) / 5
    assert BinaryLoss("balanced", positives, negatives)(logits, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "positives"), [("balanced", 4), ("plain", 1)])
def test_plain_weighs_all_cases_alike_as_balanced_does_with_equal_classes(kind: str, positives: int) -> None:
    logits, labels = torch.randn(8), torch.tensor([0.0, 1.0] * 4)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    loss = BinaryLoss(kind, positives, 8 - positives if kind == "plain" else 4)  # type: ignore[arg-type]
    assert torch.allclose(loss(logits, labels), expected)


def test_a_constant_score_of_one_half_costs_log_two_whatever_the_prevalence() -> None:
    labels = torch.tensor([1.0] + [0.0] * 9)
    assert BinaryLoss("balanced", 1, 9)(torch.zeros(10), labels).item() == pytest.approx(math.log(2), rel=1e-6)


@given(logit=st.floats(-6, 6), label=st.sampled_from([0.0, 1.0]))
def test_focal_is_the_published_formula(logit: float, label: float) -> None:
    p = 1 / (1 + np.exp(-logit))
    p_true = p if label else 1 - p
    expected = -((1 - p_true) ** 2) * np.log(p_true)
    value = BinaryLoss("focal", 5, 5)(torch.tensor([logit]), torch.tensor([label])).item()
    assert value == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_smoothing_moves_the_best_score_inwards_in_training_only() -> None:
    loss = BinaryLoss("plain", 1, 1, smoothing=0.2)
    one = torch.ones(1)
    best = math.log(0.9 / 0.1)
    beside = min(loss(torch.tensor([best + step]), one).item() for step in (-0.3, 0.3))
    assert loss(torch.tensor([best]), one).item() < beside
    loss.eval()
    assert loss(torch.tensor([9.0]), one).item() == pytest.approx(math.log1p(math.exp(-9)), rel=1e-3)
