"""How tumours look by gene, and the best score any reader of the images can reach: the oracle.

Three classes: BRCA1, BRCA2, neither. What the scan shows is independent given the class, so Bayes' rule is exact.
Numbers are carriers against controls as published; those no source gives are marked "assumed".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

Effect = Literal["full", "half", "none"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BRCA1_SHARE = 0.641  # of carriers, 35.9% BRCA2; PMC8770707
STRENGTH: Mapping[Effect, float] = {"full": 1.0, "half": 0.5, "none": 0.0}  # times every log odds ratio and shift

# BRCA2 tumours look more like sporadic ones: their log odds ratio is this part of that of BRCA1 (assumed).
BRCA2_TO_BRCA1 = 0.5
# Veltman 2008, PMC2292493: carriers of 27 and controls of 28 with the feature (odds ratios 4.4, 8.6, 9.4).
VELTMAN = {"round_shape": (16, 7), "sharp_margin": (20, 7), "rim": (7, 1)}
# Prepectoral site: 32 of 48 in carriers and high risk, no preference in BRCA2 (Schrading 2008); 40% in others assumed.
PREPECTORAL = (32 / 48, 0.40, 0.40)
# Necrosis: odds ratio 8.1 in triple negative disease (Moffa 2020), 15% in the rest (assumed).
NECROSIS_ODDS_RATIO, NECROSIS_REST = 8.1, 0.15
# Triple negative: 63.1% of BRCA1, 16.4% overall (PMC8770707), 16% of BRCA2 (assumed); the rest of each row assumed but
# for 55.3% luminal B in BRCA2 (same source).
SUBTYPE_SHARES = ((0.631, 0.120, 0.200, 0.049), (0.160, 0.237, 0.553, 0.050), (0.164, 0.400, 0.300, 0.136))
# Density a to d, enhancement minimal to marked, each before and after the menopause: s13058-020-01375-7.
DENSITY_SHARES = ((4.2, 19, 51, 26), (13, 39, 40, 8.7))
BPE_SHARES = ((18, 46, 26, 10), (44, 43, 11, 2.6))
# Carriers against others, the upper two categories: 62% and 75%, 22% and 33%; 10.1016/j.clinimag.2018.06.010.
DENSE, ENHANCING = (0.62, 0.75), (0.22, 0.33)
# Unselected masses 28.6 +- 15.9 mm (PMC8260834); carriers' are smaller as surveillance finds them earlier, here
# modestly, by this log shift (assumed: screened carriers' median of 6.1 mm, PMC6395536, would give the gene away).
MEAN_DIAMETER_MM, SD_DIAMETER_MM, DIAMETER_RANGE_MM, CARRIER_LOG_SHIFT = 28.6, 15.9, (8.0, 60.0), -0.25
SATELLITE_SHARES = (0.80, 0.15, 0.05)  # assumed, the same in all
BILATERAL = 0.03  # assumed, the same in all: were it the carriers', the scan would show it


def draw_imaging(classes: Ints, effect: Effect, random: np.random.Generator) -> pd.DataFrame:
    """What the scan shows, a row a lesion, and the side, the other breast and the satellites, which tell nothing."""
    count = len(classes)
    latents: dict[str, Any] = {}
    for name, shares in category_shares(effect).items():
        category = draw_categories(shares, classes, random)
        latents[name] = category.astype(bool) if shares.shape[1] == 2 else category
    location, scale = _log_diameters(effect)
    low, high = _diameter_bounds(effect)[:, classes]
    latents["diameter_mm"] = np.exp(norm.ppf(low + random.random(count) * (high - low), location[classes], scale))
    latents["side"] = np.where(random.random(count) < 0.5, "left", "right")
    latents["bilateral_disease"] = random.random(count) < BILATERAL
    latents["satellites"] = draw_categories([SATELLITE_SHARES] * 3, classes, random)
    return pd.DataFrame(latents)


def score_latents(latents: pd.DataFrame, *, effect: Effect, prevalence: float) -> Floats:
    """Posterior probability of a carrier by Bayes' rule over the three classes.

    Args:
        latents: A row a lesion: the five features 0/1, ``density`` and ``bpe`` 0 to 3, ``diameter_mm``.
        prevalence: Share of carriers, in (0, 1).

    Returns:
        P(BRCA1 or BRCA2 | latents), shape (lesions,).
    """
    log_likelihood = np.zeros((3, len(latents)))
    for name, shares in category_shares(effect).items():
        log_likelihood += np.log(shares)[:, latents[name].to_numpy().astype(int)]
    location, scale = _log_diameters(effect)
    bounds = _diameter_bounds(effect)
    log_diameter = np.log(latents["diameter_mm"].to_numpy())
    log_likelihood += norm.logpdf(log_diameter, location[:, None], scale) - np.log(bounds[1] - bounds[0])[:, None]
    ratio = np.exp(log_likelihood[:2] - log_likelihood[2])
    odds = prevalence / (1 - prevalence) * (BRCA1_SHARE * ratio[0] + (1 - BRCA1_SHARE) * ratio[1])
    return np.asarray(odds / (1 + odds))


def draw_categories(shares: Sequence[Sequence[float]] | Floats, rows: Ints, random: np.random.Generator) -> Ints:
    """A category each, drawn from the row of shares named; one random number a patient, whatever the shares."""
    edges = np.cumsum(np.asarray(shares, dtype=float), axis=1)[rows, :-1]
    return np.asarray((random.random(len(rows))[:, None] >= edges).sum(axis=1), dtype=np.int64)


def category_shares(effect: Effect) -> dict[str, Floats]:
    """Share of each category by class, shape (3, categories); the five features have the categories 0 and 1."""
    strength = STRENGTH[effect]
    features: dict[str, Floats] = {}
    for name, (carriers, controls) in VELTMAN.items():
        base = float(logit(controls / 28))
        features[name] = expit(base + _split_odds(base, strength * float(logit(carriers / 27) - base)))
    # Features that differ by gene in the source: each gene's own log odds ratio, scaled.
    triple_negative = np.array([shares[0] for shares in SUBTYPE_SHARES])
    in_triple_negative = float(expit(logit(NECROSIS_REST) + np.log(NECROSIS_ODDS_RATIO)))
    necrosis = triple_negative * in_triple_negative + (1 - triple_negative) * NECROSIS_REST
    for name, shares in (("necrosis", necrosis), ("prepectoral", np.array(PREPECTORAL))):
        log_odds = logit(shares)
        features[name] = expit(log_odds[2] + strength * (log_odds - log_odds[2]))
    categories = {name: np.stack([1 - share, share], axis=1) for name, share in features.items()}
    for name, by_menopause, upper in (("density", DENSITY_SHARES, DENSE), ("bpe", BPE_SHARES, ENHANCING)):
        # An equal mixture of before and after the menopause (assumed), never the patient's own status: carriers are
        # younger, and through their age the breast would show the gene in a cohort meant to show nothing.
        shares = np.array(by_menopause).mean(axis=0)
        tilt = np.exp(strength * float(logit(upper[0]) - logit(upper[1])))
        tilted = np.array([[1.0, 1.0, tilt, tilt]] * 2 + [[1.0] * 4]) * shares
        categories[name] = tilted / tilted.sum(axis=1, keepdims=True)
    return categories


def _split_odds(base: float, log_odds_ratio: float) -> Floats:
    """Log odds ratio of each class against the third, shape (3,), that gives carriers together the one asked for.

    Solved, as the odds ratio of a mixture is no mean of odds ratios.

    Args:
        base: Log odds of the feature in the third class.
        log_odds_ratio: Of all carriers, 64.1% BRCA1 and 35.9% BRCA2, against the third class; 0 or more.
    """
    if log_odds_ratio == 0:  # exactly: without effect the oracle is one constant
        return np.zeros(3)
    parts = np.array([1.0, BRCA2_TO_BRCA1])
    weights = np.array([BRCA1_SHARE, 1 - BRCA1_SHARE])

    def miss(brca1: float) -> float:
        return float(weights @ expit(base + parts * brca1)) - float(expit(base + log_odds_ratio))

    return np.array([*parts, 0.0]) * float(brentq(miss, 0.0, 20.0))


def _log_diameters(effect: Effect) -> tuple[Floats, float]:
    """Location by class, shape (3,), and scale of the logarithm of the diameter in mm, before truncation."""
    variance = float(np.log1p((SD_DIAMETER_MM / MEAN_DIAMETER_MM) ** 2))
    shift = STRENGTH[effect] * CARRIER_LOG_SHIFT
    return np.log(MEAN_DIAMETER_MM) - variance / 2 + np.array([shift, shift, 0.0]), float(np.sqrt(variance))


def _diameter_bounds(effect: Effect) -> Floats:
    """Cumulative probability of the smallest and the largest diameter by class, shape (2, 3).

    The lognormal is truncated, not clipped, so that no tumours pile up at exactly 8 or 60 mm.
    """
    location, scale = _log_diameters(effect)
    return np.stack([norm.cdf(np.log(limit), location, scale) for limit in DIAMETER_RANGE_MM])
