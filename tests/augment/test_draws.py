"""Draws: their ranges, their seed."""

import pytest
import torch

from genovox.augment.draws import check_range, draw_chosen, draw_factors, draw_uniform
from genovox.core.errors import UsageError


def test_draws_stay_in_range_and_follow_the_seed() -> None:
    first, second = (draw_uniform(torch.Generator().manual_seed(1), (500,), -2, 3) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= -2
    assert first.max() < 3


def test_factors_of_one_are_one() -> None:
    assert torch.equal(draw_factors(torch.Generator().manual_seed(0), 9, 1.0), torch.ones(9))


def test_certain_and_impossible() -> None:
    generator = torch.Generator().manual_seed(0)
    assert draw_chosen(generator, 1000, 1.0).all()
    assert not draw_chosen(generator, 1000, 0.0).any()


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_bad_settings_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="size must be finite and in"):
        check_range("size", value, 0)
