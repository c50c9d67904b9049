"""Against scikit-learn, betacal 1.1.0 and statsmodels 0.15.0 (values computed with them), and simulated truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression

from genovox.core.errors import DataError, UsageError
from genovox.statistics.calibration import estimate_line, logit
from genovox.statistics.recalibration import METHODS, LogMap, Method, fit_map, shift_prevalence
from tests.statistics.conftest import Scored


def test_platt_is_that_of_sklearn(scored: Scored) -> None:
    slope, intercept = _sigmoid_calibration(logit(scored.scores), scored.labels)
    found = fit_map("platt", scored.scores, scored.labels)
    assert isinstance(found, LogMap)
    assert (found.a, found.b, found.c) == pytest.approx((-slope, -slope, -intercept), abs=1e-4)


def test_beta_is_that_of_its_authors(scored: Scored) -> None:
    found = fit_map("beta", scored.scores, scored.labels)
    assert found.apply([0.1, 0.3, 0.5, 0.8]) == pytest.approx(
        [0.10287260950239442, 0.2326732404325489, 0.41919017815557386, 0.8345624353637541], abs=1e-5
    )


def test_temperature_is_the_likeliest(scored: Scored) -> None:
    line = logit(scored.scores)
    best = minimize_scalar(
        lambda t: np.logaddexp(0, line / t).sum() - (scored.labels * line / t).sum(), bounds=(0.1, 10)
    )
    found = fit_map("temperature", scored.scores, scored.labels)
    assert isinstance(found, LogMap)
    assert found.a == pytest.approx(1 / best.x, abs=1e-4)
    assert found.a == pytest.approx(1.089145781167452, abs=1e-8)  # statsmodels GLM without intercept


def test_isotonic_is_that_of_sklearn(scored: Scored) -> None:
    found = fit_map("isotonic", scored.scores, scored.labels)
    grid = np.linspace(0, 1, 101)
    expected = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(scored.scores, scored.labels)
    assert found.apply(grid) == pytest.approx(expected.predict(grid))


@pytest.mark.parametrize("method", METHODS)
def test_maps_mend_what_is_wrong(method: Method) -> None:
    random = np.random.default_rng(8)
    truth = expit(random.normal(size=8000))
    labels = (random.random(8000) < truth).astype(int)
    scores = expit(2.5 * logit(truth))  # far too extreme
    learnt = fit_map(method, scores[:4000], labels[:4000]).apply(scores[4000:])
    assert estimate_line(labels[4000:], scores[4000:]).slope.high < 0.5
    assert learnt == pytest.approx(truth[4000:], abs=0.12)
    assert estimate_line(labels[4000:], learnt).slope.estimate == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("method", METHODS)
def test_ranks_are_kept_even_where_validation_reverses_them(method: Method) -> None:
    random = np.random.default_rng(2)
    scores = random.random(300)
    labels = (random.random(300) > scores).astype(int)
    mapped = fit_map(method, scores, labels).apply(np.linspace(0, 1, 50))
    assert (np.diff(mapped) >= -1e-12).all()


def test_beta_drops_one_falling_part() -> None:
    random = np.random.default_rng(4)
    scores = random.random(2000)
    labels = (random.random(2000) < expit(1.5 * np.log(scores) + 0.7 * np.log1p(-scores) + 1)).astype(int)
    found = fit_map("beta", scores, labels)
    assert isinstance(found, LogMap)
    assert found.a > 0
    assert found.b == 0


def test_separated_classes_have_platts_answer_and_no_other() -> None:
    scores, labels = [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]
    mapped = fit_map("platt", scores, labels).apply(scores)
    assert mapped == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.07)
    for method in ("beta", "temperature"):
        with pytest.raises(DataError, match="use platt"):
            fit_map(method, scores, labels)


def test_constant_scores_give_the_smoothed_prevalence() -> None:
    assert fit_map("platt", [0.4] * 8, [1, 1, 0, 0, 0, 0, 0, 0]).apply([0.9])[0] == pytest.approx(0.28125)


def test_refusals() -> None:
    with pytest.raises(DataError, match="isotonic needs 200 validation patients, got 4"):
        fit_map("isotonic", [0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])
    with pytest.raises(DataError, match="both classes, got 2 of one class"):
        fit_map("platt", [0.1, 0.2], [0, 0])
    with pytest.raises(UsageError, match="'spline'"):
        fit_map("spline", [0.1, 0.2], [0, 1])  # type: ignore[arg-type]


@given(st.floats(0.001, 0.999), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_prevalence_there_and_back(p: float, source: float, target: float) -> None:
    there = shift_prevalence([p], source, target)
    assert shift_prevalence(there, target, source)[0] == pytest.approx(p)
    assert logit(there)[0] - logit(p) == pytest.approx(logit(target) - logit(source), abs=1e-4)


def test_shifted_probabilities_are_calibrated_where_carriers_are_rarer() -> None:
    random = np.random.default_rng(6)
    n = 60_000
    labels = (random.random(n) < 0.05).astype(int)
    scores = random.normal(size=n) + labels
    # Densities of the two classes are known, so that the posterior at a prevalence of one half is too.
    at_half = expit(scores - 0.5)
    shifted = shift_prevalence(at_half, 0.5, 0.05)
    line = estimate_line(labels, shifted)
    assert line.slope.low < 1 < line.slope.high
    assert line.in_the_large.low < 0 < line.in_the_large.high
    assert estimate_line(labels, at_half).in_the_large.high < -2
    assert (np.diff(rankdata(shifted)[np.argsort(scores)]) >= 0).all()


def test_a_prevalence_is_a_share() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        shift_prevalence([0.5], 0.0, 0.3)
    with pytest.raises(UsageError, match="give both as shares"):
        shift_prevalence([0.5], 0.2, 30)
