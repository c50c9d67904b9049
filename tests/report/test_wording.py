"""Figures as the page writes them."""

import pytest

from genovox.evaluate.schema import Metric
from genovox.report.wording import (
    explain_metric,
    write_duration,
    write_interval,
    write_number,
    write_p,
    write_share,
    write_signed,
)


def test_numbers_have_two_decimals_differences_three_and_a_true_minus() -> None:
    assert [write_number(0.904), write_number(-0.1), write_number(None)] == ["0.90", "−0.10", "–"]
    assert [write_signed(0.0312), write_signed(-0.2), write_signed(None)] == ["+0.031", "−0.200", "–"]
    assert write_interval(0.1, 0.25) == "0.10 to 0.25"
    assert write_signed(-0.0001) == "+0.000"
    assert write_interval(-0.1, 0.25, signed=True) == "−0.100 to +0.250"
    assert write_interval(None, 0.25) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0001, "< 0.001"), (0.0123, "0.012"), (0.5, "0.50"), (1.0, "1.00")]
)
def test_p_values(value: float | None, text: str) -> None:
    assert write_p(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.31, "0.3 s"), (18.0, "18 s"), (125.0, "2 min 5 s"), (3720.0, "1 h 2 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text


def test_shares() -> None:
    assert [write_share(1, 3), write_share(1, 0)] == ["33%", ""]


def test_a_figure_without_interval_says_why() -> None:
    undefined = Metric(estimate=None, low=None, high=None, method="not defined")
    assert explain_metric(undefined) == "not defined"
    noted = Metric(estimate=0.5, low=None, high=None, method="counts", note="too few")
    assert explain_metric(noted) == "too few"
    assert not explain_metric(Metric(estimate=0.5, low=0.4, high=0.6, method="bootstrap"))
