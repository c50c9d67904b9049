"""The layouts of the stage's JSON: metrics, comparison, operating points, calibration, subgroups.

``metrics.schema.json`` beside this module is ``render_metrics_schema()``, checked in; a test keeps the two equal.
A figure that is not defined is ``null`` with the reason in ``note``, never 0 and never NaN.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LabelUnit = Literal["patient", "case"]
PatientScore = Literal["mean", "max", "noisy-or"]
IntervalMethod = Literal["percentile bootstrap", "BCa bootstrap", "exact binomial", "DeLong", "Nadeau-Bengio", "Wilson"]


class _Layout(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClusterCounts(_Layout):
    """Independent clusters (a patient, or the patients joined by a family) that hold each class."""

    positive: int
    negative: int


class Metric(_Layout):
    """One figure and its 95% interval."""

    estimate: float | None
    low: float | None
    high: float | None
    method: str = Field(description="How the interval was made, or why there is none.")
    note: str | None = None
    counts: ClusterCounts | None = Field(
        default=None, description="Given instead of an interval where a class has fewer than 10 clusters."
    )


class Interval(_Layout):
    """One way to a 95% interval of a figure; ``low`` and ``high`` are null where simulation shows that it fails."""

    figure: Literal["roc_auc", "accuracy", "precision", "recall", "specificity"]
    method: IntervalMethod
    low: float | None
    high: float | None
    headline: bool = Field(description="Whether this is the interval that the figure itself carries.")
    note: str | None = Field(default=None, description="What it covers, or why it is not given.")


class MetricSet(_Layout):
    """Areas are means of within-fold values; losses take raw scores as probabilities, over all rows of a repeat.

    The others come from decisions at each fold's own threshold.
    """

    roc_auc: Metric
    pr_auc: Metric = Field(description="Average precision; chance is the prevalence.")
    partial_auc: Metric = Field(description="McClish's, over false positive rates from 0 to partial_auc_to.")
    log_loss: Metric
    brier: Metric
    accuracy: Metric
    balanced_accuracy: Metric
    precision: Metric
    recall: Metric
    specificity: Metric
    f1: Metric
    mcc: Metric


class FoldScore(_Layout):
    """One test fold; ``n`` and ``positives`` count patients or cases, as ``label_unit`` says."""

    repeat: int
    fold: str
    n: int
    positives: int
    auc: float | None = Field(description="null: the fold holds one class and is left out of the mean.")
    low: float | None = Field(description="DeLong's interval; null under 10 patients in a class of the fold.")
    high: float | None
    threshold: float
    threshold_source: Literal["own", "pooled", "all-folds", "default"]


class SkippedFold(_Layout):
    repeat: int
    fold: str
    reason: str


class ConfusionRow(_Layout):
    """Decisions of one repeat over all its test rows."""

    repeat: int
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class Block(_Layout):
    """One model on one set of test patients: cross-validation, or a fixed test part scored once."""

    n_patients: int
    n_cases: int
    n_positive: int = Field(description="Patients or cases, as label_unit says.")
    n_negative: int
    prevalence: float
    repeats: int
    folds: int
    partial_auc_to: float
    metrics: MetricSet
    intervals: list[Interval] = Field(description="Every interval of a figure, its headline first.")
    per_fold: list[FoldScore]
    skipped_folds: list[SkippedFold]
    confusion: list[ConfusionRow]


class ModelMetrics(_Layout):
    cross_validation: Block | None
    fixed: Block | None
    case_level: Block | None = Field(
        default=None, description="Cross-validation by case, clustered by patient, where patients have several cases."
    )
    fixed_case_level: Block | None = None


class Metrics(_Layout):
    """``metrics.json``: every model, in the declared order. No model is named best."""

    schema_version: Literal[1] = 1
    label_unit: LabelUnit
    patient_score: PatientScore = Field(default="mean", description="How cases make a patient's score.")
    primary: str = Field(description="The model declared first; all others are compared with it.")
    confidence: float = 0.95
    resamples: int
    seed: int
    models: dict[str, ModelMetrics]


class ComparisonTest(_Layout):
    """One test that two models' headline AUCs are equal, two-sided."""

    method: Literal["bootstrap", "DeLong", "corrected resampled t", "permutation"]
    statistic: float | None = None
    p_value: float | None
    p_holm: float | None = Field(default=None, description="Holm's p over the comparisons of the list it stands in.")
    note: str | None = None


class Difference(_Layout):
    """Headline AUC of ``model`` minus that of the primary, paired: the same patients, the same resamples."""

    model: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None = Field(default=None, description="Holm's p over all comparisons with the primary.")
    conclusion: Literal["not distinguishable", "higher than the primary", "lower than the primary", "not assessed"]
    tests: list[ComparisonTest] = Field(default_factory=list)
    note: str | None = None


class PairDifference(_Layout):
    """Headline AUC of ``first`` minus that of ``second``; Holm's p is over all pairs of models."""

    first: str
    second: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None = None
    conclusion: Literal["not distinguishable", "first is higher", "second is higher", "not assessed"]
    tests: list[ComparisonTest] = Field(default_factory=list)
    note: str | None = None


class Ranks(_Layout):
    """The data of a critical-difference picture: models ranked by AUC in each test fold."""

    mean_ranks: dict[str, float] = Field(description="1 is the highest AUC.")
    friedman_statistic: float
    friedman_p_value: float
    critical_difference: float = Field(description="Mean ranks closer than this are not distinguishable (Nemenyi).")
    not_distinguishable: list[list[str]] = Field(description="Widest runs of models closer than that.")
    folds: int
    independent_folds: int
    note: str


class Comparison(_Layout):
    """``comparison.json``."""

    primary: str
    method: str
    note: str
    cross_validation: list[Difference]
    fixed: list[Difference]
    pairs_cross_validation: list[PairDifference] = Field(default_factory=list)
    pairs_fixed: list[PairDifference] = Field(default_factory=list)
    ranks: Ranks | None = None


class OperatingPoint(_Layout):
    """The threshold that turns a fold's test scores into decisions (positive: score >= threshold)."""

    repeat: int
    fold: str
    threshold: float
    source: Literal["own", "pooled", "all-folds", "default"]
    validation_n: int
    validation_positives: int
    validation_sensitivity: float | None
    validation_specificity: float | None
    note: str | None = None


class Spread(_Layout):
    """How far the thresholds of the folds lie apart."""

    median: float
    low: float = Field(description="The lowest threshold of any fold and repeat.")
    high: float
    standard_deviation: float | None = Field(description="null: one fold.")


class RuleResult(_Layout):
    """One rule for choosing a threshold, on one set of test patients."""

    points: list[OperatingPoint]
    spread: Spread
    sensitivity: Metric
    specificity: Metric


class RuleResults(_Layout):
    """By rule: ``youden``, ``sensitivity-0.90``, ``sensitivity-0.95``, ``cost``."""

    cross_validation: dict[str, RuleResult] = {}
    fixed: dict[str, RuleResult] = {}


class OperatingPoints(_Layout):
    """``operating_points.json``: the points of each model, cross-validation folds first."""

    rule: str = Field(description="How ``models`` were chosen: the thresholds of metrics.json.")
    models: dict[str, list[OperatingPoint]]
    rules: dict[str, str] = Field(default={}, description="What each rule of ``results`` asks of validation patients.")
    results: dict[str, RuleResults] = Field(default={}, description="By model.")


class ReliabilityBin(_Layout):
    """Rows of like probability; the interval is of the observed share."""

    stated: float = Field(description="Mean probability.")
    observed: float = Field(description="Share of positives.")
    low: float | None
    high: float | None
    n: int = Field(description="Rows: a patient or case counts once a repeat.")


class BrierSplit(_Layout):
    """Brier score = reliability - resolution + uncertainty + within."""

    reliability: float
    resolution: float
    uncertainty: float
    within: float


class CalibrationFigures(_Layout):
    """How far one kind of probability can be taken at its word; all repeats of the test rows together."""

    slope: Metric = Field(description="1: calibrated; below 1: too extreme.")
    intercept: Metric = Field(description="Of the line whose slope is above; 0: calibrated.")
    in_the_large: Metric = Field(description="Intercept with the slope at 1; above 0: too low on the whole.")
    ece: Metric = Field(description="Expected calibration error over bins of equal size.")
    ece_if_calibrated: float | None = Field(description="What ece would be by chance if every probability were right.")
    brier: Metric
    scaled_brier: Metric = Field(description="1 - Brier / that of the prevalence for everybody; 0: useless.")
    brier_split: BrierSplit
    reliability: list[ReliabilityBin]


class FoldMap(_Layout):
    """The map from scores to probabilities of one fold; the rows it was fitted on."""

    repeat: int
    fold: str
    source: Literal["own", "pooled", "all-folds", "none"]
    validation_n: int
    validation_positives: int
    note: str | None = None


class ConformalSets(_Layout):
    """Sets of labels at one level; both labels: the model abstains."""

    level: float
    assessed: int = Field(description="Test rows, all repeats.")
    left_out: int = Field(description="Test rows of folds with too few validation patients.")
    coverage_positive: Metric
    coverage_negative: Metric
    abstained: Metric = Field(description="Share of rows with both labels.")
    empty: Metric = Field(description="Share of rows with no label: unlike both classes.")
    accuracy_of_single: Metric = Field(description="Of the rows with one label.")
    note: str | None = None


class CalibrationBlock(_Layout):
    """One model on one set of test patients."""

    n: int = Field(description="Test rows with a probability, all repeats.")
    left_out: int = Field(description="Test rows of folds without a map.")
    folds: list[FoldMap]
    figures: dict[str, CalibrationFigures] = Field(description="By kind: raw, and each map that could be fitted.")
    not_assessed: dict[str, str] = Field(description="By kind: why there are no figures.")
    pooled_auc: Metric = Field(description="AUC over all folds of a repeat, after calibration; mean over repeats.")
    conformal: list[ConformalSets]


class ModelCalibration(_Layout):
    cross_validation: CalibrationBlock | None
    fixed: CalibrationBlock | None


class Calibration(_Layout):
    """``calibration.json``."""

    schema_version: Literal[1] = 1
    label_unit: LabelUnit
    map: str = Field(description="The map behind every probability in calibrated.csv and the decision curves.")
    reason: str
    target_prevalence: float | None
    note: str
    models: dict[str, ModelCalibration]


class SubgroupLevel(_Layout):
    level: str
    n: int = Field(description="Patients or cases, as label_unit says.")
    positives: int
    auc: Metric


class Subgroup(_Layout):
    """The headline AUC in each level of one column, and whether it differs between them."""

    column: str
    levels: list[SubgroupLevel]
    missing: int = Field(description="Patients or cases without a value.")
    chi_square: float | None
    degrees_of_freedom: int | None
    p_value: float | None
    holm_p_value: float | None = Field(default=None, description="Adjusted for all columns of this model.")
    conclusion: Literal["differs", "not distinguishable", "not-assessed"]
    note: str | None = None


class Subgroups(_Layout):
    """``subgroups.json``: by model; cross-validation where there is one, else the fixed test part."""

    schema_version: Literal[1] = 1
    label_unit: LabelUnit
    method: str
    models: dict[str, list[Subgroup]]


def render_metrics_schema() -> str:
    """The JSON schema of ``metrics.json`` as the text of ``metrics.schema.json``."""
    return json.dumps(Metrics.model_json_schema(mode="serialization"), indent=2) + "\n"
