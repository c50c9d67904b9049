"""From raw scores to probabilities: maps fitted on patients that are not tested, and another prevalence."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from genovox.core.errors import DataError, UsageError
from genovox.statistics.calibration import SMALLEST, fit_logistic, logit

Floats = NDArray[np.float64]
Method = Literal["platt", "isotonic", "beta", "temperature"]

METHODS: tuple[Method, ...] = get_args(Method)
FEWEST_FOR_ISOTONIC = 200
"""Patients below which a step function learns noise: Platt's map does better up to 200 to 1,000 of them.

Niculescu-Mizil & Caruana (2005), doi:10.1145/1102351.1102430, section 5.
"""


@dataclass(frozen=True)
class LogMap:
    """``logit(probability) = a ln(score) - b ln(1 - score) + c``; a, b >= 0, so that ranks are kept.

    Platt's map has a = b; temperature scaling has a = b = 1 / temperature and c = 0.
    """

    a: float
    b: float
    c: float

    def apply(self, scores: ArrayLike) -> Floats:
        """Probabilities of raw scores, shape (n,)."""
        up, down = _log_odds_parts(scores)
        return np.asarray(expit(self.a * up + self.b * down + self.c))


@dataclass(frozen=True)
class StepMap:
    """A rising line through knots, flat beyond the first and the last."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def apply(self, scores: ArrayLike) -> Floats:
        """Probabilities of raw scores, shape (n,)."""
        return np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)


def fit_map(method: Method, scores: ArrayLike, labels: ArrayLike) -> LogMap | StepMap:
    """Fit the map from scores to probabilities.

    Args:
        method: ``platt``: slope and intercept on the logit, with Platt's smoothed targets, so that separated classes
            have an answer too; ``isotonic``: any rising step; ``beta``: three numbers; ``temperature``: one.
        scores: Raw, 0 to 1, of validation patients, shape (n,).
        labels: 0 or 1, shape (n,).

    Raises:
        UsageError: If ``method`` is none of ``METHODS``.
        DataError: If the labels are of one class, too few, or have no finite fit.

    References:
        Platt (1999), ISBN 978-0-262-19448-8, with Lin, Lin & Weng (2007), doi:10.1007/s10994-007-5018-6;
        Zadrozny & Elkan (2002), doi:10.1145/775047.775151; Kull, Silva Filho & Flach (2017),
        https://proceedings.mlr.press/v54/kull17a.html; Guo et al. (2017), https://proceedings.mlr.press/v70/guo17a.html.
    """
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if method not in METHODS:
        raise UsageError(f"a calibration map is one of {', '.join(METHODS)}, got {method!r}; name one of them")
    if not y.size or y.min() == y.max():
        raise DataError(f"a calibration map needs both classes, got {y.size} of one class; validate on more patients")
    if method == "isotonic":
        return _fit_steps(s, y)
    if method == "platt":
        return _fit_platt(s, y)
    return _fit_beta(s, y) if method == "beta" else _fit_temperature(s, y)


def _log_odds_parts(scores: ArrayLike) -> tuple[Floats, Floats]:
    held = np.clip(np.asarray(scores, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(held), -np.log1p(-held)


def _fit_platt(scores: Floats, labels: Floats) -> LogMap:
    positives = labels.sum()
    negatives = len(labels) - positives
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    line = logit(scores)
    found = fit_logistic(np.column_stack([np.ones(len(line)), line]), targets)
    if found is None or found[1] < 0:
        # Constant or reversed scores say nothing of the label: everybody gets the (smoothed) prevalence.
        share = targets.mean()
        return LogMap(0.0, 0.0, float(np.log(share / (1 - share))))
    return LogMap(float(found[1]), float(found[1]), float(found[0]))


def _fit_temperature(scores: Floats, labels: Floats) -> LogMap:
    line = logit(scores)
    found = fit_logistic(line[:, None], labels)
    if found is None:
        raise DataError("temperature has no finite fit, the scores separate the classes; use platt")
    steepness = max(0.0, float(found[0]))
    return LogMap(steepness, steepness, 0.0)


def _fit_beta(scores: Floats, labels: Floats) -> LogMap:
    parts = np.stack(_log_odds_parts(scores))
    kept = [0, 1]
    while True:
        found = fit_logistic(np.column_stack([*parts[kept], np.ones(len(labels))]), labels)
        if found is None:
            raise DataError("beta has no finite fit, the scores separate the classes or are all alike; use platt")
        if not kept or found[:-1].min() >= 0:
            break
        # A falling part is left out, as its authors do, the more falling one first.
        kept = [part for place, part in enumerate(kept) if place != int(np.argmin(found[:-1]))]
    values = dict(zip(kept, found, strict=False))
    return LogMap(float(values.get(0, 0.0)), float(values.get(1, 0.0)), float(found[-1]))


def _fit_steps(scores: Floats, labels: Floats) -> StepMap:
    if len(labels) < FEWEST_FOR_ISOTONIC:
        raise DataError(f"isotonic needs {FEWEST_FOR_ISOTONIC} validation patients, got {len(labels)}; use platt")
    steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
    return StepMap(tuple(map(float, steps.X_thresholds_)), tuple(map(float, steps.y_thresholds_)))


def shift_prevalence(probabilities: ArrayLike, source: ArrayLike | float, target: float) -> Floats:
    """Probabilities as they would be among patients of another prevalence: the odds scaled by the ratio of prior odds.

    It holds where carriers look like carriers and non-carriers like non-carriers in both places.

    Args:
        probabilities: Calibrated at ``source``, shape (n,).
        source: Prevalence they were calibrated at, above 0 and below 1, one number or shape (n,).
        target: Prevalence wanted, above 0 and below 1.

    References:
        Elkan (2001), https://dl.acm.org/doi/10.5555/1642194.1642224, theorem 2;
        Saerens, Latinne & Decaestecker (2002), doi:10.1162/089976602753284446, eq. 2.4.
    """
    p, prior = np.asarray(probabilities, dtype=np.float64), np.asarray(source, dtype=np.float64)
    if not (0 < target < 1 and (prior > 0).all() and (prior < 1).all()):
        raise UsageError(f"a prevalence lies between 0 and 1, got {prior} and {target}; give both as shares")
    carrier, other = p * target / prior, (1 - p) * (1 - target) / (1 - prior)
    return np.asarray(carrier / (carrier + other))
