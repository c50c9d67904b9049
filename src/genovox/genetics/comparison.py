"""Who changes label or status between two tables of labels, such as those of two ClinVar releases."""

from pathlib import Path

import pandas as pd

from genovox.core.artifacts import read_table
from genovox.core.errors import TableError

CHANGE_COLUMNS = ("patient_id", "old_label", "new_label", "change", "old_evidence", "new_evidence")
ABSENT = "absent"
_SUFFIX = "_status"


def read_label_table(path: Path) -> pd.DataFrame:
    """A table that ``genovox labels`` wrote.

    Raises:
        TableError: For a table without ``patient_id,label``, or a patient who stands twice.
    """
    table = read_table(path, required=("patient_id", "label"))
    if table["patient_id"].duplicated().any():
        raise TableError(f"{path.name}: each patient must stand in one row, one stands twice; make the table again")
    return table


def compare_labels(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Patients whose label or status of a gene differs, by id.

    Args:
        old: ``patient_id,label`` and optionally ``<GENE>_status`` and ``evidence``; a row a patient.
        new: The same of later.

    Returns:
        ``CHANGE_COLUMNS``; a label is 1, 0, empty, or ``absent`` where the table has no row of the patient.
    """
    before, after = _index(old), _index(new)
    genes = [column for column in (*old.columns, *new.columns) if column.endswith(_SUFFIX)]
    rows = []
    for patient_id in sorted({*before, *after}):
        one, other = before.get(patient_id, {}), after.get(patient_id, {})
        labels = (one.get("label", ABSENT), other.get("label", ABSENT))
        changed = [
            f"{gene.removesuffix(_SUFFIX)} {one.get(gene, ABSENT)} -> {other.get(gene, ABSENT)}"
            for gene in dict.fromkeys(genes)
            if one.get(gene, ABSENT) != other.get(gene, ABSENT)
        ]
        if labels[0] != labels[1] or changed:
            evidence = (one.get("evidence", ""), other.get("evidence", ""))
            rows.append((patient_id, *labels, "; ".join(changed), *evidence))
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS), dtype=str)


def _index(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    return {str(row["patient_id"]): {str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")}
