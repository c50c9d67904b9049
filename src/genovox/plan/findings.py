"""What a finished run has shown: the counts and the headline that a plan starts from."""

from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_json, require_stage
from genovox.core.study import Study
from genovox.evaluate.schema import Metrics
from genovox.plan.prospect import Question


@dataclass(frozen=True)
class Findings:
    """Counts and headline of a run.

    Attributes:
        model: The study's primary model.
        patients: Scored patients, or cases where labels belong to cases.
        positives: Carriers among them.
        auc, low, high: The headline and its interval; None where there is none.
        useful: ``audit.minimum_auc``: what would be useful, fixed before the study.
        models: How many learnt models were compared.
    """

    model: str
    patients: int
    positives: int
    auc: float | None
    low: float | None
    high: float | None
    useful: float
    models: int

    @property
    def assumed_auc(self) -> float:
        """What to plan for: the headline where it is worth planning for, else what would be useful."""
        return self.auc if self.auc is not None and self.useful <= self.auc < 1 else self.useful

    @property
    def sentence(self) -> str:
        """What was measured and what is assumed."""
        if self.auc is None:
            said = f"{self.model} has no AUC"
        elif self.low is None or self.high is None:
            said = f"{self.model} reached AUC {self.auc:.2f}, without an interval"
        else:
            said = f"{self.model} reached AUC {self.auc:.2f} ({self.low:.2f} to {self.high:.2f})"
        if self.auc is not None and self.assumed_auc == self.auc:
            return f"{said}; the plan takes that for the truth, which may lie anywhere in its interval."
        return f"{said}; the plan assumes {self.useful:.2f}, which would be useful (audit.minimum_auc)."


def read_findings(study: Study, run: Path) -> Findings:
    """Read what a run has shown.

    Raises:
        UsageError: If the run is not evaluated.
    """
    require_stage(run, "evaluate")
    metrics = Metrics.model_validate(read_json(run / "evaluate" / "metrics.json"))
    model = metrics.models[metrics.primary]
    block = model.cross_validation or model.fixed
    assert block is not None
    auc = block.metrics.roc_auc
    return Findings(
        model=metrics.primary,
        patients=block.n_positive + block.n_negative,
        positives=block.n_positive,
        auc=auc.estimate,
        low=auc.low,
        high=auc.high,
        useful=study.audit.minimum_auc,
        models=len(study.train.fitted) + len(study.train.blends),
    )


def ask(
    findings: Findings, *, auc: float | None, patients: int | None, parameters: int, models: int | None
) -> Question:
    """The question of a run; what is given replaces what the run says."""
    return Question(
        prevalence=findings.positives / findings.patients,
        auc=findings.assumed_auc if auc is None else auc,
        patients=findings.patients if patients is None else patients,
        parameters=parameters,
        models=findings.models if models is None else models,
    )
