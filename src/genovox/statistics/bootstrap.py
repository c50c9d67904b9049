"""Intervals and p-values from bootstrap draws; how patients are drawn is the caller's."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]


def percentile_interval(draws: Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """The middle ``confidence`` of the draws, shape (B,); NaN draws are left out, no draw gives NaN twice.

    References:
        Efron & Tibshirani (1993), ch. 13.
    """
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def bca_interval(estimate: float, draws: Floats, influence: Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated interval.

    Args:
        estimate: The figure on the sample.
        draws: The figure in each resample, shape (B,); NaN draws are left out.
        influence: What each resampled patient (or family) pulls, shape (k,): the derivative of the figure by the
            patient's weight, or minus its change when the patient is left out; centred within what was resampled apart.

    Returns:
        NaN twice where all draws lie on one side of the estimate, or nothing pulls: the correction has no value.

    References:
        Efron (1987), doi:10.1080/01621459.1987.10478410, eq. 6.6 (acceleration from the empirical influence).
    """
    defined = draws[~np.isnan(draws)]
    spread = float(np.sum(influence**2))
    if not defined.size or spread <= 0:
        return np.nan, np.nan
    # Half of the ties count as below: an AUC is discrete.
    below = ((defined < estimate).mean() + (defined <= estimate).mean()) / 2
    if not 0 < below < 1:
        return np.nan, np.nan
    bias = norm.ppf(below)
    acceleration = float(np.sum(influence**3)) / (6 * spread**1.5)
    tail = (1 - confidence) / 2
    shifted = bias + norm.ppf([tail, 1 - tail])
    reached = norm.cdf(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(defined, reached)
    return float(low), float(high)


def bootstrap_p_value(draws: Floats) -> float:
    """Two-sided p that a difference is 0, from its draws, shape (B,) without NaN, B >= 1.

    One is added to each count: B resamples cannot show a p below 1 / (B + 1).

    References:
        Davison & Hinkley (1997), doi:10.1017/CBO9780511802843, ch. 4.
    """
    tail = (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + draws.size)
    return float(min(1.0, 2 * tail))


def permutation_p_value(observed: float, coefficients: Floats, *, permutations: int, seed: int) -> float:
    """Two-sided p of a sum under random changes of sign: swapping what two models said of a patient.

    Args:
        observed: The sum of the coefficients.
        coefficients: What each patient (or family) adds to the difference, shape (k,).
        permutations: Number of random assignments, at least 1.
        seed: Seed of the assignments.

    References:
        Bandos, Rockette & Gur (2005), doi:10.1002/sim.2149; one is added to each count: Phipson & Smyth (2010),
        doi:10.2202/1544-6115.1585.
    """
    random = np.random.default_rng(seed)
    # Sums that are equal but for rounding count as reached.
    bar = abs(observed) - 1e-12
    step = max(1, 4_000_000 // max(1, len(coefficients)))
    reached = 0
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        bits = random.integers(0, 2, size=(rows, len(coefficients)), dtype=np.int8)
        sums = 2 * (bits @ coefficients) - coefficients.sum()
        reached += int((np.abs(sums) >= bar).sum())
    return (1 + reached) / (1 + permutations)
