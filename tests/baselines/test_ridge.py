"""Many regressions at once say what scikit-learn says one by one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from genovox.baselines.ridge import balance_classes, fit_ridges, plan_refits, score_refits

RANDOM = np.random.default_rng(1)
MATRIX = RANDOM.normal(size=(60, 4))
LABELS = (RANDOM.random((3, 60)) < 0.4).astype(float)


@settings(max_examples=10, deadline=None)
@given(strength=st.floats(0.01, 10))
def test_each_fit_is_scikit_learns(strength: float) -> None:
    fits = fit_ridges(MATRIX, LABELS, balance_classes(LABELS), strength=strength)
    for row, labels in enumerate(LABELS):
        alone = LogisticRegression(C=strength, class_weight="balanced", tol=1e-10, max_iter=1000).fit(MATRIX, labels)
        assert fits.coefficients[row] == pytest.approx(alone.coef_[0], abs=1e-4)
        assert fits.intercepts[row] == pytest.approx(alone.intercept_[0], abs=1e-4)


def test_weights_are_copies_of_rows() -> None:
    weights = RANDOM.integers(0, 3, 60)
    fit = fit_ridges(MATRIX, LABELS[0], weights, strength=1.0)
    rows = np.repeat(np.arange(60), weights)
    again = fit_ridges(MATRIX[rows], LABELS[0][rows], strength=1.0)
    assert fit.coefficients == pytest.approx(again.coefficients, abs=1e-6)
    assert fit.predict(MATRIX)[0] == pytest.approx(again.predict(MATRIX)[0], abs=1e-6)


def test_separated_classes_stay_finite() -> None:
    column = np.linspace(-1, 1, 40)[:, None]
    fits = fit_ridges(column, column[:, 0] > 0, strength=1e3)
    assert np.isfinite(fits.coefficients).all()
    assert fits.coefficients[0, 0] > 10


def _study(columns: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    ids = [f"c{n}" for n in range(40)]
    label = np.arange(40) % 2
    cases = pd.DataFrame({"case_id": ids, "patient_id": [f"p{n // 2 * 2 + n % 2}" for n in range(40)], "label": label})
    features = pd.DataFrame(RANDOM.normal(size=(40, columns)) + label[:, None], index=pd.Index(ids)).rename(columns=str)
    folds = pd.concat(
        [
            cases[["case_id"]].assign(
                repeat=0, fold=str(f), part=np.where(np.arange(40) // 2 % 2 == f, "test", "train")
            )
            for f in (0, 1)
        ]
    )
    return features, cases.assign(family_id=""), folds


@pytest.mark.parametrize("columns", [3, 60])
def test_refits_score_as_a_regression_on_each_fold(columns: int) -> None:
    """Also where columns outnumber rows and are turned into fewer."""
    features, cases, folds = _study(columns)
    scored = score_refits(plan_refits(features, cases, folds, "patient"), strength=0.1)
    plan = folds[folds["fold"] == "0"]
    train, test = (plan.loc[plan["part"] == part, "case_id"] for part in ("train", "test"))
    rows = features.loc[train]
    scale = (rows.mean().to_numpy(), rows.std(ddof=0).to_numpy())
    model = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-10, max_iter=2000)
    model.fit((rows.to_numpy() - scale[0]) / scale[1], cases.set_index("case_id").loc[train, "label"])
    known = np.clip((features.loc[test].to_numpy() - scale[0]) / scale[1], -4, 4)
    expected = pd.Series(model.predict_proba(known)[:, 1], index=cases.set_index("case_id").loc[test, "patient_id"])
    found = scored[scored["fold"] == "0"].set_index("unit")["score"]
    assert found[expected.index].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)


def test_words_and_gaps_become_numbers() -> None:
    features, cases, folds = _study(2)
    words = features.assign(vendor=["A" if label else "B" for label in cases["label"]])
    assert len(score_refits(plan_refits(words, cases, folds, "case"), strength=1.0)) == 40


def test_a_fold_that_tests_one_class_is_left_out() -> None:
    features, cases, folds = _study(2)
    label = cases.set_index("case_id")["label"]
    one_sided = folds[~((folds["fold"] == "0") & (folds["part"] == "test") & (label[folds["case_id"]] == 1).to_numpy())]
    assert [plan.rows["fold"].iloc[0] for plan in plan_refits(features, cases, one_sided, "patient")] == ["1"]
