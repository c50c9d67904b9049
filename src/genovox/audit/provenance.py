"""Where what was fitted came from: maps, epochs, thresholds and pretrained weights that may have seen test patients."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from genovox.audit.checks import Check
from genovox.cohort.splits import FIXED
from genovox.cohort.stage import GROUPED, UNTESTED
from genovox.core.artifacts import read_json, read_stage, read_table
from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.core.names import model_folder
from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.scoring import within_fold_auc
from genovox.statistics.sample_size import Counts, hanley_mcneil_variance

if TYPE_CHECKING:
    from genovox.volumes.nyul import StandardScale

LARGEST_GAP = 0.15
"""AUC by which choosing an epoch may flatter the validation patients."""
_FIT_KEYS = ["model", "repeat", "fold"]


def check_fitted(run: Path | None, folds: pd.DataFrame | None) -> Check:
    """Ask of everything a run has fitted whom it was fitted on.

    The records of the stages must form one chain (what was trained on is the plan and the volumes that lie there now),
    intensity maps are learnt again from each fold's training patients and must come out equal, and what was pretrained
    must not have met a tested patient or a relative.

    Args:
        run: A run's folder, trained; None for a table of another tool.
        folds: Its ``folds.csv``.
    """
    question = "Was everything fitted on training patients of its fold only?"
    threshold = "anything fitted on test patients is a leak; pretraining on their scans without labels is a warning"
    say = partial(Check, "fitted-in-fold", question, threshold=threshold)
    record = None if run is None else read_stage(run, "train")
    if run is None or folds is None or record is None:
        finding = "what was fitted, and on whom, is not in the table"
        return say("not-assessed", finding)
    broken = [
        name for name, key in record["parts"]["upstream"].items() if (read_stage(run, name) or {}).get("key") != key
    ]
    faults = [f"trained on another {' and '.join(broken)} than lies in the run"] if broken else []
    maps, wrong = _refit_maps(run, folds)
    if wrong:
        faults.append(f"{write_count(len(wrong), 'intensity map')} not of the training patients, such as {wrong[0]}")
    met, transductive = _meet_pretrained(run, folds)
    if met:
        count = write_count(met, "case")
        faults.append(f"pretrained on {count} of tested patients or their relatives, said to be untested")
    started = read_starts(run, record["parts"]["config"]["models"])
    for model, weights in started.items():
        if patients := weights.get("labelled_patients", 0):
            count = write_count(patients, "tested patient")
            faults.append(f"{model} starts from weights that have learnt from the labels of {count}")
    finding = "; ".join(faults)
    if faults:
        advice = "Remove the run's train folder and run again; genovox fits in the fold only."
        if any(weights.get("labelled_patients", 0) for weights in started.values()):
            advice = "Start from weights that have not met these patients, or from none, and run again."
        return say("fail", finding, figure=float(len(faults)), advice=advice)
    if transductive or any(weights["transductive"] for weights in started.values()):
        return say(
            "warn",
            "networks were pretrained on the test patients' scans, without labels (transductive)",
            figure=0.0,
            advice='Say so beside every figure, or set pretrain.cases = "untested".',
        )
    unknown = [model for model, weights in started.items() if not weights.get("is_known", True)]
    if unknown:
        finding = f"whom the weights of {', '.join(unknown)} have met is not in their files"
        return say("not-assessed", finding, advice="Ask whoever made them whether a patient of this study was among.")
    finding = "the stages form one chain" + (
        f", and {write_count(maps, 'intensity map')} learnt again came out equal" if maps else ""
    )
    return say("pass", finding, figure=0.0)


def check_early_stopping(predictions: pd.DataFrame, histories: Mapping[str, pd.DataFrame] | None = None) -> Check:
    """Ask whether the epoch was chosen on test patients.

    Args:
        predictions: Columns ``model, repeat, fold, part, case_id, patient_id``.
        histories: ``history.csv`` of each fold of a run; None for a table of another tool, which shows whom it
            validated on, but not what was chosen on them.
    """
    question = "Was the epoch chosen without the test patients?"
    threshold = "any test patient among the validation patients of its fold is a leak: the best epoch is the luckiest"
    say = partial(Check, "early-stopping", question, threshold=threshold)
    parts = {part: predictions[predictions["part"] == part] for part in ("val", "test")}
    if parts["val"].empty:
        finding = "no validation scores: what the epoch was chosen on cannot be seen"
        return say("not-assessed", finding)
    both = parts["val"].merge(parts["test"], on=[*_FIT_KEYS, "patient_id"])
    if len(both):
        patients = both["patient_id"].nunique()
        return say(
            "fail",
            f"{write_count(patients, 'patient')} validated on and tested in the same fold, such as "
            f"{both['patient_id'].iloc[0]}",
            figure=float(patients),
            advice="Take the validation patients from the training part, choose the epoch on them, and test once.",
        )
    if histories is None:
        finding = "validation and test share no patient, but how the epoch was chosen is not in the table"
        return say("not-assessed", finding)
    odd = [name for name, history in histories.items() if not _is_best_by_validation(history)]
    if odd:
        finding = (
            f"{write_count(len(odd), 'fold')} with neither the best epoch of validation nor the last, such as {odd[0]}"
        )
        return say(
            "fail",
            finding,
            figure=float(len(odd)),
            advice="Remove these folds from the run's train folder and train again.",
        )
    learnt = write_count(len(histories), "history", "histories")
    finding = f"validation and test share no patient; {learnt} with the best epoch of validation kept, or the last"
    return say("pass", finding, figure=0.0)


def read_histories(run: Path) -> dict[str, pd.DataFrame]:
    """``history.csv`` of every finished fold of a run, by its folder in ``train``."""
    # Only a run needs what knows its folders, and that brings torch: a plain table is audited without.
    from genovox.learning.journal import HISTORY  # noqa: PLC0415 - brings torch
    from genovox.train.plan import RECORD  # noqa: PLC0415 - brings torch

    train = run / "train"
    return {
        str(path.parent.relative_to(train)): read_table(path).astype({"epoch": int, "validation_loss": float})
        for path in sorted(train.glob(f"*/repeat-*/fold-*/{HISTORY}"))
        if (path.parent / RECORD).exists()
    }


def check_test_threshold(predictions: pd.DataFrame) -> Check:
    """Ask whether the threshold of a table is the one that suits its test patients best.

    A threshold fixed elsewhere falls between the same two test scores as the best one only by luck, and equals one of
    them to the last digit by less, so a match in most fits is no luck.

    Args:
        predictions: With a ``threshold`` in each row, as other tools may write; without it nothing can be seen.
    """
    question = "Was the threshold chosen without the test patients?"
    threshold = "a threshold that is the best for the test scores, and not for the validation scores, warns"
    say = partial(Check, "test-threshold", question, threshold=threshold)
    if "threshold" not in predictions:
        finding = "the table states no thresholds; genovox fixes its own on validation patients"
        return say("not-assessed", finding)
    cuts = pd.to_numeric(predictions["threshold"], errors="coerce")
    scores = predictions["score"].astype(float)
    if (_shorten(scores) == scores).all():
        cuts = _shorten(cuts)
    fits = matched = 0
    for _, rows in predictions.assign(threshold=cuts).groupby(_FIT_KEYS):
        test, val = rows[rows["part"] == "test"], rows[rows["part"] == "val"]
        values = test["threshold"].dropna().unique()
        if len(values) != 1 or test["label"].astype(int).nunique() < 2:
            continue
        fits += 1
        matched += _is_of_test(test, val, float(values[0]))
    if not fits:
        finding = "no fit has one threshold and test patients of both classes"
        return say("not-assessed", finding)
    finding = f"in {matched} of {fits} fits the threshold is the best there is for the test scores"
    if matched > fits / 2:
        advice = "Fix the threshold on validation patients and report what it gives on the test patients."
        return say("warn", finding, figure=matched / fits, advice=advice)
    return say("pass", finding, figure=matched / fits)


def check_validation_gap(predictions: pd.DataFrame) -> Check:
    """Ask whether validation patients score so much better than test patients that they must have been learnt from.

    Args:
        predictions: Columns ``model, repeat, fold, part, label, score``.

    References:
        Hanley & McNeil (1982), doi:10.1148/radiology.143.1.7063747, for the variances.
    """
    question = "Do validation patients score as if they had been trained on?"
    threshold = (
        f"warns where the 95% interval of AUC(validation) - AUC(test) lies above {LARGEST_GAP:g}, more than "
        "choosing an epoch gives"
    )
    say = partial(Check, "validation-gap", question, threshold=threshold)
    gaps = [_measure_gap(rows) for _, rows in predictions[predictions["fold"].astype(str) != FIXED].groupby("model")]
    known = [gap for gap in gaps if gap is not None]
    if not known:
        finding = "no model has validation and test scores of both classes"
        return say("not-assessed", finding)
    if all(test > 1 - LARGEST_GAP for *_, test in known):
        finding = f"an AUC of {min(test for *_, test in known):.2f} or more on test patients leaves no room for a gap"
        return say("not-assessed", finding)
    gap, low, high, _ = max(known, key=lambda found: found[1])
    finding = f"AUC on validation patients is {gap:+.2f} against that on test patients ({low:+.2f} to {high:+.2f})"
    if len(known) > 1:
        finding += f", the largest of {len(known)} models"
    if low > LARGEST_GAP:
        advice = "Look for a step of the optimiser inside the validation loop, and for choices made on few patients."
        return say("warn", finding, figure=gap, low=low, high=high, advice=advice)
    return say("pass", finding, figure=gap, low=low, high=high)


def check_model_choice(predictions: pd.DataFrame, *, is_declared: bool) -> Check:
    """Ask whether the model to report was named before the test patients were scored.

    Args:
        predictions: Columns ``model, repeat, fold, part, label, score``.
        is_declared: Whether a study file names the first model as the primary one, as every run's does.
    """
    question = "Was the model to report named before the test patients were scored?"
    threshold = "several models on the same test patients, none named beforehand, warn: the best of many is partly luck"
    say = partial(Check, "model-choice", question, threshold=threshold)
    test = predictions[predictions["part"] == "test"]
    models = test["model"].astype(str).unique()
    if is_declared:
        finding = f"{models[0]} was named in the study before any was scored ({write_count(len(models), 'model')})"
        return say("pass", finding, figure=float(len(models)))
    if len(models) < 2:
        finding = "how many models were tried is not in the table"
        return say("not-assessed", finding)
    typed = test.astype({"model": str, "repeat": float, "label": int, "score": float})
    aucs = {str(model): float(within_fold_auc(rows)[0]) for model, rows in typed.groupby("model")}
    known = {model: auc for model, auc in aucs.items() if not np.isnan(auc)}
    finding = f"{len(models)} models are tested on the same patients, and none is known to have been named beforehand"
    if known:
        best = max(known, key=lambda model: known[model])
        finding += f": AUC {min(known.values()):.2f} to {known[best]:.2f}, the best is {best}"
    advice = "Name one model before any is tested, or choose among them on validation patients and test the choice."
    return say("warn", finding, figure=float(len(models)), advice=advice)


def _refit_maps(run: Path, folds: pd.DataFrame) -> tuple[int, list[str]]:
    """How many maps of folds lie there, and those that the fold's training patients do not give."""
    from genovox.train.fitted import FITTED  # noqa: PLC0415 - brings torch
    from genovox.volumes.nyul import LANDMARK_NAMES, learn_scale  # noqa: PLC0415 - brings torch

    paths = sorted((run / "train").glob(f"*/repeat-*/fold-*/{FITTED}"))
    if not paths:
        return 0, []
    landmarks = (
        read_table(run / "preprocess" / "landmarks.csv").set_index("case_id")[list(LANDMARK_NAMES)].astype(float)
    )
    wrong = []
    for path in paths:
        repeat, fold = path.parents[1].name.removeprefix("repeat-"), path.parent.name.removeprefix("fold-")
        rows = (folds["repeat"].astype(str) == repeat) & (folds["fold"].astype(str) == fold)
        training = folds.loc[rows & (folds["part"] == "train"), "case_id"]
        known = landmarks.loc[[case for case in landmarks.index if case in set(training)]]
        expected = learn_scale([tuple(row) for row in known.to_numpy().tolist()])
        found = _read_scale(path)
        if found is None or not np.allclose(astuple(expected)[0], astuple(found)[0], atol=1e-6):
            wrong.append(str(path.parent.relative_to(run / "train")))
    return len(paths), wrong


def _read_scale(path: Path) -> "StandardScale | None":
    """A fold's map, or None where it is damaged."""
    from genovox.volumes.nyul import StandardScale  # noqa: PLC0415 - brings torch

    try:
        return StandardScale.from_dict(read_json(path))
    except DataError:
        return None


def _meet_pretrained(run: Path, folds: pd.DataFrame) -> tuple[int, bool]:
    """Cases said to be untested that are of a tested patient or family, and whether all scans were learnt from."""
    record = run / "pretrain" / "pretrain.json"
    untested = run / "cohort" / UNTESTED
    if not record.exists() or not untested.exists():
        return 0, False
    table = read_table(untested)
    met = np.zeros(len(table), bool)
    for column in GROUPED:
        met |= table[column].isin(set(folds[column]) - {""}).to_numpy()
    return int(met.sum()), bool(read_json(record)["transductive"])


def read_starts(run: Path, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is on record of the weights that each model started from; one that started from none is left out."""
    paths = {model: run / "train" / model_folder(model) / "weights.json" for model in models}
    return {model: read_json(path) for model, path in paths.items() if path.exists()}


def _is_best_by_validation(history: pd.DataFrame) -> bool:
    """Whether the epoch marked as kept is the best so far by the loss on validation patients, or the last of all."""
    kept = history[history["best"].astype(str) == "True"]
    if kept.empty:
        return True
    last = kept.iloc[-1]
    return bool(last["validation_loss"] == history["validation_loss"].min() or last["epoch"] == history["epoch"].max())


def _shorten(numbers: pd.Series) -> pd.Series:
    """Numbers in the digits of single precision, as tables hold networks' scores: a threshold is taken from them."""
    return pd.Series(numbers.to_numpy(np.float32).astype(str).astype(float), index=numbers.index)


def _is_of_test(test: pd.DataFrame, val: pd.DataFrame, threshold: float) -> bool:
    """Whether a threshold is the test scores' best and not the validation scores', or is a test score to the digit."""
    if not _suits_best(test, threshold):
        return False
    is_copied = bool((test["score"].astype(float) == threshold).any())
    is_copied = is_copied and not bool((val["score"].astype(float) == threshold).any())
    return is_copied or val.empty or not _suits_best(val, threshold)


def _suits_best(rows: pd.DataFrame, threshold: float) -> bool:
    """Whether no other cut of the scores gives a larger Youden index or accuracy."""
    label = rows["label"].astype(int).to_numpy()
    score = rows["score"].astype(float).to_numpy()
    if len(np.unique(label)) < 2:
        return False
    specificity_loss, sensitivity, _ = roc_curve(label, score, drop_intermediate=False)
    called = score >= threshold
    hit, false = called[label == 1].mean(), called[label == 0].mean()
    share = label.mean()
    youden = hit - false >= (sensitivity - specificity_loss).max() - 1e-12
    accuracy = share * sensitivity + (1 - share) * (1 - specificity_loss)
    return bool(youden or share * hit + (1 - share) * (1 - false) >= accuracy.max() - 1e-12)


def _measure_gap(rows: pd.DataFrame) -> tuple[float, float, float, float] | None:
    """Difference of the mean AUCs within the folds of the first repeat, its 95% interval, and the AUC on test."""
    first = rows[rows["repeat"] == rows["repeat"].min()]
    gaps, variances, tested = [], [], []
    for _, fold in first.groupby("fold"):
        measured = []
        for part in ("val", "test"):
            of_part = fold[fold["part"] == part]
            label = of_part["label"].astype(int).to_numpy()
            if 0 < label.sum() < len(label):
                auc = float(roc_auc(label, of_part["score"].astype(float))[0])
                counts = Counts(int(label.sum()), int((1 - label).sum()))
                measured.append((auc, hanley_mcneil_variance(auc, counts) if 0 < auc < 1 else 0.0))
        if len(measured) == 2:
            gaps.append(measured[0][0] - measured[1][0])
            variances.append(measured[0][1] + measured[1][1])
            tested.append(measured[1][0])
    if not gaps:
        return None
    gap, half = float(np.mean(gaps)), 1.96 * float(np.sqrt(np.sum(variances))) / len(gaps)
    return gap, gap - half, gap + half, float(np.mean(tested))
