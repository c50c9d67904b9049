"""The learning curve of a run: subsamples trained, scored on the run's own test patients, and carried on."""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.artifacts import read_json, require_stage
from genovox.core.errors import DataError, UsageError
from genovox.core.sections import ORACLE, TABULAR
from genovox.core.study import Study
from genovox.core.tasks import run_many, show_progress
from genovox.dataset.cases import PreparedCase, read_prepared_cases, refuse_damaged
from genovox.dataset.features import open_features
from genovox.evaluate.discrimination import roc_auc
from genovox.learning.resolution import resolve
from genovox.plan.outlook import CurveResult, conclude
from genovox.plan.subsamples import Subsample, plan_subsamples
from genovox.statistics.learning_curve import fit_learning_curve
from genovox.train.crossval import gather_predictions
from genovox.train.fold import share_features, train_fold
from genovox.train.needs import count_workers, list_needs
from genovox.train.plan import FoldTask, plan_tasks

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
    if asked == ORACLE or (asked not in TABULAR and asked not in study.train.models):
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
    cases = list(read_prepared_cases(run).values())
    columns = {} if model in alone.train.networks else {model: open_features(model, alone, run, cases, at_once)}
    tasks = plan_tasks(alone, run, resolution, columns)
    subsamples = plan_subsamples(tasks, place, draws=draws, seed=study.seed)
    _train(subsamples, cases, at_once)
    by_patient = read_json(run / "cohort" / "flow.json")["label_unit"] == "patient"
    table = pd.DataFrame(
        {
            "row": f"{subsample.task.repeat}/{subsample.task.fold}",
            "share": subsample.share,
            "patients": subsample.patients,
            "auc": score_fold(subsample.task, by_patient=by_patient),
        }
        for subsample in subsamples
    )
    aucs = table.pivot_table(index="row", columns="share", values="auc", aggfunc="mean").to_numpy()
    sizes = table.groupby("share")["patients"].mean().to_numpy()
    inflation = sqrt(1 + len(aucs) * _test_share(tasks))
    curve = fit_learning_curve(sizes, aucs, inflation=inflation, seed=study.seed % 2**32)
    return conclude(model, curve, cohort=len({case.patient_id for case in cases}), rows=len(aucs))


def score_fold(task: FoldTask, *, by_patient: bool) -> float:
    """AUC of a finished fold on its test part.

    Args:
        task: The fold.
        by_patient: Whether labels belong to patients, whose scores are then the mean of their cases.
    """
    scores = gather_predictions([task])
    tested = scores[(scores["part"] == "test") & (scores["fold"] != FIXED)]
    units = tested.groupby("patient_id" if by_patient else "case_id").agg(
        label=("label", "first"), score=("score", "mean")
    )
    return float(roc_auc(units["label"].to_numpy(), units["score"].to_numpy())[0])


def _train(subsamples: Sequence[Subsample], cases: Sequence[PreparedCase], workers: int) -> None:
    tasks = [subsample.task for subsample in subsamples]
    to_do = [task for task in tasks if not task.is_finished()]
    if to_do and to_do[0].start:
        refuse_damaged(cases)
    if to_do and to_do[0].features:
        share_features(to_do[0], cases)
    failures: list[str] = []
    with show_progress("learning curve", len(to_do)) as advance:
        for outcome in run_many(train_fold, to_do, workers=workers, describe=lambda task: str(task.folder)):
            if outcome.failure:
                failures.append(f"{outcome.item.name}: {outcome.failure}")
            advance()
    if failures:
        raise DataError(
            f"{len(failures)} of {len(tasks)} trainings failed, such as {failures[0]} "
            "(the same command trains only what is not finished)"
        )


def _test_share(tasks: Sequence[FoldTask]) -> float:
    """Test patients over those learnt from, mean of the folds."""
    return float(np.mean([len(task.test) / (len(task.training) + len(task.validation)) for task in tasks if task.test]))
