"""Tables as laboratories really write them."""

import re
from pathlib import Path

import pytest

from genovox.core.errors import TableError
from genovox.genetics.classifications import PATHOGENIC, UNCLASSIFIED
from genovox.genetics.coverage import Panel
from genovox.genetics.laboratory import COLUMNS, RESULTS, Row, RowReader

READER = RowReader(("BRCA1", "BRCA2"))
PANELS = {
    "hereditary": Panel("Hereditary", {"BRCA1": "full", "BRCA2": "full"}, "no"),
    "ashkenazi": Panel("Ashkenazi", {"BRCA1": "founder", "BRCA2": "founder"}),
}


def _read(folder: Path, text: str, reader: RowReader = READER, name: str = "tests.csv") -> dict[str, list[Row]]:
    (folder / name).write_text(text)
    rows: dict[str, list[Row]] = {}
    reader.read_table(folder / name, name, lambda patient_id, row: rows.setdefault(patient_id, []).append(row))
    return rows


def _one(folder: Path, header: str, cells: str, reader: RowReader = READER) -> Row:
    ((row,),) = _read(folder, f"{header}\n{cells}\n", reader).values()
    return row


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize(
    "header",
    [
        "patient_id,gene,hgvs,classification,result,genes_tested,scope,origin",
        "Patient,Gene Symbol,Nucleotide change,Interpretation,Result,Tested genes,Assay,Germline/Somatic",
        "SAMPLE ID,symbol,HGVSc,Clinical significance,finding,gene_list,Test scope,Allele.origin",
    ],
)
def test_columns_by_other_names(tmp_path: Path, header: str, separator: str) -> None:
    cells = "p1,BRCA1,c.68_69delAG,Pathogenic,Positive,BRCA1/2,full,germline"
    row = _one(tmp_path, header.replace(",", separator), cells.replace(",", separator))
    assert (row.genes, row.names, row.classification) == (frozenset({"BRCA1"}), frozenset({"c:68_69del"}), PATHOGENIC)
    assert (row.detected, row.scope, row.origin, row.full) == (True, "full", "germline", frozenset({"BRCA1", "BRCA2"}))
    assert row.problem == ""


def test_every_other_name_is_told_once() -> None:
    words = [word for names in COLUMNS.values() for word in names.split(", ")]
    assert len(words) == len(set(words))


def test_patient_gene_and_class_are_enough(tmp_path: Path) -> None:
    row = _one(tmp_path, "patient,gene,class", "p1,RNF53,5")
    assert (row.genes, row.detected, row.classification, row.scope) == (frozenset({"BRCA1"}), True, PATHOGENIC, "")
    assert (row.origin, row.full, row.problem) == ("unknown", frozenset(), "")


def test_a_variant_tells_its_gene(tmp_path: Path) -> None:
    row = _one(tmp_path, "patient,variant,class", "p1,NM_000059.4:c.5946delT,LP")
    assert (row.genes, row.is_likely) == (frozenset({"BRCA2"}), True)


def test_a_gene_and_a_variant_of_another_gene(tmp_path: Path) -> None:
    for variant in ("NM_007294.4:c.68_69del", "BRCA1 c.68_69del", "NM_007294.4(BRCA1):c.68_69del"):
        row = _one(tmp_path, "patient,gene,variant,class", f"p1,BRCA2,{variant},5")
        assert row.problem == "gene and variant in tests.csv row 2 are of two genes: correct one"
    assert _one(tmp_path, "patient,gene,variant,class", "p1,BRCA1/2,NM_007294.4:c.68_69del,5").problem == ""


def test_old_names_have_a_column_of_their_own(tmp_path: Path) -> None:
    row = _one(tmp_path, "patient,gene,hgvs,bic,class", "p1,BRCA1,,1186A>G,benign")
    assert row.names == {"c:1067a>g"}
    row = _one(tmp_path, "patient,gene,hgvs,bic,class", "p1,BRCA1,c.5A>G,1186A>G,benign")
    assert row.names == {"c:5a>g"}


@pytest.mark.parametrize(
    ("header", "cells", "detected", "classification"),
    [
        ("patient,gene,result", "p1,BRCA1,Likely pathogenic", True, PATHOGENIC),
        ("patient,gene,result", "p1,BRCA1,wild type", False, UNCLASSIFIED),
        ("patient,gene,class", "p1,BRCA1,negative", False, UNCLASSIFIED),
        ("patient,gene,variant", "p1,BRCA1,c.68_69del", True, UNCLASSIFIED),
        ("patient,gene,class,result", "p1,BRCA1,,Pathogenic", True, PATHOGENIC),
    ],
)
def test_one_column_for_result_and_class(
    tmp_path: Path, header: str, cells: str, detected: bool, classification: str
) -> None:
    row = _one(tmp_path, header, cells)
    assert (row.detected, row.classification, row.problem) == (detected, classification, "")


def test_a_row_that_says_nothing_is_no_negative(tmp_path: Path) -> None:
    row = _one(tmp_path, "patient,gene,class", "p1,BRCA1,")
    assert not row.detected
    assert row.problem.startswith("result '' in tests.csv row 2 is none of")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("gene,class", "add patient_id"),
        ("patient,class", "add gene or hgvs"),
        ("patient,gene", "add result or classification"),
        ("a,b", "add patient_id, gene or hgvs, result or classification"),
        ("patient,gene,class,significance", "the columns class and significance both tell classification"),
    ],
)
def test_a_table_that_does_not_say_enough(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        _read(tmp_path, f"{header}\n")


def test_a_patient_has_an_id(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"tests.csv row 3: patient_id must not be empty"):
        _read(tmp_path, "patient,gene,class\np1,BRCA1,5\n,BRCA1,5\n")


def test_panels_say_what_was_read(tmp_path: Path) -> None:
    header, reader = "patient,panel,result,origin,scope,genes_tested", RowReader(READER.listed, panels=PANELS)
    row = _one(tmp_path, header, "p1,Hereditary,negative,germline,,", reader)
    assert (row.full, row.scope) == (frozenset({"BRCA1", "BRCA2"}), "full")
    assert row.limits == ("a full test without deletions and duplications of exons (CNV)",)
    row = _one(tmp_path, header, "p1,HEREDITARY,negative,germline,,BRCA1", reader)
    assert row.full == {"BRCA1"}
    row = _one(tmp_path, header, "p1,Hereditary,negative,germline,single site,", reader)
    assert row.full == frozenset()
    row = _one(tmp_path, header, "p1,Ashkenazi,negative,germline,,", reader)
    assert (row.full, row.scope) == (frozenset(), "founder")
    row = _one(tmp_path, header, "p1,Other,negative,germline,,", reader)
    assert row.problem == "panel 'Other' in tests.csv row 2 is not in the table of panels: add it there"
    row = _one(tmp_path, header, "p1,Hereditary,negative,germline,,")
    assert row.full == frozenset()
    assert row.warnings == ("a panel is named and no table of panels says what it reads: give panels",)


@pytest.mark.parametrize(
    ("column", "cell", "word"),
    [
        ("method", "DHPLC + Sanger", "limited sensitivity"),
        ("mlpa", "not done", "without deletions and duplications"),
        ("zygosity", "mosaic", "clonal haematopoiesis"),
        ("vaf", "12%", "clonal haematopoiesis"),
        ("vaf", "0,12", "clonal haematopoiesis"),
        ("vaf", "12", "clonal haematopoiesis"),
        ("vaf", "48%", ""),
        ("vaf", "1.2.3", ""),
        ("mlpa", "yes", ""),
        ("method", "NGS", ""),
        ("zygosity", "het", ""),
    ],
)
def test_what_is_odd_is_told(tmp_path: Path, column: str, cell: str, word: str) -> None:
    header = f"patient;gene;class;scope;genes_tested;{column}"
    row = _one(tmp_path, header, f"p1;BRCA1;5;full;BRCA1;{cell}")
    assert row.classification == PATHOGENIC
    if word:
        assert any(word in warning for warning in (*row.warnings, *row.limits))
    else:
        assert row.warnings == row.limits == ()


MAF = "#version 2.4\nHugo_Symbol\tTumor_Sample_Barcode\tMutation_Status\tHGVSc\tTranscript_ID\tt_depth\tt_alt_count\n"


def test_a_maf_is_somatic_unless_it_says_germline(tmp_path: Path) -> None:
    rows = _read(
        tmp_path,
        MAF
        + "BRCA1\tp1\tGermline\tc.68_69del\tENST00000357654\t100\t48\n"
        + "BRCA1\tp1\tSomatic\tENST00000357654.9:c.181T>G\t\t\t\n"
        + "BRCA2\tp2\t\tc.5946del\tENST00000380152\t100\t12\n",
        name="calls.maf",
    )
    one, two = rows["p1"]
    assert (one.origin, one.names, one.number, one.warnings) == ("germline", frozenset({"c:68_69del"}), 3, ())
    assert (two.origin, two.names) == ("somatic", frozenset({"c:181t>g"}))
    (three,) = rows["p2"]
    assert (three.origin, three.detected) == ("somatic", True)
    assert "clonal haematopoiesis" in three.warnings[0]
    assert not any(row.full for row in (one, two, three))


@pytest.mark.parametrize("row", ["BRCA1\tp1\tGermline\tc.1A>G\t\tx\t5\n", "BRCA1\tp1\tGermline\tc.1A>G\t\t0\t0\n"])
def test_a_maf_without_reads_has_no_fraction(tmp_path: Path, row: str) -> None:
    ((found,),) = _read(tmp_path, MAF + row).values()
    assert (found.detected, found.warnings) == (True, ())


def test_a_maf_needs_names(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is a MAF without HGVSc"):
        _read(tmp_path, "Hugo_Symbol\tTumor_Sample_Barcode\nBRCA1\tp1\n")


def test_a_maf_may_name_the_patient(tmp_path: Path) -> None:
    text = MAF.replace("t_depth", "Patient_ID") + "BRCA1\tt1\tGermline\tc.68_69del\t\tp1\t\n"
    assert set(_read(tmp_path, text)) == {"p1"}


def test_the_manual_names_every_word_for_a_result() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")
    line = next(line for line in manual.splitlines() if line.startswith("Words for `result`"))
    told = manual[manual.index(line) :].split("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", told)) - {"result"} == {
        word for words in RESULTS.values() for word in words.split(", ")
    }
