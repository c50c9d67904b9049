"""A run that is nothing but tables: patients of whom the clinic knows a number that tells something of the label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.cohort.splits import plan_folds, write_folds
from genovox.cohort.stage import CLINICAL
from genovox.core.artifacts import write_json, write_table
from genovox.core.case import Case, cases_table
from genovox.core.study import Study
from genovox.dataset.cases import read_prepared_cases
from genovox.dataset.features import open_features
from genovox.evaluate.evaluation import evaluate_predictions
from genovox.learning.resolution import resolve
from genovox.train.crossval import gather_predictions
from genovox.train.fold import train_fold
from genovox.train.plan import plan_tasks


def write_run(folder: Path, *, patients: int, shift: float, folds: int = 4, columns: int = 3) -> Path:
    """Every third patient a carrier, scanned once, the first of ``columns`` numbers ``shift`` apart."""
    (folder / "study.toml").write_text(
        '[study]\nname = "tables"\nseed = 5\n[cohort]\nimages = "m.csv"\n'
        f"[cohort.splits]\nfolds = {folds}\nrepeats = 1\n"
        '[train]\nmodels = ["clinical"]\n[evaluate]\nresamples = 200\n',
        encoding="utf-8",
    )
    study = Study.load(folder / "study.toml")
    run = folder / "runs" / "tables"
    study.save_snapshot(run)
    labels = [int(number % 3 == 0) for number in range(patients)]
    cases = [Case(f"c{n:03d}", f"p{n:03d}", ("scan.nii",), label=label) for n, label in enumerate(labels)]
    write_table(run / "cohort" / "cases.csv", cases_table(cases))
    digest = write_folds(plan_folds(cases, study.cohort.splits, study.seed), run / "cohort")
    write_json(run / "cohort" / "flow.json", {"folds_hash": digest, "label_unit": "patient"})
    values = np.random.default_rng(5).normal(size=(patients, columns))
    values[:, 0] += shift * np.array(labels)
    known = pd.DataFrame(values.round(4), columns=[f"marker_{n}" for n in range(columns)])
    known.insert(0, "case_id", [case.case_id for case in cases])
    write_table(run / "cohort" / CLINICAL, known)
    prepared = pd.DataFrame({"case_id": [case.case_id for case in cases], "key": "k", "digest": "d"})
    write_table(run / "preprocess" / "cases.csv", prepared)
    rows = list(read_prepared_cases(run).values())
    tables = {"clinical": open_features("clinical", study, run, rows)}
    tasks = plan_tasks(study, run, resolve(run / "train", "cpu", study.train), tables)
    for task in tasks:
        train_fold(task)
    predictions = gather_predictions(tasks)
    write_table(run / "train" / "predictions.csv", predictions)
    evaluation = evaluate_predictions(
        predictions, label_unit="patient", resamples=200, seed=study.seed, primary="clinical"
    )
    write_json(run / "evaluate" / "metrics.json", evaluation.metrics)
    for stage in ("train", "evaluate"):
        write_json(run / stage / "stage.json", {"key": stage})
    return run


@pytest.fixture(scope="session")
def tables_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 72 patients that learns something, trained and evaluated; read only."""
    return write_run(tmp_path_factory.mktemp("tables"), patients=72, shift=1.2)
