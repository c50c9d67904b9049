"""Intervals of proportions."""

import numpy as np
from scipy.stats import norm


def wilson_interval(successes: float, trials: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion of independent trials; right at 0 and at 1, and with few trials.

    Args:
        successes: From 0 to ``trials``; not whole where a share is averaged over repeats of the same patients.
        trials: Independent patients; NaN twice where there is none.

    References:
        Wilson (1927), doi:10.1080/01621459.1927.10502953; Brown, Cai & DasGupta (2001), doi:10.1214/ss/1009213286.
    """
    if trials <= 0:
        return np.nan, np.nan
    z = norm.ppf((1 + confidence) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else float(centre - reach)
    high = 1.0 if successes == trials else float(centre + reach)
    return low, high
