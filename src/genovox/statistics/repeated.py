"""The spread of repeated cross-validation, whose folds share training patients."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student


class ResampledTest(NamedTuple):
    """A two-sided t-test over folds; NaN where fewer than two folds have a value."""

    mean: float
    statistic: float
    p_value: float


def corrected_variance(values: ArrayLike, folds: int) -> float:
    """Variance of the mean of fold values, corrected for training sets that overlap.

    ``(1 / J + 1 / (folds - 1)) s^2`` with J values and their sample variance s^2: the naive ``s^2 / J`` takes folds
    and repeats for independent and is too small by 1 + J / (folds - 1), 13.5 with 10 x 5.

    Args:
        values: One value a fold and repeat, shape (J,); NaN (one class in the fold) are left out.
        folds: Folds of one repeat, at least 2: test patients are 1 / (folds - 1) of the training patients.

    Returns:
        NaN where fewer than two folds have a value.

    References:
        Nadeau & Bengio (2003), doi:10.1023/A:1024068626366.
    """
    defined = _defined(values)
    if defined.size < 2 or folds < 2:
        return np.nan
    return float((1 / defined.size + 1 / (folds - 1)) * defined.var(ddof=1))


def repeated_interval(values: ArrayLike, folds: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The t interval of the mean of fold values with ``corrected_variance``; NaN twice where that has no value.

    A fold takes part with J - 1 degrees of freedom, as in Nadeau & Bengio (2003).
    """
    variance = corrected_variance(values, folds)
    if not variance > 0:
        return np.nan, np.nan
    defined = _defined(values)
    reach = student.ppf((1 + confidence) / 2, defined.size - 1) * np.sqrt(variance)
    return float(defined.mean() - reach), float(defined.mean() + reach)


def compare_repeated(differences: ArrayLike, folds: int) -> ResampledTest:
    """The corrected resampled t-test of fold differences of two models, shape (J,); see ``corrected_variance``."""
    defined = _defined(differences)
    if not defined.size:
        return ResampledTest(np.nan, np.nan, np.nan)
    mean = float(defined.mean())
    variance = corrected_variance(defined, folds)
    if variance > 0:
        statistic = mean / float(np.sqrt(variance))
        return ResampledTest(mean, statistic, float(2 * student.sf(abs(statistic), defined.size - 1)))
    same = variance == 0 and mean == 0
    return ResampledTest(mean, 0.0 if same else np.nan, 1.0 if same else np.nan)


def _defined(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]
