from pathlib import Path

import pandas as pd
import pytest

from genovox.core.errors import TableError
from genovox.genetics.comparison import CHANGE_COLUMNS, compare_labels, read_label_table


def _table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    columns = ["patient_id", "label", "BRCA1_status", "evidence"]
    return pd.DataFrame([(*row, "seen") for row in rows], columns=columns)


def test_who_changes() -> None:
    old = _table(("p1", "", "vus"), ("p2", "0", "non-carrier"), ("p3", "1", "carrier"), ("p5", "", "vus"))
    new = _table(
        ("p1", "1", "carrier"), ("p2", "0", "non-carrier"), ("p4", "0", "non-carrier"), ("p5", "", "conflicting")
    )
    changes = compare_labels(old, new)
    assert list(changes.itertuples(index=False, name=None)) == [
        ("p1", "", "1", "BRCA1 vus -> carrier", "seen", "seen"),
        ("p3", "1", "absent", "BRCA1 carrier -> absent", "seen", ""),
        ("p4", "absent", "0", "BRCA1 absent -> non-carrier", "", "seen"),
        ("p5", "", "", "BRCA1 vus -> conflicting", "seen", "seen"),
    ]
    assert compare_labels(old, old).empty
    assert tuple(compare_labels(old, old).columns) == CHANGE_COLUMNS


def test_tables_without_statuses(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("patient_id,label\np1,1\n")
    (tmp_path / "new.csv").write_text("patient_id,label\np1,0\n")
    changes = compare_labels(read_label_table(tmp_path / "old.csv"), read_label_table(tmp_path / "new.csv"))
    assert changes.to_numpy().tolist() == [["p1", "1", "0", "", "", ""]]


@pytest.mark.parametrize(
    ("text", "words"), [("patient_id\np1\n", "add label"), ("patient_id,label\np1,1\np1,0\n", "one stands twice")]
)
def test_what_is_no_table_of_labels(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_label_table(tmp_path / "labels.csv")
