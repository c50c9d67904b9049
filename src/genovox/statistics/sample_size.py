"""How many patients an AUC or a prediction model needs, and what a given number of them can show.

Every answer assumes independent held-out scores, one a patient, and at least ten patients in each class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import asinh, ceil, floor, log, log1p, sinh, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit
from scipy.stats import norm

from genovox.core.errors import UsageError

Floats = NDArray[np.float64]
MINIMUM = 10
"""Patients in the smaller class below which no approximation here holds."""
_TAIL = 0.025
_Z = 1.96  # as all published sizes have it
_MOST = 10_000_000
_EXACT_PAIRS = 5_000
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Counts:
    """Patients of each class, at least one."""

    positives: int
    negatives: int

    def __post_init__(self) -> None:
        if min(self.positives, self.negatives) < 1:
            raise UsageError(
                f"an AUC needs carriers and non-carriers, got {self.positives} and {self.negatives}; add patients"
            )

    @property
    def patients(self) -> int:
        return self.positives + self.negatives

    @property
    def too_few(self) -> bool:
        """Whether a class has fewer than ten, where only exact counts should be given."""
        return min(self.positives, self.negatives) < MINIMUM

    @classmethod
    def split(cls, patients: int, prevalence: float) -> "Counts":
        """So many patients at a prevalence, to the nearest whole carrier."""
        _require_share("the prevalence", prevalence)
        positives = round(patients * prevalence)
        return cls(positives, patients - positives)


def hanley_mcneil_variance(auc: float, counts: Counts) -> float:
    """Variance of an AUC whose scores are exponential; at 0.5 it is exactly that of the Mann-Whitney statistic.

    Args:
        auc: True value, in (0, 1).
        counts: Patients of each class.

    References:
        Hanley & McNeil (1982), doi:10.1148/radiology.143.1.7063747, equations 1 and 2.
    """
    _require_share("the AUC", auc)
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc)
    spread += (counts.positives - 1) * (two_positives - auc**2) + (counts.negatives - 1) * (two_negatives - auc**2)
    return spread / (counts.positives * counts.negatives)


def binormal_variance(auc: float, counts: Counts) -> float:
    """Variance of an AUC of a fitted binormal curve; for scores that are ranked it is cautious.

    Args:
        auc: True value, in (0, 1).
        counts: Patients of each class.

    References:
        Obuchowski (1994), doi:10.1177/0272989X9401400102; Obuchowski, Lieber & Wians (2004),
        doi:10.1373/clinchem.2004.031823.
    """
    _require_share("the AUC", auc)
    distance = 1.414 * float(norm.ppf(auc)) if auc != 0.5 else 0.0
    shape = (5 * distance**2 + 8) + (distance**2 + 8) * counts.positives / counts.negatives
    return 0.0099 * float(np.exp(-(distance**2) / 2)) * shape / counts.positives


def auc_half_width(auc: float, counts: Counts) -> float:
    """Half the expected width of the 95% interval of an AUC."""
    return _Z * sqrt(hanley_mcneil_variance(auc, counts))


def auc_power(auc: float, counts: Counts, *, null: float = 0.5) -> float:
    """Chance that an AUC is told from ``null``, two-sided at 5%.

    The critical value takes the variance under ``null``, the chance that under ``auc``.
    """
    reach = _Z * sqrt(hanley_mcneil_variance(null, counts))
    spread = sqrt(hanley_mcneil_variance(auc, counts))
    return float(norm.cdf((auc - null - reach) / spread) + norm.cdf((null - auc - reach) / spread))


def detectable_auc(counts: Counts, *, power: float = 0.8) -> float:
    """The smallest AUC above 0.5 that these patients tell from 0.5 with the given power; NaN where none is."""
    _require_share("the power", power)
    highest = 1 - 1e-6
    if auc_power(highest, counts) < power or power <= 2 * _TAIL:
        return float("nan")
    return float(brentq(lambda auc: auc_power(auc, counts) - power, 0.5, highest))


def difference_power(first: float, second: float, counts: Counts, *, correlation: float) -> float:
    """Chance that two models scored on the same patients are told apart, two-sided at 5%.

    Args:
        first, second: Their AUCs.
        counts: Patients of each class.
        correlation: Between the two estimated AUCs, in [-1, 1); it is a little below that of the scores.

    References:
        Hanley & McNeil (1983), doi:10.1148/radiology.148.3.6878708.
    """
    if not -1 <= correlation < 1:
        raise UsageError(f"the correlation must be in [-1, 1), got {correlation}; two like models have about 0.5")
    one, other = (hanley_mcneil_variance(auc, counts) for auc in (first, second))
    spread = sqrt(one + other - 2 * correlation * sqrt(one * other))
    away = abs(first - second) / spread
    return float(norm.cdf(away - _Z) + norm.cdf(-away - _Z))


def patients_for_power(auc: float, prevalence: float, *, power: float = 0.8, null: float = 0.5) -> Counts:
    """The fewest patients with which an AUC is told from ``null``, at least ten in each class.

    Raises:
        UsageError: If a value is out of range or no number of patients would do.
    """
    _require_share("the power", power)
    if auc == null:
        raise UsageError(f"an AUC of {auc} cannot be told from itself; plan for another AUC")
    return _find_fewest(prevalence, lambda counts: auc_power(auc, counts, null=null) >= power)


def patients_for_width(auc: float, prevalence: float, half_width: float) -> Counts:
    """The fewest patients with which the 95% interval of an AUC is expected within plus or minus ``half_width``."""
    _require_share("the half-width", half_width)
    return _find_fewest(prevalence, lambda counts: auc_half_width(auc, counts) <= half_width)


def patients_for_difference(
    first: float, second: float, prevalence: float, *, correlation: float, power: float = 0.8
) -> Counts:
    """The fewest patients with which two models scored on the same patients are told apart."""
    _require_share("the power", power)
    if first == second:
        raise UsageError(f"two models of AUC {first} cannot be told apart; plan for a difference")
    return _find_fewest(
        prevalence, lambda counts: difference_power(first, second, counts, correlation=correlation) >= power
    )


def null_auc_quantile(counts: Counts, *, quantile: float = 1 - _TAIL, models: int = 1) -> float:
    """What the best of ``models`` stays at or below by chance with the probability ``quantile``.

    Exact for up to 5,000 pairs of patients, else normal with a correction for continuity. The models count as
    independent; scores that are alike reach less.

    Args:
        counts: Patients of each class.
        quantile: In (0, 1).
        models: How many are looked at, at least 1.

    References:
        Mann & Whitney (1947), doi:10.1214/aoms/1177730491.
    """
    _require_share("the quantile", quantile)
    if models < 1:
        raise UsageError(f"the best of at least 1 model, got {models}; count every configuration that was tried")
    target = quantile ** (1 / models)
    pairs = counts.positives * counts.negatives
    if pairs <= _EXACT_PAIRS:
        below = np.cumsum(_count_orders(counts))
        won = np.searchsorted(below / below[-1], target)
        return float(won / pairs)
    spread = sqrt(hanley_mcneil_variance(0.5, counts))
    return min(1.0, 0.5 + float(norm.ppf(target)) * spread + 0.5 / pairs)


def largest_r2(prevalence: float) -> float:
    """Cox-Snell R2 of a model that is never wrong, in (0, 0.75]."""
    return float(-np.expm1(2 * _empty_likelihood(prevalence)))


def cox_snell_r2(auc: float, prevalence: float) -> float:
    """Cox-Snell R2 of a calibrated model with this c-statistic, its score normal in each class with equal spread.

    The published way is to simulate a million patients; this is what it tends to, without its noise (SD 0.0006 at
    AUC 0.7 and prevalence 0.355, one patient in a hundred of the sizes below).

    Args:
        auc: In (0.5, 1).
        prevalence: In (0, 1).

    References:
        Riley, Van Calster & Collins (2021), doi:10.1002/sim.8806.
    """
    scores, density, risk = _calibrated_scores(auc, prevalence)
    likelihood = density @ (risk * log_expit(scores) + (1 - risk) * log_expit(-scores))
    return float(-np.expm1(2 * (_empty_likelihood(prevalence) - likelihood)))


@dataclass(frozen=True)
class DevelopmentSize:
    """Patients for little shrinkage, for an apparent R2 near the adjusted one, and for a precise overall risk."""

    overfitting: int
    optimism: int
    risk: int

    @property
    def patients(self) -> int:
        """What meets all three."""
        return max(self.overfitting, self.optimism, self.risk)


def development_size(
    prevalence: float, parameters: int, r2: float, *, shrinkage: float = 0.9, margin: float = 0.05
) -> DevelopmentSize:
    """Minimum sample size for developing a model of a binary outcome.

    Args:
        prevalence: In (0, 1).
        parameters: Candidate predictor parameters, those that are dropped later too.
        r2: Expected Cox-Snell R2, such as ``cox_snell_r2`` gives.
        shrinkage: Aimed at.
        margin: Of the difference of R2 and of the overall risk.

    Raises:
        UsageError: If a value is out of range.

    References:
        Riley et al. (2019), doi:10.1002/sim.7992; Riley et al. (2020), doi:10.1136/bmj.m441.
    """
    most = largest_r2(prevalence)
    if not 0 < r2 < most:
        raise UsageError(f"R2 must be above 0 and below {most:.3f} at prevalence {prevalence}, got {r2}; correct it")
    if parameters < 1:
        raise UsageError(f"a model has at least 1 parameter, got {parameters}; count the candidates")
    if not r2 < shrinkage < 1:
        raise UsageError(f"the shrinkage must be above R2 ({r2:.3f}) and below 1, got {shrinkage}; 0.9 is usual")
    sizes = (parameters / _parameters_a_patient(r2, aim) for aim in (shrinkage, r2 / (r2 + margin * most)))
    overfitting, optimism = map(_round_up, sizes)
    return DevelopmentSize(overfitting, optimism, _round_up((_Z / margin) ** 2 * prevalence * (1 - prevalence)))


def expected_shrinkage(patients: int, parameters: int, r2: float) -> float:
    """What to multiply the coefficients of a model fitted on so many patients by, in [r2, 1)."""
    wanted = parameters / patients
    low, high = r2 * (1 + 1e-12), 1 - 1e-12
    if _parameters_a_patient(r2, low) <= wanted:
        return r2
    return float(brentq(lambda aim: _parameters_a_patient(r2, aim) - wanted, low, high))


def affordable_parameters(patients: int, prevalence: float, r2: float) -> int:
    """How many candidate parameters so many patients allow by the first two criteria; 0 where not even one."""
    optimism = r2 / (r2 + 0.05 * largest_r2(prevalence))
    return floor(patients * min(_parameters_a_patient(r2, aim) for aim in (0.9, optimism)) + 1e-9)


@dataclass(frozen=True)
class ValidationSize:
    """Patients for precise observed over expected carriers, calibration slope and c-statistic."""

    ratio: int
    slope: int
    auc: int

    @property
    def patients(self) -> int:
        """What meets all three."""
        return max(self.ratio, self.slope, self.auc)


def validation_size(
    auc: float, prevalence: float, *, ratio_width: float = 0.2, slope_width: float = 0.2, auc_width: float = 0.1
) -> ValidationSize:
    """Minimum sample size for validating a calibrated model, from the full widths of three 95% intervals.

    References:
        Riley et al. (2021), doi:10.1002/sim.9025; c-statistic: Newcombe (2006), doi:10.1002/sim.2324, method 4.
    """
    for name, width in (("ratio", ratio_width), ("slope", slope_width), ("AUC", auc_width)):
        if not width > 0:
            raise UsageError(f"the width of the interval of the {name} must be above 0, got {width}; 0.2 is usual")
    ratio = _round_up(_ratio_variance(prevalence) / (asinh(ratio_width / 2) / _Z) ** 2)
    slope = _round_up(_slope_variance(auc, prevalence) / (slope_width / 2 / _Z) ** 2)
    enough = _bisect(lambda patients: 2 * _Z * _newcombe_error(auc, prevalence, patients) <= auc_width, 2)
    return ValidationSize(ratio, slope, enough)


def validation_widths(patients: int, auc: float, prevalence: float) -> tuple[float, float, float]:
    """Expected full widths of the 95% intervals of ``validation_size``: ratio, slope and c-statistic."""
    ratio = 2 * sinh(_Z * sqrt(_ratio_variance(prevalence) / patients))
    slope = 2 * _Z * sqrt(_slope_variance(auc, prevalence) / patients)
    return ratio, slope, 2 * _Z * _newcombe_error(auc, prevalence, patients)


def _ratio_variance(prevalence: float) -> float:
    """Of the log of observed over expected carriers, for one patient."""
    _require_share("the prevalence", prevalence)
    return (1 - prevalence) / prevalence


def _slope_variance(auc: float, prevalence: float) -> float:
    """Of the calibration slope, for one patient."""
    scores, density, risk = _calibrated_scores(auc, prevalence)
    weight = density * risk * (1 - risk)
    total, first, second = (float(weight @ scores**power) for power in (0, 1, 2))
    return total / (total * second - first**2)


def _newcombe_error(auc: float, prevalence: float, patients: int) -> float:
    spread = 1 + (patients / 2 - 1) * ((1 - auc) / (2 - auc) + auc / (1 + auc))
    return sqrt(auc * (1 - auc) * spread / (prevalence * (1 - prevalence))) / patients


def _calibrated_scores(auc: float, prevalence: float) -> tuple[Floats, Floats, Floats]:
    """Nodes of the log odds, their density over all patients, and the risk at each."""
    if not 0.5 < auc < 1:
        raise UsageError(f"a model to plan for has an AUC above 0.5 and below 1, got {auc}; correct it")
    _require_share("the prevalence", prevalence)
    distance = sqrt(2) * float(norm.ppf(auc))
    middle = log(prevalence / (1 - prevalence))
    scores = np.concatenate([middle + sign * distance**2 / 2 + distance * _NODES for sign in (1, -1)])
    density = np.concatenate([prevalence * _WEIGHTS, (1 - prevalence) * _WEIGHTS])
    return scores, density, np.asarray(expit(scores))


def _empty_likelihood(prevalence: float) -> float:
    _require_share("the prevalence", prevalence)
    return prevalence * log(prevalence) + (1 - prevalence) * log1p(-prevalence)


def _parameters_a_patient(r2: float, shrinkage: float) -> float:
    return (shrinkage - 1) * log1p(-r2 / shrinkage)


def _count_orders(counts: Counts) -> Floats:
    """How many of all orders of the patients have each number of won pairs, shape (pairs + 1,)."""
    few, many = sorted((counts.positives, counts.negatives))
    orders = np.zeros((few + 1, few * many + 1))
    orders[0, 0] = 1
    for rank in range(1, few + many + 1):
        for taken in range(min(rank, few), 0, -1):
            won = rank - taken  # of the other class, those below
            if won <= many:
                orders[taken, won:] += orders[taken - 1, : orders.shape[1] - won]
    return np.asarray(orders[few])


def _find_fewest(prevalence: float, suffices: Callable[[Counts], bool]) -> Counts:
    _require_share("the prevalence", prevalence)
    rare = min(prevalence, 1 - prevalence)

    def count(few: int) -> Counts:
        many = _round_up(few * (1 - rare) / rare)
        return Counts(few, many) if prevalence <= 0.5 else Counts(many, few)

    return count(_bisect(lambda few: suffices(count(few)), MINIMUM))


def _bisect(suffices: Callable[[int], bool], start: int) -> int:
    low, high = start - 1, start
    while not suffices(high):
        if high > _MOST:
            raise UsageError(
                f"more than {_MOST:,} patients would be needed; plan for a larger effect or wider interval"
            )
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _round_up(patients: float) -> int:
    return ceil(patients - 1e-9)


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise UsageError(f"{name} must be above 0 and below 1, got {value}; correct it")
