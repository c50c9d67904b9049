"""The audit stage: every check, then the verdict."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.audit.confounding import check_exclusions, check_metadata, weigh_metadata
from genovox.audit.controls import check_permutation, permute_labels
from genovox.audit.duplicates import check_near_duplicates, read_likeness
from genovox.audit.leakage import check_duplicates, check_folds, check_people, check_studies, gather_facts
from genovox.audit.provenance import (
    check_early_stopping,
    check_fitted,
    check_test_threshold,
    check_validation_gap,
    read_histories,
)
from genovox.audit.verdict import reach_verdict
from genovox.cohort.gates import DUPLICATE_VOLUMES, EXCLUSIONS, read_acceptances, split_labels
from genovox.cohort.splits import FIXED
from genovox.cohort.stage import CLINICAL
from genovox.core.artifacts import Stage, hash_file, read_json, read_table, require_stage, write_json
from genovox.core.names import model_folder
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import Metric

FORMAT = 2


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The audit stage of a study that is evaluated."""
    upstream = {name: require_stage(run, name)["key"] for name in ("cohort", "preprocess", "evaluate")}
    inputs = {"train/predictions.csv": hash_file(run / "train" / "predictions.csv")}
    config = study.as_dict()["audit"] | {"resamples": study.evaluate.resamples}
    return Stage("audit", run, FORMAT, config, upstream, inputs, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:  # noqa: ARG001 - every stage builds alike
    """Write ``audit.json``."""
    write_json(stage.folder / "audit.json", audit_run(study, stage.run))


def audit_run(study: Study, run: Path) -> dict[str, Any]:
    """Run every check on a run's tables and reach the verdict.

    Returns:
        The content of ``audit.json``.
    """
    metrics = read_json(run / "evaluate" / "metrics.json")
    model = metrics["primary"]
    block = metrics["models"][model]["cross_validation"]
    auc = Metric(**block["metrics"]["roc_auc"])
    cases = read_table(run / "cohort" / "cases.csv").astype({"label": int})
    folds = read_table(run / "cohort" / "folds.csv").astype({"repeat": int})
    predictions = read_table(run / "train" / "predictions.csv")
    accepted = read_acceptances(run)
    table = validate_predictions(predictions[predictions["model"] == model], label_unit=metrics["label_unit"])
    rotating = table[(table["part"] == "test") & (table["fold"] != FIXED)]
    units = gather_units(rotating, label_unit=metrics["label_unit"])
    seed = derive_seed(study.seed, "audit")
    finding = weigh_metadata(
        cases,
        folds,
        units,
        label_unit=metrics["label_unit"],
        useful_auc=study.audit.minimum_auc,
        resamples=study.evaluate.resamples,
        seed=seed,
    )
    p, null_high = permute_labels(units, permutations=study.audit.permutations, seed=seed)
    labels_in, labels_out = split_labels(cases, _read_exclusions(run))
    checks = [
        check_folds(folds, predictions),
        check_studies(read_optional(run / "cohort" / "series.csv")),
        check_duplicates(cases, accepted.get(DUPLICATE_VOLUMES, "")),
        check_near_duplicates(cases, read_likeness(run), accepted.get(DUPLICATE_VOLUMES, "")),
        check_people(gather_facts(cases, read_optional(run / "cohort" / CLINICAL))),
        check_fitted(run, folds),
        check_early_stopping(predictions, read_histories(run)),
        check_test_threshold(predictions),
        check_validation_gap(predictions),
        check_metadata(finding),
        check_exclusions(labels_in, labels_out, accepted.get(EXCLUSIONS, "")),
        check_permutation(p, null_high, auc.estimate if auc.estimate is not None else float("nan")),
    ]
    verdict = reach_verdict(checks, finding, auc, p, study.audit.minimum_auc)
    return {
        **asdict(verdict),
        "headline": describe_headline(model, auc, block, metrics["label_unit"]) + _describe_pretraining(run, model),
        "model": model,
        "rules": {"minimum_auc": study.audit.minimum_auc, "permutation_p": 0.025, "confidence": 0.95},
        "checks": [asdict(check) for check in checks],
        "accepted": accepted,
    }


def describe_headline(model: str, auc: Metric, block: dict[str, Any], label_unit: str) -> str:
    """The study's one figure, in one line."""
    unit = "patients" if label_unit == "patient" else "cases"
    who = f"{block['n_positive']} positive and {block['n_negative']} negative {unit}"
    if label_unit == "case":
        who += f" of {block['n_patients']} patients"
    if auc.estimate is None:
        return f"{model}: AUC not defined; {who}"
    interval = (
        f"(95% interval {auc.low:.2f} to {auc.high:.2f})"
        if auc.low is not None and auc.high is not None
        else "(too few patients for an interval)"
    )
    return f"{model}: AUC {auc.estimate:.2f} {interval}, mean within fold; {who}"


def _describe_pretraining(run: Path, model: str) -> str:
    """A network that was pretrained on the scans it is tested on says so beside its figure."""
    path = run / "train" / model_folder(model) / "weights.json"
    is_transductive = path.exists() and bool(read_json(path)["transductive"])
    return "; transductive: pretrained on the test patients' scans too" if is_transductive else ""


def read_optional(path: Path) -> pd.DataFrame | None:
    """A table that not every study has."""
    return read_table(path) if path.exists() else None


def _read_exclusions(run: Path) -> pd.DataFrame:
    """Everything left out, in the cohort or later."""
    return pd.concat([read_table(run / stage / "exclusions.csv") for stage in ("cohort", "preprocess")])
