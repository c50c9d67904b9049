"""Sizes and powers against published values, independent formulas and simulation."""

from collections.abc import Callable
from itertools import pairwise
from math import asinh, ceil, isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu, norm
from sklearn.linear_model import LogisticRegression

from genovox.core.errors import UsageError
from genovox.statistics.sample_size import (
    Counts,
    affordable_parameters,
    auc_half_width,
    auc_power,
    binormal_variance,
    cox_snell_r2,
    detectable_auc,
    development_size,
    difference_power,
    expected_shrinkage,
    hanley_mcneil_variance,
    largest_r2,
    null_auc_quantile,
    patients_for_difference,
    patients_for_power,
    patients_for_width,
    validation_size,
    validation_widths,
)

aucs = st.floats(0.51, 0.97)
prevalences = st.floats(0.05, 0.95)
counts = st.builds(Counts, st.integers(10, 400), st.integers(10, 400))


@pytest.mark.parametrize(("positives", "negatives", "half"), [(82, 149, 0.073), (24, 76, 0.128), (16, 30, 0.166)])
def test_half_widths_of_hanley_and_mcneil(positives: int, negatives: int, half: float) -> None:
    assert auc_half_width(0.70, Counts(positives, negatives)) == pytest.approx(half, abs=0.0005)


@pytest.mark.parametrize(("auc", "positives"), [(0.60, 88), (0.65, 39), (0.70, 22)])
def test_positives_for_80_percent_power_at_one_to_three(auc: float, positives: int) -> None:
    assert patients_for_power(auc, 0.25) == Counts(positives, 3 * positives)


@pytest.mark.parametrize(("positives", "negatives", "one", "best"), [(16, 25, 0.68, 0.80), (24, 76, 0.63, 0.72)])
def test_what_chance_reaches(positives: int, negatives: int, one: float, best: float) -> None:
    group = Counts(positives, negatives)
    assert null_auc_quantile(group) == pytest.approx(one, abs=0.005)
    assert null_auc_quantile(group, models=50) == pytest.approx(best, abs=0.005)


def test_null_quantiles_agree_with_the_exact_mann_whitney_test() -> None:
    group = Counts(7, 9)
    won = round(null_auc_quantile(group) * 63)
    ranks = _scores_with(won, group)
    assert mannwhitneyu(*_scores_with(won + 1, group), alternative="greater", method="exact").pvalue <= 0.025
    assert mannwhitneyu(*ranks, alternative="greater", method="exact").pvalue > 0.025
    assert null_auc_quantile(Counts(1, 3), quantile=0.5) == 1 / 3  # 0, 1/3, 2/3, 1 are equally likely


def _scores_with(won: int, group: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which so many pairs are won by a positive."""
    each = np.full(group.positives, won // group.positives) + (np.arange(group.positives) < won % group.positives)
    return each - 0.5 + 0.01 * np.arange(group.positives), np.arange(group.negatives).astype(float)


def test_null_quantiles_of_a_simulation_and_across_the_change_of_method() -> None:
    random = np.random.default_rng(0)
    ranks = np.array([random.permutation(100)[:24].sum() for _ in range(20_000)])
    simulated = (ranks - 24 * 23 / 2) / (24 * 76)
    assert null_auc_quantile(Counts(24, 76)) == pytest.approx(np.quantile(simulated, 0.975), abs=0.004)
    exact, normal = null_auc_quantile(Counts(50, 100)), null_auc_quantile(Counts(50, 101))
    assert exact == pytest.approx(normal, abs=0.001)
    assert null_auc_quantile(Counts(71, 71), models=50) == pytest.approx(0.66, abs=0.003)


def test_power_agrees_with_simulated_tests() -> None:
    """Binormal scores and the Mann-Whitney test; Hanley and McNeil's exponential scores are a little more cautious."""
    random = np.random.default_rng(1)
    for auc, group in ((0.65, Counts(39, 117)), (0.75, Counts(30, 30))):
        positive = random.normal(sqrt(2) * norm.ppf(auc), 1, (group.positives, 3000))
        negative = random.normal(0, 1, (group.negatives, 3000))
        rejected = np.mean(mannwhitneyu(positive, negative, method="asymptotic").pvalue < 0.05)
        assert auc_power(auc, group) == pytest.approx(rejected, abs=0.02 + 2 * sqrt(0.16 / 3000))
    assert auc_power(0.5, Counts(40, 60)) == pytest.approx(0.05, rel=1e-3)


def test_both_formulas_err_on_the_side_of_caution() -> None:
    """The nonparametric AUC of binormal scores varies a little less than Hanley and McNeil, then Obuchowski, say."""
    random = np.random.default_rng(2)
    group = Counts(40, 80)
    positive = random.normal(sqrt(2) * norm.ppf(0.8), 1, (3000, group.positives, 1))
    simulated = np.var([(row > random.normal(size=(1, group.negatives))).mean() for row in positive])
    cautious, more = hanley_mcneil_variance(0.8, group), binormal_variance(0.8, group)
    assert simulated < cautious < more < 1.45 * simulated
    assert hanley_mcneil_variance(0.5, group) == pytest.approx((group.patients + 1) / (12 * 40 * 80))
    assert binormal_variance(0.5, group) == pytest.approx(0.0099 * 8 * 1.5 / 40)


def test_difference_agrees_with_a_simulation_of_paired_scores() -> None:
    random = np.random.default_rng(3)
    group = Counts(80, 160)
    shared = 0.6
    draws = np.empty((2000, 2))
    for number in range(2000):
        common = random.normal(size=(1, 240))
        noise = sqrt(shared) * common + sqrt(1 - shared) * random.normal(size=(2, 240))
        scores = noise + np.array([[norm.ppf(0.70)], [norm.ppf(0.80)]]) * sqrt(2) * (np.arange(240) < 80)
        ranks = scores.argsort(axis=1).argsort(axis=1)[:, :80].sum(axis=1)
        draws[number] = (ranks - 80 * 79 / 2) / (80 * 160)
    correlation = float(np.asarray(np.corrcoef(draws.T))[0, 1])
    assert correlation < shared
    spread = float((draws[:, 1] - draws[:, 0]).std())
    simulated = norm.cdf(0.1 / spread - 1.96)
    assert simulated - 0.1 < difference_power(0.70, 0.80, group, correlation=correlation) < simulated + 0.01


@settings(max_examples=25, deadline=None)
@given(aucs, counts)
def test_more_patients_never_know_less(auc: float, group: Counts) -> None:
    more = Counts(group.positives + 5, group.negatives + 5)
    assert auc_half_width(auc, more) < auc_half_width(auc, group)
    assert auc_power(auc, more) >= auc_power(auc, group) - 1e-12
    assert difference_power(auc, 0.5, more, correlation=0.3) >= difference_power(auc, 0.5, group, correlation=0.3)


@settings(max_examples=25, deadline=None)
@given(st.integers(10, 40), st.integers(10, 300), st.integers(1, 60))
def test_chance_does_not_care_which_class_is_rare_and_grows_with_the_models(few: int, many: int, models: int) -> None:
    value = null_auc_quantile(Counts(few, many), models=models)
    assert value == null_auc_quantile(Counts(many, few), models=models)
    assert 0.5 <= value <= null_auc_quantile(Counts(few, many), models=models + 1) <= 1


@settings(max_examples=25, deadline=None)
@given(st.floats(0.55, 0.9), st.floats(0.1, 0.9))
def test_sizes_are_the_fewest_that_do(auc: float, prevalence: float) -> None:
    sizes = patients_for_power(auc, prevalence), patients_for_width(auc, prevalence, 0.08)
    for found, suffices in zip(sizes, _suffice(auc), strict=True):
        assert suffices(found)
        few = min(found.positives, found.negatives)
        assert few == 10 or not suffices(_shrink(found, prevalence))


def _suffice(auc: float) -> tuple[Callable[[Counts], bool], Callable[[Counts], bool]]:
    return (lambda group: auc_power(auc, group) >= 0.8), (lambda group: auc_half_width(auc, group) <= 0.08)


def _shrink(group: Counts, prevalence: float) -> Counts:
    rare = min(prevalence, 1 - prevalence)
    few = min(group.positives, group.negatives) - 1
    many = ceil(few * (1 - rare) / rare - 1e-9)
    return Counts(few, many) if prevalence <= 0.5 else Counts(many, few)


def test_the_smallest_auc_that_is_told_has_that_power() -> None:
    group = Counts(36, 84)
    assert auc_power(detectable_auc(group), group) == pytest.approx(0.8)
    assert isnan(detectable_auc(Counts(2, 2)))


@settings(max_examples=25, deadline=None)
@given(aucs, prevalences)
def test_r2_does_not_care_what_is_called_a_carrier(auc: float, prevalence: float) -> None:
    value = cox_snell_r2(auc, prevalence)
    assert 0 < value < largest_r2(prevalence)
    assert value == pytest.approx(cox_snell_r2(auc, 1 - prevalence), rel=1e-6)
    assert largest_r2(0.5) == pytest.approx(0.75)


@pytest.mark.parametrize(("auc", "prevalence", "printed"), [(0.7, 0.3, 0.103), (0.8, 0.1, 0.111), (0.71, 0.05, 0.028)])
def test_r2_is_what_the_published_simulation_tends_to(auc: float, prevalence: float, printed: float) -> None:
    assert cox_snell_r2(auc, prevalence) == pytest.approx(printed, abs=0.001)
    random = np.random.default_rng(4)
    labels = np.arange(100_000) < prevalence * 100_000
    scores = random.normal(sqrt(2) * norm.ppf(auc) * labels, 1)
    model = LogisticRegression(C=np.inf).fit(scores[:, None], labels)
    risk = model.predict_proba(scores[:, None])[np.arange(100_000), labels.astype(int)]
    empty = prevalence * np.log(prevalence) + (1 - prevalence) * np.log1p(-prevalence)
    assert cox_snell_r2(auc, prevalence) == pytest.approx(1 - np.exp(2 * (empty - np.log(risk).mean())), abs=0.005)


@pytest.mark.parametrize(
    ("prevalence", "sizes", "simulated_r2"), [(0.355, (352, 382, 764), 0.1105), (0.11, (173, 862, 1724), 0.05073)]
)
def test_riley_at_c_070(prevalence: float, sizes: tuple[int, ...], simulated_r2: float) -> None:
    """The printed sizes come from one simulated R2; ours has no noise and lies within its Monte Carlo error."""
    exact = cox_snell_r2(0.7, prevalence)
    for r2, tolerance in ((simulated_r2, 0), (exact, 0.013)):
        found = [development_size(prevalence, count, r2).patients for count in (1, 5, 10)]
        assert found == pytest.approx(sizes, rel=tolerance, abs=0)
    assert exact == pytest.approx(simulated_r2, abs=2.2 * 0.0006)


def test_riley_published_examples() -> None:
    # pmsampsize's own tests: R2 and 24 parameters at prevalence 0.174 and 0.25.
    large = development_size(0.174, 24, 0.55)
    assert (large.overfitting, large.optimism, large.risk, large.patients) == (255, 532, 221, 532)
    assert development_size(0.174, 24, 0.288).overfitting == 623
    assert development_size(0.25, 24, 0.288).patients == 623
    assert development_size(0.5, 20, 0.1).overfitting == 1699  # 1698.04 in the paper of 2019
    assert development_size(0.5, 1, 0.1).risk == 385


@settings(max_examples=25, deadline=None)
@given(st.integers(30, 5000), st.integers(1, 40), st.floats(0.55, 0.9), prevalences)
def test_shrinkage_undoes_the_size(patients: int, parameters: int, auc: float, prevalence: float) -> None:
    r2 = cox_snell_r2(auc, prevalence)
    shrinkage = expected_shrinkage(patients, parameters, r2)
    assert r2 <= shrinkage < 1
    if r2 * 1.01 < shrinkage < 0.999:
        size = development_size(prevalence, parameters, r2, shrinkage=shrinkage).overfitting
        assert size == pytest.approx(patients, abs=1)
    allowed = affordable_parameters(patients, prevalence, r2)
    needed = development_size(prevalence, max(allowed, 1), r2)
    assert allowed == 0 or max(needed.overfitting, needed.optimism) <= patients
    more = development_size(prevalence, allowed + 1, r2)
    assert max(more.overfitting, more.optimism) > patients


def test_shrinkage_of_hopelessly_few_patients_is_its_floor() -> None:
    assert expected_shrinkage(1, 1000, 0.1) == 0.1


@pytest.mark.parametrize(
    ("prevalence", "auc", "patients"), [(0.1, 0.7, 1154), (0.5, 0.8, 302), (0.018, 0.8, 4252), (0.018, 0.75, 5125)]
)
def test_validation_of_the_c_statistic_as_published(prevalence: float, auc: float, patients: int) -> None:
    assert validation_size(auc, prevalence).auc == patients


def test_validation_of_the_ratio_as_published() -> None:
    """Riley rounds the standard error to three digits; the widths here are those of that standard error."""
    for prevalence, error, patients in ((0.5, 0.051, 385), (0.1, 0.175, 294), (0.1, 0.051, 3461)):
        width = 2 * np.sinh(1.96 * error)
        assert validation_size(0.8, prevalence, ratio_width=width).ratio == patients
    assert asinh(0.1) / 1.96 == pytest.approx(0.051, abs=0.0001)


def test_validation_of_the_slope_is_the_error_of_a_logistic_regression() -> None:
    random = np.random.default_rng(5)
    labels = np.arange(400_000) < 120_000
    distance = sqrt(2) * norm.ppf(0.75)
    scores = distance * random.normal(distance * labels, 1) - distance**2 / 2 + logit(0.3)
    risk = expit(scores)
    design = np.stack([np.ones_like(scores), scores])
    information = (design * risk * (1 - risk)) @ design.T / len(scores)
    error = sqrt(np.linalg.inv(information)[1, 1] / 1000)
    assert validation_widths(1000, 0.75, 0.3)[1] == pytest.approx(2 * 1.96 * error, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.55, 0.95), prevalences)
def test_validation_widths_undo_the_sizes(auc: float, prevalence: float) -> None:
    sizes = validation_size(auc, prevalence)
    for place, (size, width) in enumerate(((sizes.ratio, 0.2), (sizes.slope, 0.2), (sizes.auc, 0.1))):
        assert validation_widths(size, auc, prevalence)[place] <= width * (1 + 1e-9)
    assert sizes.patients == max(sizes.ratio, sizes.slope, sizes.auc)


def test_more_is_needed_for_smaller_differences() -> None:
    sizes = [patients_for_difference(0.7, better, 0.3, correlation=0.5).patients for better in (0.72, 0.75, 0.8)]
    assert all(more > less for more, less in pairwise(sizes))
    assert patients_for_difference(0.7, 0.75, 0.3, correlation=0.8).patients < sizes[1]


def test_counts() -> None:
    assert Counts.split(120, 0.3) == Counts(36, 84)
    assert Counts(9, 90).too_few
    assert not Counts(10, 10).too_few


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Counts(0, 5), "needs carriers and non-carriers, got 0 and 5"),
        (lambda: Counts.split(10, 1.2), "the prevalence must be above 0 and below 1, got 1.2"),
        (lambda: auc_half_width(1.0, Counts(5, 5)), "the AUC must be above 0 and below 1, got 1.0"),
        (lambda: patients_for_power(0.5, 0.3), "cannot be told from itself"),
        (lambda: patients_for_power(0.50001, 0.3), "more than 10,000,000 patients"),
        (lambda: patients_for_width(0.7, 0.3, 0.0), "the half-width must be above 0"),
        (lambda: patients_for_difference(0.7, 0.7, 0.3, correlation=0), "cannot be told apart"),
        (lambda: difference_power(0.7, 0.8, Counts(20, 20), correlation=1.0), "the correlation must be in"),
        (lambda: null_auc_quantile(Counts(5, 5), models=0), "the best of at least 1 model, got 0"),
        (lambda: cox_snell_r2(0.4, 0.3), "AUC above 0.5 and below 1, got 0.4"),
        (lambda: development_size(0.3, 5, 0.9), "R2 must be above 0 and below 0.705"),
        (lambda: development_size(0.3, 0, 0.1), "at least 1 parameter, got 0"),
        (lambda: development_size(0.3, 5, 0.1, shrinkage=0.05), "the shrinkage must be above R2"),
        (lambda: validation_size(0.7, 0.3, slope_width=0), "interval of the slope must be above 0, got 0"),
    ],
)
def test_refusals_say_the_rule_and_the_value(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=message):
        call()
