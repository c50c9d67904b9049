from pathlib import Path

import pytest

from genovox.core.case import Case
from genovox.core.errors import TableError
from genovox.genetics.labels import LabelTable, read_labels, tells_label


def _read(folder: Path, text: str) -> LabelTable:
    (folder / "labels.csv").write_text(text)
    return read_labels(folder / "labels.csv")


def _case(case_id: str, patient_id: str) -> Case:
    return Case(case_id, patient_id, ("x.nii",))


def test_labels_of_patients(tmp_path: Path) -> None:
    labels = _read(tmp_path, "patient_id,label,reason\np1,1,\np2,0,\np3,,not tested\np4,,\np5,1.0,\n")
    assert labels.unit == "patient"
    assert [labels.find_evidence(_case("c", f"p{i}")).label for i in (1, 2, 3, 4, 5)] == [1, 0, None, None, 1]
    assert labels.find_evidence(_case("c", "p2")).source == "labels.csv row 3"
    assert labels.find_evidence(_case("c", "p3")).reason == "label empty: not tested"
    assert labels.find_evidence(_case("c", "p4")).reason == "label empty: no reason given in labels.csv"


def test_absence_of_a_row_is_never_a_negative(tmp_path: Path) -> None:
    evidence = _read(tmp_path, "patient_id,label\np1,1\n").find_evidence(_case("c", "p10"))
    assert (evidence.label, evidence.source) == (None, "")
    assert evidence.reason == "no row in labels.csv for patient p10; absence of a row is never a negative"


def test_with_both_ids_labels_belong_to_cases(tmp_path: Path) -> None:
    labels = _read(tmp_path, "patient_id,case_id,label\np1,c1,1\np1,c2,0\n,c3,1\n")
    assert labels.unit == "case"
    assert labels.find_evidence(_case("c2", "p1")).label == 0
    assert labels.find_evidence(_case("c3", "p9")).label == 1
    assert labels.find_evidence(_case("p1", "p1")).label is None


def test_a_class_is_never_taken_from_another_patient(tmp_path: Path) -> None:
    evidence = _read(tmp_path, "patient_id,case_id,label\np1,c1,1\n").find_evidence(_case("c1", "p2"))
    assert evidence.label is None
    assert evidence.reason == "its patient is p1 in labels.csv and p2 in the manifest; correct one"


@pytest.mark.parametrize("value", ["2", "-1", "yes", "nan", "0.5", "carrier", "True"])
def test_another_coding_is_left_out_with_the_reason(tmp_path: Path, value: str) -> None:
    labels = _read(tmp_path, f"patient_id,label,reason\np1,1,\np2,{value},vote is equal\n")
    evidence = labels.find_evidence(_case("c2", "p2"))
    assert (evidence.label, evidence.source) == (None, "labels.csv row 3")
    assert evidence.reason.startswith(f"label {value!r} is neither 0")
    assert evidence.reason.endswith("(vote is equal)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient_id,status\np1,1\n", "must have the columns label, got patient_id, status; add label"),
        ("patient,label\np1,1\n", "must have the columns patient_id,label or case_id,label, got patient, label; add"),
        ("patient_id,label\np1,1\n\np1,0\n", "labels.csv row 4: patient_id must be unique, it stands in row 2 too"),
        ("patient_id,label\np1,1\n,1\n", "labels.csv row 3: patient_id must not be empty, the label is '1'; fill it"),
        ("patient_id;label\np1;1\n", "must separate its columns by commas, got 'patient_id;label'"),
        ("patient_id,label\np1,1,\np2,0,\n", "remove commas at the ends of the rows"),
    ],
)
def test_tables_that_break_a_rule(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError) as caught:
        _read(tmp_path, text)
    assert words in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_an_empty_table_labels_nobody(tmp_path: Path) -> None:
    assert _read(tmp_path, "patient_id,label\n").rows == {}


@pytest.mark.parametrize(
    "name",
    [
        "MutationStatus",
        "GeneResult",
        "mutation.status",
        "mutation(y/n)",
        "test_result",
        "pathogenicity",
        "HBOC",
        "carrier",
        "brca1",
        "BRCA-class",
        "PALB2 result",
        "Germline test",
        "positive",
    ],
)
def test_a_column_that_reads_like_a_result_is_told(name: str) -> None:
    assert tells_label(name, ("BRCA1", "PALB2"))


@pytest.mark.parametrize(
    "name",
    [
        "age",
        "receptor_status",
        "ERStatus",
        "HER2 result",
        "menopausal status",
        "family_history",
        "subtype",
        "grade",
        "indication",
        "lymph_node_status",
        "general_health",
        "parity",
        "staging",
    ],
)
def test_what_the_clinic_knows_besides_stays(name: str) -> None:
    assert not tells_label(name, ("BRCA1", "BRCA2"))
