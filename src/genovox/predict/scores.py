"""Many scans scored by a finished run, in one table: what failed says why, what is done is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genovox.core.artifacts import hash_content, hold_run, read_table, require_stage, write_table
from genovox.core.case import Case
from genovox.core.errors import DataError, UsageError
from genovox.core.names import model_folder
from genovox.core.tasks import available_cores, run_many, show_progress
from genovox.predict.bundle import Ranges, choose_models, read_ranges
from genovox.predict.inference import NOTICE, Predictor, compare_with_cohort, open_predictor
from genovox.predict.reference import read_reference
from genovox.predict.scans import ScanList, list_scans, refuse_source
from genovox.preprocess.cache import fetch_step, read_step
from genovox.preprocess.stage import LANDMARKS, Preparation, Recipe, prepare_listed

FORMAT = 1
"""Raised by one whenever the same network gives the same volume another score: what is kept is then made anew."""
TABLE = "scores.csv"
PREPARED = "preprocess"
SEEN = "the study holds this scan or patient: most of its networks have learnt from it"


@dataclass(frozen=True)
class ModelScores:
    """What one model says of many scans.

    Attributes:
        model: Its name.
        networks: How many there are.
        scores: Raw score of each network, by case.
        engines: What computed, and in which number format, by case.
        failures: Why a case has no score.
    """

    model: str
    networks: int
    scores: dict[str, list[float]]
    engines: dict[str, str]
    failures: dict[str, str]


@dataclass(frozen=True)
class ScoreTable:
    """Every scan's scores.

    Attributes:
        path: ``scores.csv``.
        table: A row a scan, in its words.
        models: What each model says.
        reasons: Why a scan has no score, by case.
    """

    path: Path
    table: pd.DataFrame
    models: list[ModelScores]
    reasons: dict[str, str]


def score_scans(
    run: Path,
    source: Path,
    out: Path,
    *,
    model: str = "",
    marks: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> ScoreTable:
    """Score every scan of a folder or a manifest and write ``scores.csv``.

    Scans are preprocessed as the run's own were, in parallel, and kept in ``.genovox`` of the output folder with their
    scores: the same command does only what is not finished.

    Args:
        run: Run folder with a finished train stage.
        source: A tree of DICOM files, or a manifest (CSV).
        out: Gets ``scores.csv`` and ``preprocess/`` with the volumes and their QC pictures.
        model: Network to use; every network of the run if empty.
        marks: Where the lesions are, for a run of lesions.
        device: ``auto``, ``cpu`` or ``cuda``, for the networks.
        workers: Processes that preprocess; None: one a core.

    Raises:
        UsageError: If the run is not trained, ``out`` is a run, or the source does not go with the run.
        DataError: If no scan could be scored; the table is written all the same.
    """
    models = choose_models(run, model)
    if (out / "study.json").exists():
        raise UsageError(f"{out} is a run; scores of other scans need a folder of their own, give another --out")
    cohort = require_stage(run, "cohort")["parts"]
    unit = cohort["config"]["unit"]
    refuse_source(source, unit=unit, marks=marks)
    with hold_run(out):
        scans = list_scans(source, out, unit=unit, marks=marks)
        usable = [case for case in scans.cases if case.case_id not in scans.lost]
        recipe = Recipe(out, require_stage(run, "preprocess")["parts"]["config"], scans.digests)
        made = prepare_listed(recipe, usable, out / PREPARED, workers or available_cores())
        scored = [_score_all(run, name, out, made.rows, device) for name in models]
        reasons = scans.lost | made.failures | made.of_machine
        for one in scored:
            reasons |= {case_id: f"{one.model}: {reason}" for case_id, reason in one.failures.items()}
        warnings = _collect_warnings(read_ranges(run), scans, made, _known_of(run, cohort["inputs"]))
        table = tabulate_scores(scans.cases, run, scored, warnings, reasons)
        write_table(out / TABLE, table)
    if not any(one.scores for one in scored):
        why = "; ".join(sorted(set(reasons.values()))[:3])
        raise DataError(f"none of {len(scans.cases)} scans could be scored: {why} (see {out / TABLE})")
    return ScoreTable(out / TABLE, table, scored, reasons)


def _score_all(run: Path, model: str, out: Path, rows: Sequence[dict[str, Any]], device: str) -> ModelScores:
    """Score what is not scored yet; networks are opened only if there is any."""
    trained = require_stage(run, "train")["key"]
    cache = out / ".genovox" / "cache" / "scores"
    places = {row["case_id"]: cache / hash_content([FORMAT, trained, model, row["key"]]) for row in rows}
    found = {case_id: step for case_id, place in places.items() if (step := read_step(place)) is not None}
    new = [row for row in rows if row["case_id"] not in found]
    failures = {}
    if new:
        # As many as there are in all: what a resumed command does last must not be computed in another way.
        predictor = open_predictor(run, model=model, device=device, scans=len(rows))
        with show_progress(f"scoring with {model}", len(new)) as advance:
            score = partial(_score_row, predictor, out / PREPARED, places)
            for outcome in run_many(score, new, workers=1, describe=lambda row: str(row["case_id"])):
                if outcome.value is None:
                    failures[outcome.item["case_id"]] = outcome.failure
                else:
                    found[outcome.item["case_id"]] = outcome.value
                advance()
    count = len(next(iter(found.values()))["scores"]) if found else 0
    return ModelScores(
        model=model,
        networks=count,
        scores={case_id: step["scores"] for case_id, step in found.items()},
        engines={case_id: step["engine"] for case_id, step in found.items()},
        failures=failures,
    )


def _score_row(predictor: Predictor, folder: Path, places: dict[str, Path], row: dict[str, Any]) -> dict[str, Any]:
    case_id = row["case_id"]

    def score(_: Path) -> dict[str, Any]:
        volume = np.load(folder / "volumes" / f"{case_id}.npy", allow_pickle=False)
        scores = predictor.score_volume(volume, tuple(row[LANDMARKS]))
        if not np.isfinite(scores).all():
            raise DataError(f"a score must be a number, a network gave none; look at {PREPARED}/qc/{case_id}.png")
        return {"scores": scores.tolist(), "engine": predictor.engine.way}

    return fetch_step(places[case_id], score)


def _known_of(run: Path, inputs: dict[str, str]) -> tuple[set[str], set[str]]:
    """Content of the study's own images, and its patients."""
    cases = read_table(run / "cohort" / "cases.csv", required=("patient_id",))
    return {*inputs.values()} - {"missing"}, {*cases["patient_id"]}


def _collect_warnings(
    ranges: Ranges, scans: ScanList, made: Preparation, known: tuple[set[str], set[str]]
) -> dict[str, list[str]]:
    """In what each scan differs from those the networks learned from, or is one of them."""
    digests, patients = known
    own = {
        case.case_id: case.patient_id in patients or not digests.isdisjoint(scans.digests[name] for name in case.images)
        for case in scans.cases
    }
    return {
        row["case_id"]: [
            *([SEEN] if own[row["case_id"]] else []),
            *compare_with_cohort(row, ranges),
            *([row["warnings"]] if row["warnings"] else []),
        ]
        for row in made.rows
    }


def tabulate_scores(
    cases: Sequence[Case],
    run: Path,
    scored: Sequence[ModelScores],
    warnings: dict[str, list[str]],
    reasons: dict[str, str],
) -> pd.DataFrame:
    """A row a case: the mean of each model's networks, its spread and its place in the study.

    Args:
        cases: In the order of the rows.
        run: Whose out-of-fold scores say where a score lies.
        scored: What each model says.
        warnings: By case.
        reasons: Why a case has no score, by case.
    """
    table = pd.DataFrame({"case_id": [c.case_id for c in cases], "patient_id": [c.patient_id for c in cases]})
    for one in scored:
        reference, rows = read_reference(run, one.model), []
        for case in cases:
            scores = one.scores.get(case.case_id)
            mean = float("nan") if scores is None else float(np.mean(scores))
            row: dict[str, Any] = {"score": mean, "sd": np.std(scores, ddof=1) if scores and len(scores) > 1 else 0.0}
            row |= reference.place(mean).as_row() | {"engine": one.engines.get(case.case_id, "")}
            rows.append(row if scores else dict.fromkeys(row, ""))
        table = table.join(pd.DataFrame(rows).add_suffix(f"_{model_folder(one.model)}"))
    table["warnings"] = [" | ".join(warnings.get(case.case_id, ())) for case in cases]
    table["reason"] = [reasons.get(case.case_id, "") for case in cases]
    table["notice"] = NOTICE
    return table
