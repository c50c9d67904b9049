"""Simulated lesions have the published odds ratios, and the oracle is what an independent model finds."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from genovox.simulate.patients import draw_patients
from genovox.simulate.phenotype import BRCA1_SHARE, Effect, category_shares, score_latents

# Veltman 2008, PMC2292493: odds ratio and its 95% interval.
PUBLISHED = {"round_shape": (4.4, 1.4, 13.8), "sharp_margin": (8.6, 2.5, 28.8), "rim": (9.4, 1.1, 83.0)}
CATEGORIES = ["round_shape", "sharp_margin", "rim", "necrosis", "prepectoral", "density", "bpe"]
UNINFORMATIVE = ["side", "bilateral_disease", "satellites"]


def _cohort(effect: Effect, patients: int, seed: int) -> pd.DataFrame:
    drawn = draw_patients(patients=patients, effect=effect, prevalence=0.5, sites=2, shortcut="none", seed=seed)
    return pd.DataFrame([asdict(patient) for patient in drawn])


def _log_odds_ratio(table: pd.DataFrame, feature: str) -> tuple[float, float]:
    """Log odds ratio of carriers against others, and its standard error (Woolf)."""
    counts = pd.crosstab(table["gene"] != "", table[feature]).to_numpy()
    (without, without_feature), (carriers, carriers_feature) = counts
    ratio = np.log(carriers_feature * without / (carriers * without_feature))
    return float(ratio), float(np.sqrt((1 / counts).sum()))


@pytest.fixture(scope="module")
def lesions() -> dict[Effect, pd.DataFrame]:
    effects: tuple[Effect, ...] = ("full", "half", "none")
    return {effect: _cohort(effect, 5000, 11) for effect in effects}


@pytest.mark.parametrize("feature", PUBLISHED)
def test_measured_odds_ratios_are_the_published_ones(lesions: dict[Effect, pd.DataFrame], feature: str) -> None:
    published, low, high = PUBLISHED[feature]
    full, error = _log_odds_ratio(lesions["full"], feature)
    assert low < np.exp(full) < high
    assert abs(full - np.log(published)) < 3 * error
    half, error = _log_odds_ratio(lesions["half"], feature)
    assert abs(half - np.log(published) / 2) < 3 * error


@pytest.mark.parametrize("feature", PUBLISHED)
def test_carriers_together_have_exactly_the_published_odds(feature: str) -> None:
    """The two genes are mixed as in the cohort; BRCA2 lies between BRCA1 and the others."""
    full, half = (category_shares(effect)[feature][:, 1] for effect in ("full", "half"))
    expected = {"round_shape": 16 / 11 / (7 / 21), "sharp_margin": 20 / 7 / (7 / 21), "rim": 7 / 20 / (1 / 27)}[feature]
    for shares, target in ((full, expected), (half, expected**0.5)):
        carriers = BRCA1_SHARE * shares[0] + (1 - BRCA1_SHARE) * shares[1]
        assert carriers / (1 - carriers) / (shares[2] / (1 - shares[2])) == pytest.approx(target, rel=1e-9)
        assert shares[2] < shares[1] < shares[0]


def test_other_latents_follow_their_sources(lesions: dict[Effect, pd.DataFrame]) -> None:
    shares = category_shares("full")
    upper = {name: shares[name][:, 2:].sum(axis=1) for name in ("density", "bpe")}
    odds = {name: share / (1 - share) for name, share in upper.items()}
    assert odds["density"][0] / odds["density"][2] == pytest.approx(0.62 / 0.38 / (0.75 / 0.25))
    assert odds["bpe"][1] / odds["bpe"][2] == pytest.approx(0.22 / 0.78 / (0.33 / 0.67))
    assert shares["prepectoral"][:, 1] == pytest.approx([32 / 48, 0.4, 0.4])
    # Necrosis: P = P(TN) 0.588 + P(not TN) 0.15, as odds of 0.15 / 0.85 times 8.1 are a share of 0.588.
    assert shares["necrosis"][:, 1] == pytest.approx([0.4265, 0.2201, 0.2219], abs=2e-4)
    table = lesions["full"]
    log_diameter = np.log(table["diameter_mm"])
    assert table["diameter_mm"].between(8, 60).all()
    # Truncation to 8-60 mm takes a little of the shift of 0.25 and of the spread of 0.52.
    shift = log_diameter[table["gene"] == ""].mean() - log_diameter[table["gene"] != ""].mean()
    assert 0.13 < shift < 0.25
    assert 24 < table.loc[table["gene"] == "", "diameter_mm"].mean() < 28.6


def test_without_effect_nothing_in_the_image_follows_gene_or_subtype(lesions: dict[Effect, pd.DataFrame]) -> None:
    """Nor age, menopause and the rest of the clinic, although the clinic follows the gene."""
    table = lesions["none"]
    clinic = ["gene", "subtype", "menopausal", "family_history", "indication", "grade"]
    tests = [
        chi2_contingency(pd.crosstab(table[latent], table[known])).pvalue
        for latent in CATEGORIES + UNINFORMATIVE
        for known in clinic
    ]
    tests += [
        mannwhitneyu(table.loc[known, "diameter_mm"], table.loc[~known, "diameter_mm"]).pvalue
        for known in (table["gene"] != "", table["subtype"] == "triple negative", table["menopausal"])
    ]
    # Uniform if nothing is there: the smallest of 63 lies below 0.0001 once in 160 tries, and the seed is fixed.
    assert min(tests) > 1e-4
    assert np.mean(tests) == pytest.approx(0.5, abs=0.12)
    assert set(table["oracle"]) == {0.5}
    for known in ("subtype", "menopausal", "family_history", "indication", "grade"):
        assert chi2_contingency(pd.crosstab(table["gene"], table[known])).pvalue < 1e-20


def test_within_a_class_the_image_does_not_follow_the_clinic(lesions: dict[Effect, pd.DataFrame]) -> None:
    """Bayes' rule over imaging latents alone is exact only if, at full effect too, the gene is the one link."""
    table = lesions["full"]
    tests = [
        chi2_contingency(pd.crosstab(part[latent], part[known])).pvalue
        for _, part in table.groupby("gene")
        for latent in CATEGORIES
        for known in ("subtype", "menopausal", "family_history")
    ]
    assert min(tests) > 1e-4


@pytest.mark.parametrize("feature", UNINFORMATIVE)
def test_latents_outside_the_oracle_tell_nothing_at_full_effect(
    lesions: dict[Effect, pd.DataFrame], feature: str
) -> None:
    table = lesions["full"]
    assert chi2_contingency(pd.crosstab(table[feature], table["gene"])).pvalue > 1e-3


@pytest.mark.parametrize("effect", ["full", "half"])
def test_oracle_is_as_good_as_a_fitted_model_and_calibrated(effect: Effect) -> None:
    table = _cohort(effect, 20_000, 5)
    label = (table["gene"] != "").to_numpy()
    features = pd.get_dummies(table[CATEGORIES].astype(str)).to_numpy(dtype=float)
    features = np.column_stack([features, np.log(table["diameter_mm"])])
    half = len(table) // 2
    model = LogisticRegression(C=1e6, max_iter=2000).fit(features[:half], label[:half])
    fitted = roc_auc_score(label[half:], model.decision_function(features[half:]))
    oracle = roc_auc_score(label[half:], table["oracle"][half:])
    assert oracle == pytest.approx(fitted, abs=0.01)
    for _, part in table.groupby(pd.qcut(table["oracle"], 10)):
        assert (part["gene"] != "").mean() == pytest.approx(part["oracle"].mean(), abs=0.05)


@pytest.mark.parametrize(("strength", "expected"), [(1.0, 0.841), (0.5, 0.676)])
def test_difficulty_of_the_three_published_features(strength: float, expected: float) -> None:
    """Over all eight combinations, from the published counts alone; the other latents add 0.02 to 0.03."""
    controls = np.array([7, 7, 1]) / 28
    odds = controls / (1 - controls) * np.array([16 / 11 / (7 / 21), 20 / 7 / (7 / 21), 7 / 20 / (1 / 27)]) ** strength
    carriers = odds / (1 + odds)
    lesions = np.array([[int(bit) for bit in f"{number:03b}"] for number in range(8)])
    share, other = (np.prod(np.where(lesions, rate, 1 - rate), axis=1) for rate in (carriers, controls))
    ratio = np.round(share / other, 9)
    wins = (ratio[:, None] > ratio) + 0.5 * (ratio[:, None] == ratio)
    assert share @ wins @ other == pytest.approx(expected, abs=0.001)


def test_posterior_is_bayes_rule_by_hand() -> None:
    """A lesion whose every latent has the same share in all classes but the rim."""
    latents = {
        "round_shape": False,
        "sharp_margin": False,
        "rim": True,
        "necrosis": False,
        "prepectoral": False,
        "density": 0,
        "bpe": 0,
        "diameter_mm": 25.0,
    }
    with_rim, without = (
        score_latents(pd.DataFrame([latents | {"rim": rim}]), effect="half", prevalence=0.2)[0] for rim in (True, False)
    )
    table = pd.DataFrame([latents, latents | {"diameter_mm": 12.0}])
    assert score_latents(table, effect="none", prevalence=0.2) == pytest.approx([0.2, 0.2])
    assert with_rim > without
    shares = category_shares("half")["rim"][:, 1]
    # Odds by hand are bounded by the two genes' own likelihood ratios.
    ratio = with_rim / (1 - with_rim) / (without / (1 - without))
    ratios = shares / (1 - shares) / (shares[2] / (1 - shares[2]))
    assert ratios[1] < ratio < ratios[0]


def test_effect_changes_the_image_and_nothing_else() -> None:
    """The same seed gives the same random numbers, so that cohorts with and without effect can be laid side by side."""
    full, none = (_cohort(effect, 60, 3) for effect in ("full", "none"))
    imaging = [*CATEGORIES, "diameter_mm", "oracle"]
    pd.testing.assert_frame_equal(full.drop(columns=imaging), none.drop(columns=imaging))
    others = full["gene"] == ""
    pd.testing.assert_frame_equal(full.loc[others, imaging[:-1]], none.loc[others, imaging[:-1]])
