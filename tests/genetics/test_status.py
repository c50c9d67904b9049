import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.case import Case
from genovox.core.errors import StudyError, TableError
from genovox.genetics.evidence import GeneticTests, Sources, read_genetic_tests

GENES = ("BRCA1", "BRCA2")
HEADER = ["patient_id", "gene", "hgvs", "classification", "result", "genes_tested", "scope", "test_date", "origin"]
Row = tuple[str, ...]
FULL = "BRCA1;BRCA2"
NONE_FOUND: Row = ("", "", "", "not detected", FULL, "full", "germline")
CARRIER: Row = ("BRCA1", "c.68_69del", "Pathogenic", "detected", FULL, "full", "germline")
VUS: Row = ("BRCA2", "c.7A>G", "VUS", "detected", FULL, "full", "germline")


def _write(path: Path, rows: Sequence[tuple[str, Row]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for patient_id, (*cells, origin) in rows:
        writer.writerow([patient_id, *cells, "2021-05-17", origin])
    path.write_text(text.getvalue())
    return path


def _read(
    rows: Sequence[tuple[str, Row]],
    *,
    genes: Sequence[str] = GENES,
    vus: str = "exclude",
    other_genes: str = "exclude",
    pseudonym: Callable[[str], str] = str,
) -> GeneticTests:
    with TemporaryDirectory() as folder:
        path = _write(Path(folder) / "genetic_tests.csv", rows)
        return read_genetic_tests(Sources([path], genes, vus, other_genes), pseudonym=pseudonym)


def _case(patient_id: str) -> Case:
    return Case("c", patient_id, ("x.nii",))


def _label(*rows: Row, vus: str = "exclude", other_genes: str = "exclude") -> tuple[int | None, str, str]:
    tests = _read([("pt-1", row) for row in rows], vus=vus, other_genes=other_genes)
    evidence = tests.find_evidence(_case("pt-1"))
    assert (evidence.case_id, evidence.patient_id) == ("c", "pt-1")
    assert (evidence.label is None) == bool(evidence.reason)
    return evidence.label, evidence.source, evidence.reason


def _change(row: Row, **cells: str) -> Row:
    names = [name for name in HEADER if name not in ("patient_id", "test_date")]
    assert cells.keys() <= set(names)
    return tuple(cells.get(name, value) for name, value in zip(names, row, strict=True))


@pytest.mark.parametrize(
    "rows",
    [
        (CARRIER,),
        (CARRIER, CARRIER),
        (_change(CARRIER, classification="likely pathogenic"),),
        (_change(CARRIER, scope="founder"),),
        (_change(CARRIER, scope="known familial variant", genes_tested="BRCA1"),),
        (_change(CARRIER, scope=""),),
        (_change(CARRIER, hgvs=""),),
        (_change(CARRIER, gene="brca1"),),
        (_change(CARRIER, gene="BRCA-1"),),
        (_change(CARRIER, gene="BRCA1/2"),),
        (CARRIER, VUS),
        (CARRIER, _change(VUS, gene="BRCA1")),
        (CARRIER, _change(VUS, classification="")),
        (CARRIER, NONE_FOUND),
        (_change(NONE_FOUND, scope="founder"), CARRIER),
        (CARRIER, _change(CARRIER, gene="CHEK2")),
        (CARRIER, _change(CARRIER, origin="somatic", result="not detected")),
        # Another variant is looked for and not found.
        (CARRIER, _change(CARRIER, hgvs="c.5266dup", result="not detected", scope="single-variant")),
    ],
)
def test_a_pathogenic_germline_variant_makes_a_carrier(rows: tuple[Row, ...]) -> None:
    label, _, reason = _label(*rows)
    assert (label, reason) == (1, "")


@pytest.mark.parametrize(
    "rows",
    [
        (NONE_FOUND,),
        (NONE_FOUND, NONE_FOUND),
        (_change(NONE_FOUND, gene="BRCA2", hgvs="-", classification="n/a"),),
        (_change(NONE_FOUND, genes_tested="brca1/2"),),
        # A gene-level row says itself which gene was read.
        (_change(NONE_FOUND, genes_tested="", gene="BRCA1/2"),),
        (_change(NONE_FOUND, genes_tested="", gene="BRCA1"), _change(NONE_FOUND, genes_tested="", gene="FANCD1")),
        (_change(NONE_FOUND, genes_tested="ATM, BRCA1/BRCA2; PALB2"),),
        (_change(NONE_FOUND, genes_tested="BRCA1"), _change(NONE_FOUND, genes_tested="BRCA2;TP53")),
        (NONE_FOUND, _change(NONE_FOUND, scope="founder")),
        (_change(VUS, classification="Likely benign"),),
        (NONE_FOUND, _change(VUS, gene="ATM")),
        # The familial variant is named with its class, and was not found.
        (NONE_FOUND, _change(CARRIER, result="not detected", scope="single-variant")),
        (NONE_FOUND, _change(CARRIER, result="not detected", scope="founder")),
        (_change(CARRIER, classification="Benign", result="not detected"),),
        (_change(CARRIER, classification="", result="not detected"),),
        (NONE_FOUND, _change(CARRIER, origin="tumour")),
    ],
)
def test_every_listed_gene_tested_in_full_and_none_found_is_a_negative(rows: tuple[Row, ...]) -> None:
    label, _, reason = _label(*rows)
    assert (label, reason) == (0, "")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            (_change(NONE_FOUND, scope="founder panel"),),
            "BRCA1, BRCA2 not tested in full, only by tests of scope founder (genetic_tests.csv row 2)",
        ),
        (
            (_change(NONE_FOUND, scope="single-variant"), _change(NONE_FOUND, scope="")),
            "only by tests of scope not stated, single-variant (genetic_tests.csv rows 2, 3)",
        ),
        ((_change(NONE_FOUND, genes_tested="BRCA1;PALB2"),), "1 of 2 listed genes not tested in full: BRCA2"),
        (
            (_change(NONE_FOUND, genes_tested="BRCA1"), _change(NONE_FOUND, genes_tested="BRCA2", scope="founder")),
            "1 of 2 listed genes not tested in full: BRCA2",
        ),
        ((_change(NONE_FOUND, genes_tested=""),), "2 of 2 listed genes not tested in full"),
        ((_change(NONE_FOUND, genes_tested="", gene="BRCA1"),), "1 of 2 listed genes not tested in full: BRCA2"),
        ((_change(NONE_FOUND, genes_tested="", gene="BRCA1/2", scope=""),), "only by tests of scope not stated"),
        ((_change(VUS, genes_tested="", classification="Benign"),), "2 of 2 listed genes not tested in full"),
        (
            (_change(NONE_FOUND, genes_tested="all except BRCA1;BRCA2"),),
            "genes_tested is no list of symbols joined by ; in genetic_tests.csv row 2: write it so",
        ),
        (
            (_change(NONE_FOUND, genes_tested="BRCA1"), _change(NONE_FOUND, origin="")),
            "not tested in full: BRCA2 (tumour or unknown origin never counts: genetic_tests.csv row 3)",
        ),
        ((VUS,), 'VUS in BRCA2, by policy vus = "exclude" (genetic_tests.csv row 2)'),
        ((NONE_FOUND, _change(VUS, gene="", scope="founder")), "VUS in a gene not named by its symbol"),
        ((_change(VUS, result="negative"),), "not detected, yet a variant is classified"),
        (
            (_change(CARRIER, result="not detected"),),
            "not detected, yet classed pathogenic: correct one (genetic_tests.csv row 2)",
        ),
        ((NONE_FOUND, _change(CARRIER, result="not detected", scope="")), "not detected, yet classed pathogenic"),
        ((_change(CARRIER, result="not detected", classification="LP"),), "not detected, yet classed pathogenic"),
        ((_change(CARRIER, result="not detected", gene="CHEK2"),), "not detected, yet classed pathogenic"),
        (
            (NONE_FOUND, _change(CARRIER, classification="")),
            "a variant in BRCA1 was detected and has no classification: fill it in (genetic_tests.csv row 3)",
        ),
        (
            (NONE_FOUND, _change(CARRIER, classification="risk factor")),
            "classification 'risk factor' of a variant in BRCA1 is none of pathogenic or likely pathogenic, VUS, b",
        ),
        (
            (NONE_FOUND, _change(CARRIER, gene="CHEK2"), _change(CARRIER, gene="ATM")),
            'a carrier of ATM, CHEK2, which is not listed, by policy other_genes = "exclude" (genetic_tests.csv rows 3',
        ),
        ((NONE_FOUND, _change(CARRIER, gene="CHEK2", classification="")), "a variant in CHEK2 was detected"),
        ((_change(CARRIER, gene=""),), "a pathogenic variant in a gene not named by its symbol, which may lie outside"),
        ((_change(CARRIER, gene="BRCA1/PALB2"),), "a pathogenic variant in BRCA1, PALB2, which may lie outside BRCA1,"),
        ((_change(CARRIER, origin="somatic"),), "no germline test: tumour only in genetic_tests.csv row 2"),
        ((_change(NONE_FOUND, origin="Tumor"),), "no germline test: tumour only in genetic_tests.csv row 2"),
        (
            (_change(CARRIER, origin=""), _change(NONE_FOUND, origin="somatic")),
            "tumour only in genetic_tests.csv row 3, unknown origin in genetic_tests.csv row 2 (write germline or som",
        ),
        ((_change(CARRIER, origin="blood"),), "unknown origin in genetic_tests.csv row 2"),
        ((NONE_FOUND, _change(CARRIER, origin="")), "a pathogenic variant in BRCA1 of unknown origin"),
    ],
)
def test_anything_else_has_no_label_and_the_reason(rows: tuple[Row, ...], words: str) -> None:
    label, source, reason = _label(*rows)
    assert label is None
    assert words in reason
    assert source.startswith("genetic_tests.csv row")


def test_all_reasons_are_given_at_once() -> None:
    label, source, reason = _label(_change(NONE_FOUND, genes_tested="BRCA1"), _change(VUS, genes_tested="BRCA1"))
    assert (label, source) == (None, "genetic_tests.csv rows 2, 3")
    assert reason.startswith("VUS in BRCA2")
    assert reason.endswith("; 1 of 2 listed genes not tested in full: BRCA2")


@pytest.mark.parametrize(
    "other",
    [
        _change(CARRIER, classification="VUS"),
        _change(CARRIER, classification="Benign"),
        _change(CARRIER, classification="LB", origin=""),
        _change(CARRIER, classification="VUS", origin="somatic"),
        _change(CARRIER, classification="risk factor"),
        _change(CARRIER, result="not detected"),
        _change(CARRIER, result="not detected", classification="", scope="single-variant", gene=""),
        _change(CARRIER, hgvs="NM_007294.4:c.68_69delAG", classification="VUS"),
        _change(CARRIER, hgvs="NM_007294.4(BRCA1):c.68_69del p.(Glu23fs)", classification="VUS"),
        _change(CARRIER, hgvs="BRCA1:c.68_69DEL(p.Glu23fs)", classification="VUS", gene="BRCA1/2"),
        # 185delAG is the old name of the same variant: only two c. names tell variants apart.
        _change(CARRIER, hgvs="185delAG", result="not detected", scope="founder"),
        _change(CARRIER, hgvs="", classification="VUS"),
    ],
)
@pytest.mark.parametrize("vus", ["exclude", "negative"])
def test_a_conflict_makes_neither_a_carrier_nor_a_negative(other: Row, vus: str) -> None:
    for rows in ((CARRIER, other, NONE_FOUND), (other, CARRIER, NONE_FOUND)):
        label, source, reason = _label(*rows, vus=vus)
        assert (label, source) == (None, "genetic_tests.csv rows 2, 3")
        assert reason.startswith("conflicting: genetic_tests.csv rows 2, 3 call one variant in BRCA1")
        assert reason.endswith("keep what is confirmed")


def test_a_conflict_leaves_a_second_confirmed_variant_alone() -> None:
    conflicting = (CARRIER, _change(CARRIER, classification="VUS"))
    second = _change(CARRIER, gene="BRCA2", hgvs="c.5946del")
    assert _label(*conflicting, second) == (1, "genetic_tests.csv row 4", "")


def test_a_vus_that_a_tumour_report_calls_pathogenic_is_no_negative() -> None:
    label, _, reason = _label(VUS, _change(VUS, classification="P", origin="somatic"), vus="negative")
    assert label is None
    assert "VUS and pathogenic" in reason


def test_policies() -> None:
    assert _label(VUS, vus="negative")[0] == 0
    assert _label(_change(VUS, scope="founder"), vus="negative")[0] is None
    assert _label(_change(VUS, result="negative"), vus="negative")[0] == 0
    other = _change(CARRIER, gene="CHEK2")
    assert _label(other, other_genes="negative")[0] == 0
    assert _label(_change(other, genes_tested="CHEK2"), other_genes="negative")[0] is None
    # BRCA-1 is no other gene, nor is a gene nobody can name.
    assert _label(NONE_FOUND, _change(CARRIER, gene="BRCA-1"), other_genes="negative")[0] == 1
    assert _label(NONE_FOUND, _change(CARRIER, gene="BRCA1 gene"), other_genes="negative")[0] is None


@pytest.mark.parametrize("other_genes", ["exclude", "negative"])
@pytest.mark.parametrize(
    ("gene", "question"),
    [
        ("BRAC1", "BRAC1 is no gene this study knows; did you mean BRCA1? (genetic_tests.csv row 3)"),
        ("BRAC2", "BRAC2 is no gene this study knows; did you mean BRCA2? (genetic_tests.csv row 3)"),
        ("BRCA3", "BRCA3 is no gene this study knows; did you mean BRCA1 or BRCA2? (genetic_tests.csv row 3)"),
        ("ZZZ9", "ZZZ9 is no gene this study knows, nor among its genes_tested: correct one (genetic_tests.csv row 3)"),
    ],
)
def test_a_mistyped_gene_is_never_another_gene(gene: str, question: str, other_genes: str) -> None:
    label, _, reason = _label(NONE_FOUND, _change(CARRIER, gene=gene), other_genes=other_genes)
    assert (label, reason) == (None, question)


def test_what_a_symbol_that_may_be_mistyped_does_to_a_label() -> None:
    stray = _change(CARRIER, gene="BRAC1", genes_tested="BRAC1;BRCA2")
    assert _label(NONE_FOUND, stray, other_genes="negative")[0] is None
    findings = _read([("p", NONE_FOUND), ("p", stray)], other_genes="negative").findings["p"]
    assert findings.statuses == {"BRCA1": "not-tested", "BRCA2": "non-carrier"}
    # A symbol nobody knows and the laboratory tested is another gene; so is one that genovox knows.
    other = _change(CARRIER, gene="ZZZ9", genes_tested=f"{FULL};ZZZ9")
    assert _label(other, other_genes="negative")[0] == 0
    assert _label(NONE_FOUND, _change(CARRIER, gene="MLH1"), other_genes="negative")[0] == 0
    vus = _change(VUS, gene="BRAC1")
    assert _label(NONE_FOUND, vus)[0] is None
    assert _label(NONE_FOUND, vus, vus="negative")[0] == 0
    assert _label(NONE_FOUND, _change(vus, classification="Benign"))[0] == 0
    assert _label(CARRIER, vus)[0] == 1


@pytest.mark.parametrize(
    ("classification", "label"),
    [(word, 1) for word in ("P", "lp", "Likely_Pathogenic", "Pathogenic / Likely pathogenic", "class 5", "4", "5.0")]
    + [(word, 0) for word in ("B", "LB", "likely-benign", "Benign/Likely benign", "Class 2", "1")]
    + [
        (word, None) for word in ("VUS", "vous", "Variant of  uncertain significance", "class 3", "3", "6", "P?", "PLP")
    ],
)
def test_words_for_classes(classification: str, label: int | None) -> None:
    assert _label(_change(CARRIER, classification=classification))[0] == label


@pytest.mark.parametrize(
    ("column", "words", "allowed"),
    [
        ("result", ("Detected", "POSITIVE"), 1),
        ("result", ("not detected", "Not-Detected", "NEGATIVE", "not_detected"), 0),
        ("scope", ("Full", "full gene", "Full-gene"), 0),
        ("scope", ("Founder", "founder panel", "single variant", "Single-Variant", "known familial variant"), None),
        ("origin", ("Germline", "constitutional"), 0),
        ("origin", ("tumour", "TUMOR", "somatic", "blood", "saliva", "germline?"), None),
    ],
)
def test_words_for_results_scopes_and_origins(column: str, words: tuple[str, ...], allowed: int | None) -> None:
    start = _change(CARRIER, classification="P") if allowed == 1 else NONE_FOUND
    for word in words:
        assert _label(_change(start, **{column: word}))[0] == allowed


@pytest.mark.parametrize("start", [NONE_FOUND, CARRIER])
@pytest.mark.parametrize(
    ("column", "word", "reason"),
    [
        ("result", "maybe", "result 'maybe' in genetic_tests.csv row 3 is none of detected, not detected: correct it"),
        ("result", "", "result '' in genetic_tests.csv row 3 is none of detected, not detected: correct it"),
        (
            "scope",
            "panel",
            "scope 'panel' in genetic_tests.csv row 3 is none of full, founder, single-variant: correct",
        ),
        ("scope", "whole exome or whatever it was called", "scope 'whole exome or whatever…' in"),
        ("scope", "2", "scope '2' in"),
    ],
)
def test_an_unknown_word_is_never_guessed(start: Row, column: str, word: str, reason: str) -> None:
    label, source, told = _label(start, _change(start, **{column: word}))
    assert (label, source) == (None, "genetic_tests.csv row 3")
    assert told.startswith(reason)


@pytest.mark.parametrize(
    "cell", ["c.68_69del", "NM_007294.4:c.68_69del", "17.05.2021", "pt-1", "p.Glu23fs", "185delAG"]
)
@pytest.mark.parametrize("column", ["gene", "classification", "result", "genes_tested", "scope", "origin"])
def test_messages_show_no_variant_date_or_id(column: str, cell: str) -> None:
    for start in (CARRIER, NONE_FOUND, VUS):
        rows = [("pt-1", NONE_FOUND), ("pt-1", VUS), ("pt-1", _change(start, **{column: cell}))]
        tests = _read(rows, pseudonym=lambda _: "anon")
        assert set(tests.rows) == {"anon"}
        text = f"{tests.find_evidence(_case('anon'))} {tests}"
        assert not re.search(r"68_69|185|Glu|NM_|2021|pt-1", text, re.IGNORECASE)
        assert tests.find_evidence(_case("pt-1")).label is None


def test_absence_of_a_row_is_never_a_negative() -> None:
    tests = _read([("p1", NONE_FOUND)])
    assert (tests.unit, tests.name, set(tests.rows)) == ("patient", "genetic_tests.csv", {"p1"})
    evidence = tests.find_evidence(_case("p10"))
    assert (evidence.label, evidence.source) == (None, "")
    assert evidence.reason.startswith("not tested: no row in genetic_tests.csv for patient p10; absence")
    with pytest.raises(TableError, match=r"genetic_tests.csv must hold at least one row, got a header alone"):
        _read([])


def test_source_names_the_rows_behind_a_label() -> None:
    half = _change(NONE_FOUND, genes_tested="BRCA1")
    rows = [("p1", half), ("p2", CARRIER), ("p1", _change(NONE_FOUND, scope="founder"))]
    rows += [("p1", _change(NONE_FOUND, genes_tested="BRCA2")), ("p1", _change(NONE_FOUND, genes_tested="ATM"))]
    tests = _read(rows)
    assert tests.find_evidence(_case("p1")).source == "genetic_tests.csv rows 2, 5"
    assert tests.find_evidence(_case("p2")).source == "genetic_tests.csv row 3"


def test_several_tables_are_one(tmp_path: Path) -> None:
    (tmp_path / "north").mkdir()
    (tmp_path / "south").mkdir()
    paths = [
        _write(tmp_path / "north" / "tests.csv", [("p1", _change(NONE_FOUND, genes_tested="BRCA1"))]),
        _write(tmp_path / "south" / "tests.csv", [("p2", CARRIER), ("p1", _change(NONE_FOUND, genes_tested="BRCA2"))]),
        _write(tmp_path / "old.csv", [("p2", _change(CARRIER, scope="founder"))]),
    ]
    tests = read_genetic_tests(Sources([*paths, paths[0]], ["brca1/2"]))
    assert tests.name == "north/tests.csv, south/tests.csv, old.csv"
    assert tests.rows["p1"] == (0, "north/tests.csv row 2, south/tests.csv row 3", "")
    assert tests.rows["p2"] == (1, "old.csv row 2, south/tests.csv row 2", "")


def test_what_breaks_a_rule() -> None:
    with pytest.raises(TableError, match=r"genetic_tests.csv row 3: patient_id must not be empty"):
        _read([("p1", CARRIER), ("", CARRIER)])
    with pytest.raises(TableError, match=r"row 3: each patient must have a pseudonym of their own") as caught:
        _read([("pt-1", CARRIER), ("pt-2", CARRIER)], pseudonym=lambda _: "anon")
    assert "pt-" not in str(caught.value)
    for genes in ((), ("",), ("all genes",)):
        with pytest.raises(StudyError, match=r"cohort.genes must list at least one gene"):
            _read([("p1", NONE_FOUND)], genes=genes)


ROWS = st.tuples(
    st.sampled_from(["", "BRCA1", "BRCA2", "CHEK2", "BRCA1/2"]),
    st.sampled_from(["", "c.1A>G", "c.2del", "185delAG"]),
    st.sampled_from(["", "Pathogenic", "LP", "VUS", "Benign", "?"]),
    st.sampled_from(["detected", "not detected"]),
    st.sampled_from(["", "BRCA1", "BRCA2", "BRCA1/2", "CHEK2"]),
    st.sampled_from(["full", "full", "founder", ""]),
    st.sampled_from(["germline", "germline", "somatic", ""]),
)
POLICIES = st.sampled_from(["exclude", "negative"])


@settings(max_examples=80, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4), st.lists(ROWS, max_size=3), POLICIES, POLICIES, st.data())
def test_labels_of_any_rows(
    mine: list[Row], others: list[Row], vus: str, other_genes: str, data: st.DataObject
) -> None:
    alone = _read([("p1", row) for row in mine], vus=vus, other_genes=other_genes).rows["p1"]
    together = data.draw(st.permutations([("p1", row) for row in mine] + [("p2", row) for row in others]))
    label, _, reason = alone
    tests = _read(together, vus=vus, other_genes=other_genes)
    assert tests.rows["p1"][0] == label
    statuses = set(tests.findings["p1"].statuses.values())
    assert (label == 1) == bool(statuses & {"carrier", "likely-carrier"})
    assert label != 0 or statuses <= {"non-carrier", *(["vus"] if vus == "negative" else [])}
    assert tests.find_evidence(_case("p3")).label is None
    assert (label is None) == bool(reason)
    germline = [row for row in mine if row[6] == "germline"]
    pathogenic = [row for row in mine if row[2] in ("Pathogenic", "LP") and row[3] == "detected"]
    if label == 1:
        # Without a gene, 185delAG is known to be of BRCA1.
        lies_in_listed = [row for row in pathogenic if row[0].startswith("BRCA") or row[:2] == ("", "185delAG")]
        assert any(row[6] == "germline" for row in lies_in_listed)
    if label == 0:
        tested = ";".join(row[4] for row in germline if row[5] == "full")
        assert "BRCA1/2" in tested or ("BRCA1" in tested and "BRCA2" in tested)
        assert not any(row[6] != "somatic" and row[0] != "CHEK2" for row in pathogenic)
        found = [row for row in mine if row[3] == "detected" and row[6] != "somatic"]
        assert vus == "negative" or not any(row[2] == "VUS" and row[0] != "CHEK2" for row in found)
        assert other_genes == "negative" or not any(row in pathogenic for row in found)
