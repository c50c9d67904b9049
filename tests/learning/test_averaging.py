"""The running mean against a mean computed by hand."""

import pytest
import torch
from torch import nn

from genovox.learning.averaging import RunningMean


def _set(network: nn.Linear, value: float) -> None:
    with torch.no_grad():
        network.weight.fill_(value)


def test_is_the_exponential_mean_of_the_weights_seen() -> None:
    network = nn.Linear(1, 1, bias=False)
    mean = RunningMean(network, 0.5)
    expected = 0.0
    for step, value in enumerate((4.0, 8.0, -2.0, 1.0) * 8, 1):
        _set(network, value)
        mean.update()
        decay = min(0.5, step / (step + 9))
        expected = value if step == 1 else decay * expected + (1 - decay) * value
    assert mean.network.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert network.weight.item() == 1.0


def test_statistics_are_averaged_too() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1))
    mean = RunningMean(network, 0.9)
    for _ in range(30):
        network(torch.randn(16, 1) + 5)
        mean.update()
    inner = mean.network[0].running_mean.item()  # type: ignore[index]
    assert 3 < inner < network[0].running_mean.item()  # type: ignore[operator]


def test_without_a_decay_the_network_itself_is_kept() -> None:
    network = nn.Linear(1, 1)
    mean = RunningMean(network, 0.0)
    mean.update()
    assert mean.network is network
