"""Columns that differ between classes are named, chance is not; a score that knows the hospital is caught."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, mannwhitneyu
from sklearn.metrics import roc_auc_score

from genovox.audit.associations import (
    check_columns,
    check_exclusions,
    check_feature_place,
    check_score_place,
    compare_columns,
    find_place_column,
)

PATIENTS = 120


def _cases(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    label = np.arange(PATIENTS) % 2
    return pd.DataFrame(
        {
            "patient_id": [f"p{n}" for n in range(PATIENTS)],
            "label": label,
            "scan_vendor": np.where(random.random(PATIENTS) < 0.3 + 0.4 * label, "A", "B"),
            "scan_noise": random.choice(["x", "y", "z"], PATIENTS),
            "scan_year": (2015 + 5 * random.random(PATIENTS) + 2 * label).astype(str),
            "scan_rare": [f"s{n}" for n in range(PATIENTS)],
        }
    )


def test_tests_are_scipys_and_adjusted() -> None:
    cases = _cases(1)
    table = compare_columns(cases, ["scan_vendor", "scan_noise", "scan_year", "scan_rare"], unit="patient_id")
    rows = table.set_index("column")
    counts = pd.crosstab(cases["scan_vendor"], cases["label"])
    assert rows.loc["scan_vendor", "p_value"] == pytest.approx(fisher_exact(counts.to_numpy()).pvalue)
    years = cases["scan_year"].astype(float)
    assert rows.loc["scan_year", "effect"] == pytest.approx(roc_auc_score(cases["label"], years))
    expected = mannwhitneyu(years[cases["label"] == 1], years[cases["label"] == 0]).pvalue
    assert rows.loc["scan_year", "p_value"] == pytest.approx(expected)
    assert rows.loc["scan_rare", "test"] == "none"
    assert (table["adjusted"] >= table["p_value"]).all()
    check = check_columns(table)
    assert check.status == "warn"
    assert "year" in check.finding


def test_scans_of_one_patient_count_once() -> None:
    cases = _cases(2)
    twice = pd.concat([cases, cases])
    columns = ["scan_vendor", "scan_noise"]
    once = compare_columns(cases, columns, unit="patient_id")
    pd.testing.assert_frame_equal(once, compare_columns(twice, columns, unit="patient_id"))


def test_nothing_to_test_and_nothing_found() -> None:
    cases = _cases(3)
    assert check_columns(compare_columns(cases, [], unit="patient_id")).status == "not-assessed"
    assert check_columns(compare_columns(cases, ["scan_noise"], unit="patient_id")).status == "pass"


def _units(seed: int, *, carries: float) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    label = np.arange(PATIENTS) % 2
    site = random.choice(["north", "south", "west"], PATIENTS)
    score = label + carries * (site == "west") + random.normal(0, 1, PATIENTS)
    units = pd.DataFrame(
        {
            "unit": [f"p{n}" for n in range(PATIENTS)],
            "repeat": 0,
            "fold": [str(n // 2 % 4) for n in range(PATIENTS)],
            "cluster": range(PATIENTS),
            "label": label,
            "score": 1 / (1 + np.exp(-score)),
        }
    )
    return units, pd.Series(site, index=units["unit"])


def test_a_score_that_knows_the_hospital_is_caught() -> None:
    units, places = _units(1, carries=2.0)
    check = check_score_place(units, places, name="site", resamples=200, seed=1)
    assert check.status == "warn"
    assert check.finding.startswith("west")
    assert check.low is not None
    assert check.figure is not None
    assert check.low < check.figure < 1


def test_a_score_that_does_not_is_rarely_accused() -> None:
    """Also where the label goes with the hospital: places are compared within a class."""
    accused = 0
    for seed in range(40):
        units, places = _units(seed, carries=0.0)
        check = check_score_place(units, places, name="site", resamples=100, seed=seed)
        accused += check.status == "warn"
    # 2 expected; more than 6 of 40 at 5% has probability 0.004.
    assert accused <= 6


def test_one_hospital_is_not_assessed() -> None:
    units, places = _units(2, carries=0.0)
    for where in (places.mask(places != "", "only"), places.mask(places != "", "")):
        assert check_score_place(units, where, name="site", resamples=100, seed=1).status == "not-assessed"


@pytest.mark.parametrize(("carries", "status"), [(1.5, "warn"), (0.0, "pass")])
def test_features_that_know_the_hospital_are_caught(carries: float, status: str) -> None:
    random = np.random.default_rng(3)
    _, places = _units(3, carries=0.0)
    values = random.normal(size=(PATIENTS, 5))
    values[:, 0] += carries * (places == "north").to_numpy()
    cases = _cases(3).assign(case_id=places.index, cluster=range(PATIENTS), site=places.to_numpy())
    features = pd.DataFrame(values, index=places.index)
    check = check_feature_place([features], cases, "site", resamples=200, seed=1)
    assert check.status == status
    for odd, column in ((features, ""), (features.astype(str), "site")):
        found = check_feature_place([odd], cases, column, resamples=200, seed=1)
        assert found.status == "not-assessed"


def _embed(seed: int, *, carries: float, patients: int = PATIENTS) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Embeddings by networks of five folds, each in a space of its own, of tested patients of three hospitals."""
    random = np.random.default_rng(seed)
    ids, label = np.array([f"c{n:03d}" for n in range(patients)]), np.arange(patients) % 2
    site = np.where(random.random(patients) < 0.3 + 0.3 * label, "north", random.choice(["south", "west"], patients))
    cases = pd.DataFrame({"case_id": ids, "cluster": np.arange(patients), "label": label, "site": site})
    spaces = []
    for fold in range(5):
        rows = np.flatnonzero(np.arange(patients) // 2 % 5 == fold)
        latent = random.normal(size=(len(rows), 6))
        latent[:, 0] += label[rows]
        latent[:, 1] += carries * (site[rows] == "north")
        values = np.maximum(latent @ random.normal(size=(6, 40)), 0)
        spaces.append(pd.DataFrame(values, index=ids[rows]).rename(columns=str))
    return spaces, cases


def test_embeddings_of_folds_are_fitted_apart_and_tell_the_hospital_together() -> None:
    spaces, cases = _embed(1, carries=2.0)
    check = check_feature_place(spaces, cases, "site", resamples=100, seed=1)
    assert check.status == "warn"
    assert "5 folds' networks" in check.finding
    assert check.low is not None
    assert check.low > 0.5
    # Spaces that are mixed up hold nothing in common: what tells the place in one says nothing in the next.
    mixed = check_feature_place([pd.concat(spaces)], cases, "site", resamples=100, seed=1)
    assert mixed.figure is not None
    assert check.figure is not None
    assert mixed.figure < check.figure


def test_embeddings_that_carry_the_label_alone_are_rarely_accused() -> None:
    accused = 0
    for seed in range(40):
        spaces, cases = _embed(seed, carries=0.0, patients=60)
        accused += check_feature_place(spaces, cases, "site", resamples=20, seed=seed).status == "warn"
    # 2 expected; more than 6 of 40 at 5% has probability 0.004.
    assert accused <= 6


def test_folds_of_few_patients_say_nothing_of_embeddings() -> None:
    spaces, cases = _embed(1, carries=2.0, patients=30)
    check = check_feature_place(
        spaces, cases.assign(site=np.where(np.arange(30) % 2, "north", "south")), "site", resamples=20, seed=1
    )
    assert check.status == "not-assessed"
    assert "8 test patients" in check.finding


def test_of_a_family_the_first_patient_counts() -> None:
    spaces, cases = _embed(1, carries=2.0)
    twice = pd.concat([cases, cases.assign(case_id=cases["case_id"] + "b")])
    more = [pd.concat([space, space.set_axis(space.index + "b")]) for space in spaces]
    once = check_feature_place(spaces, cases, "site", resamples=100, seed=1)
    assert check_feature_place(more, twice, "site", resamples=100, seed=1) == once


def test_the_place_is_the_site_or_the_scanner() -> None:
    assert find_place_column(pd.DataFrame({"site": ["a", "b"], "scan_vendor": ["x", "y"]})) == "site"
    assert find_place_column(pd.DataFrame({"site": ["", ""], "scan_vendor": ["x", "y"]})) == "scan_vendor"
    assert not find_place_column(pd.DataFrame({"site": ["a", "a"]}))


@pytest.mark.parametrize(("out", "status"), [([], "pass"), ([1, 0], "pass"), ([1] * 6, "warn"), ([1] * 12, "fail")])
def test_one_sided_exclusion(out: list[int], status: str) -> None:
    assert check_exclusions([1] * 60 + [0] * 60, out, "").status == status
