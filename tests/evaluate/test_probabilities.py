"""Calibration of a run: fitted on validation patients, applied to tested ones, and what comes of it."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss, roc_auc_score

from genovox.evaluate.intervals import Resampling
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.probabilities import ProbabilityResults, _reflect, assess_probabilities
from genovox.evaluate.schema import Calibration
from genovox.statistics.calibration import BinSums, calibration_error, logit, sum_bins
from genovox.statistics.recalibration import fit_map
from tests.evaluate.conftest import MakePredictions


def _assess(table: pd.DataFrame, *, target: float = 0.0, resamples: int = 200) -> ProbabilityResults:
    units = gather_units(validate_predictions(table, label_unit="patient"), label_unit="patient")
    test = units[units["part"] == "test"]
    fixed = test["fold"] == "fixed"
    blocks = {"cross_validation": test[~fixed], "fixed": test[fixed]}
    resamplings = {
        name: Resampling.of(rows, resamples=resamples, seed=1, hold_classes=False)
        for name, rows in blocks.items()
        if len(rows)
    }
    return assess_probabilities(units, resamplings, label_unit="patient", target_prevalence=target)


def test_each_fold_is_calibrated_on_its_own_validation_patients(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=100, repeats=1)
    found = _assess(table)
    Calibration.model_validate(found.calibration)
    for fold in "01234":
        own = table[(table["fold"] == fold) & (table["part"] == "val")]
        rows = found.table[found.table["fold"] == fold]
        expected = fit_map("platt", own["score"], own["label"]).apply(rows["score"])
        assert rows["probability"].to_numpy() == pytest.approx(expected)
    block = found.calibration["models"]["light"]["cross_validation"]
    assert {fold["source"] for fold in block["folds"]} == {"own"}
    assert (block["n"], block["left_out"]) == (160, 0)


def test_few_validation_patients_are_pooled_less_the_tested(make_predictions: MakePredictions) -> None:
    table = make_predictions(repeats=1)
    found = _assess(table)
    validation = table[table["part"] == "val"]
    tested = set(table.loc[(table["fold"] == "2") & (table["part"] == "test"), "patient_id"])
    pool = validation[~validation["patient_id"].isin(tested)]
    rows = found.table[found.table["fold"] == "2"]
    expected = fit_map("platt", pool["score"], pool["label"]).apply(rows["score"])
    assert rows["probability"].to_numpy() == pytest.approx(expected)
    fold = found.calibration["models"]["light"]["cross_validation"]["folds"][2]
    assert (fold["source"], fold["validation_n"]) == ("pooled", len(pool))


def test_no_label_or_score_of_a_tested_patient_moves_her_probability(make_predictions: MakePredictions) -> None:
    table = make_predictions(repeats=1)
    tested = table["patient_id"].isin(table.loc[(table["fold"] == "0") & (table["part"] == "test"), "patient_id"])
    flipped = table.assign(label=np.where(tested, 1 - table["label"], table["label"]))
    first, again = (_assess(rows).table for rows in (table, flipped))
    of_fold = first["fold"] == "0"
    pd.testing.assert_series_equal(first.loc[of_fold, "probability"], again.loc[of_fold, "probability"])


def test_figures_are_those_of_the_table(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=60, negatives=100, repeats=2))
    block, rows = found.calibration["models"]["light"]["cross_validation"], found.table
    figures = block["figures"]["platt"]
    assert figures["brier"]["estimate"] == pytest.approx(brier_score_loss(rows["label"], rows["probability"]))
    aucs = [roc_auc_score(one["label"], one["probability"]) for _, one in rows.groupby("repeat")]
    assert block["pooled_auc"]["estimate"] == pytest.approx(np.mean(aucs))
    split = figures["brier_split"]
    total = split["reliability"] - split["resolution"] + split["uncertainty"] + split["within"]
    assert total == pytest.approx(figures["brier"]["estimate"])
    assert sum(one["n"] for one in figures["reliability"]) == len(rows)
    for figure in ("slope", "in_the_large", "ece", "brier", "scaled_brier"):
        assert figures[figure]["low"] <= figures[figure]["high"]
    # The simulated scores are far too extreme, and the map mends it.
    assert block["figures"]["raw"]["slope"]["high"] < 1
    assert figures["slope"]["low"] < 1 < figures["slope"]["high"]
    assert figures["ece"]["estimate"] < block["figures"]["raw"]["ece"]["estimate"]
    assert "isotonic needs 200" in block["not_assessed"]["isotonic"]


def test_isotonic_has_figures_where_validation_is_large(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=400, negatives=700, repeats=1))
    block = found.calibration["models"]["light"]["cross_validation"]
    assert block["not_assessed"] == {}
    assert list(block["figures"]) == ["raw", "platt", "isotonic", "beta", "temperature"]


def test_calibration_error_interval_holds_the_truth() -> None:
    """Probabilities wrong by a known amount: the interval covers what very many patients would show."""
    random = np.random.default_rng(4)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = expit(random.normal(size=n) - 0.7)
        return (random.random(n) < truth).astype(int), expit(2.5 * logit(truth))

    labels, stated = draw(200_000)
    edges = np.quantile(stated, np.linspace(0, 1, 11)[1:-1])
    right = float(calibration_error(sum_bins(labels, stated, np.searchsorted(edges, stated))))
    covered = 0
    for cohort in range(100):
        labels, stated = draw(231)
        rows = pd.DataFrame({"fold": "0", "cluster": np.arange(231), "label": labels})
        resampling = Resampling.of(rows, resamples=200, seed=cohort, hold_classes=False)
        in_bin = np.eye(10)[np.searchsorted(edges, stated)]
        cells = np.concatenate([in_bin, in_bin * labels[:, None], in_bin * stated[:, None]], axis=1)
        sums = BinSums(*np.split(resampling.sum_rows(np.arange(231), cells), 3, axis=1))
        metric = _reflect(calibration_error(sums), resampling.clusters)
        assert metric.low is not None
        assert metric.high is not None
        covered += bool(metric.low <= right <= metric.high)
    assert covered >= 89, covered


def test_target_prevalence_scales_the_odds(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=100, repeats=1)
    plain, found = _assess(table), _assess(table, target=0.1)
    assert "probability_at_target" not in plain.table
    rows = found.table
    own = table[table["part"] == "val"].groupby("fold")["label"].mean()
    gap = logit(rows["probability_at_target"]) - logit(rows["probability"])
    assert gap == pytest.approx(logit(0.1) - logit(rows["fold"].map(own)), abs=1e-9)
    assert found.calibration["target_prevalence"] == 0.1
    curve = found.curves["light_decision"]
    assert curve["treat_all"].iloc[9] == pytest.approx(0.0, abs=1e-12)  # the threshold that equals the prevalence


def test_decision_curve_is_counted_from_the_table(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=60, negatives=100, repeats=2))
    curve, rows = found.curves["light_decision"], found.table
    assert len(curve) == 99
    for place in (9, 29, 59):
        threshold = curve["threshold"].iloc[place]
        called = rows["probability"] >= threshold
        true, false = (called & (rows["label"] == 1)).sum(), (called & (rows["label"] == 0)).sum()
        benefit = (true - false * threshold / (1 - threshold)) / len(rows)
        assert curve["net_benefit"].iloc[place] == pytest.approx(benefit)
        assert curve["standardised"].iloc[place] == pytest.approx(benefit / rows["label"].mean())
        assert curve["low"].iloc[place] <= benefit <= curve["high"].iloc[place]
    assert curve["treat_none"].eq(0).all()


def test_sets_cover_each_class(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=200, negatives=400, repeats=2, seed=5))
    for level, sets in zip(
        (80, 90), found.calibration["models"]["light"]["cross_validation"]["conformal"], strict=True
    ):
        names, labels = found.table[f"set_{level}"], found.table["label"].astype(str)
        assert set(names) <= {"0", "1", "both", "none"}
        held = (names == "both") | (names == labels)
        assert sets["coverage_positive"]["estimate"] == pytest.approx(held[labels == "1"].mean())
        assert sets["coverage_positive"]["high"] >= level / 100 - 0.02
        assert sets["coverage_negative"]["high"] >= level / 100 - 0.02
        assert sets["abstained"]["estimate"] == pytest.approx((names == "both").mean())
        single = names.isin(["0", "1"])
        assert sets["accuracy_of_single"]["estimate"] == pytest.approx((names == labels)[single].mean())
        assert (sets["assessed"], sets["left_out"], sets["note"]) == (1200, 0, None)


def test_too_few_for_sets_is_said(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=10, negatives=20, folds=5, repeats=1))
    sets = found.calibration["models"]["light"]["cross_validation"]["conformal"][1]
    assert (sets["assessed"], sets["left_out"]) == (0, 30)
    assert sets["note"] == "a level of 0.90 needs 9 validation patients in each class of a fold"
    assert sets["coverage_positive"]["estimate"] is None
    assert "not-assessed" in sets["coverage_positive"]["note"]


def test_fixed_part_has_a_map_of_all_folds_and_no_sets(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(positives=40, negatives=60, fixed=20, repeats=2))
    block = found.calibration["models"]["light"]["fixed"]
    assert block["folds"][0]["source"] == "all-folds"
    assert "single networks" in block["folds"][0]["note"]
    assert "mean of networks" in block["conformal"][0]["note"]
    assert len(found.curves["light_fixed_decision"]) == 99


@pytest.mark.parametrize("positives", [1, 4])
def test_a_handful_of_patients_has_counts_and_no_interval(make_predictions: MakePredictions, positives: int) -> None:
    found = _assess(make_predictions(positives=positives, negatives=3, folds=2, repeats=1, seed=2))
    block = found.calibration["models"]["light"]["cross_validation"]
    assert block["figures"]["raw"]["brier"]["low"] is None
    assert found.curves["light_decision"]["low"].isna().all()
    assert all("smaller class" in fold["note"] or fold["source"] == "none" for fold in block["folds"])


def test_without_validation_there_is_no_probability(make_predictions: MakePredictions) -> None:
    table = make_predictions(repeats=1)
    found = _assess(table[table["part"] == "test"], target=0.2)
    block = found.calibration["models"]["light"]["cross_validation"]
    assert (block["n"], block["left_out"]) == (0, 60)
    assert list(block["figures"]) == ["raw"]
    assert "no fold has validation patients" in block["not_assessed"]["platt"]
    assert block["pooled_auc"]["note"] == "no probabilities of both classes"
    assert found.table["probability"].isna().all()
    assert found.curves["light_decision"]["net_benefit"].isna().all()


def test_constant_scores_are_an_answer(make_predictions: MakePredictions) -> None:
    found = _assess(make_predictions(repeats=1).assign(score=0.5))
    block = found.calibration["models"]["light"]["cross_validation"]
    assert block["figures"]["raw"]["slope"]["method"] == "not defined"
    assert block["figures"]["raw"]["in_the_large"]["estimate"] == pytest.approx(logit(16 / 60))
    assert "use platt" in block["not_assessed"]["beta"]
