"""A curve that rises is carried on; one that does not says so."""

import numpy as np

from genovox.plan.outlook import AHEAD, conclude
from genovox.statistics.learning_curve import fit_learning_curve

SIZES = np.array([20.0, 30, 40, 60])


def test_a_rising_curve_is_carried_on_in_patients_of_the_cohort() -> None:
    aucs = 0.8 - 0.1 * (SIZES / 60) ** -0.8 + np.random.default_rng(0).normal(0, 0.01, (10, 4))
    curve = fit_learning_curve(SIZES, aucs)
    result = conclude("radiomics", curve, cohort=100, rows=10)
    assert [point.cohort for point in result.points] == [33, 50, 67, 100, 150, 200, 300]
    assert [point.training for point in result.points[-3:]] == [round(60 * step) for step in AHEAD]
    assert result.points[-1].auc == curve.predict(180)[0].estimate
    assert result.sentence.startswith("The curve rises: doubling the training patients changed the AUC by +0.")
    assert result.as_dict()["points"][0]["kind"] == "measured"


def test_a_flat_curve_promises_nothing() -> None:
    aucs = np.random.default_rng(1).normal(0.6, 0.05, (10, 4))
    result = conclude("radiomics", fit_learning_curve(SIZES, aucs, inflation=2), cohort=100, rows=10)
    assert result.conclusion == "does not say"
    assert {point.kind for point in result.points} == {"measured"}
    assert "does not say whether more patients would help" in result.sentence
