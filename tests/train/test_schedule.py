"""The learning rate's shape."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.train.schedule import cosine_with_warmup


@given(epochs=st.integers(1, 200), warmup=st.integers(0, 50))
def test_rises_then_falls_and_stays_in_range(epochs: int, warmup: int) -> None:
    factors = [cosine_with_warmup(epoch, epochs=epochs, warmup_epochs=warmup) for epoch in range(epochs)]
    assert all(0 < factor <= 1 for factor in factors)
    top = min(warmup, epochs - 1)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[top] == pytest.approx(1)


def test_is_half_a_cosine_after_the_warmup() -> None:
    value = cosine_with_warmup(6, epochs=10, warmup_epochs=2)
    assert value == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 8)))
