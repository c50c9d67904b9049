"""The permutation of labels: right under the null, and blind to scans of one patient."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genovox.audit.controls import (
    ENOUGH_EXCEEDED,
    PERMUTATION_P,
    Permutation,
    check_earlier_image,
    check_permutation,
    check_site_drop,
    leave_site_out,
    permute_labels,
    permute_pipeline,
    permute_training,
    stratify_units,
)
from genovox.core.errors import DataError
from genovox.evaluate.schema import Metric
from genovox.evaluate.subgroups import SiteLoss


def _table(labels: np.ndarray, scores: np.ndarray, *, cases: int = 1, folds: int = 1) -> pd.DataFrame:
    patients = len(labels)
    return pd.DataFrame(
        {
            "repeat": 0,
            "fold": [str(n % folds) for n in range(patients) for _ in range(cases)],
            "unit": [f"{n:03d}-{c}" for n in range(patients) for c in range(cases)],
            "cluster": np.repeat(np.arange(patients), cases),
            "label": np.repeat(labels, cases),
            "score": np.repeat(scores, cases),
        }
    )


def test_p_approaches_the_exact_one() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    scores = np.array([0.1, 0.3, 0.6, 0.2, 0.5, 0.7, 0.25])
    observed = roc_auc_score(labels, scores)
    deals = [roc_auc_score(np.isin(np.arange(7), carriers), scores) for carriers in itertools.combinations(range(7), 3)]
    exact = np.mean(np.array(deals) >= observed - 1e-12)
    p = permute_labels(_table(labels, scores), permutations=20000, seed=1).p_value
    assert p == pytest.approx(exact, abs=0.01)


def test_null_studies_are_rarely_called() -> None:
    random = np.random.default_rng(5)
    calls = 0
    for study in range(200):
        labels = np.arange(60) % 3 == 0
        table = _table(labels.astype(int), random.random(60), folds=5)
        calls += permute_labels(table, permutations=400, seed=study).p_value < PERMUTATION_P
    # 5 expected; more than 12 of 200 at a true rate of 2.5% has probability 0.002.
    assert calls <= 12


def test_copies_of_scans_do_not_make_a_finding() -> None:
    """Ten copies of every scan leave p as it is: patients are dealt, not scans."""
    random = np.random.default_rng(8)
    labels = (np.arange(24) % 2).astype(int)
    scores = random.random(24) + 0.15 * labels
    once = permute_labels(_table(labels, scores), permutations=4000, seed=1).p_value
    often = permute_labels(_table(labels, scores, cases=10), permutations=4000, seed=1).p_value
    assert often == pytest.approx(once, abs=0.03)


def test_check_says_which_side() -> None:
    assert check_permutation(Permutation(0.001, 0.6, 0.8, 999)).status == "pass"
    assert check_permutation(Permutation(0.2, 0.6, 0.55, 999)).status == "warn"
    assert check_permutation(Permutation(0.03, 0.6, 0.7, 999), largest_p=0.05).status == "pass"
    trained = check_permutation(Permutation(0.01, 0.6, 0.8, 99, "the networks"), name="pipeline-permutation")
    assert "the networks fitted anew" in trained.finding


def test_a_headline_that_is_not_defined_is_not_assessed() -> None:
    assert check_permutation(Permutation(0.0005, 0.6, float("nan"), 999)).status == "not-assessed"


def test_deals_within_strata_keep_what_the_strata_tell() -> None:
    """The score is the stratum: against free deals it looks real, among like units it is nothing."""
    labels = np.array([1] * 30 + [0] * 10 + [1] * 10 + [0] * 30)
    scores = np.repeat([0.9, 0.1], 40) + np.random.default_rng(1).normal(0, 0.01, 80)
    table = _table(labels, scores)
    strata = pd.Series(np.repeat([0, 1], 40), index=table["unit"])
    assert permute_labels(table, permutations=400, seed=1).p_value < 0.01
    assert permute_labels(table, permutations=400, seed=1, strata=strata).p_value > 0.1


def test_strata_are_fifths_of_the_metadata() -> None:
    table = _table(np.arange(50) % 2, np.linspace(0.01, 0.99, 50)).assign(score_base=lambda rows: rows["score"])
    strata = stratify_units(table)
    assert strata.value_counts().tolist() == [10] * 5
    assert strata.sort_index().is_monotonic_increasing


def _features(seed: int, effect: float, *, patients: int = 60) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(seed)
    ids = [f"c{n:02d}" for n in range(patients)]
    label = np.arange(patients) % 2
    features = pd.DataFrame(random.normal(size=(patients, 4)), index=pd.Index(ids, name="case_id")).rename(columns=str)
    features["0"] += effect * label
    site = np.where(
        np.arange(patients) // 2 % 3 == 0, "north", np.where(np.arange(patients) // 2 % 3 == 1, "south", "")
    )
    cases = pd.DataFrame(
        {"case_id": ids, "patient_id": [f"p{n:02d}" for n in range(patients)], "family_id": "", "label": label}
    ).assign(site=np.where(site == "", "west", site))
    who = cases[["case_id", "patient_id", "family_id"]]
    fold = np.arange(patients) // 2 % 4
    plans = []
    for number in range(4):
        part = np.where(fold == number, "test", np.where(fold == (number + 1) % 4, "val", "train"))
        plans.append(who.assign(repeat=0, fold=str(number), part=part))
    return features, cases, pd.concat(plans, ignore_index=True)


def test_refitting_finds_an_effect_and_stops_early_without_one() -> None:
    found = permute_pipeline(*_features(1, 2.0), label_unit="patient", permutations=99, seed=1)
    assert found.p_value == pytest.approx(0.01)
    assert found.deals == 99
    none = permute_pipeline(*_features(2, 0.0), label_unit="patient", permutations=2000, seed=1)
    assert none.p_value > PERMUTATION_P
    assert none.deals < 2000
    assert none.p_value >= ENOUGH_EXCEEDED / (none.deals + 1)


def test_refitted_nulls_are_rarely_called() -> None:
    calls = 0
    for seed in range(40):
        study = _features(100 + seed, 0.0, patients=40)
        calls += permute_pipeline(*study, label_unit="patient", permutations=79, seed=seed).p_value < PERMUTATION_P
    # 1 expected; more than 4 of 40 at 2.5% has probability 0.003.
    assert calls <= 4


def test_training_on_deals_asks_for_labels_of_whole_patients() -> None:
    _, cases, folds = _features(3, 0.0, patients=24)
    tested = folds[folds["part"] == "test"].merge(cases[["case_id", "label"]], on="case_id")
    tested = tested.assign(cluster=range(24), score=np.where(tested["label"] == 1, 0.8, 0.2), model="m")
    asked = []

    def train(number: int, labels: dict[str, int]) -> pd.DataFrame:
        asked.append((number, labels))
        random = np.random.default_rng(number)
        dealt = tested["case_id"].map(labels)
        return tested.assign(label=dealt, score=random.random(24), seed=0)

    found = permute_training(tested, folds, train, label_unit="patient", patient_score="mean", permutations=9, seed=1)
    assert [number for number, _ in asked] == list(range(9))
    assert all(sum(labels.values()) == 12 for _, labels in asked)
    assert found.observed == 1.0
    assert found.p_value == pytest.approx(0.1)
    assert found.retrained == "the networks"


def test_deals_that_cannot_be_trained_on_are_refused() -> None:
    _, cases, folds = _features(7, 0.0, patients=24)
    tested = folds[folds["part"] == "test"].merge(cases[["case_id", "label"]], on="case_id")
    tested = tested.assign(cluster=range(24), score=0.5, model="m", label=(tested["case_id"] == "c00").astype(int))
    with pytest.raises(DataError, match="fewer folds"):
        permute_training(
            tested, folds, lambda _n, _l: tested, label_unit="patient", patient_score="mean", permutations=1, seed=1
        )


def test_what_holds_at_unseen_hospitals_loses_nothing() -> None:
    features, cases, folds = _features(4, 2.5, patients=120)
    drop = leave_site_out(features, cases, folds, label_unit="patient", resamples=200, seed=1)
    check = check_site_drop(drop, None)
    assert check.status == "pass"
    assert check.low is not None
    assert check.low <= 0


def test_a_hospital_whose_scans_turn_the_effect_round_is_a_drop() -> None:
    features, cases, folds = _features(5, 0.0, patients=120)
    number = cases["site"].map({"north": 0, "south": 1, "west": 2}).to_numpy()
    towards = np.where(number == 0, -1.0, 1.0)
    for site in range(3):
        features[f"at{site}"] = np.where(number == site, 4.0, 0.0)
        features[f"told{site}"] = np.where(number == site, towards * (3.0 * cases["label"].to_numpy() - 1.5), 0.0)
    drop = leave_site_out(features, cases, folds, label_unit="patient", resamples=200, seed=1)
    check = check_site_drop(drop, None)
    assert check.status == "fail"
    assert "3 hospitals that were not learnt from" in check.finding


def test_a_loss_alone_and_chance_alone_only_warn() -> None:
    def judge(unseen: float | None, loss: float | None) -> str:
        metrics = [
            Metric(estimate=0.7, low=low, high=None if low is None else 0.9, method="x") for low in (unseen, loss)
        ]
        return check_site_drop(SiteLoss("x", ("a",), metrics[0], metrics[0], metrics[1]), None).status

    assert judge(0.6, -0.1) == "pass"
    assert judge(0.6, 0.1) == judge(0.4, -0.1) == "warn"
    assert judge(0.4, 0.1) == "fail"
    assert judge(None, None) == "not-assessed"


def test_folds_by_site_answer_themselves_and_networks_alone_do_not() -> None:
    good = Metric(estimate=0.7, low=0.6, high=0.8, method="x")
    assert check_site_drop("", good).status == "pass"
    assert check_site_drop("", Metric(estimate=0.5, low=0.4, high=0.6, method="x")).status == "warn"
    few = Metric(estimate=0.5, low=None, high=None, method="counts")
    assert check_site_drop("", few).status == "not-assessed"
    _, cases, folds = _features(4, 0.0)
    for known, words in ((cases, "--leave-sites-out"), (cases.assign(site="one"), "")):
        drop = leave_site_out(None, known, folds, label_unit="patient", resamples=200, seed=1)
        check = check_site_drop(drop, None)
        assert check.status == "not-assessed"
        assert words in check.advice
    assert "fewer than two hospitals" in check.finding


def test_an_earlier_image_is_scored_where_there_is_one() -> None:
    labels = np.arange(40) % 2
    table = _table(labels, 0.2 + 0.6 * labels, cases=2).assign(
        patient_id=lambda rows: rows["unit"].str[:3], case_id=lambda rows: rows["unit"]
    )
    dated = table.assign(scan_date=["2015-01-01", "2019-01-01"] * 40)
    dated.loc[dated["scan_date"] == "2015-01-01", "score"] = 0.5
    check = check_earlier_image(dated, resamples=200, seed=1)
    assert check.status == "pass"
    assert check.figure == pytest.approx(0.5)
    assert check_earlier_image(table, resamples=200, seed=1).status == "not-assessed"


def test_folds_that_cannot_be_refitted_are_left_out_or_say_nothing() -> None:
    features, cases, folds = _features(6, 2.0)
    label = cases.set_index("case_id")["label"]
    carriers = (label[folds["case_id"]] == 1).to_numpy()
    one_sided = folds[~((folds["fold"] == "0") & (folds["part"] == "test") & carriers)]
    found = permute_pipeline(features, cases, one_sided, label_unit="patient", permutations=40, seed=1)
    assert found.p_value < 0.05
    none = folds[~((folds["part"] == "test") & carriers)]
    assert np.isnan(permute_pipeline(features, cases, none, label_unit="patient", permutations=40, seed=1).observed)
    lone = leave_site_out(
        features, cases.assign(site=label.to_numpy().astype(str)), folds, label_unit="patient", resamples=200, seed=1
    )
    assert check_site_drop(lone, None).status == "not-assessed"
