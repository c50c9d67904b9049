import random
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from genovox.cohort.splits import (
    FIXED,
    FoldPlan,
    _plan_repeat,
    connect_groups,
    plan_folds,
    read_folds,
    set_aside,
    split_sites,
    write_folds,
)
from genovox.core.artifacts import write_json, write_table
from genovox.core.case import Case
from genovox.core.errors import DataError, LeakageError, SingleClassError, StudyError, TableError
from genovox.core.sections import SplitsTable

SLOW = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Case]:
    """Patients with one to four cases, some of one family; a family mostly shares its label."""
    count = draw(st.integers(40, 60))
    chance = random.Random(draw(st.integers(0, 10**6)))
    cases = []
    for patient in range(count):
        family = f"F{chance.randrange(count)}" if chance.random() < 0.4 else ""
        label, site = int(chance.random() < 0.45), chance.choice(["north", "south", "west"])
        count_of_cases = chance.choice([1, 1, 2, 4])
        cases += [Case(f"c{patient}-{i}", f"p{patient}", ("x",), label, family, site) for i in range(count_of_cases)]
    return cases


def _plain(count: int, *, carriers: int, site: str = "", part: str = "", start: int = 0) -> list[Case]:
    return [
        Case(f"c{start + i:03d}", f"p{start + i:03d}", ("x",), int(i < carriers), site=site, part=part)
        for i in range(count)
    ]


@given(cases=cohorts(), folds=st.integers(2, 4), repeats=st.integers(1, 2), seed=st.integers(0, 99))
@SLOW
def test_a_plan_never_leaks_and_tests_each_case_once(cases: list[Case], folds: int, repeats: int, seed: int) -> None:
    splits = SplitsTable(folds=folds, repeats=repeats)
    try:
        plan = plan_folds(cases, splits, seed)
    except (SingleClassError, DataError):
        assume(False)
        return
    labels = {case.case_id: case.label for case in cases}
    for repeat in range(repeats):
        tested = Counter(case for fold in range(folds) for case in plan.select_cases(repeat, str(fold), "test"))
        assert tested == Counter(list(labels))
        for fold in range(folds):
            rows = plan.table[(plan.table["repeat"] == repeat) & (plan.table["fold"] == str(fold))]
            assert sorted(rows["case_id"]) == sorted(labels)
            for column in ("patient_id", "family_id"):
                named = rows[rows[column] != ""]
                assert (named.groupby(column)["part"].agg(set).map(len) == 1).all()
            for part in ("train", "val", "test"):
                assert {labels[case] for case in plan.select_cases(repeat, str(fold), part)} == {0, 1}
    shuffled = random.Random(seed).sample(cases, len(cases))
    pd.testing.assert_frame_equal(plan_folds(shuffled, splits, seed).table, plan.table)
    assert plan.folds == [(repeat, str(fold)) for repeat in range(repeats) for fold in range(folds)]


def test_the_seed_decides() -> None:
    cases = _plain(60, carriers=25)
    plans = [plan_folds(cases, SplitsTable(repeats=2), seed) for seed in (1, 1, 2)]
    assert plans[0].table.equals(plans[1].table)
    assert not plans[0].table.equals(plans[2].table)
    assert plans[0].select_cases(0, "0", "test") != plans[0].select_cases(1, "0", "test")


@pytest.mark.parametrize("carriers", [20, 40, 60])
def test_folds_are_alike(carriers: int) -> None:
    cases = [
        Case(f"c{i}", f"p{i}", ("x",), int(i % 100 < carriers), site=("north", "south")[i // 100]) for i in range(200)
    ]
    by_id = {case.case_id: case for case in cases}
    plan = plan_folds(cases, SplitsTable(), 3)
    for _, fold in plan.folds:
        test = [by_id[case] for case in plan.select_cases(0, fold, "test")]
        assert len(test) == 40
        for site in ("north", "south"):
            labels = [case.label for case in test if case.site == site]
            assert sum(label or 0 for label in labels) == carriers / 5  # one case a patient: exact
        assert 31 <= len(plan.select_cases(0, fold, "val")) <= 34


def test_a_rare_carrier_of_a_small_site_does_not_halve_the_training_part() -> None:
    cases = [*_plain(80, carriers=40, site="north"), *_plain(20, carriers=2, site="south", start=100)]
    plan = plan_folds(cases, SplitsTable(), 7)
    for _, fold in plan.folds:
        assert 14 <= len(plan.select_cases(0, fold, "val")) <= 18


def test_labels_alone_can_be_stratified_by() -> None:
    cases = _plain(50, carriers=20)
    plan = plan_folds(cases, SplitsTable(stratify_by=("label",)), 0)
    assert len(plan.select_cases(0, "4", "test")) == 10


def test_a_fixed_part_is_tested_once() -> None:
    cases = [*_plain(40, carriers=20, part="train"), *_plain(10, carriers=4, part="test", start=100)]
    plan = plan_folds(cases, SplitsTable(repeats=2), 0)
    assert plan.fixed_test == [f"c{i}" for i in range(100, 110)]
    assert (plan.table[plan.table["fold"] == FIXED]["repeat"] == 0).all()
    assert len(plan.folds) == 10
    assert len(plan.table) == 40 * 10 + 10


def test_a_fixed_part_of_one_class() -> None:
    cases = [*_plain(40, carriers=20, part="train"), *_plain(10, carriers=0, part="test", start=100)]
    with pytest.raises(SingleClassError, match="in the fixed test part, got only 0 in 10 cases"):
        plan_folds(cases, SplitsTable(), 0)


def test_a_fixed_part_that_shares_a_patient() -> None:
    cases = [*_plain(40, carriers=20, part="train"), *_plain(10, carriers=4, part="test", start=100)]
    cases.append(Case("again", "p100", ("x",), 1, part="train"))
    with pytest.raises(LeakageError, match="patient_id p100 stands in"):
        plan_folds(cases, SplitsTable(), 0)


def test_too_few() -> None:
    with pytest.raises(
        DataError, match=r"5 folds need at least 5 groups of each class .* got 4 groups .* use fewer folds"
    ):
        plan_folds(_plain(30, carriers=4), SplitsTable(), 0)
    with pytest.raises(DataError, match=r"2 folds need at least 3 .* widen the cohort$"):
        plan_folds(_plain(30, carriers=2), SplitsTable(folds=2), 0)


@pytest.mark.parametrize("carriers", [0, 30])
def test_one_class(carriers: int) -> None:
    with pytest.raises(SingleClassError, match="labels must hold carriers and non-carriers"):
        plan_folds(_plain(30, carriers=carriers), SplitsTable(), 0)


def test_classes_that_cannot_be_in_every_part() -> None:
    few = pd.DataFrame({"case_id": list("abcdefgh"), "label": [1, 1] + [0] * 6, "group": range(8)})
    with pytest.raises(
        SingleClassError, match=r"fold \d leaves 1 group of a class to train and validate after 50 attempts; use fewer"
    ):
        _plan_repeat(few, few["label"].astype(str).to_numpy(), SplitsTable(folds=2), 0, 7)
    # Two of three carriers are one family: whichever fold tests them, the other tests one alone, or none.
    tied = pd.DataFrame(
        {"case_id": list("abcdefghij"), "label": [1] * 4 + [0] * 6, "group": [0, 0, 1, 1, *range(2, 8)]}
    )
    with pytest.raises(SingleClassError, match=r"labels must hold carriers and non-carriers in every part"):
        _plan_repeat(tied, tied["label"].astype(str).to_numpy(), SplitsTable(folds=3), 0, 7)


@pytest.fixture
def plan_table(tmp_path: Path) -> pd.DataFrame:
    write_json(tmp_path / "cohort" / "flow.json", {})
    cases = [Case(f"c{i}", f"p{i // 2}", ("x",), (i // 2) % 2, f"f{i // 4}") for i in range(80)]
    return plan_folds(cases, SplitsTable(), 0).table


def test_a_cohort_without_folds_says_why(tmp_path: Path) -> None:
    write_json(tmp_path / "cohort" / "flow.json", {"no_folds": "too few carriers; widen the cohort"})
    with pytest.raises(DataError, match="too few carriers"):
        read_folds(tmp_path)


def test_folds_are_read_back(tmp_path: Path, plan_table: pd.DataFrame) -> None:
    checksum = write_folds(FoldPlan(plan_table), tmp_path / "cohort")
    write_json(tmp_path / "cohort" / "flow.json", {"folds_hash": checksum})
    pd.testing.assert_frame_equal(read_folds(tmp_path).table, plan_table, check_dtype=False)


def test_a_reader_can_recompute_the_checksum(tmp_path: Path, plan_table: pd.DataFrame) -> None:
    write_folds(FoldPlan(plan_table), tmp_path)
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "folds.sha256"], cwd=tmp_path, check=False).returncode == 0
    )
    (tmp_path / "folds.csv").write_text((tmp_path / "folds.csv").read_text().replace("train", "val", 1))
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "folds.sha256"], cwd=tmp_path, check=False).returncode == 1
    )


def test_inner_folds_nest_in_what_is_not_tested(plan_table: pd.DataFrame) -> None:
    for _, rows in plan_table.groupby(["repeat", "fold"]):
        assert (rows.loc[rows["part"] == "test", "inner"] == "").all()
        rest = rows[rows["part"] != "test"]
        assert set(rest["inner"]) == {"0", "1", "2", "3", "4"}
        assert ((rest["inner"] == "0") == (rest["part"] == "val")).all()
        for column in ("patient_id", "family_id"):
            assert rest.groupby(column)["inner"].nunique().max() == 1
    shared = plan_table.copy()
    first = shared.index[(shared["inner"] == "1")][0]
    shared.loc[first, "inner"] = "2"
    with pytest.raises(LeakageError, match="must stay in one inner fold"):
        FoldPlan(shared)


@given(st.integers(20, 90), st.integers(12, 60), st.integers(2, 4), st.integers(0, 99))
@SLOW
def test_single_cases_are_as_even_as_can_be(others: int, carriers: int, folds: int, seed: int) -> None:
    """As scikit-learn's ungrouped folds: each class differs by one at most between folds."""
    cases = _plain(others + carriers, carriers=carriers)
    table = plan_folds(cases, SplitsTable(folds=folds), seed).table
    labels = {case.case_id: case.label for case in cases}
    tested = table[table["part"] == "test"]
    counts = pd.crosstab(tested["case_id"].map(labels), tested["fold"])
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


def _of_sites(*sites: str, each: int = 12, family: str = "") -> list[Case]:
    cases = []
    for at, site in enumerate(sites):
        cases += [
            replace(case, site=site, family_id=family if number == 0 else "")
            for number, case in enumerate(_plain(each, carriers=each // 2, start=at * each))
        ]
    return cases


def test_each_hospital_is_tested_by_the_others() -> None:
    cases = _of_sites("north", "south", "west", family="F")
    sites = {case.case_id: case.site for case in cases}
    plan = plan_folds(cases, SplitsTable(scheme="site"), 1)
    assert plan.folds == [(0, "0"), (0, "1"), (0, "2")]
    for fold, site in (("0", "north"), ("1", "south"), ("2", "west")):
        assert {sites[case] for case in plan.select_cases(0, fold, "test")} == {site}
        rest = [*plan.select_cases(0, fold, "train"), *plan.select_cases(0, fold, "val")]
        # One of each hospital is of family F: where one is tested, the others teach nothing.
        assert len(rest) == 22
        assert site not in {sites[case] for case in rest}


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        (_of_sites("north"), "needs two hospitals and a site for each case, got 1 and 0 cases without"),
        (_of_sites("north", ""), "got 2 and 12 cases without"),
        ([*_of_sites("north", "south"), *_plain(3, carriers=0, site="west", start=90)], "got one class at west; give"),
    ],
)
def test_a_hospital_that_cannot_be_a_test(cases: list[Case], words: str) -> None:
    with pytest.raises(DataError, match=words):
        plan_folds(cases, SplitsTable(scheme="site"), 1)


def test_a_hospital_is_set_aside() -> None:
    cases = _of_sites("north", "south", "west", family="F")
    kept, relatives = set_aside(cases, SplitsTable(test_sites=("west",)), {})
    assert {case.site for case in kept if case.part == "test"} == {"west"}
    assert sorted(relatives) == ["c000", "c012"]  # of the family of one in the west
    plan = plan_folds(kept, SplitsTable(folds=3), 1)
    assert len(plan.fixed_test) == 12
    with pytest.raises(StudyError, match="names 'east', no case is from there; sites: north, south, west"):
        set_aside(cases, SplitsTable(test_sites=("east",)), {})


def test_the_latest_exams_are_set_aside() -> None:
    cases = [replace(case, patient_id=f"p{number // 2}") for number, case in enumerate(_plain(12, carriers=6))]
    days: dict[str, date | None] = {case.case_id: date(2015 + number, 3, 1) for number, case in enumerate(cases)}
    kept, relatives = set_aside(cases, SplitsTable(test_from=date(2022, 3, 1)), days)
    assert [case.case_id for case in kept if case.part == "test"] == [f"c{number:03d}" for number in range(7, 12)]
    assert list(relatives) == ["c006"]  # an earlier exam of a patient who is tested
    assert set_aside(cases, SplitsTable(), {}) == (cases, {})
    with pytest.raises(StudyError, match=r"no exam is from cohort.splits.test_from, 2040-01-01, on"):
        set_aside(cases, SplitsTable(test_from=date(2040, 1, 1)), days)
    with pytest.raises(DataError, match=r"c000 lacks it \(12 cases\); add it"):
        set_aside(cases, SplitsTable(test_from=date(2040, 1, 1)), {})


def test_folds_that_were_changed_without_a_leak_are_refused_too(tmp_path: Path, plan_table: pd.DataFrame) -> None:
    path = tmp_path / "cohort" / "folds.csv"
    write_table(path, plan_table.iloc[::-1])
    write_json(path.with_name("flow.json"), {"folds_hash": "that of the plan"})
    with pytest.raises(DataError, match="changed after the folds were planned"):
        read_folds(tmp_path)


def test_edited_folds_are_refused(tmp_path: Path, plan_table: pd.DataFrame) -> None:
    edited = plan_table.copy()
    edited.loc[edited.index[edited["part"] == "test"][0], "part"] = "train"
    write_table(tmp_path / "cohort" / "folds.csv", edited)
    with pytest.raises(LeakageError, match="must stay in one part, patient_id") as caught:
        read_folds(tmp_path)
    assert caught.value.exit_code == 4
    family = plan_table.copy()
    patient = family.loc[family["part"] == "test", "patient_id"].iloc[0]
    family.loc[(family["patient_id"] == patient) & (family["part"] == "test"), "part"] = "val"
    with pytest.raises(LeakageError, match="a family must stay in one part"):
        FoldPlan(family)


def test_a_case_is_tested_once(plan_table: pd.DataFrame) -> None:
    twice = plan_table.copy()
    twice.loc[twice["fold"].isin(["0", "1"]), "part"] = "test"
    with pytest.raises(DataError, match="a case is tested once a repeat, got c"):
        FoldPlan(twice)


@pytest.mark.parametrize(("column", "value"), [("part", "Test"), ("repeat", "one")])
def test_folds_of_other_words(tmp_path: Path, plan_table: pd.DataFrame, column: str, value: str) -> None:
    edited = plan_table.astype(str)
    edited.loc[5, column] = value
    write_table(tmp_path / "cohort" / "folds.csv", edited)
    with pytest.raises(TableError, match=rf"folds.csv row 7: {column} must be .*, got '{value}'"):
        read_folds(tmp_path)


IDS = st.sampled_from(["", "a", "b", "c", "d", "e"])


@given(rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=14))
@settings(max_examples=150, deadline=None)
def test_groups_are_what_brute_force_connects(rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["patient_id", "family_id"])
    expected = list(range(len(rows)))
    for _ in rows:
        for i, one in enumerate(rows):
            for j, two in enumerate(rows):
                if any(a == b != "" for a, b in zip(one, two, strict=True)):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    groups = connect_groups(frame, ("patient_id", "family_id"))
    assert groups.shape == (len(rows),)
    np.testing.assert_array_equal(groups[:, None] == groups, np.array(expected)[:, None] == np.array(expected))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 2), st.integers(0, 3)), max_size=14),
    st.integers(2, 5),
    st.sampled_from(["stratified", "site"]),
)
@settings(max_examples=150, deadline=None)
def test_a_cohort_too_small_is_told_so(rows: list[tuple[int, int, int, int]], folds: int, scheme: str) -> None:
    """Whatever few patients there are: a plan that keeps every rule, or one of our own errors."""
    cases = [
        Case(f"c{number}", f"p{patient}", ("x",), label, family_id=f"f{family}" if family else "", site=f"s{site}")
        for number, (patient, label, site, family) in enumerate(rows)
    ]
    try:
        plan = plan_folds(cases, SplitsTable(folds=folds, scheme=scheme), 3)
    except DataError:
        return
    tested = plan.table[plan.table["part"] == "test"]
    assert sorted(tested["case_id"]) == sorted(case.case_id for case in cases)


def test_hospitals_with_few_of_a_class_are_not_left_out_and_families_stay_away() -> None:
    frame = pd.DataFrame({"site": list("aaaabbbbcc"), "label": [0, 0, 1, 1] * 2 + [0, 0], "group": range(10)})
    frame.loc[4, "group"] = 0
    left = {site: (rest.tolist(), test.tolist()) for site, rest, test in split_sites(frame, fewest=1)}
    assert left == {"a": ([5, 6, 7, 8, 9], [0, 1, 2, 3]), "b": ([1, 2, 3, 8, 9], [4, 5, 6, 7])}
    assert [site for site, _, _ in split_sites(frame)] == ["a", "b", "c"]
    assert list(split_sites(frame, fewest=3)) == []
