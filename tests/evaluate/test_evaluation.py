import resource

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from genovox.core.errors import UsageError
from genovox.evaluate.evaluation import evaluate_predictions
from genovox.evaluate.intervals import Resampling
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.scoring import estimate_within_fold_auc, within_fold_auc
from genovox.statistics.repeated import repeated_interval
from tests.evaluate.conftest import MakePredictions


def test_the_same_seed_and_any_row_order_give_the_same_figures(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=12)
    first = evaluate_predictions(table, label_unit="patient", resamples=150, seed=4)
    shuffled = table.sample(frac=1, random_state=0)
    again = evaluate_predictions(shuffled, label_unit="patient", resamples=150, seed=4)
    assert first.metrics == again.metrics
    assert first.operating_points == again.operating_points
    for stem, curve in first.curves.items():
        pd.testing.assert_frame_equal(curve, again.curves[stem])


def test_input_is_left_as_it_was(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    before = table.copy()
    evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    pd.testing.assert_frame_equal(table, before)


def test_fixed_part_is_a_block_of_its_own(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=15)
    both = evaluate_predictions(table, label_unit="patient", resamples=200, seed=0)
    folds = evaluate_predictions(table[table["fold"] != "fixed"], label_unit="patient", resamples=200, seed=0)
    model = both.metrics["models"]["light"]
    assert model["cross_validation"] == folds.metrics["models"]["light"]["cross_validation"]
    assert folds.metrics["models"]["light"]["fixed"] is None
    assert (model["fixed"]["n_patients"], model["fixed"]["n_positive"], model["fixed"]["repeats"]) == (30, 15, 1)
    assert model["fixed"]["per_fold"][0]["threshold_source"] == "all-folds"
    blocks = ("light", "light_fixed")
    assert set(both.curves) == {f"{block}_{curve}" for block in blocks for curve in ("roc", "pr", "decision")}
    assert set(both.confusion["block"]) == {"cross_validation", "fixed"}


def test_fixed_part_alone_is_evaluated(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=15)
    alone = evaluate_predictions(table[table["fold"] == "fixed"], label_unit="patient", resamples=100, seed=0)
    model = alone.metrics["models"]["light"]
    assert model["cross_validation"] is None
    assert "no validation rows" in alone.operating_points["models"]["light"][0]["note"]
    assert "0.5 by default" in model["fixed"]["metrics"]["recall"]["note"]


def test_counts_describe_the_cohort(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=20, negatives=40)
    cases = pd.concat([table, table.assign(case_id=table["patient_id"] + "-b")])
    for label_unit, positives in (("patient", 20), ("case", 40)):
        evaluation = evaluate_predictions(
            cases, label_unit="case" if label_unit == "case" else "patient", resamples=100, seed=0
        )
        block = evaluation.metrics["models"]["light"]["cross_validation"]
        assert (block["n_patients"], block["n_cases"], block["n_positive"]) == (60, 120, positives)
        assert block["prevalence"] == pytest.approx(1 / 3)
        assert (block["folds"], block["repeats"]) == (5, 3)


def test_perfect_scores_keep_their_doubt(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    perfect = table.assign(score=np.where(table["label"] == 1, 0.9, 0.1))
    metrics = evaluate_predictions(perfect, label_unit="patient", resamples=200, seed=0).metrics["models"]["light"][
        "cross_validation"
    ]["metrics"]
    assert metrics.pop("brier")["estimate"] == pytest.approx(0.01)
    assert metrics.pop("log_loss")["estimate"] == pytest.approx(-np.log(0.9))
    for name, metric in metrics.items():
        assert metric["estimate"] == pytest.approx(1), name
        assert metric["high"] == 1
        assert metric["low"] < 0.95, name
    assert metrics["recall"]["low"] == pytest.approx(0.025 ** (1 / 16))


def test_constant_scores_are_chance_and_call_nobody(make_predictions: MakePredictions) -> None:
    evaluation = evaluate_predictions(make_predictions().assign(score=0.3), label_unit="patient", resamples=100, seed=0)
    metrics = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]
    assert metrics["roc_auc"]["estimate"] == 0.5
    assert metrics["precision"]["estimate"] is None
    assert "no positive call" in metrics["precision"]["note"]
    assert {point["source"] for point in evaluation.operating_points["models"]["light"]} == {"default"}


def test_three_patients_give_counts(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=1, negatives=2, folds=1, repeats=1).query("part == 'test'")
    evaluation = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    metric = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    assert metric["estimate"] is not None
    assert metric["low"] is None
    assert metric["counts"] == {"positive": 1, "negative": 2}
    assert evaluation.curves["light_roc"]["low"].isna().all()


@pytest.mark.parametrize(("options", "message"), [({"resamples": 10}, "at least 100"), ({"primary": "x"}, "got 'x'")])
def test_unusable_options_are_refused(
    make_predictions: MakePredictions, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_predictions(
            make_predictions(),
            **{"label_unit": "patient", "resamples": 100, "seed": 0} | options,  # type: ignore[arg-type]
        )


def test_a_hundred_thousand_rows_take_under_a_gigabyte(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=3000, negatives=7000, repeats=5)
    assert len(table) == 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluation = evaluate_predictions(table, label_unit="patient", resamples=2000, seed=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB
    metric = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    assert metric["low"] < 0.75 < metric["high"]


def test_cases_stand_beside_patients(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=20, negatives=40, fixed=15)
    random = np.random.default_rng(0)
    second = table.assign(case_id=table["patient_id"] + "-b", score=random.random(len(table)))
    model = evaluate_predictions(pd.concat([table, second]), label_unit="patient", resamples=100, seed=0).metrics
    by_patient, by_case = (model["models"]["light"][name] for name in ("cross_validation", "case_level"))
    assert (by_patient["n_positive"], by_case["n_positive"], by_case["n_patients"]) == (20, 40, 60)
    assert by_case["metrics"]["roc_auc"]["estimate"] != by_patient["metrics"]["roc_auc"]["estimate"]
    assert model["models"]["light"]["fixed_case_level"]["n_cases"] == 60
    assert {one["note"] for one in by_case["intervals"] if one["method"] == "Wilson"} == {
        "folds share training patients: their decisions are not independent trials"
    }
    alone = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    assert alone.metrics["models"]["light"]["case_level"] is None


def test_the_way_to_a_patient_score_is_stated(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    both = pd.concat([table, table.assign(case_id=table["patient_id"] + "-b", score=table["score"] ** 2)])
    highest = evaluate_predictions(both, label_unit="patient", resamples=100, seed=0, patient_score="max")
    assert highest.metrics["patient_score"] == "max"
    single = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    figures = [one.metrics["models"]["light"]["cross_validation"]["metrics"] for one in (highest, single)]
    assert figures[0] == figures[1]  # the square of a score is never the higher one


def test_every_interval_is_listed_and_one_is_the_headline(make_predictions: MakePredictions) -> None:
    model = evaluate_predictions(make_predictions(fixed=15), label_unit="patient", resamples=300, seed=0).metrics[
        "models"
    ]["light"]
    for name, methods in (
        ("cross_validation", {"percentile bootstrap", "BCa bootstrap", "DeLong", "Nadeau-Bengio"}),
        ("fixed", {"percentile bootstrap", "BCa bootstrap", "DeLong"}),
    ):
        listed = [one for one in model[name]["intervals"] if one["figure"] == "roc_auc"]
        assert {one["method"] for one in listed} == methods
        (headline,) = [one for one in listed if one["headline"]]
        auc = model[name]["metrics"]["roc_auc"]
        assert (headline["low"], headline["high"]) == (auc["low"], auc["high"])
        refused = {one["method"] for one in listed if one["low"] is None}
        assert refused == (methods - {"percentile bootstrap"} if name == "cross_validation" else set())
        assert all(one["note"] for one in listed if one["low"] is None)
    wilson = [one for one in model["fixed"]["intervals"] if one["method"] == "Wilson" and one["figure"] == "recall"]
    recall = model["fixed"]["metrics"]["recall"]["estimate"]
    expected = binomtest(round(15 * recall), 15).proportion_ci(method="wilson")
    assert (wilson[0]["low"], wilson[0]["high"]) == pytest.approx((expected.low, expected.high))


def test_intervals_over_folds_are_wider_by_the_training(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=90)
    metric = evaluate_predictions(table, label_unit="patient", resamples=300, seed=0).metrics["models"]["light"][
        "cross_validation"
    ]["metrics"]["roc_auc"]
    units = gather_units(validate_predictions(table, label_unit="patient"), label_unit="patient")
    test = units[units["part"] == "test"]
    resampling = Resampling.of(test, resamples=300, seed=0)
    draws = within_fold_auc(test, resampling.drawn[1:, resampling.clusters.locate(test["cluster"])])
    plain = metric["estimate"] - np.quantile(draws, 0.025)
    assert metric["estimate"] - metric["low"] == pytest.approx(np.sqrt(2) * plain)
    told = estimate_within_fold_auc(test, resamples=300, seed=0)
    assert (told.low, told.high) == pytest.approx((metric["low"], metric["high"]))
    assert "1.41 times as wide" in metric["method"]


def test_nadeau_and_bengio_stand_where_they_cover(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=60, negatives=90, auc=0.8)
    block = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0).metrics["models"]["light"][
        "cross_validation"
    ]
    (one,) = [one for one in block["intervals"] if one["method"] == "Nadeau-Bengio"]
    low, high = repeated_interval([fold["auc"] for fold in block["per_fold"]], 5)
    assert (one["low"], one["high"]) == pytest.approx((low, high))


def test_a_large_fold_has_delong(make_predictions: MakePredictions) -> None:
    folds = evaluate_predictions(
        make_predictions(positives=30, negatives=60, folds=2, repeats=1), label_unit="patient", resamples=100, seed=0
    ).metrics["models"]["light"]["cross_validation"]["per_fold"]
    assert all(fold["low"] < fold["auc"] < fold["high"] for fold in folds)
    few = evaluate_predictions(make_predictions(), label_unit="patient", resamples=100, seed=0)
    assert few.metrics["models"]["light"]["cross_validation"]["per_fold"][0]["low"] is None
