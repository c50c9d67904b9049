"""What the probabilities of a run are worth: calibration, decision curves, sets of labels.

Every map and every rule is fitted on validation patients and applied to patients that the same fold tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genovox.cohort.splits import FIXED
from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.core.names import model_folder
from genovox.evaluate.discrimination import divide, roc_auc
from genovox.evaluate.intervals import MINIMUM_CLUSTERS, TAILS, Clusters, Resampling, summarise_draws
from genovox.evaluate.schema import (
    BrierSplit,
    Calibration,
    CalibrationBlock,
    CalibrationFigures,
    ConformalSets,
    FoldMap,
    LabelUnit,
    Metric,
    ModelCalibration,
    ReliabilityBin,
)
from genovox.evaluate.scoring import list_folds
from genovox.statistics.calibration import (
    BinSums,
    Bounded,
    assign_bins,
    calibration_error,
    choose_bins,
    estimate_line,
    expect_error,
    split_brier,
    sum_bins,
)
from genovox.statistics.conformal import fewest_for_level, fit_set_rule, predict_sets
from genovox.statistics.recalibration import METHODS, Method, fit_map, shift_prevalence
from genovox.statistics.utility import THRESHOLDS, count_calls, net_benefit

Floats = NDArray[np.float64]

DEFAULT: Method = "platt"
REASON = (
    "Platt's two numbers can be learnt from the few patients who validate a fold, keep ranks, and have an answer "
    "where the scores separate the classes"
)
NOTE = (
    "maps are fitted on the fold's own validation patients; with fewer than 10 of a class, on those of the repeat's "
    "folds together, less the patients tested; the calibration error is above 0 by chance alone (ece_if_calibrated)"
)
LEVELS = (0.80, 0.90)
SET_NAMES = np.array([["none", "1"], ["0", "both"]])
"""Name of a set, by whether it holds 0 and whether it holds 1."""
_JACKKNIFE = "one-step jackknife of patients"


@dataclass(frozen=True)
class ProbabilityResults:
    """Everything on probabilities, ready to be written.

    Attributes:
        calibration: ``calibration.json``, layout ``schema.Calibration``.
        table: ``calibrated.csv``: unit, patient_id, model, repeat, fold, label, score, probability, set_80, set_90,
            and probability_at_target where a target prevalence is given.
        curves: By file stem, ``<model>_decision`` and ``<model>_fixed_decision``.
    """

    calibration: dict[str, Any]
    table: pd.DataFrame
    curves: dict[str, pd.DataFrame]


def assess_probabilities(
    units: pd.DataFrame,
    resamplings: Mapping[str, Resampling],
    *,
    label_unit: LabelUnit,
    target_prevalence: float = 0.0,
) -> ProbabilityResults:
    """Calibrate every model fold by fold, and say what its probabilities are worth.

    Args:
        units: From ``gather_units``: validation and test rows of every model.
        resamplings: Of the test rows, not holding the classes, by block: ``cross_validation``, ``fixed``.
        label_unit: To what the labels belong.
        target_prevalence: Prevalence where the model would be used, above 0 and below 1; 0: the study's own.
    """
    models, curves, tables = {}, {}, []
    is_fixed = units["fold"] == FIXED
    for model in dict.fromkeys(units["model"]):
        rows = units[units["model"] == model]
        validation = rows[rows["part"] == "val"]
        blocks: dict[str, CalibrationBlock | None] = {}
        for name, suffix, chosen in (("cross_validation", "", ~is_fixed), ("fixed", "_fixed", is_fixed)):
            test = rows[(rows["part"] == "test") & chosen.loc[rows.index]].reset_index(drop=True)
            if test.empty:
                blocks[name] = None
                continue
            calibrated = _Calibrated.of(test, validation, target_prevalence)
            scene = _Scene(resamplings[name], resamplings[name].clusters.locate(test["cluster"]))
            blocks[name] = _describe_block(calibrated, scene)
            stem = f"{model_folder(model)}{suffix}_decision"
            curves[stem] = _trace_benefit(calibrated.table, scene, target_prevalence)
            tables.append(calibrated.table)
        models[model] = ModelCalibration(**blocks)
    calibration = Calibration(
        label_unit=label_unit,
        map=DEFAULT,
        reason=REASON,
        target_prevalence=target_prevalence or None,
        note=NOTE,
        models=models,
    )
    columns = ["unit", "patient_id", "model", "repeat", "fold", "label", "score", "probability"]
    columns += ["probability_at_target"] if target_prevalence else []
    table = pd.concat(tables, ignore_index=True)[columns + [_set_column(level) for level in LEVELS]]
    return ProbabilityResults(calibration.model_dump(mode="json"), table, curves)


def _set_column(level: float) -> str:
    return f"set_{round(100 * level)}"


@dataclass(frozen=True)
class _Calibrated:
    """Test rows of one model and block, with what each fold's validation patients make of their scores.

    ``kinds``: probabilities of each map, shape (n,), NaN where a fold has none. ``refused``: kind to reason.
    """

    table: pd.DataFrame
    folds: list[FoldMap]
    kinds: dict[str, Floats]
    refused: dict[str, str]

    @classmethod
    def of(cls, test: pd.DataFrame, validation: pd.DataFrame, target: float) -> "_Calibrated":
        n = len(test)
        kinds = {"raw": test["score"].to_numpy(dtype=np.float64)} | {name: np.full(n, np.nan) for name in METHODS}
        prior = np.full(n, np.nan)
        sets = {level: np.full(n, "", dtype=object) for level in LEVELS}
        refused: dict[str, str] = {}
        folds = []
        for (repeat, fold), rows in list_folds(test).items():
            fitted_on, described = _choose_validation(validation, repeat, fold, test["cluster"].to_numpy()[rows])
            folds.append(described)
            scores = kinds["raw"][rows]
            if described.source != "none":
                prior[rows] = fitted_on["label"].mean()
                for name in METHODS:
                    try:
                        kinds[name][rows] = fit_map(name, fitted_on["score"], fitted_on["label"]).apply(scores)
                    except DataError as error:
                        refused.setdefault(name, f"repeat {repeat}, fold {fold}: {error}")
            own = validation[(validation["repeat"] == repeat) & (validation["fold"] == fold)]
            for level, names in sets.items():
                rule = fit_set_rule(own["score"], own["label"], level)
                if rule is not None:
                    held = predict_sets(scores, rule).astype(np.intp)
                    names[rows] = SET_NAMES[held[:, 0], held[:, 1]]
        table = test.assign(
            probability=kinds[DEFAULT], prior=prior, **{_set_column(level): names for level, names in sets.items()}
        )
        if target:
            shifted = np.full(n, np.nan)
            known = ~np.isnan(prior)
            shifted[known] = shift_prevalence(kinds[DEFAULT][known], prior[known], target)
            table = table.assign(probability_at_target=shifted)
        return cls(table, folds, kinds, refused)


def _choose_validation(
    validation: pd.DataFrame, repeat: int, fold: str, tested: NDArray[np.int64]
) -> tuple[pd.DataFrame, FoldMap]:
    """The rows that a fold's maps are fitted on: its own, or with few of a class the repeat's, less who is tested."""
    source: Literal["own", "pooled", "all-folds"]
    if fold == FIXED:
        source, rows, note = "all-folds", validation, "fitted on scores of single networks, applied to their mean"
    else:
        pool = validation[validation["repeat"] == repeat]
        source, rows, note = "own", pool[pool["fold"] == fold], None
        if _count_smaller(rows) < MINIMUM_CLUSTERS:
            source, rows = "pooled", pool[~pool["cluster"].isin(tested)]
            note = f"fewer than {MINIMUM_CLUSTERS} of a class validate this fold: the repeat's folds together"
    smaller = _count_smaller(rows)
    if not smaller:
        note = "no validation patients of both classes"
    elif smaller < MINIMUM_CLUSTERS:
        rough = f"only {write_count(smaller, 'patient')} of the smaller class: the map is rough"
        note = f"{note}; {rough}" if note else rough
    described = FoldMap(
        repeat=repeat,
        fold=fold,
        source=source if smaller else "none",
        validation_n=len(rows),
        validation_positives=int(rows["label"].sum()),
        note=note,
    )
    return rows, described


def _count_smaller(rows: pd.DataFrame) -> int:
    """Clusters of the class that fewer have."""
    counts = Clusters.from_rows(rows["cluster"], rows["label"]).counts
    return min(counts.positive, counts.negative)


@dataclass(frozen=True)
class _Scene:
    """Resamples, and the cluster of each of one model's test rows, shape (n,)."""

    resampling: Resampling
    columns: NDArray[np.intp]

    @property
    def clusters(self) -> Clusters:
        return self.resampling.clusters

    def share(self, hits: NDArray[np.bool_], rows: NDArray[np.bool_], absent: str) -> Metric:
        """The share of rows that are hits, with its interval."""
        both = self.resampling.sum_rows(self.columns[rows], np.stack([hits, rows], axis=1)[rows].astype(np.float64))
        values = divide(both[:, 0], both[:, 1])
        touched = len(np.unique(self.columns[rows]))
        note = absent if np.isnan(values[0]) else None
        return self.resampling.summarise(values, independent=touched or None, note=note)

    def bound(self, figure: Bounded) -> Metric:
        """A figure that brings its own interval."""
        if np.isnan(figure.estimate):
            why = "one class, one probability for all, or separated classes"
            return Metric(estimate=None, low=None, high=None, method="not defined", note=why)
        if self.clusters.too_few or np.isnan(figure.low):
            return summarise_draws(figure.estimate, np.full(1, np.nan), self.clusters)
        return Metric(estimate=figure.estimate, low=figure.low, high=figure.high, method=_JACKKNIFE)


def _describe_block(calibrated: _Calibrated, scene: _Scene) -> CalibrationBlock:
    figures, refused = {}, dict(calibrated.refused)
    known = ~np.isnan(calibrated.kinds[DEFAULT])
    for kind, probabilities in calibrated.kinds.items():
        if kind in refused:
            continue
        rows = ~np.isnan(probabilities)
        labels = calibrated.table["label"].to_numpy()
        if kind != "raw" and not rows.any():
            refused[kind] = "no fold has validation patients of both classes"
        else:
            figures[kind] = _describe_kind(labels, probabilities, calibrated.table["unit"].to_numpy(), rows, scene)
    return CalibrationBlock(
        n=int(known.sum()),
        left_out=int((~known).sum()),
        folds=calibrated.folds,
        figures=figures,
        not_assessed=refused,
        pooled_auc=_pool_auc(calibrated.table, known, scene),
        conformal=[_describe_sets(calibrated.table, level, scene) for level in LEVELS],
    )


def _describe_kind(
    labels: NDArray[np.int64], probabilities: Floats, units: NDArray[Any], rows: NDArray[np.bool_], scene: _Scene
) -> CalibrationFigures:
    y, p, columns = labels[rows], probabilities[rows], scene.columns[rows]
    line = estimate_line(y, p, columns)
    bin_of = assign_bins(p, choose_bins(len(np.unique(columns))))
    parts = split_brier(y, p, bin_of)
    in_bin = bin_of[:, None] == np.arange(int(bin_of.max()) + 1)
    cells = np.concatenate([in_bin, in_bin * y[:, None], in_bin * p[:, None]], axis=1).astype(np.float64)
    sums = BinSums(*np.split(scene.resampling.sum_rows(columns, cells), 3, axis=1))
    errors = calibration_error(sums)
    squared = scene.resampling.sum_rows(columns, ((p - y) ** 2)[:, None])[:, 0]
    count = sums.rows.sum(axis=1)
    brier, prevalence = divide(squared, count), divide(sums.positives.sum(axis=1), count)
    scaled = 1 - divide(brier, prevalence * (1 - prevalence))
    return CalibrationFigures(
        slope=scene.bound(line.slope),
        intercept=scene.bound(line.intercept),
        in_the_large=scene.bound(line.in_the_large),
        ece=_reflect(errors, scene.clusters),
        ece_if_calibrated=expect_error(p, bin_of, units[rows]),
        brier=scene.resampling.summarise(brier),
        scaled_brier=scene.resampling.summarise(scaled, limits=(-np.inf, 1.0)),
        brier_split=BrierSplit(**{name: getattr(parts, name) for name in BrierSplit.model_fields}),
        reliability=_list_bins(sum_bins(y, p, bin_of), sums, scene.clusters),
    )


def _reflect(errors: Floats, clusters: Clusters) -> Metric:
    """The calibration error with the basic bootstrap interval: resampling adds the same bias again, so it is turned."""
    metric = summarise_draws(float(errors[0]), 2 * errors[0] - errors[1:], clusters)
    if metric.low is None or metric.high is None:
        return metric
    held = {"low": max(0.0, metric.low), "high": max(0.0, metric.high)}
    return metric.model_copy(update=held | {"method": metric.method.replace("percentile", "basic")})


def _list_bins(sample: BinSums, drawn: BinSums, clusters: Clusters) -> list[ReliabilityBin]:
    observed = divide(drawn.positives, drawn.rows)
    bounds = np.full((2, observed.shape[1]), np.nan)
    if not clusters.too_few:
        bounds = np.nanquantile(observed, TAILS, axis=0)
    return [
        ReliabilityBin(
            stated=float(expected / count),
            observed=float(positives / count),
            low=None if np.isnan(low) else float(low),
            high=None if np.isnan(high) else float(high),
            n=int(count),
        )
        for count, positives, expected, low, high in zip(*sample, *bounds, strict=True)
    ]


def _pool_auc(table: pd.DataFrame, known: NDArray[np.bool_], scene: _Scene) -> Metric:
    """AUC over all folds of a repeat after calibration; the mean over repeats."""
    repeats, labels = table["repeat"].to_numpy(), table["label"].to_numpy()
    probabilities = table["probability"].to_numpy()
    values = []
    for repeat in np.unique(repeats):
        rows = np.flatnonzero((repeats == repeat) & known)
        if 0 < labels[rows].sum() < len(rows):
            values.append(roc_auc(labels[rows], probabilities[rows], scene.resampling.drawn[:, scene.columns[rows]]))
    if not values:
        return Metric(estimate=None, low=None, high=None, method="not defined", note="no probabilities of both classes")
    mean = np.mean(values, axis=0)
    return scene.resampling.summarise(mean)


def _describe_sets(table: pd.DataFrame, level: float, scene: _Scene) -> ConformalSets:
    names, labels = table[_set_column(level)].to_numpy(), table["label"].to_numpy()
    assessed = names != ""
    single = np.isin(names, ["0", "1"])
    covered = (names == "both") | (names == labels.astype(str))
    note = None
    if not assessed.all():
        note = (
            "the fixed test part is scored by the mean of networks that validation patients never saw together"
            if (table["fold"] == FIXED).all()
            else f"a level of {level:.2f} needs {fewest_for_level(level)} validation patients in each class of a fold"
        )
    none = "not-assessed: no fold has enough validation patients"
    return ConformalSets(
        level=level,
        assessed=int(assessed.sum()),
        left_out=int((~assessed).sum()),
        coverage_positive=scene.share(covered, assessed & (labels == 1), none),
        coverage_negative=scene.share(covered, assessed & (labels == 0), none),
        abstained=scene.share(names == "both", assessed, none),
        empty=scene.share(names == "none", assessed, none),
        accuracy_of_single=scene.share(covered, single, "no row has one label" if assessed.any() else none),
        note=note,
    )


def _trace_benefit(table: pd.DataFrame, scene: _Scene, target: float) -> pd.DataFrame:
    """Net benefit over thresholds, of the model, of treating all and of treating none, at the target prevalence."""
    probabilities = table["probability_at_target" if target else "probability"].to_numpy()
    labels, known = table["label"].to_numpy(), ~np.isnan(probabilities)
    calls = count_calls(labels[known], probabilities[known], THRESHOLDS, scene.columns[known], len(scene.clusters.ids))
    classes = scene.resampling.sum_rows(
        scene.columns[known], np.stack([labels, 1 - labels], axis=1)[known].astype(np.float64)
    )
    positives, negatives = classes[:, :1], classes[:, 1:]
    prevalence = np.full_like(positives, target) if target else divide(positives, positives + negatives)
    rates = (
        divide(scene.resampling.sum_clusters(calls.true), positives),
        divide(scene.resampling.sum_clusters(calls.false), negatives),
    )
    model = net_benefit(*rates, prevalence, THRESHOLDS)
    low = high = np.full(len(THRESHOLDS), np.nan)
    if not (scene.clusters.too_few or np.isnan(model).any()):
        low, high = np.quantile(model[1:], TAILS, axis=0)
    return pd.DataFrame(
        {
            "threshold": THRESHOLDS,
            "net_benefit": model[0],
            "low": low,
            "high": high,
            "treat_all": net_benefit(1.0, 1.0, prevalence[0], THRESHOLDS),
            "treat_none": 0.0,
            "standardised": divide(model[0], prevalence[0]),
        }
    )
