"""Non-carriers like the carriers."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from genovox.cohort.balance import compare_groups
from genovox.cohort.matching import match_patients
from genovox.core.errors import StudyError
from genovox.core.sections import MatchingTable


def _patients(ages: list[float], carriers: int, **columns: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    names = [f"P{number:03d}" for number in range(len(ages))]
    values = pd.DataFrame({"age": [f"{age:g}" for age in ages], **columns}, index=names)
    return values, pd.Series([number < carriers for number in range(len(ages))], names)


def _distance(values: pd.DataFrame, sets: pd.DataFrame) -> float:
    ages = dict(zip(values.index, values["age"].astype(float), strict=True))
    return float(sum(abs(ages[one] - ages[own]) for one, own in zip(sets["patient_id"], sets["set"], strict=True)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(20, 80), min_size=8, max_size=40), st.integers(1, 6))
def test_it_is_the_best_of_all_deals(ages: list[int], carriers: int) -> None:
    """Against the dense assignment of scipy, which is another algorithm."""
    values, carrier = _patients([float(age) for age in ages], carriers)
    found = match_patients(values, carrier, MatchingTable(on=("age",), caliper=1000.0))
    dense = abs(np.subtract.outer(np.array(ages[:carriers], float), np.array(ages[carriers:], float)))
    if len(set(ages)) < 3:
        return  # words, not numbers: equal or not
    if dense.shape[1] < carriers:
        assert len(found.sets) <= 2 * dense.shape[1]
        return
    assert len(found.sets) == 2 * carriers
    assert _distance(values, found.sets) == pytest.approx(dense[linear_sum_assignment(dense)].sum())


def test_two_partners_by_trying_every_deal() -> None:
    ages = [40.0, 43, 60, 41, 39, 44, 47, 58, 66, 52]
    values, carrier = _patients(ages, 3)
    found = match_patients(values, carrier, MatchingTable(on=("age",), ratio=2, caliper=1000.0))
    others = range(3, len(ages))
    best = min(
        sum(abs(ages[own] - ages[one]) for own, pair in enumerate(pairs) for one in pair)
        for pairs in itertools.product(itertools.combinations(others, 2), repeat=3)
        if len({one for pair in pairs for one in pair}) == 6
    )
    assert _distance(values, found.sets) == pytest.approx(best)
    assert found.sets["set"].value_counts().tolist() == [3, 3, 3]
    assert set(found.left_out) == {"P005", "P006", "P007", "P008", "P009", "P003", "P004"} - set(
        found.sets["patient_id"]
    )


def test_the_caliper_is_kept_and_who_finds_nobody_is_told() -> None:
    values, carrier = _patients([30.0, 50, 52, 80, 51, 49], 2)
    found = match_patients(values, carrier, MatchingTable(on=("age",), caliper=0.2))
    assert found.left_out["P000"] == "matching on age: fewer than 1 non-carriers are near enough"
    assert found.left_out["P003"] == "matching on age: no carrier's partner"
    assert found.sets["set"].unique().tolist() == ["P001"]


def test_words_must_be_equal() -> None:
    values, carrier = _patients(
        [40.0, 50, 40, 50, 45, 60], 2, site=["north", "south", "south", "north", "north", "south"]
    )
    found = match_patients(values, carrier, MatchingTable(on=("age", "site"), caliper=100.0))
    sites = dict(values["site"])
    assert found.sets["patient_id"].map(sites).tolist() == found.sets["set"].map(sites).tolist()
    only = match_patients(values, carrier, MatchingTable(on=("site",), ratio=2))
    assert len(only.sets) == 6


def test_nobody_is_partner_twice_nor_both() -> None:
    random = np.random.default_rng(3)
    values, carrier = _patients(list(random.normal(50, 9, 120).round()), 40)
    found = match_patients(values, carrier, MatchingTable(on=("age",), ratio=2, caliper=0.5))
    assert found.sets["patient_id"].is_unique
    assert set(found.sets["patient_id"]) | set(found.left_out) == set(values.index)
    assert not set(found.sets["patient_id"]) & set(found.left_out)
    assert (found.sets.groupby("set").size() == 3).all()


def test_matching_balances() -> None:
    random = np.random.default_rng(5)
    ages = [*random.normal(43, 9, 60).round(1), *random.normal(55, 12, 240).round(1)]
    values, carrier = _patients(ages, 60)
    found = match_patients(values, carrier, MatchingTable(on=("age",)))
    stay = pd.Series(values.index.isin(found.sets["patient_id"]), values.index)
    before = compare_groups(values, carrier, ~carrier, "before")["difference"].iloc[0]
    after = compare_groups(values, carrier & stay, ~carrier & stay, "after")["difference"].iloc[0]
    assert abs(before) > 0.8
    assert abs(after) < 0.1
    assert stay[carrier].mean() > 0.8


def test_the_order_of_the_table_does_not_matter() -> None:
    random = np.random.default_rng(7)
    values, carrier = _patients(list(random.normal(50, 9, 60).round()), 20)
    rules = MatchingTable(on=("age",))
    turned = match_patients(values.iloc[::-1], carrier.iloc[::-1], rules)
    pd.testing.assert_frame_equal(turned.sets, match_patients(values, carrier, rules).sets)


def test_what_is_missing_or_unknown() -> None:
    values, carrier = _patients([40.0, 50, 41, 52], 2, grade=["1", "", "1", ""])
    found = match_patients(values, carrier, MatchingTable(on=("grade",)))
    assert found.left_out["P001"] == "cannot be matched: grade is missing"
    with pytest.raises(StudyError, match=r"cohort.matching.on names weight, .* known: age, grade"):
        match_patients(values, carrier, MatchingTable(on=("weight",)))
