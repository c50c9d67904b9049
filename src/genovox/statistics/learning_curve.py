"""What more training patients would give: an inverse power law through AUCs of nested subsamples."""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from genovox.core.errors import DataError, UsageError

Floats = NDArray[np.float64]
_TAILS = (0.025, 0.975)
_SIZES, _ROWS = 3, 3
_EXPONENTS: Floats = np.linspace(0.1, 2.0, 39)
_NOTHING = 1e-9
_FLOOR = 0.25  # of the mean variance: a few rows that happen to agree must not outweigh all other sizes


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """AUC(n) = asymptote - scale * (n / largest)^-exponent, with what resampling makes of it.

    Attributes:
        sizes: Training patients, rising, shape (k,).
        means: Mean AUC at each size, shape (k,).
        reaches: Half the width of its 95% interval, by Student's t, shape (k,).
        law: Asymptote, scale and exponent, shape (3,); scale 0 is a flat line.
        gain: AUC that one more doubling of the patients brought, over the sizes that were tried.
        conclusion: ``rises`` where the interval of ``gain`` lies above 0, else ``does not say``.
        reason: Why, in words.
        resampled: The law of each resample, shape (B, 3).
        widening: Factor on the spread of the resamples: what rows share, and that they are few.
    """

    sizes: Floats
    means: Floats
    reaches: Floats
    law: Floats
    gain: Estimate
    conclusion: Literal["rises", "does not say"]
    reason: str
    resampled: Floats
    widening: float

    def predict(self, sizes: ArrayLike) -> list[Estimate]:
        """The curve at other sizes; beyond the largest it is a guess that the interval does not fully cover.

        The interval holds what other test patients and other subsamples would have given. It cannot hold a law that
        is not an inverse power.
        """
        wanted = np.atleast_1d(np.asarray(sizes, np.float64))
        if not (wanted > 0).all():
            raise UsageError(f"a learning curve is read at numbers of patients above 0, got {wanted.min():g}")
        centre = _evaluate(self.law[None], wanted, self.sizes[-1])[0]
        draws = _evaluate(self.resampled, wanted, self.sizes[-1])
        bounds = centre + self.widening * (np.quantile(draws, _TAILS, axis=0) - centre)
        centre, low, high = np.clip([centre, *bounds], 0, 1)
        # Percentiles of a bent estimate may leave it out; an interval that does would mislead.
        low, high = np.minimum(low, centre), np.maximum(high, centre)
        return [Estimate(*map(float, row)) for row in zip(centre, low, high, strict=True)]


def fit_learning_curve(
    sizes: ArrayLike, aucs: ArrayLike, *, inflation: float = 1.0, resamples: int = 1000, seed: int = 0
) -> LearningCurve:
    """Fit an inverse power law to AUCs of nested subsamples, by weighted least squares.

    The asymptote stays at or below 1 and the curve never falls. Sizes weigh by the inverse variance of their mean.
    A resample draws whole rows, so that what nested subsamples share stays together.

    Args:
        sizes: Training patients of each column, rising, shape (k,), k >= 3.
        aucs: A row a repeat (a fold's test patients), a column a size, shape (rows, k), in [0, 1], rows >= 3.
        inflation: Factor on standard errors for rows that share patients: with J rows of a K-fold cross-validation,
            sqrt(1 + J / (K - 1)) by Nadeau & Bengio; 1 for independent rows.
        resamples: Of the rows.
        seed: Decides them.

    Raises:
        UsageError: If ``inflation`` or ``resamples`` is out of range.
        DataError: If there are too few sizes or rows, sizes do not rise, or an AUC is no number from 0 to 1.

    References:
        Figueroa et al. (2012), doi:10.1186/1472-6947-12-8; Nadeau & Bengio (2003), doi:10.1023/A:1024068626366.
    """
    columns, table = np.asarray(sizes, np.float64), np.asarray(aucs, np.float64)
    _refuse_odd(columns, table, inflation, resamples)
    rows = len(table)
    variances = table.var(axis=0, ddof=1)
    quantile = float(student.ppf(_TAILS[1], rows - 1))
    steady = np.maximum(variances, _FLOOR * variances.mean())
    weights = 1 / steady if steady.all() else np.ones(len(columns))
    drawn = np.random.default_rng(seed).integers(rows, size=(resamples, rows))
    law = _fit(columns, table.mean(axis=0)[None], weights)[0]
    resampled = _fit(columns, table[drawn].mean(axis=1), weights)
    gain = _gain_per_doubling(columns, table, weights, inflation)
    rises = gain.low > _NOTHING
    words = (
        f"doubling the training patients changed the AUC by {gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    )
    return LearningCurve(
        sizes=columns,
        means=table.mean(axis=0),
        reaches=inflation * quantile * np.sqrt(variances / rows),
        law=law,
        gain=gain,
        conclusion="rises" if rises else "does not say",
        reason=words if rises else f"{words}, an interval that holds 0",
        resampled=resampled,
        widening=inflation * quantile / float(norm.ppf(_TAILS[1])) * sqrt(rows / (rows - 1)),
    )


def _refuse_odd(sizes: Floats, aucs: Floats, inflation: float, resamples: int) -> None:
    if not (isfinite(inflation) and inflation >= 1) or resamples < 1:
        raise UsageError(f"inflation and resamples must be 1 or more, got {inflation} and {resamples}; correct them")
    if sizes.ndim != 1 or len(sizes) < _SIZES or aucs.ndim != 2 or aucs.shape[1:] != sizes.shape or len(aucs) < _ROWS:
        raise DataError(
            f"a learning curve needs {_SIZES} sizes and {_ROWS} rows of AUCs or more, got shapes {sizes.shape} and "
            f"{aucs.shape}; use more folds or repeats, or more sizes"
        )
    if sizes[0] <= 0 or not (np.diff(sizes) > 0).all():
        raise DataError(f"sizes must be above 0 and rise, got {sizes.tolist()}; sort them and drop what stands twice")
    odd = ~((aucs >= 0) & (aucs <= 1))
    if odd.any():
        raise DataError(f"AUCs must be numbers from 0 to 1, got {aucs[odd][0]}; leave out rows without one")


def _gain_per_doubling(sizes: Floats, aucs: Floats, weights: Floats, inflation: float) -> Estimate:
    """Weighted slope of each row on log2 of the size, and the t interval of their mean."""
    doublings = np.log2(sizes)
    doublings = doublings - np.average(doublings, weights=weights)
    slopes = aucs @ (weights * doublings) / (weights @ doublings**2)
    reach = inflation * slopes.std(ddof=1) / np.sqrt(len(slopes)) * student.ppf(_TAILS[1], len(slopes) - 1)
    middle = float(slopes.mean())
    return Estimate(middle, middle - float(reach), middle + float(reach))


def _fit(sizes: Floats, means: Floats, weights: Floats) -> Floats:
    """The law of each row of means, shape (B, 3): the best of a grid of exponents, the rest in closed form."""
    share = weights / weights.sum()
    best = np.full(len(means), np.inf)
    laws = np.zeros((len(means), 3))
    centre = means @ share
    for exponent in _EXPONENTS:
        powers = (sizes / sizes[-1]) ** -exponent
        middle = powers @ share
        scale = -((means - centre[:, None]) * (powers - middle)) @ share / (share @ (powers - middle) ** 2)
        scale = np.maximum(scale, 0)
        asymptote = centre + scale * middle
        above = asymptote > 1
        scale = np.where(above, ((1 - means) * powers) @ share / (share @ powers**2), scale)
        asymptote = np.where(above, 1, asymptote)
        loss = (means - asymptote[:, None] + scale[:, None] * powers) ** 2 @ share
        better = loss < best
        best = np.where(better, loss, best)
        laws[better] = np.stack([asymptote, scale, np.full(len(means), exponent)], axis=1)[better]
    return laws


def _evaluate(laws: Floats, sizes: Floats, largest: float) -> Floats:
    return laws[:, :1] - laws[:, 1:2] * (sizes / largest) ** -laws[:, 2:]
