"""Labels from a table: 1 carrier, 0 non-carrier, empty unknown. A class is never taken from anyone else."""

from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_table
from genovox.core.case import Case
from genovox.core.errors import TableError

UNITS = {"patient_id": "patient", "case_id": "case"}


@dataclass(frozen=True)
class LabelEvidence:
    """Why a case has the label it has.

    Attributes:
        label: 1, 0, or None with the reason.
        source: File and row the label stands in, or empty.
        reason: Why there is no label, or empty.
    """

    case_id: str
    patient_id: str
    label: int | None
    source: str
    reason: str


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


def read_labels(path: Path) -> LabelTable:
    """Read a labels table.

    Args:
        path: CSV with ``patient_id,label`` or ``case_id,label`` (with both ids, labels belong to cases) and
            optionally ``reason`` for an empty label.

    Raises:
        TableError: For a missing column, an id that stands twice, or a label that is not 0, 1 or empty.
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
        if not key:
            raise TableError(
                f"{path.name} row {number}: {id_column} must not be empty, the label is {text!r}; "
                "fill it in or delete the row"
            )
        if key in rows:
            raise TableError(
                f"{path.name} row {number}: {id_column} must be unique, {key!r} stands in row {rows[key][2]} too; "
                "keep the row that is confirmed"
            )
        reason = "" if text else f"label empty: {row.get('reason') or f'no reason given in {path.name}'}"
        rows[key] = (_read_label(text, f"{path.name} row {number} ({key})"), reason, number)
    both = id_column == "case_id" and "patient_id" in table.columns
    patients = dict(zip(table["case_id"], table["patient_id"], strict=True)) if both else {}
    return LabelTable(path.name, UNITS[id_column], rows, patients)


def _read_label(text: str, place: str) -> int | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value not in (0.0, 1.0):
        raise TableError(
            f"{place}: label must be 0 (tested, none found), 1 (carrier) or empty (unknown), got {text!r}; "
            "recode it, or empty the cell and say why in a column named reason"
        )
    return int(value)
