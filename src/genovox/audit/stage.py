"""The audit stage: every check, then the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pandas as pd

from genovox.audit.associations import leaves_sites_out, names_sites
from genovox.audit.checks import Check, Status
from genovox.audit.controls import TOO_SMALL, permute_training
from genovox.audit.duplicates import read_likeness
from genovox.audit.leakage import check_leaks
from genovox.audit.provenance import read_starts
from genovox.audit.tables import Audit, Evidence, Tables, audit_tables
from genovox.cohort.gates import DUPLICATE_VOLUMES, read_acceptances
from genovox.cohort.stage import CLINICAL
from genovox.core.artifacts import Stage, hash_file, read_json, read_table, require_stage, write_json, write_table
from genovox.core.log import write_count
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.evaluate.predictions import gather_units
from genovox.evaluate.schema import Metric
from genovox.evaluate.subgroups import SiteLoss, compare_unseen
from genovox.learning.resolution import Resolution, resolve
from genovox.predict.altered import ALTERATIONS, Alteration, score_altered
from genovox.predict.embeddings import read_embeddings
from genovox.train.plan import FoldTask
from genovox.train.retraining import (
    open_cached_features,
    plan_model,
    plan_without_sites,
    train_deal,
    train_without_sites,
)

FORMAT = 2


def open_stage(study: Study, run: Path, device: str) -> Stage:
    """The audit stage of a study that is evaluated."""
    upstream = {name: require_stage(run, name)["key"] for name in ("cohort", "preprocess", "evaluate")}
    inputs = {"train/predictions.csv": hash_file(run / "train" / "predictions.csv")}
    config = study.as_dict()["audit"] | {"resamples": study.evaluate.resamples}
    return Stage("audit", run, FORMAT, config, upstream, inputs, study.seed, keeps_items=True, device=device)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Write ``audit.json`` and ``associations.csv``; what networks were trained for anew is kept."""
    audit = audit_run(study, stage.run, device=stage.device, workers=workers)
    write_table(stage.folder / "associations.csv", audit.associations)
    write_json(stage.folder / "audit.json", audit.content)


def audit_run(study: Study, run: Path, *, device: str = "cpu", workers: int | None = None) -> Audit:
    """Run every check on a run's tables, features and networks, and reach the verdict.

    Args:
        study: The study.
        run: Its run, evaluated.
        device: Where networks compute: ``auto``, ``cpu`` or ``cuda``.
        workers: Folds trained at once, where labels are dealt or hospitals left out.
    """
    metrics = read_json(run / "evaluate" / "metrics.json")
    model = metrics["primary"]
    resolution = resolve(run / "train", device, study.train)
    cases = read_table(run / "cohort" / "cases.csv")
    tables = Tables(
        predictions=read_table(run / "train" / "predictions.csv"),
        cases=cases,
        folds=read_table(run / "cohort" / "folds.csv"),
        clinic=_read_optional(run / "cohort" / CLINICAL),
        exclusions=pd.concat([read_table(run / stage / "exclusions.csv") for stage in ("cohort", "preprocess")]),
        features=open_cached_features(study, run, resolution, model),
        accepted=read_acceptances(run),
    )
    evidence = Evidence.gather(
        tables, metrics, resamples=study.evaluate.resamples, seed=derive_seed(study.seed, "audit")
    )
    altered = {}
    if model in study.train.networks and study.audit.image_controls:
        altered = score_altered(
            study,
            run,
            evidence.tested,
            label_unit=evidence.label_unit,
            device=resolution.device,
            resamples=evidence.resamples,
            seed=evidence.seed,
        )
        if tables.features is None:
            kept = run / "audit" / "embeddings"
            found = read_embeddings(study, run, evidence.tested, kept, device=resolution.device)
            evidence = replace(evidence, tables=replace(tables, embeddings=found))
    retrained = None
    if study.audit.permute_pipeline:
        tasks = plan_model(study, run, resolution, model)

        def train(number: int, labels: dict[str, int]) -> pd.DataFrame:
            folder = run / "audit" / "deals" / f"{number:04d}"
            return train_deal(study, tasks, labels, folder, workers=workers)

        retrained = permute_training(
            evidence.tested,
            evidence.folds,
            train,
            label_unit=evidence.label_unit,
            patient_score=evidence.patient_score,
            permutations=study.audit.permute_pipeline,
            seed=evidence.seed,
        )
    dropped: SiteLoss | str = ""
    if study.audit.leave_sites_out and names_sites(cases) and not leaves_sites_out(cases, evidence.folds):
        dropped = leave_networks_out(study, run, resolution, evidence, workers=workers)
    controls = check_inputs(altered, evidence.auc.estimate)
    leaks = check_leaks(
        tables.predictions,
        cases,
        folds=tables.folds,
        clinic=tables.clinic,
        series=_read_optional(run / "cohort" / "series.csv"),
        likeness=read_likeness(run),
        run=run,
        accepted=tables.accepted.get(DUPLICATE_VOLUMES, ""),
    )
    audit = audit_tables(evidence, study.audit, leaks=leaks, retrained=retrained, dropped=dropped, controls=controls)
    audit.content["headline"] += _describe_pretraining(run, model)
    return audit


def leave_networks_out(
    study: Study, run: Path, resolution: Resolution, evidence: Evidence, *, workers: int | None
) -> SiteLoss | str:
    """Train the primary model anew without each hospital, and compare on that hospital's patients.

    Args:
        study: The study.
        run: Its run, trained.
        resolution: What the machine decided.
        evidence: The primary model's test rows.
        workers: Folds at once; None lets the machine decide.

    Returns:
        What it loses, or why no hospital can be left out.
    """
    tasks, folder = plan_model(study, run, resolution, evidence.model), run / "audit" / "sites"
    planned = plan_without_sites(study, tasks, folder)
    if not planned:
        return TOO_SMALL
    unseen = train_without_sites(study, planned, folder, workers=workers)
    unseen = unseen[unseen["part"] == "test"]
    cluster = evidence.tested.drop_duplicates("patient_id").set_index("patient_id")["cluster"]
    unseen = unseen[unseen["patient_id"].isin(cluster.index)]
    unseen = unseen.assign(cluster=cluster[unseen["patient_id"]].to_numpy())
    own, other = (
        # A patient of two hospitals has a score at each.
        pd.concat(
            gather_units(rows, label_unit=evidence.label_unit, patient_score=evidence.patient_score).assign(site=site)
            for site, rows in table.groupby("site")
        )
        for table in (evidence.tested, unseen)
    )
    learnt = write_count(_count_learnt(planned), "patient")
    how = f"{evidence.model} trained anew, on {learnt} in place of {_count_learnt(tasks)}"
    lost = compare_unseen(own, other, how=how, resamples=evidence.resamples, seed=evidence.seed)
    return lost or TOO_SMALL


def _count_learnt(tasks: Sequence[FoldTask]) -> int:
    """Patients that a training learns from, the mean."""
    return round(fmean(len({case.patient_id for case in (*task.training, *task.validation)}) for task in tasks))


def check_inputs(found: Mapping[str, Metric | str], observed: float | None) -> list[Check]:
    """Judge what is left of the score on each altered input.

    Args:
        found: From ``score_altered``; an alteration that is absent was not tried.
        observed: The headline AUC, for comparison.
    """
    return [_judge(name, alteration, found.get(name), observed) for name, alteration in ALTERATIONS.items()]


def _judge(name: str, alteration: Alteration, found: Metric | str | None, observed: float | None) -> Check:
    threshold = (
        "warns where the 95% interval still lies above 0.5: " + alteration.meaning
        if alteration.is_alarm
        else "told, not judged: where the interval lies above 0.5, " + alteration.meaning
    )
    if found is None or isinstance(found, str) or found.estimate is None or found.low is None or found.high is None:
        text = found if isinstance(found, str) else "too few patients" if found else "there are no images to alter"
        advice = "" if isinstance(found, str) or found else "Run genovox audit on a run folder with its networks."
        return Check(name, alteration.question, "not-assessed", text, threshold, advice=advice)
    told = found.low > 0.5
    status: Status = "warn" if told and alteration.is_alarm else "pass"
    text = f"AUC {found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})"
    text += "" if observed is None else f", on whole inputs {observed:.2f}"
    text += f": {alteration.meaning}" if told else ""
    advice = "Look at the maps, and crop or mask what is not the patient's." if status == "warn" else ""
    return Check(name, alteration.question, status, text, threshold, found.estimate, found.low, found.high, advice)


def _describe_pretraining(run: Path, model: str) -> str:
    """A network that was pretrained on the scans it is tested on says so beside its figure."""
    start = read_starts(run, [model]).get(model)
    is_transductive = start is not None and start["transductive"]
    return "; transductive: its weights have learnt from the test patients' scans" if is_transductive else ""


def _read_optional(path: Path) -> pd.DataFrame | None:
    """A table that not every study has."""
    return read_table(path) if path.exists() else None
