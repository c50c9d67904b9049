import resource
import time

import numpy as np
import pandas as pd
import pytest

from genovox.core.errors import UsageError
from genovox.evaluate.evaluation import evaluate_predictions
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


def test_a_hundred_thousand_rows_take_seconds(make_predictions: MakePredictions) -> None:
    table = make_predictions(positives=3000, negatives=7000, repeats=5)
    assert len(table) == 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    evaluation = evaluate_predictions(table, label_unit="patient", resamples=2000, seed=0)
    assert time.perf_counter() - start < 40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB
    metric = evaluation.metrics["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    assert metric["low"] < 0.75 < metric["high"]
