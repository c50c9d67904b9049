"""The learning curve of a run: subsamples trained, scored on the run's own test patients, and carried on."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.artifacts import read_json, require_stage
from genovox.core.errors import UsageError
from genovox.core.sections import TABULAR
from genovox.core.study import Study
from genovox.dataset.cases import read_prepared_cases, refuse_damaged
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.predictions import gather_units
from genovox.evaluate.schema import LabelUnit, PatientScore
from genovox.learning.resolution import resolve
from genovox.plan.outlook import CurveResult, conclude
from genovox.plan.subsamples import plan_subsamples
from genovox.statistics.learning_curve import fit_learning_curve
from genovox.train.crossval import gather_predictions
from genovox.train.fold import train_open_folds
from genovox.train.needs import count_workers, list_needs
from genovox.train.plan import FoldTask
from genovox.train.retraining import plan_model

FOLDER = "curve"
"""Of the trainings, in the folder of the plan."""


def choose_model(study: Study, asked: str = "") -> str:
    """The model whose curve is drawn: the one asked for, else the study's first of table columns, else radiomics.

    Raises:
        UsageError: If there is no such model.
    """
    quick = [model for model in study.train.models if model in TABULAR and model != "metadata"]
    if not asked:
        return quick[0] if quick else "radiomics"
    if asked not in (*study.train.fitted, *TABULAR):
        known = ", ".join(dict.fromkeys([*study.train.fitted, *TABULAR]))
        raise UsageError(f"--model takes a model that learns, of this study ({known}), got {asked!r}; name one of them")
    return asked


def draw_curve(
    study: Study, run: Path, model: str, *, draws: int, workers: int | None, device: str, place: Path
) -> CurveResult:
    """Train what is not trained yet and fit the curve.

    Validation patients are not subsampled: a network stops as early as it would with all of them.

    Args:
        study: The study of the run.
        run: Its folder, trained.
        model: From ``choose_model``.
        draws: Random orders a fold.
        workers: Trainings at once; None lets the machine decide.
        device: As ``--device``.
        place: Folder of the trainings; finished ones are kept.

    Raises:
        DataError: If folds are too small, or a training failed; finished ones are kept.
    """
    require_stage(run, "train")
    alone = study.model_copy(update={"train": study.train.model_copy(update={"models": (model,)})})
    resolution = resolve(run / "train", device, alone.train)
    at_once = workers or count_workers(list_needs(alone, resolution), resolution)
    tasks = plan_model(study, run, resolution, model, workers=at_once)
    cases = list(read_prepared_cases(run).values())
    subsamples = plan_subsamples(tasks, place, draws=draws, seed=study.seed)
    trainings = [subsample.task for subsample in subsamples]
    if any(task.start and not task.is_finished() for task in trainings):
        refuse_damaged(cases)
    train_open_folds(trainings, cases, workers=at_once, what="learning curve")
    label_unit = read_json(run / "cohort" / "flow.json")["label_unit"]
    table = pd.DataFrame(
        {
            "row": f"{subsample.task.repeat}/{subsample.task.fold}",
            "share": subsample.share,
            "patients": subsample.patients,
            "auc": score_fold(subsample.task, label_unit=label_unit, patient_score=study.evaluate.patient_score),
        }
        for subsample in subsamples
    )
    aucs = table.pivot_table(index="row", columns="share", values="auc", aggfunc="mean").to_numpy()
    sizes = table.groupby("share")["patients"].mean().to_numpy()
    inflation = sqrt(1 + len(aucs) * _test_share(tasks))
    curve = fit_learning_curve(sizes, aucs, inflation=inflation, seed=study.seed % 2**32)
    return conclude(model, curve, cohort=len({case.patient_id for case in cases}), rows=len(aucs))


def score_fold(task: FoldTask, *, label_unit: LabelUnit, patient_score: PatientScore) -> float:
    """AUC of a finished fold on its test part.

    Args:
        task: The fold.
        label_unit: Whether labels belong to patients or to cases.
        patient_score: How cases make a patient's score.
    """
    scores = gather_predictions([task])
    tested = scores[(scores["part"] == "test") & (scores["fold"] != FIXED)]
    units = gather_units(tested.assign(cluster=0), label_unit=label_unit, patient_score=patient_score)
    return float(roc_auc(units["label"].to_numpy(), units["score"].to_numpy())[0])


def _test_share(tasks: Sequence[FoldTask]) -> float:
    """Test patients over those learnt from, mean of the folds."""
    return float(np.mean([len(task.test) / (len(task.training) + len(task.validation)) for task in tasks if task.test]))
