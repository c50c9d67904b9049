"""The learning rate's shape."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genovox.learning.schedule import Kind, Schedule


def _factors(kind: str, epochs: int, warmup: int) -> list[float]:
    schedule = Schedule(kind, epochs=epochs, warmup_epochs=warmup, patience=10)  # type: ignore[arg-type]
    return [schedule.factor(step / 4) for step in range(4 * epochs)]


@given(kind=st.sampled_from(get_args(Kind)), epochs=st.integers(1, 200), warmup=st.integers(0, 50))
def test_rises_then_falls_and_stays_in_range(kind: str, epochs: int, warmup: int) -> None:
    factors = _factors(kind, epochs, warmup)
    assert all(0 < factor <= 1 for factor in factors)
    top = int(np.argmax(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[top] == pytest.approx(1, abs=0.05 if epochs > 1 else 1)


def test_cosine_is_half_a_cosine_after_the_warmup() -> None:
    value = Schedule("cosine", epochs=10, warmup_epochs=2, patience=1).factor(6)
    assert value == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 8)))


def test_one_cycle_is_high_where_torch_has_it_high() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=100, cycle_momentum=False)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    ours = [Schedule("one-cycle", epochs=100, warmup_epochs=0, patience=1).factor(epoch) for epoch in range(100)]
    # torch rises along a cosine, this along a line: they meet at the start, the top and on the way down.
    assert abs(int(np.argmax(ours)) - int(np.argmax(rates))) <= 1
    assert ours[0] == pytest.approx(rates[0])
    np.testing.assert_allclose(ours[30:], rates[30:], atol=0.03)


def test_plateau_halves_after_epochs_without_a_lower_loss() -> None:
    schedule = Schedule("plateau", epochs=50, warmup_epochs=0, patience=6)
    factors = []
    for loss in (1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.8):
        factors.append(schedule.factor(3))
        schedule.observe(loss)
    assert factors == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert schedule.factor(4) == 0.25
