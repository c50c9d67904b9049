"""Two groups side by side: shares, means, what is missing."""

from math import inf, isnan, sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.cohort.balance import COLUMNS, compare_groups, compare_shares, find_missing, find_unlike, read_numbers


@pytest.mark.parametrize(
    ("carriers", "others", "low", "high"),
    [  # Newcombe (1998), table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_a_difference_of_shares_has_the_published_interval(
    carriers: tuple[int, int], others: tuple[int, int], low: float, high: float
) -> None:
    found = compare_shares(carriers, others)
    assert [found.low, found.high] == pytest.approx([low, high], abs=6e-5)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_the_interval_holds_the_difference_and_turns_round(x: int, m: int, y: int, n: int) -> None:
    one, other = compare_shares((min(x, m), m), (min(y, n), n)), compare_shares((min(y, n), n), (min(x, m), m))
    assert -1 <= one.low <= one.difference <= one.high <= 1
    assert [one.low, one.high] == pytest.approx([-other.high, -other.low])


def test_what_closes_a_gate_is_large_and_no_chance() -> None:
    assert compare_shares((26, 97), (0, 73)).closes
    assert not compare_shares((1, 5), (0, 5)).closes  # 20 points, by chance
    small = compare_shares((90, 1000), (10, 1000))
    assert small.beyond_chance
    assert not small.closes
    assert compare_shares((0, 73), (26, 97)).closes


def test_an_empty_class_says_nothing() -> None:
    found = compare_shares((0, 0), (3, 9))
    assert isnan(found.difference)
    assert not found.closes
    assert found.describe("lost a case") == "0 of 0 carriers and 3 of 9 non-carriers lost a case"


def test_in_words() -> None:
    assert compare_shares((26, 97), (0, 73)).describe("lost a case") == (
        "26 of 97 carriers and 0 of 73 non-carriers lost a case (+27 points, interval +18 to +36)"
    )
    assert compare_shares((1, 10), (2, 10)).describe("have no age") == (
        "1 of 10 carriers and 2 of 10 non-carriers have no age (-10 points, interval -42 to +24)"
    )
    assert "(-27 points, interval -36 to -18)" in compare_shares((0, 73), (26, 97)).describe("x")


def test_what_is_missing_in_one_class_is_found() -> None:
    carrier = pd.Series([True] * 30 + [False] * 30)
    values = pd.DataFrame(
        {
            "age": [""] * 20 + ["40"] * 40,
            "weight": [""] * 20 + ["60"] * 40,
            "grade": ["", *["1"] * 58, ""],
            "whole": ["1"] * 60,
            "empty": [""] * 60,
        }
    )
    found = find_missing(values, carrier)
    assert list(found) == ["age and weight", "grade"]
    assert found["age and weight"].carriers == (20, 30)
    assert found["age and weight"].closes
    assert not found["grade"].beyond_chance
    alone = compare_shares((20, 30), (0, 30))
    assert found["age and weight"].low < alone.low  # two were looked at


def test_standardised_differences_by_hand() -> None:
    values = pd.DataFrame(
        {"age": ["40", "50", "60", "50", "", "70"], "side": ["left", "right", "left", "left", "", "x"]}
    )
    first = pd.Series([True] * 3 + [False] * 3)
    table = compare_groups(values, first, ~first, "carriers")
    assert list(table.columns) == COLUMNS
    age = table[table["variable"] == "age"].iloc[0]
    spread = sqrt((np.var([40, 50, 60]) + np.var([50, 70])) / 2)
    assert age["difference"] == pytest.approx((50 - 60) / spread)
    assert (age["n_first"], age["n_second"]) == (3, 2)
    left = table[table["level"] == "left"].iloc[0]
    assert (left["first"], left["second"]) == (pytest.approx(2 / 3), 0.5)
    assert left["difference"] == pytest.approx((2 / 3 - 0.5) / sqrt((2 / 9 + 1 / 4) / 2))


def test_unlike_is_large_and_no_chance() -> None:
    def table(difference: float, count: int) -> pd.DataFrame:
        return pd.DataFrame([("tested", "age", "", 0, 0, count, count, difference)], columns=COLUMNS)

    assert find_unlike(table(0.5, 100)) == ["age"]
    assert find_unlike(table(-0.5, 100)) == ["age"]
    assert find_unlike(table(0.5, 6)) == []
    assert find_unlike(table(0.2, 10_000)) == []
    assert find_unlike(table(inf, 10)) == ["age"]
    assert find_unlike(table(float("nan"), 10)) == []


def test_groups_that_never_meet_differ_without_end() -> None:
    first = pd.Series([True, True, False, False])
    table = compare_groups(pd.DataFrame({"site": ["a", "a", "b", "b"]}), first, ~first, "carriers")
    assert table["difference"].tolist() == [inf, -inf]


def test_names_and_constants_are_no_variable() -> None:
    values = pd.DataFrame({"note": [f"seen by {i}" for i in range(20)], "site": ["one"] * 20})
    first = pd.Series([True, False] * 10)
    assert compare_groups(values, first, ~first, "carriers").empty


@pytest.mark.parametrize(
    ("cells", "numeric"), [(["1", "2", "3.5", ""], True), (["1", "2", "1"], False), (["1", "2", "3", "x"], False)]
)
def test_numbers_and_words(cells: list[str], *, numeric: bool) -> None:
    assert (read_numbers(pd.Series(cells)) is not None) == numeric


def test_infinite_numbers_are_words() -> None:
    assert read_numbers(pd.Series(["1", "2", "3", "inf"])) is None
