"""Draws: their ranges, their seed, and that a case keeps its own."""

import math

import pytest
import torch

from genovox.augment.draws import (
    check_range,
    draw_chosen,
    draw_factor,
    draw_integer,
    draw_uniform,
    open_generators,
    widen,
)
from genovox.core.errors import UsageError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_stay_in_range_and_follow_the_seed() -> None:
    first, second = (draw_uniform(seeded(1), (500,), -2, 3) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= -2
    assert first.max() < 3


def test_factors_of_one_are_one_and_others_as_often_up_as_down() -> None:
    generator = seeded()
    assert draw_factor(generator, 1.0) == 1
    logs = torch.tensor([math.log(draw_factor(generator, 2.0)) for _ in range(4000)])
    assert logs.abs().max() <= math.log(2)
    # A log-uniform factor has mean log 0 and SD log(2) / sqrt(3): five standard errors.
    assert abs(float(logs.mean())) < 5 * math.log(2) / math.sqrt(3 * 4000)


def test_certain_and_impossible() -> None:
    generator = seeded()
    assert all(draw_chosen(generator, 1.0) for _ in range(1000))
    assert not any(draw_chosen(generator, 0.0) for _ in range(1000))


def test_integers_are_all_drawn() -> None:
    generator = seeded()
    assert {draw_integer(generator, 3) for _ in range(100)} == {0, 1, 2}


def test_a_case_draws_the_same_in_any_company_and_otherwise_in_another_epoch_or_fold() -> None:
    def first(seed: int, epoch: int, case_ids: list[str]) -> dict[str, float]:
        opened = open_generators(seed, epoch, case_ids)
        return {case_id: float(torch.rand((), generator=each)) for case_id, each in zip(case_ids, opened, strict=True)}

    one, other = first(7, 3, ["a", "b", "c"]), first(7, 3, ["c", "x", "a"])
    assert one["a"] == other["a"]
    assert one["c"] == other["c"]
    assert len({*one.values(), first(7, 4, ["a"])["a"], first(8, 3, ["a"])["a"]}) == 5


def test_half_precision_is_widened_and_single_left() -> None:
    assert widen(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32
    single = torch.zeros(2)
    assert widen(single) is single


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_bad_settings_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="size must be finite and in"):
        check_range("size", value, 0)
