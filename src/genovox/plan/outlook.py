"""What a learning curve says: points measured, points expected, and a sentence."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from genovox.statistics.learning_curve import LearningCurve

AHEAD = (1.5, 2.0, 3.0)
"""Cohorts to look ahead to, as multiples of the one there is; further would be a guess."""


@dataclass(frozen=True)
class CurvePoint:
    """One size of cohort.

    Attributes:
        cohort: Patients of a study whose folds train on that many.
        training: Training patients a fold.
        kind: ``measured``, or ``expected`` by the fitted law.
    """

    cohort: int
    training: int
    auc: float
    low: float
    high: float
    kind: Literal["measured", "expected"]


@dataclass(frozen=True)
class CurveResult:
    """What a learning curve says.

    Attributes:
        points: Those measured, then, where the curve rises, those expected.
        law: Asymptote, scale and exponent of AUC = asymptote - scale * (training / largest)^-exponent.
        gain: AUC a doubling of the training patients: estimate, low, high.
        rows: Folds of all repeats behind each point.
    """

    model: str
    points: tuple[CurvePoint, ...]
    law: tuple[float, float, float]
    gain: tuple[float, float, float]
    rows: int
    conclusion: Literal["rises", "does not say"]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def conclude(model: str, curve: LearningCurve, *, cohort: int, rows: int) -> CurveResult:
    """What a fitted curve says of larger cohorts; nothing where it does not rise.

    Args:
        model: Its name.
        curve: By training patients.
        cohort: Patients of the run.
        rows: Folds behind each point.
    """
    largest = float(curve.sizes[-1])
    points = [
        CurvePoint(
            round(cohort * size / largest),
            round(size),
            float(mean),
            max(0.0, float(mean - reach)),
            min(1.0, float(mean + reach)),
            "measured",
        )
        for size, mean, reach in zip(curve.sizes, curve.means, curve.reaches, strict=True)
    ]
    sentence = f"The curve does not say whether more patients would help: {curve.reason}."
    if curve.conclusion == "rises":
        ahead = curve.predict([largest * step for step in AHEAD])
        points += [
            CurvePoint(
                round(cohort * step),
                round(largest * step),
                expected.estimate,
                expected.low,
                expected.high,
                "expected",
            )
            for step, expected in zip(AHEAD, ahead, strict=True)
        ]
        sentence = (
            f"The curve rises: {curve.reason}. Expected values carry it on by an inverse power law; their intervals "
            "hold other patients of this kind, not a law of another kind."
        )
    gain = (curve.gain.estimate, curve.gain.low, curve.gain.high)
    law = (float(curve.law[0]), float(curve.law[1]), float(curve.law[2]))
    return CurveResult(model, tuple(points), law, gain, rows, curve.conclusion, sentence)
