"""Do probabilities mean what they say? Slope, intercept, calibration error, and the parts of the Brier score."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import t as student

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

SMALLEST = 1e-6
"""Probabilities are held this far from 0 and 1, so that their logits are numbers."""
MOST_BINS = 10
_STEPS = 50
_STEEPEST = 1e3
"""Coefficients beyond it: the scores separate the classes and no finite fit exists."""


class Bounded(NamedTuple):
    """A figure with its 95% interval; NaN where not defined."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationLine:
    """The logistic line of labels on the logit of probabilities.

    Attributes:
        slope: 1 where calibrated; below 1: probabilities too extreme.
        intercept: Of that line; 0 where calibrated.
        in_the_large: Intercept with the slope held at 1; above 0: probabilities too low on the whole.
    """

    slope: Bounded
    intercept: Bounded
    in_the_large: Bounded


class BinSums(NamedTuple):
    """Sums over the rows of each bin, each of shape (..., bins)."""

    rows: Floats
    positives: Floats
    expected: Floats


class BrierParts(NamedTuple):
    """The Brier score, ``reliability - resolution + uncertainty + within``, all 0 to 1.

    Attributes:
        brier: Mean squared distance of probability and label.
        scaled: 1 less its ratio to that of the prevalence for everybody: 1 perfect, 0 useless, NaN with one class.
        reliability: Lower is better calibrated.
        resolution: Higher tells bins apart.
        uncertainty: That of the labels: prevalence x (1 - prevalence).
        within: What is left because probabilities vary within a bin.
    """

    brier: float
    scaled: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def logit(probabilities: ArrayLike) -> Floats:
    """Log odds, the probabilities held ``SMALLEST`` away from 0 and 1."""
    held = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(held) - np.log1p(-held)


def fit_logistic(design: ArrayLike, targets: ArrayLike, offset: ArrayLike | float = 0.0) -> Floats | None:
    """Maximum-likelihood coefficients of a logistic regression, by Newton's method with halved steps.

    Args:
        design: Shape (n, p), with a column of ones where an intercept is wanted.
        targets: From 0 to 1, shape (n,).
        offset: Added to the linear predictor, shape (n,) or one number.

    Returns:
        Shape (p,); None where no finite answer exists (separated classes, or columns that say the same).
    """
    x, y = np.asarray(design, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    shift = np.asarray(offset, dtype=np.float64)
    beta = np.zeros(x.shape[1])
    eta: Floats = x @ beta + shift
    loss = _deviance(eta, y)
    for _ in range(_STEPS):
        p = expit(eta)
        information = (x * (p * (1 - p))[:, None]).T @ x
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, x.T @ (y - p))
        for _ in range(30):
            moved: Floats = x @ (beta + step) + shift
            if _deviance(moved, y) <= loss + 1e-12 * abs(loss):
                break
            step = step / 2
        beta, eta, loss = beta + step, moved, _deviance(moved, y)
        if np.abs(beta).max() > _STEEPEST:
            return None
        if np.abs(step).max() < 1e-9 * max(1.0, float(np.abs(beta).max())):
            return beta
    return None


def _deviance(eta: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, eta) - targets * eta).sum())


def estimate_line(labels: ArrayLike, probabilities: ArrayLike, clusters: ArrayLike | None = None) -> CalibrationLine:
    """Calibration slope, intercept and calibration-in-the-large, with intervals that allow for clusters.

    The interval is that of the one-step jackknife over clusters (a patient's rows leave together), with Student's t.

    Args:
        labels: 0 or 1, shape (n,).
        probabilities: 0 to 1, shape (n,).
        clusters: Cluster of each row, whole numbers, shape (n,); None: every row its own.

    Returns:
        NaN where a line does not exist: one class, one probability for all, or separated classes.

    References:
        Cox (1958), doi:10.1093/biomet/45.3-4.562; Van Calster et al. (2019), doi:10.1186/s12916-019-1466-7;
        Bell & McCaffrey (2002), https://www150.statcan.gc.ca/n1/pub/12-001-x/2002002/article/9058-eng.pdf.
    """
    y, x = np.asarray(labels, dtype=np.float64), logit(probabilities)
    groups = np.arange(len(y)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    ones = np.ones((len(y), 1))
    intercept, slope = _bound(np.column_stack([ones, x]), y, 0.0, groups)
    return CalibrationLine(slope=slope, intercept=intercept, in_the_large=_bound(ones, y, x, groups)[0])


def _bound(design: Floats, labels: Floats, offset: Floats | float, groups: Whole) -> list[Bounded]:
    """Coefficients and their intervals."""
    unknown = [Bounded(np.nan, np.nan, np.nan)] * design.shape[1]
    if not len(labels) or labels.min() == labels.max():
        return unknown
    beta = fit_logistic(design, labels, offset)
    if beta is None:
        return unknown
    k = int(groups.max()) + 1
    p = expit(design @ beta + offset)
    pulls = sum_rows(design * (labels - p)[:, None], groups, k)
    weighted = (design[:, :, None] * design[:, None, :]) * (p * (1 - p))[:, None, None]
    parts = sum_rows(weighted.reshape(len(p), -1), groups, k).reshape(k, *weighted.shape[1:])
    rest = parts.sum(axis=0) - parts
    if np.linalg.cond(rest).max() > 1e12:
        return [Bounded(float(value), np.nan, np.nan) for value in beta]
    shifts = np.linalg.solve(rest, pulls[:, :, None])[:, :, 0]
    error = np.sqrt((k - 1) / k * (shifts**2).sum(axis=0)) * student.ppf(0.975, k - 1)
    return [Bounded(float(b), float(b - e), float(b + e)) for b, e in zip(beta, error, strict=True)]


def sum_rows(values: Floats, groups: Whole, count: int) -> Floats:
    """Sums of the rows of each group, shape (count, columns)."""
    sums = [np.bincount(groups, weights=column, minlength=count) for column in values.T]
    return np.stack(sums, axis=1)


def assign_bins(probabilities: ArrayLike, bins: int) -> Whole:
    """The bin of each row: bins of equal size from low to high, equal probabilities never apart.

    Args:
        probabilities: Shape (n,).
        bins: At least 1; ties may leave fewer.

    Returns:
        Shape (n,), numbered from 0 without gaps.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    ranked = np.sort(values)
    first = np.searchsorted(ranked, values, side="left")
    last = np.searchsorted(ranked, values, side="right")
    # The middle rank of tied rows decides for all of them.
    middle = (first + last - 1) / 2
    return np.unique((middle * bins / max(1, len(values))).astype(np.intp), return_inverse=True)[1]


def choose_bins(independent: int) -> int:
    """How many bins so many independent patients can fill: 10 in each, at most ``MOST_BINS``, at least 2."""
    return max(2, min(MOST_BINS, independent // 10))


def sum_bins(labels: ArrayLike, probabilities: ArrayLike, bin_of: Whole) -> BinSums:
    """Rows, positives and expected positives of each bin, each of shape (bins,)."""
    size = int(bin_of.max()) + 1
    sums = (np.ones(len(bin_of)), np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64))
    return BinSums(*(np.bincount(bin_of, weights=values, minlength=size).astype(np.float64) for values in sums))


def calibration_error(sums: BinSums) -> Floats:
    """Expected calibration error: the mean distance of observed and expected share over rows, shape (...).

    NaN where there is no row.

    It is above 0 for calibrated probabilities too, the more so the fewer patients: ``expect_error`` says how much.

    References:
        Naeini et al. (2015), doi:10.1609/aaai.v29i1.9602; its bias: Roelofs et al. (2022),
        https://proceedings.mlr.press/v151/roelofs22a.html (equal mass).
    """
    total = np.asarray(sums.rows.sum(axis=-1))
    error: Floats = np.full(total.shape, np.nan)
    np.divide(np.abs(sums.positives - sums.expected).sum(axis=-1), total, out=error, where=total > 0)
    return error


def expect_error(probabilities: ArrayLike, bin_of: Whole, units: ArrayLike) -> float:
    """The calibration error that chance alone gives where every probability is right.

    The difference in a bin is taken as normal, and a unit's rows of several repeats share its one label.

    Args:
        probabilities: Shape (n,).
        bin_of: From ``assign_bins``, shape (n,).
        units: The patient or case of each row, shape (n,).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    size = int(bin_of.max()) + 1
    number = np.unique(np.asarray(units), return_inverse=True)[1]
    cell, place = np.unique(number * size + bin_of, return_inverse=True)
    deviation = np.bincount(place, weights=np.sqrt(p * (1 - p)))
    variance = np.bincount(cell % size, weights=deviation**2, minlength=size)
    return float(np.sqrt(2 * variance / np.pi).sum() / len(p))


def split_brier(labels: ArrayLike, probabilities: ArrayLike, bin_of: Whole) -> BrierParts:
    """The Brier score and its parts over bins.

    References:
        Murphy (1973), doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2; what varies within bins: Stephenson et
        al. (2008), doi:10.1175/2007WAF2006116.1; scaled: Steyerberg et al. (2010), doi:10.1097/EDE.0b013e3181c30fb2.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    sums = sum_bins(y, p, bin_of)
    share, observed, stated = sums.rows / len(y), sums.positives / sums.rows, sums.expected / sums.rows
    prevalence = float(y.mean())
    uncertainty = prevalence * (1 - prevalence)
    brier = float(((p - y) ** 2).mean())
    reliability = float((share * (stated - observed) ** 2).sum())
    resolution = float((share * (observed - prevalence) ** 2).sum())
    return BrierParts(
        brier=brier,
        scaled=1 - brier / uncertainty if uncertainty else np.nan,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within=brier - (reliability - resolution + uncertainty),
    )
