"""Labels from a table: 1 carrier, 0 non-carrier, empty unknown. A class is never taken from anyone else."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_table
from genovox.core.case import Case
from genovox.core.errors import TableError
from genovox.core.names import split_words

UNITS = {"patient_id": "patient", "case_id": "case"}
_GENETIC = re.compile(
    r"label|carrier|genotype|germline|mutat|variant|hgvs|vus$|acmg|pathogen|hboc|brca|palb2|chek2|tp53|cdh1|stk11|rad51"
    r"|bard1|(^| )(atm|pten|vus|genes?|genetics?|class|classification|results?|tests?|tested|positive|status)( |$)"
)
"""In a column's name as words: what may be the result of a test."""
_SAFE = re.compile(r"(^| )(receptor|er|pr|her2|hormone|menopaus\w*|lymph|node|nodal|margin)( |$)")
"""Results and states of something else."""


@dataclass(frozen=True)
class LabelEvidence:
    """Why a case has the label it has.

    Attributes:
        label: 1, 0, or None with the reason.
        source: File and row the label stands in, or empty.
        reason: Why there is no label, or empty.
        statuses: What genetic tests say of each gene (``BRCA1 carrier; BRCA2 not-tested``), or empty.
    """

    case_id: str
    patient_id: str
    label: int | None
    source: str
    reason: str
    statuses: str = ""


@dataclass(frozen=True)
class LabelTable:
    """A labels file.

    Attributes:
        unit: ``patient`` or ``case``: whom the labels belong to.
        rows: Label, reason and row number by id.
        patients: Patient by case, where the table names both.
    """

    name: str
    unit: str
    rows: dict[str, tuple[int | None, str, int]]
    patients: dict[str, str]
    notes: tuple[str, ...] = ()

    def find_evidence(self, case: Case) -> LabelEvidence:
        """The label of a case, or the reason it has none."""
        key = case.patient_id if self.unit == "patient" else case.case_id
        if key not in self.rows:
            reason = f"no row in {self.name} for {self.unit} {key}; absence of a row is never a negative"
            return LabelEvidence(case.case_id, case.patient_id, None, "", reason)
        label, reason, number = self.rows[key]
        patient_id = self.patients.get(key, "") or case.patient_id
        if patient_id != case.patient_id:
            label = None
            reason = f"its patient is {patient_id} in {self.name} and {case.patient_id} in the manifest; correct one"
        return LabelEvidence(case.case_id, case.patient_id, label, f"{self.name} row {number}", reason)


def read_labels(path: Path, *, pseudonym: Callable[[str], str] = str) -> LabelTable:
    """Read a labels table.

    Args:
        path: CSV with ``patient_id,label`` or ``case_id,label`` (with both ids, labels belong to cases) and
            optionally ``reason`` for an empty label.
        pseudonym: The study's id of a patient, given the table's.

    Raises:
        TableError: For a missing column or an id that is empty or stands twice.
    """
    table = read_table(path, required=("label",))
    id_column = next((column for column in ("case_id", "patient_id") if column in table.columns), None)
    if id_column is None:
        raise TableError(
            f"{path.name} must have the columns patient_id,label or case_id,label, got {', '.join(table.columns)}; "
            "add the column that says whom a label belongs to"
        )
    rows: dict[str, tuple[int | None, str, int]] = {}
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        key, text = row[id_column], row["label"]
        if key and id_column == "patient_id":
            key = pseudonym(key)
        if not key:
            raise TableError(
                f"{path.name} row {number}: {id_column} must not be empty, the label is {text!r}; "
                "fill it in or delete the row"
            )
        if key in rows:
            raise TableError(
                f"{path.name} row {number}: {id_column} must be unique, it stands in row {rows[key][2]} too; "
                "keep the row that is confirmed"
            )
        rows[key] = (*_read_label(text, row.get("reason", ""), path.name), number)
    both = id_column == "case_id" and "patient_id" in table.columns
    patients = dict(zip(table["case_id"], table["patient_id"].map(pseudonym), strict=True)) if both else {}
    return LabelTable(path.name, UNITS[id_column], rows, patients)


def _read_label(text: str, reason: str, name: str) -> tuple[int | None, str]:
    """The label, or None and why: a value of another coding leaves the case out, it is never read as 0 or 1."""
    if not text:
        return None, f"label empty: {reason or f'no reason given in {name}'}"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value not in (0.0, 1.0):
        rule = "neither 0 (tested in full, none found) nor 1 (carrier); recode it"
        return None, f"label {text!r} is {rule}" + (f" ({reason})" if reason else "")
    return int(value), ""


def tells_label(column: str, genes: Sequence[str]) -> bool:
    """Whether a column's name reads like the result of a genetic test.

    Args:
        column: Its name, as it stands in the table.
        genes: Of the study.
    """
    words = split_words(column)
    is_other = _SAFE.search(words) and not re.search(r"gen|mutat|variant", words)
    return any(gene.lower() in words for gene in genes) or bool(_GENETIC.search(words) and not is_other)
