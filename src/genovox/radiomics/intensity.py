"""First-order features: what a channel's values in a region are, wherever they lie."""

import numpy as np
from scipy import stats

from genovox.core.volume import Array
from genovox.radiomics.texture import discretise

NAMES = (
    "mean",
    "sd",
    "skewness",
    "kurtosis",
    "p10",
    "median",
    "p90",
    "interquartile_range",
    "robust_mean_absolute_deviation",
    "entropy",
)
_FLAT = 1e-6


def measure_intensity(values: Array) -> dict[str, float]:
    """Measure the distribution of values.

    Args:
        values: Shape (n,).

    Returns:
        ``NAMES``, in the channel's unit where they have one, the kurtosis that of a normal variable less, entropy in
        bits over 16 bins from the least to the largest value. NaN without values; skewness and kurtosis NaN where all
        are the same.

    References:
        Zwanenburg et al. (2020), doi:10.1148/radiol.2020191145.
    """
    if values.size == 0:
        return dict.fromkeys(NAMES, float("nan"))
    numbers = values.astype(np.float64)
    p10, p25, median, p75, p90 = np.percentile(numbers, (10, 25, 50, 75, 90))
    middle = numbers[(numbers >= p10) & (numbers <= p90)]
    spread = float(numbers.std())
    flat = spread <= _FLAT * float(np.abs(numbers).max())
    return {
        "mean": float(numbers.mean()),
        "sd": spread,
        "skewness": float("nan") if flat else float(stats.skew(numbers)),
        "kurtosis": float("nan") if flat else float(stats.kurtosis(numbers)),
        "p10": float(p10),
        "median": float(median),
        "p90": float(p90),
        "interquartile_range": float(p75 - p25),
        "robust_mean_absolute_deviation": float(np.abs(middle - middle.mean()).mean()),
        "entropy": float(stats.entropy(np.bincount(discretise(values)), base=2)),
    }
