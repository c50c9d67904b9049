"""Subgroups: figures of each level, and a test whose errors are known by simulation."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genovox.core.errors import TableError
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import Resampling
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import LabelUnit, Subgroup, Subgroups
from genovox.evaluate.scoring import within_fold_auc
from genovox.evaluate.subgroups import band_levels, compare_subgroups, compare_unseen, weigh_differences
from tests.evaluate.conftest import MakePredictions


def _compare(
    table: pd.DataFrame, cases: pd.DataFrame, columns: tuple[str, ...] = (), unit: LabelUnit = "patient"
) -> Subgroups:
    units = gather_units(validate_predictions(table, label_unit=unit), label_unit=unit)
    test = units[units["part"] == "test"]
    rotating = test[test["fold"] != "fixed"]
    resampling = Resampling.of(rotating if len(rotating) else test, resamples=300, seed=1)
    return compare_subgroups(units, cases, resampling, columns=columns, label_unit=unit)


def _cases(table: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    cases = table.drop_duplicates("case_id")[["case_id", "patient_id"]].reset_index(drop=True)
    number = cases["patient_id"].str[1:].astype(int)
    return cases.assign(**{name: value(number) if callable(value) else value for name, value in columns.items()})


def _only(found: Subgroups) -> Subgroup:
    (one,) = found.models["light"]
    return one


def test_each_level_has_the_headline_of_its_patients(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=90)
    cases = _cases(table, site=lambda number: np.where(number % 2 == 0, "north", "south"))
    found = _only(_compare(table, cases))
    assert [level.level for level in found.levels] == ["north", "south"]
    for level, parity in zip(found.levels, (0, 1), strict=True):
        rows = table[(table["part"] == "test") & (table["patient_id"].str[1:].astype(int) % 2 == parity)]
        assert level.auc.estimate == pytest.approx(within_fold_auc(rows)[0])
        assert level.auc.low is not None
        assert (level.n, level.positives) == (75, 30)
    assert (found.missing, found.degrees_of_freedom) == (0, 1)
    assert found.conclusion == "not distinguishable"
    assert found.holm_p_value == found.p_value


def test_a_level_where_the_score_fails_is_found(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=80, negatives=120, auc=0.9)
    number = table["patient_id"].str[1:].astype(int)
    noise = np.random.default_rng(0).random(len(table))
    table = table.assign(score=np.where(number % 2 == 1, noise, table["score"]))
    vendors = lambda number: np.where(number % 2 == 1, "ge", "siemens")  # noqa: E731
    cases = _cases(table, scan_vendor=vendors, site=lambda number: np.where(number % 3 == 0, "a", "b"))
    site, vendor = _compare(table, cases).models["light"]
    assert (site.column, site.conclusion) == ("site", "not distinguishable")
    assert (vendor.column, vendor.conclusion) == ("scan_vendor", "differs")
    assert site.p_value is not None
    assert site.holm_p_value == site.p_value  # the larger of two
    assert vendor.p_value is not None
    assert vendor.holm_p_value == pytest.approx(2 * vendor.p_value)


def test_few_of_a_class_are_not_assessed(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=16, negatives=44)
    found = _only(_compare(table, _cases(table, site=lambda number: np.where(number < 9, "a", "b"))))
    assert found.levels[0].auc.method == "not defined"  # carriers only
    assert found.levels[1].auc.low is None
    assert found.conclusion == "not-assessed"
    assert "fewer than two levels hold 10" in str(found.note)
    assert (found.p_value, found.holm_p_value) == (None, None)


def test_unknown_and_varying_values(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=30, negatives=30, repeats=1)
    second = table.assign(case_id=table["patient_id"] + "-b")
    cases = _cases(pd.concat([table, second]), density=lambda number: np.where(number % 5 == 0, "", "c"))
    cases.loc[(cases["case_id"] == "P00001-b"), "density"] = "d"
    found = _only(_compare(pd.concat([table, second], ignore_index=True), cases, ("density",)))
    assert [level.level for level in found.levels] == ["c", "several"]
    assert found.missing == 12


def test_cases_are_grouped_by_case(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=30, negatives=40, repeats=1)
    cases = _cases(table, site=lambda number: np.where(number % 2 == 0, "a", "b"))
    found = _only(_compare(table, cases, unit="case"))
    assert [level.n for level in found.levels] == [35, 35]


def test_a_fixed_part_alone_is_compared(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=40)
    table = table[(table["fold"] == "fixed") | (table["part"] == "val")]
    found = _only(_compare(table, _cases(table, site=lambda number: np.where(number % 2 == 0, "a", "b"))))
    assert [level.n for level in found.levels] == [40, 40]


def test_columns_that_do_not_vary_or_exist(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    assert _compare(table, _cases(table, site="a")).models["light"] == []
    with pytest.raises(TableError, match="got colour; they hold site"):
        _compare(table, _cases(table, site="a"), ("colour",))


def test_ages_sizes_and_many_words_are_banded() -> None:
    ages = band_levels(pd.Series(["39.9", "40", "55", "60", "", "71"]), "age_years")
    assert ages.tolist() == ["under 40", "40 to under 50", "50 to under 60", "60 and over", "", "60 and over"]
    sizes = band_levels(pd.Series([str(size) for size in range(9)]), "lesion_size_mm")
    assert sizes.value_counts().tolist() == [3, 3, 3]
    fields = pd.Series(["1.5", "3", "1.5", "0.55"])
    assert band_levels(fields, "scan_field_strength") is fields
    words = pd.Series([f"m{i % 20}" for i in range(40)] + ["m7"] * 5)
    banded = band_levels(words, "scan_model")
    assert banded.nunique() == 12
    assert (banded == "other").sum() == 18
    assert (banded == "m7").sum() == 7


def test_equal_levels_are_called_different_as_often_as_stated() -> None:
    random = np.random.default_rng(7)
    called, cohorts = 0, 150
    labels = np.tile(np.repeat([1, 0], [20, 30]), 2)
    level = np.repeat([0, 1], 50)
    rows = pd.DataFrame({"fold": "0", "cluster": np.arange(100), "label": labels})
    for cohort in range(cohorts):
        scores = random.normal(size=100) + labels
        drawn = Resampling.of(rows, resamples=150, seed=cohort).drawn
        aucs = np.stack([roc_auc(labels[level == one], scores[level == one], drawn[:, level == one]) for one in (0, 1)])
        found = weigh_differences(aucs[:, 0], aucs[:, 1:])
        assert found is not None
        called += found[2] < 0.05
    # 5% of 150 is 7.5; above 15 would happen once in a hundred.
    assert called <= 15, called


def test_wald_test_is_the_square_of_a_z_with_two_levels() -> None:
    random = np.random.default_rng(1)
    draws = random.normal([[0.7], [0.8]], 0.03, size=(2, 4000))
    found = weigh_differences(np.array([0.7, 0.8]), draws)
    assert found is not None
    statistic, freedom, p_value = found
    assert freedom == 1
    assert statistic == pytest.approx((0.1 / np.std(draws[0] - draws[1], ddof=1)) ** 2)
    assert 0 < p_value < 0.05


def test_draws_that_do_not_vary_have_no_test() -> None:
    assert weigh_differences(np.array([1.0, 1.0]), np.ones((2, 50))) is None
    assert weigh_differences(np.array([0.7, 0.8]), np.full((2, 50), np.nan)) is None


def _rank(seed: int, *, effect: float, unseen: bool) -> pd.DataFrame:
    """Scores of 120 patients of three hospitals in 2 repeats of 4 folds, or by learners of the other hospitals."""
    random = np.random.default_rng(seed)
    number = np.arange(120)
    label, site = number % 2, np.array(["north", "south", "west"])[number // 2 % 3]
    tables = []
    for repeat in range(2):
        fold = site if unseen else random.permutation(number // 2 % 4).astype(str)
        # A network's own scale, and what it knows of a hospital's share of carriers, must not count.
        offset = pd.Series(fold + site).map(lambda place: len(place) * 0.01 + (place[-1] == "h") * 0.3).to_numpy()
        score = effect * label + random.normal(size=len(number)) + offset
        tables.append(
            pd.DataFrame(
                {"site": site, "repeat": repeat, "fold": fold, "unit": number.astype(str), "cluster": number}
            ).assign(label=label, score=1 / (1 + np.exp(-score)))
        )
    return pd.concat(tables, ignore_index=True)


def test_a_loss_is_counted_within_hospitals_networks_and_the_same_patients() -> None:
    own, unseen = _rank(1, effect=2.0, unseen=False), _rank(2, effect=0.5, unseen=True)
    unseen = unseen[unseen["unit"] != "7"]
    found = compare_unseen(own, unseen, how="x", resamples=200, seed=1)
    assert found is not None
    assert found.sites == ("north", "south", "west")
    kept = own[own["unit"] != "7"]
    means = []
    for table in (kept, unseen):
        by_site = {}
        for site, rows in table.groupby("site"):
            counted = [
                (roc_auc_score(part["label"], part["score"]), part["label"].sum() * (1 - part["label"]).sum())
                for _, part in rows.groupby(["repeat", "fold"])
                if part["label"].nunique() == 2
            ]
            by_site[site] = np.average([auc for auc, _ in counted], weights=[pairs for _, pairs in counted])
        pairs = [rows["label"].sum() * (1 - rows["label"]).sum() for _, rows in unseen.groupby("site")]
        means.append(np.average([by_site[site] for site in found.sites], weights=pairs))
    assert found.own.estimate == pytest.approx(means[0])
    assert found.unseen.estimate == pytest.approx(means[1])
    assert found.loss.estimate == pytest.approx(means[0] - means[1])
    assert found.loss.low is not None
    assert found.loss.low > 0
    same = compare_unseen(unseen, unseen, how="x", resamples=200, seed=1)
    assert same is not None
    assert (same.loss.low, same.loss.estimate) == (0, 0)


def test_hospitals_without_pairs_are_left_out_or_leave_nothing() -> None:
    own, unseen = _rank(1, effect=1.0, unseen=False), _rank(2, effect=1.0, unseen=True)
    lone = own[(own["site"] != "west") | (own["label"] == 1)]
    found = compare_unseen(lone, unseen, how="x", resamples=50, seed=1)
    assert found is not None
    assert found.sites == ("north", "south")
    assert compare_unseen(own[own["label"] == 1], unseen, how="x", resamples=50, seed=1) is None
    assert compare_unseen(own, unseen.assign(unit="nobody"), how="x", resamples=50, seed=1) is None
