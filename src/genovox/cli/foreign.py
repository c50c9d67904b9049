"""Tables of other tools, read into the form of a study's own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genovox.cohort.splits import FIXED
from genovox.core.artifacts import read_table
from genovox.core.case import COLUMNS, SCAN_PREFIX
from genovox.core.errors import TableError
from genovox.evaluate.predictions import complete_predictions
from genovox.evaluate.stage import join_facts

REQUIRED = ("case_id", "patient_id", "label", "score")
_OF_CASES = {*COLUMNS, "fingerprint"}
_OF_PATIENTS = re.compile(
    r"^(age|birth|born|sex|weight|height|bmi|menarche|menopaus|parity|family history|subtype|grade|stage|histolog|"
    r"er|pr|her2|ki67|receptor|(breast )?density|indication|(prior |neoadjuvant )?treatment|neoadjuvant|clip|implant|"
    r"biopsy|(tumou?r|lesion) size)"
    r"( |$|\w*$)"
)
"""What the clinic knows of a patient, in a column's name as words; any other column says how she was scanned."""


@dataclass(frozen=True)
class ForeignTables:
    """What a user gave, in the form of a study's tables.

    Attributes:
        predictions: With every column that ``evaluate`` needs; rows of part ``train`` are kept.
        cases: A row a labelled case, label as text, scan metadata with their prefix; None if not given.
        clinic: What the clinic knows, by ``case_id``; None if nothing was given.
        folds: The fold plan, or None.
        exclusions: Everything left out, or None.
        notes: What was assumed, in words.
    """

    predictions: pd.DataFrame
    cases: pd.DataFrame | None = None
    clinic: pd.DataFrame | None = None
    folds: pd.DataFrame | None = None
    exclusions: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> pd.DataFrame:
        """The predictions without those of training patients, which are looked at for leaks only."""
        return self.predictions[self.predictions["part"] != "train"]

    @property
    def facts(self) -> pd.DataFrame | None:
        """All that is known of each case, for subgroups; None where no table of cases was given."""
        if self.cases is None or self.clinic is None:
            return self.cases
        return join_facts(self.cases, self.clinic)


def read_foreign_tables(
    path: Path,
    *,
    cases: Path | None = None,
    clinical: Path | None = None,
    folds: Path | None = None,
    exclusions: Path | None = None,
) -> ForeignTables:
    """Read a table of predictions and what lies beside it.

    Args:
        path: ``case_id, patient_id, label, score`` and optionally ``family_id, site, model, repeat, fold, part``.
        cases: ``case_id`` and optionally family, site, scan metadata and what the clinic knows.
        clinical: ``case_id`` or ``patient_id``, and what the clinic knows.
        folds: ``case_id, fold, part`` and optionally ``patient_id, repeat``.
        exclusions: ``case_id, patient_id, label`` of what was left out.

    Raises:
        TableError: If a table is missing, cannot be read, or does not match the others.
    """
    table, notes = complete_predictions(_read(path, REQUIRED))
    known, clinic = None, None
    if cases is not None:
        known, clinic = _read_cases(cases, table)
        if clinic is not None:
            named = ", ".join(name for name in clinic.columns if name != "case_id")
            notes.append(f"{cases.name}: taken as what the clinic knows, not as how the scan was made: {named}")
    if clinical is not None:
        clinic = _join_clinic(_read_clinic(clinical, table if known is None else known), clinic)
    plan = None
    if folds is not None:
        is_one_part = bool((table["fold"] == FIXED).all())
        plan = _read_folds(folds, table if known is None else known, is_one_part=is_one_part)
    left_out = None if exclusions is None else _read_exclusions(exclusions)
    return ForeignTables(table, known, clinic, plan, left_out, tuple(notes))


def _read(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise TableError(f"a table is a CSV file, got no such file: {path}; check the path")
    return read_table(path, required=required)


def _read_cases(path: Path, predictions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Cases with what the predictions know of them, and what the clinic knows apart."""
    table = _read(path, ("case_id",)).reset_index(drop=True)
    _require_once(path, table, "case_id")
    scored = predictions.drop_duplicates("case_id").set_index("case_id")
    absent = scored.index.difference(pd.Index(table["case_id"]))
    if len(absent):
        raise TableError(
            f"{path} must hold every case of the predictions, got none of {_name(absent)} "
            f"({len(absent)} of {len(scored)}); add their rows or correct case_id"
        )
    for name in ("patient_id", "family_id", "site", "label"):
        told = (
            table["case_id"].map(scored[name]) if name in scored else pd.Series(None, index=table.index, dtype=object)
        )
        if name not in table:
            table[name] = told.fillna("")
        elif name in scored:
            same = _same if name == "label" else pd.Series.eq
            wrong = told.notna() & ~same(table[name], told.fillna("")) & (told != "")
            if wrong.any():
                row = table[wrong].iloc[0]
                raise TableError(
                    f"a case has one {name}, got {row[name]!r} in {path} and {scored.loc[row['case_id'], name]!r} in "
                    f"the predictions for {row['case_id']}; correct one of them"
                )
    # A case without a patient or a label was neither learnt from nor tested.
    table = table[(table["patient_id"] != "") & pd.to_numeric(table["label"], errors="coerce").isin([0, 1])]
    table = table.reset_index(drop=True)
    free = [name for name in table.columns if name not in _OF_CASES and not name.startswith(SCAN_PREFIX)]
    personal = [name for name in free if _OF_PATIENTS.match(" ".join(re.findall(r"[a-z0-9]+", name.lower())))]
    clinic = table[["case_id", *personal]] if personal else None
    known = table.drop(columns=personal).rename(
        columns={name: SCAN_PREFIX + name for name in free if name not in personal}
    )
    return known, clinic


def _same(left: "pd.Series[str]", right: "pd.Series[str]") -> "pd.Series[bool]":
    """Whether numbers in text are equal, so that 1 and 1.0 are one label."""
    return pd.to_numeric(left, errors="coerce") == pd.to_numeric(right, errors="coerce")


def _read_clinic(path: Path, cases: pd.DataFrame) -> pd.DataFrame:
    table = _read(path, ())
    key = next((name for name in ("case_id", "patient_id") if name in table.columns), None)
    if key is None:
        raise TableError(f"{path} must name its rows by case_id or patient_id, got {_name(table.columns)}; add one")
    _require_once(path, table, key)
    columns = [name for name in table.columns if name not in ("case_id", "patient_id", "label")]
    ids = cases[["case_id", "patient_id"]].drop_duplicates("case_id")
    if not ids[key].isin(table[key]).any():
        raise TableError(f"{path} must hold cases of the predictions, got no {key} of theirs; correct {key}")
    return ids[["case_id"]].assign(**{name: ids[key].map(table.set_index(key)[name]).fillna("") for name in columns})


def _join_clinic(given: pd.DataFrame, found: pd.DataFrame | None) -> pd.DataFrame:
    """Columns of both; those of the clinical table win."""
    if found is None:
        return given
    rest = found[["case_id", *found.columns.difference(given.columns)]]
    return given.merge(rest, on="case_id", how="left").fillna("")


def _read_folds(path: Path, cases: pd.DataFrame, *, is_one_part: bool) -> pd.DataFrame:
    table = _read(path, ("case_id", "fold", "part")).reset_index(drop=True)
    wrong = table.loc[~table["part"].isin(["train", "val", "test"]), "part"]
    if len(wrong):
        raise TableError(f"{path}: part must be train, val or test, got {wrong.iloc[0]!r}; correct it")
    table = table.assign(repeat=table.get("repeat", "0"))
    whole = pd.to_numeric(table["repeat"], errors="coerce") % 1 == 0
    if not whole.all():
        raise TableError(f"{path}: repeat must be a whole number, got {table.loc[~whole, 'repeat'].iloc[0]!r}")
    if is_one_part and FIXED not in set(table["fold"]):
        several = table[["repeat", "fold"]].drop_duplicates()
        if len(several) > 1:
            raise TableError(
                f"{path} plans {len(several)} folds, so every score must name its own, got predictions without fold; "
                "add the columns repeat and fold to them"
            )
        table = table.assign(repeat="0", fold=FIXED)
    for name in ("patient_id", "family_id"):
        if name not in table and name in cases:
            table[name] = table["case_id"].map(cases.drop_duplicates("case_id").set_index("case_id")[name]).fillna("")
    nameless = table.loc[table["patient_id"] == "", "case_id"]
    if len(nameless):
        raise TableError(
            f"{path} must say of which patient each case is, got none for {_name(nameless)}; add a column patient_id"
        )
    return table


def _read_exclusions(path: Path) -> pd.DataFrame:
    table = _read(path, ("case_id", "patient_id", "label"))
    wrong = table.loc[~table["label"].isin(["", "0", "1"]), "label"]
    if len(wrong):
        raise TableError(f"{path}: label must be 0, 1 or empty, got {wrong.iloc[0]!r}; correct it")
    return table


def _require_once(path: Path, table: pd.DataFrame, key: str) -> None:
    repeated = table.loc[table[key].duplicated(), key]
    if len(repeated):
        raise TableError(f"{path} must have one row a {key}, got two of {repeated.iloc[0]}; keep one")


def _name(values: Sequence[str] | pd.Index | pd.Series) -> str:
    shown = [str(value) for value in list(values)[:3]]
    return ", ".join(shown) + (", ..." if len(values) > len(shown) else "")
