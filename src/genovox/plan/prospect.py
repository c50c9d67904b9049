"""What so many patients can show, and how many would show more."""

from dataclasses import asdict, dataclass
from typing import Any

from genovox.core.errors import UsageError
from genovox.core.log import write_count
from genovox.statistics.sample_size import (
    Counts,
    affordable_parameters,
    auc_half_width,
    auc_power,
    cox_snell_r2,
    detectable_auc,
    development_size,
    expected_shrinkage,
    null_auc_quantile,
    patients_for_difference,
    patients_for_power,
    patients_for_width,
    validation_size,
)

DIFFERENCE = 0.05
CORRELATION = 0.5
STEPS = (1, 1.5, 2, 3, 5)
"""Sizes to look at, as multiples of the patients there are."""
_START = 60
_STEPS_OF_START = (1, 2, 4, 8, 16)
_NEAR_ONE = 0.985


@dataclass(frozen=True)
class Question:
    """What a plan assumes.

    Attributes:
        prevalence: Share of carriers, in (0, 1).
        auc: The AUC that the score is hoped to have, in (0.5, 1).
        patients: How many there are; None where nobody is recruited yet.
        parameters: Candidate predictor parameters of a model that is developed.
        models: Configurations that are tried, of which the best would be looked at.
    """

    prevalence: float
    auc: float
    patients: int | None = None
    parameters: int = 10
    models: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.prevalence < 1:
            raise UsageError(
                f"--prevalence is the share of carriers, above 0 and below 1, got {self.prevalence}; try 0.3"
            )
        if not 0.5 < self.auc < 1:
            raise UsageError(f"--auc must be above 0.5 and below 1, got {self.auc}; plan for what would be useful: 0.7")
        if self.patients is not None and self.patients < 2:
            raise UsageError(f"--patients must be 2 or more, got {self.patients}; leave it out to plan from nothing")
        for name, value in (("--parameters", self.parameters), ("--models", self.models)):
            if value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value}; count every one that is tried")


@dataclass(frozen=True)
class Standing:
    """What some patients can show; None where a class has fewer than ten, and only counts should be given.

    Attributes:
        half_width: Of the expected 95% interval of the AUC.
        power: Of telling the AUC from 0.5.
        detectable: The smallest AUC told from 0.5 with 80% power.
        chance: What one score without information stays below 39 times of 40.
        best_chance: The same for the best of the models that are tried.
        shrinkage: Expected of a model with that many parameters, fitted on all of them; 0.9 is aimed at.
        affordable: Candidate parameters that the patients allow.
    """

    patients: int
    positives: int
    negatives: int
    half_width: float | None
    power: float | None
    detectable: float | None
    chance: float | None
    best_chance: float | None
    shrinkage: float
    affordable: int


@dataclass(frozen=True)
class Need:
    """Patients for one aim; None where ten million would not do.

    Attributes:
        aim: In words.
        source: Whose formula.
    """

    aim: str
    patients: int | None
    positives: int | None
    source: str


@dataclass(frozen=True)
class Prospect:
    """The answer: ``now`` is None where there are no patients yet."""

    question: Question
    now: Standing | None
    needs: tuple[Need, ...]
    later: tuple[Standing, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def foresee(question: Question) -> Prospect:
    """What the patients there are can show, what would be needed, and what more patients bring.

    Raises:
        UsageError: If the patients hold one class only.
    """
    now = None if question.patients is None else stand(question, question.patients)
    start, steps = (_START, _STEPS_OF_START) if question.patients is None else (question.patients, STEPS)
    sizes = [round(start * step) for step in steps]
    later = tuple(stand(question, size) for size in sizes if _holds_both(size, question.prevalence))
    return Prospect(question, now, _list_needs(question), later)


def stand(question: Question, patients: int) -> Standing:
    """What so many patients can show."""
    counts = Counts.split(patients, question.prevalence)
    r2 = cox_snell_r2(question.auc, question.prevalence)
    shown = not counts.too_few
    return Standing(
        patients=counts.patients,
        positives=counts.positives,
        negatives=counts.negatives,
        half_width=auc_half_width(question.auc, counts) if shown else None,
        power=auc_power(question.auc, counts) if shown else None,
        detectable=detectable_auc(counts) if shown else None,
        chance=null_auc_quantile(counts) if shown else None,
        best_chance=null_auc_quantile(counts, models=question.models) if shown else None,
        shrinkage=expected_shrinkage(patients, question.parameters, r2),
        affordable=affordable_parameters(patients, question.prevalence, r2),
    )


def _holds_both(patients: int, prevalence: float) -> bool:
    return 0 < round(patients * prevalence) < patients


def _list_needs(question: Question) -> tuple[Need, ...]:
    auc, prevalence = question.auc, question.prevalence
    aims: list[tuple[str, Counts]] = [
        (f"tell AUC {auc:.2f} from 0.5, power {power:.0%}", patients_for_power(auc, prevalence, power=power))
        for power in (0.8, 0.9)
    ]
    aims += [
        (f"know it within ±{width:.2f} (95% interval)", patients_for_width(auc, prevalence, width))
        for width in (0.1, 0.05)
    ]
    needs = [Need(aim, counts.patients, counts.positives, "Hanley 1982") for aim, counts in aims]
    better = auc + DIFFERENCE if auc + DIFFERENCE < _NEAR_ONE else auc - DIFFERENCE
    pair = patients_for_difference(auc, better, prevalence, correlation=CORRELATION)
    told = f"tell a model {DIFFERENCE} {'better' if better > auc else 'worse'} from it, power 80%"
    needs.append(Need(told, pair.patients, pair.positives, "Hanley 1983"))
    developed = development_size(prevalence, question.parameters, cox_snell_r2(auc, prevalence))
    validated = validation_size(auc, prevalence)
    parameters = write_count(question.parameters, "parameter")
    for aim, patients, source in (
        (f"develop a model of {parameters}", developed.patients, "Riley 2019"),
        ("validate elsewhere: carriers expected, ±10%", validated.ratio, "Riley 2021"),
        ("validate elsewhere: calibration slope ±0.1", validated.slope, "Riley 2021"),
    ):
        needs.append(Need(aim, patients, round(patients * prevalence), source))
    return tuple(needs)
