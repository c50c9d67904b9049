"""The table of predictions: what it must hold, and the rows that are scored.

A scored row ("unit") is a patient where labels belong to patients, a case where they belong to cases.
"""

import re
from typing import Any, get_args

import numpy as np
import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.errors import LeakageError, SingleClassError, TableError, UsageError
from genovox.evaluate.intervals import cluster_patients
from genovox.evaluate.schema import LabelUnit, PatientScore

REQUIRED_COLUMNS = ("case_id", "patient_id", "model", "repeat", "fold", "part", "label", "score")
_SCORE_OF_CASES: dict[PatientScore, str] = {"mean": "mean", "max": "max", "noisy-or": "prod"}
_ASSUMED = {"model": "model", "repeat": "0", "fold": FIXED, "part": "test"}
_ROW_KEY = ["model", "repeat", "fold", "part", "case_id"]


def validate_predictions(predictions: pd.DataFrame, *, label_unit: LabelUnit) -> pd.DataFrame:
    """Check a table of predictions and bring its columns to their types.

    Args:
        predictions: One row a case x model x repeat x fold x part; ``REQUIRED_COLUMNS`` and optionally ``family_id``.
        label_unit: Whether labels belong to patients or to cases.

    Returns:
        The rows in their order, with an added ``cluster``: the number of the independent cluster (patient and family).

    Raises:
        UsageError: If ``label_unit`` is neither "patient" nor "case".
        TableError: If the table is empty, lacks a column or value, repeats a row, contradicts itself, or the models
            were tested on different rows.
        LeakageError: If a patient or family stands in two parts of a fold, in the test part of two folds of a repeat,
            or in the fixed test part and elsewhere.
        SingleClassError: If the test rows hold one class.
    """
    if label_unit not in get_args(LabelUnit):
        raise UsageError(f"label_unit is 'patient' or 'case', got {label_unit!r}; say to what the labels belong")
    table = _convert_columns(predictions)
    _require_consistency(table, label_unit)
    table["cluster"] = cluster_patients(table["patient_id"], table.get("family_id"))
    _refuse_leakage(table)
    _require_same_tests(table)
    for fixed, rows in table[table["part"] == "test"].groupby(table["fold"] == FIXED):
        if rows["label"].nunique() < 2:
            where = "the fixed test part" if fixed else "the test folds"
            raise SingleClassError(
                f"{where} must hold carriers and non-carriers, got only label {rows['label'].iloc[0]}; "
                "widen the cohort or check its labels"
            )
    return table


def complete_predictions(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Add what another tool's table leaves out: one model, scored once on a fixed test part.

    Args:
        table: At least ``case_id, patient_id, label, score``.

    Returns:
        The table with ``REQUIRED_COLUMNS``, and what was assumed, in words.

    Raises:
        TableError: If it is empty, or its validation rows name no fold.
    """
    if table.empty:
        raise TableError("predictions need at least one row, got a header alone; check that every score was written")
    notes = []
    assumed = {name: value for name, value in _ASSUMED.items() if name not in table.columns}
    if "fold" in assumed and "part" not in assumed and (table["part"] == "val").any():
        raise TableError(
            "a table with validation rows must say of which fold they are, got part without fold; add a column fold"
        )
    if "fold" in assumed:
        notes.append("no column fold: every row is taken as a fixed test part that was scored once")
    if "model" in assumed:
        notes.append('no column model: every score is taken as of one model, named "model"')
    return table.assign(**assumed), notes


def gather_units(table: pd.DataFrame, *, label_unit: LabelUnit, patient_score: PatientScore = "mean") -> pd.DataFrame:
    """The rows that are scored: one score a patient from its cases, or the cases as they are.

    Args:
        table: From ``validate_predictions``.
        label_unit: Whether labels belong to patients or to cases.
        patient_score: The mean of the cases' scores; the highest; or noisy-or, one minus the product of one minus
            each: the chance that any case shows it if cases err independently, which scans of one woman do not.

    Returns:
        Columns model, repeat, fold, part, unit, patient_id, cluster, label, score, cases (number behind the row),
        sorted, so that the order of the input never matters.
    """
    unit = "patient_id" if label_unit == "patient" else "case_id"
    ordered = table.sort_values(_ROW_KEY, kind="stable").assign(unit=lambda rows: rows[unit])
    if patient_score == "noisy-or":
        ordered["score"] = 1 - ordered["score"]
    grouped = ordered.groupby(["model", "repeat", "fold", "part", "unit"], sort=True)
    units = grouped.agg(
        patient_id=("patient_id", "first"),
        cluster=("cluster", "first"),
        label=("label", "first"),
        score=("score", _SCORE_OF_CASES[patient_score]),
        cases=("case_id", "size"),
    ).reset_index()
    return units.assign(score=1 - units["score"]) if patient_score == "noisy-or" else units


def _convert_columns(predictions: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in REQUIRED_COLUMNS if name not in predictions.columns]
    if missing:
        raise TableError(
            f"predictions need the columns {', '.join(REQUIRED_COLUMNS)}, got none named {', '.join(missing)}; "
            "add or rename them"
        )
    if predictions.empty:
        raise TableError("predictions need at least one row, got an empty table; check that training finished")
    table = predictions.reset_index(drop=True)
    counted = predictions.index + 2  # as a spreadsheet counts, the header being row 1
    for name in REQUIRED_COLUMNS:
        empty = table[name].isna() | (table[name].astype(str).str.strip() == "")
        if empty.any():
            raise TableError(
                f"{name} must have a value in every row, got {int(empty.sum())} empty "
                f"(first: row {counted[_first(empty)]}); remove the rows with a reason or score them again"
            )
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in ("repeat", "label", "score")}
    rules = {
        "part": (table["part"].isin(["val", "test"]), "'val' or 'test'"),
        "repeat": (numbers["repeat"] % 1 == 0, "a whole number"),
        "label": (numbers["label"].isin([0, 1]), "0 or 1; leave out rows without a label"),
        "score": (numbers["score"].between(0, 1), "a probability from 0 to 1; apply the sigmoid to logits"),
    }
    for name, (kept, rule) in rules.items():
        if not kept.all():
            row = _first(~kept)
            value = table[name].iloc[row]
            if re.fullmatch(r"\d+,\d+", str(value)):
                rule = "a number with a decimal point, not a comma"  # noqa: PLW2901 - the loop ends here
            raise TableError(f"{name} must be {rule}; got {value!r} in row {counted[row]}")
    return table.assign(
        **{name: table[name].astype(str) for name in ("case_id", "patient_id", "model", "fold")},
        repeat=numbers["repeat"].astype(np.int64),
        label=numbers["label"].astype(np.int64),
        score=numbers["score"].astype(np.float64),
    )


def _first(mask: pd.Series) -> int:
    return int(np.flatnonzero(mask.to_numpy())[0])


def _require_consistency(table: pd.DataFrame, label_unit: LabelUnit) -> None:
    repeated = table.duplicated(_ROW_KEY)
    if repeated.any():
        key = ", ".join(f"{name} {table[name].iloc[_first(repeated)]}" for name in _ROW_KEY)
        raise TableError(f"a case has one row a model, repeat, fold and part; got two for {key}; keep one")
    owner = "patient_id" if label_unit == "patient" else "case_id"
    for key, value in (("case_id", "patient_id"), (owner, "label")):
        several = table.groupby(key)[value].nunique()
        if (several > 1).any():
            name = several.index[several > 1][0]
            values = sorted(table.loc[table[key] == name, value].unique().tolist())
            advice = (
                "; if labels belong to cases, say label_unit='case' (--label-unit case)"
                if key == "patient_id"
                else "; correct the table"
            )
            raise TableError(f"a {key} has one {value}, got {values} for {name}{advice}")
    if not (table["part"] == "test").any():
        raise TableError("predictions need rows with part 'test', got only 'val'; score the test folds")


def _refuse_leakage(table: pd.DataFrame) -> None:
    test, fixed = table["part"] == "test", table["fold"] == FIXED
    rotating = table[test & ~fixed]
    _refuse_shared(table.groupby(["repeat", "fold", "cluster"])["part"].nunique(), table, "one part of a fold")
    _refuse_shared(
        rotating.groupby(["repeat", "cluster"])["fold"].nunique(), table, "the test part of one fold a repeat"
    )
    held_out = table["cluster"].isin(table.loc[test & fixed, "cluster"])
    places = table[held_out].assign(place=~(test & fixed)).groupby("cluster")["place"].nunique()
    _refuse_shared(places, table, "the fixed test part or the folds")


def _refuse_shared(places: "pd.Series[int]", table: pd.DataFrame, rule: str) -> None:
    shared = places.index[places > 1]
    if not len(shared):
        return
    clusters = shared.get_level_values("cluster")
    patients = sorted(table.loc[table["cluster"].isin(clusters), "patient_id"].unique())
    shown = ", ".join(patients[:5]) + (", ..." if len(patients) > 5 else "")
    raise LeakageError(
        f"a patient, or a family, stands in {rule}, got {len(patients)} that stand in two ({shown}); "
        "make the folds by patient and family and train again"
    )


def _require_same_tests(table: pd.DataFrame) -> None:
    test = table[table["part"] == "test"]
    fixed = test[test["fold"] == FIXED]
    if fixed.duplicated(["model", "case_id"]).any():
        raise TableError(
            f"the fixed test part is scored once, got {fixed['repeat'].nunique()} repeats of it; "
            "keep the row of one repeat a case and model"
        )
    reference: set[tuple[Any, ...]] = set()
    for model, rows in test.groupby("model", sort=False):
        tested: set[tuple[Any, ...]] = set(zip(rows["repeat"], rows["fold"], rows["case_id"], strict=True))
        reference = reference or tested
        if tested != reference:
            raise TableError(
                f"all models are tested on the same rows, got {len(tested ^ reference)} that differ for {model}; "
                "finish its folds or leave the model out"
            )
