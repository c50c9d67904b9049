"""What a score adds is seen; what it repeats is not called an addition."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from genovox.audit.additions import (
    check_addition,
    check_matched,
    describe_additions,
    match_pairs,
    measure_addition,
    pair_scores,
    standardise_logits,
)
from genovox.evaluate.schema import Metric

PATIENTS = 200


def _table(seed: int, *, own: float, shared: float, patients: int = PATIENTS, told: float = 1) -> pd.DataFrame:
    """A base that tells a part of the label, and a score that repeats the base and has a part of its own."""
    random = np.random.default_rng(seed)
    label = np.arange(patients) % 2
    base = told * label + random.normal(0, 1, patients)
    score = shared * base + own * label + random.normal(0, 1, patients)
    return pd.DataFrame(
        {
            "unit": [f"p{n:03d}" for n in range(patients)],
            "repeat": 0,
            "fold": [str(n // 2 % 5) for n in range(patients)],
            "cluster": np.arange(patients),
            "label": label,
            "score_base": 1 / (1 + np.exp(-base)),
            "score": 1 / (1 + np.exp(-score)),
        }
    )


def test_the_likelihood_ratio_is_close_to_that_of_unpenalised_regressions() -> None:
    table = _table(1, own=1.0, shared=0.5)
    found = measure_addition("base", table, resamples=200, seed=1)
    columns = np.stack([standardise_logits(table, "score_base"), standardise_logits(table, "score")], axis=1)
    losses = []
    for width in (1, 2):
        model = LogisticRegression(C=1e6, max_iter=1000).fit(columns[:, :width], table["label"])
        losses.append(log_loss(table["label"], model.predict_proba(columns[:, :width])[:, 1], normalize=False))
    assert found.likelihood_ratio == pytest.approx(2 * (losses[0] - losses[1]), rel=0.05)
    assert found.p_value == pytest.approx(chi2.sf(found.likelihood_ratio, 1))
    assert found.base_auc == pytest.approx(roc_auc_score(table["label"], columns[:, 0]))
    assert found.adds
    assert found.delta.estimate is not None
    assert found.delta.estimate > 0
    assert describe_additions({"x": found})[0]["likelihood_ratio"] == found.likelihood_ratio


def test_what_only_repeats_the_base_is_rarely_called_an_addition() -> None:
    called = [
        measure_addition("base", _table(seed, own=0.0, shared=1.0), resamples=100, seed=seed).adds for seed in range(40)
    ]
    # 1 expected; more than 4 of 40 at 2.5% has probability 0.003.
    assert sum(called) <= 4


def test_where_the_base_nearly_separates_the_classes_an_interval_alone_shows_nothing() -> None:
    """In a third of such cohorts the interval of the log odds excludes none, of a score that only repeats the base."""
    found = [
        measure_addition("base", _table(seed, own=0, shared=0.5, patients=60, told=5), resamples=100, seed=seed)
        for seed in range(20)
    ]
    assert sum(addition.log_odds.low is not None and addition.log_odds.low > 0 for addition in found) > 3
    assert not any(addition.adds for addition in found)


def test_what_is_added_may_be_less_than_nothing_or_very_much() -> None:
    nothing = measure_addition("base", _table(4, own=0.0, shared=1.0), resamples=200, seed=4)
    much = measure_addition("base", _table(4, own=4.0, shared=0.0), resamples=200, seed=4)
    assert nothing.delta.low is not None
    assert nothing.delta.low < 0
    assert nothing.log_odds.low is not None
    assert nothing.log_odds.low < 0
    assert much.log_odds.high is not None
    assert much.log_odds.high > 1


def test_too_few_patients_give_no_answer() -> None:
    found = measure_addition("base", _table(2, own=3.0, shared=0.0, patients=12), resamples=200, seed=1)
    assert not found.is_assessed
    assert not found.adds
    assert check_addition("beyond-clinical", found, missing="", advice="").status == "not-assessed"


def test_a_constant_score_adds_nothing() -> None:
    table = _table(3, own=0.0, shared=0.0).assign(score=0.5)
    found = measure_addition("base", table, resamples=200, seed=1)
    assert not found.adds
    assert found.likelihood_ratio == pytest.approx(0, abs=1e-6)


def test_scores_are_paired_by_unit_and_fold() -> None:
    table = _table(4, own=0, shared=0, patients=20)
    base = table.drop(columns=["score_base"])
    units = table[["unit", "repeat", "fold", "score"]].iloc[:7]
    assert len(pair_scores(base, units)) == 7


def test_checks_say_what_is_missing_and_what_was_found() -> None:
    assert check_addition("beyond-radiomics", None, missing="none", advice="add it").status == "not-assessed"
    more = measure_addition("age", _table(5, own=2.0, shared=0), resamples=200, seed=1)
    assert check_addition("beyond-clinical", more, missing="", advice="").status == "pass"
    same = measure_addition("age", _table(6, own=0.0, shared=1.0), resamples=200, seed=1)
    check = check_addition("beyond-clinical", same, missing="", advice="")
    assert check.status == "warn"
    assert "not shown to add" in check.finding


def test_pairs_are_of_like_base_and_of_one_fold() -> None:
    """The score is the base: everywhere it tells, among pairs of equal base it does not."""
    table = pd.DataFrame(
        {
            "repeat": 0,
            "fold": ["0"] * 40 + ["1"] * 40,
            "cluster": range(80),
            "label": [1, 1, 1, 0] * 10 + [1, 0, 0, 0] * 10,
            "score_base": ([0.2, 0.8, 0.8, 0.2] * 10 + [0.8, 0.2, 0.8, 0.2] * 10),
        }
    )
    table["score"] = table["score_base"]
    metric, pairs = match_pairs(table, resamples=200, seed=1)
    assert pairs == 20
    assert metric.estimate == pytest.approx(0.5)
    assert check_matched(metric, pairs).status == "warn"


def test_no_pairs_is_not_assessed() -> None:
    table = _table(7, own=0, shared=0).assign(score_base=lambda rows: np.where(rows["label"] == 1, 0.9, 0.1))
    metric, pairs = match_pairs(table, resamples=200, seed=1)
    assert pairs == 0
    assert check_matched(metric, pairs).status == "not-assessed"
    told = Metric(estimate=0.8, low=0.7, high=0.9, method="x")
    assert check_matched(told, 30).status == "pass"
