"""All sources together: tables, calls, panels, coverage and published classes."""

import csv
import gzip
import os
import random
import re
import time
from pathlib import Path

import pandas as pd
import pytest

from genovox.core.case import Case
from genovox.core.errors import GenovoxError, TableError
from genovox.genetics.calls import SPLICE_BASES
from genovox.genetics.evidence import GeneticTests, Sources, read_genetic_tests
from genovox.genetics.genes import locate_gene
from genovox.genetics.status import STATUSES, Finding
from genovox.simulate.genetics import genetic_tests_table
from genovox.simulate.patients import draw_patients

SHEET = Path(os.environ.get("GENOVOX_REAL_DATA", "../shared/data")) / "tables" / "enigma_brca12_variants.tsv"
HEADER = "patient,gene,hgvs,class,result,genes_tested,scope,date,origin\n"
VCF = """##fileformat=VCFv4.2
##contig=<ID=chr17,length=83257441>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tp1\tp2\tp3
chr17\t43106487\t.\tA\tC\t50\tPASS\t.\tGT:GQ:DP:AD\t0/1:99:40:20,20\t0/0:99:40:40,0\t0/1:99:8:4,4
chr17\t43124027\t.\tACT\tA\t50\tPASS\t.\tGT:GQ:DP:AD\t0/0:99:40:40,0\t0/0:99:40:40,0\t0/0:99:40:40,0
chr13\t32398489\t.\tA\tT\t50\tPASS\t.\tGT:GQ:DP:AD\t0/0:99:40:40,0\t0/1:99:40:20,20\t0/0:99:40:40,0
"""
CLINVAR = """##fileformat=VCFv4.1
##fileDate=2026-11-09
##reference=GRCh38
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
13\t32398489\t3\tA\tT\t.\t.\tCLNSIG=Benign;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=BRCA2:675
17\t43106487\t1\tA\tC\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=BRCA1:672
"""
PANEL = "panel,gene,scope,cnv\nwhole,BRCA1,full,yes\nwhole,BRCA2,full,yes\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calls.vcf").write_text(VCF)
    (tmp_path / "clinvar.vcf").write_text(CLINVAR)
    (tmp_path / "panels.csv").write_text(PANEL)
    return tmp_path


def _tests(folder: Path, text: str, name: str = "tests.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def _findings(*tests: Path, **options: object) -> dict[str, Finding]:
    return read_genetic_tests(Sources(tests, **options)).findings  # type: ignore[arg-type]


def _calls(folder: Path, **options: object) -> dict[str, Finding]:
    given = {"classifications": [folder / "clinvar.vcf"], "calls_origin": "germline", **options}
    return _findings(folder / "calls.vcf", **given)


def test_calls_with_a_panel(folder: Path) -> None:
    found = _calls(folder, panels=folder / "panels.csv")
    assert {key: one.label for key, one in found.items()} == {"p1": 1, "p2": 0, "p3": None}
    assert found["p1"].statuses == {"BRCA1": "carrier", "BRCA2": "non-carrier"}
    assert found["p2"].statuses == {"BRCA1": "non-carrier", "BRCA2": "non-carrier"}
    assert found["p3"].reason == ("a pathogenic call in BRCA1 is not confirmed: depth 8; confirm it (calls.vcf)")
    assert "GRCh38:17:43106487:A>C = c.181T>G: pathogenic" in found["p1"].evidence
    assert found["p1"].warnings == ()
    assert "clinvar.vcf, 3 of 4 stars, 2026-11-09" in found["p1"].evidence


def test_no_variant_in_a_vcf_is_no_negative(folder: Path) -> None:
    found = _calls(folder)
    assert {key: one.label for key, one in found.items()} == {"p1": 1, "p2": None, "p3": None}
    assert "calls do not say what was read: give panels, a BED or a gVCF for calls.vcf" in found["p2"].reason
    assert found["p2"].statuses == {"BRCA1": "not-tested", "BRCA2": "not-tested"}


def test_calls_of_unknown_origin_are_never_germline(folder: Path) -> None:
    found = _calls(folder, panels=folder / "panels.csv", calls_origin="unknown")
    assert all(one.label is None for one in found.values())
    assert found["p1"].reason == "no germline test: unknown origin in calls.vcf (state calls_origin)"
    for classifications in ([folder / "clinvar.vcf"], []):
        found = _calls(folder, calls_origin="unknown", classifications=classifications)
        assert all(set(one.statuses.values()) == {"not-tested"} for one in found.values())


def test_a_somatic_caller_is_not_overruled(folder: Path) -> None:
    (folder / "calls.vcf").write_text(VCF.replace("##contig", "##source=Mutect2\n##contig", 1))
    found = _calls(folder, panels=folder / "panels.csv")
    assert all(one.reason == "no germline test: tumour only in calls.vcf" for one in found.values())


def test_calls_without_a_class_leave_it_open(folder: Path) -> None:
    found = _calls(folder, panels=folder / "panels.csv", classifications=[])
    assert found["p1"].label is None
    assert found["p1"].statuses["BRCA1"] == "vus"
    reason = "a variant in BRCA1 was detected and has no classification: give classifications (calls.vcf)"
    assert found["p1"].reason == reason


def _bed(folder: Path, name: str, *, without: int = 0, assembly: str = "GRCh38") -> Path:
    lines = []
    for symbol in ("BRCA1", "BRCA2"):
        gene = locate_gene(symbol, assembly)
        assert gene is not None
        lines += [f"chr{gene.chromosome}\t{first - 1}\t{last}" for first, last in gene.list_targets(SPLICE_BASES)]
    (folder / name).write_text("\n".join(lines[without:]) + "\n")
    return folder / name


def test_a_bed_says_what_was_read(folder: Path) -> None:
    found = _calls(folder, coverage=[_bed(folder, "targets.bed")])
    assert {key: one.label for key, one in found.items()} == {"p1": 1, "p2": 0, "p3": None}
    assert any("deletions and duplications" in warning for warning in found["p2"].warnings)
    found = _calls(folder, coverage=[_bed(folder, "targets.bed", without=1)])
    assert found["p2"].label is None
    assert re.fullmatch(
        r"1 of 2 listed genes not tested in full: BRCA1 \(BRCA1 read to 9\d.\d% in calls.vcf\)", found["p2"].reason
    )
    # The same exons in the other assembly lie elsewhere.
    assert _calls(folder, coverage=[_bed(folder, "targets.bed", assembly="GRCh37")])["p2"].label is None


def test_what_a_bed_leaves_out_is_told(folder: Path) -> None:
    given: dict[str, object] = {"classifications": [folder / "clinvar.vcf"], "calls_origin": "germline"}
    beds = [_bed(folder, "t37.bed", assembly="GRCh37")]
    tests = read_genetic_tests(Sources([folder / "calls.vcf"], coverage=beds, **given))  # type: ignore[arg-type]
    hint = "(it looks like the other assembly, calls are GRCh38)"
    assert tests.notes[:2] == (f"t37.bed covers none of BRCA1 {hint}", f"t37.bed covers none of BRCA2 {hint}")
    assert "(BRCA1 read to 0.0%, BRCA2 read to 0.0% in calls.vcf)" in tests.findings["p2"].reason
    panels = {**given, "panels": folder / "panels.csv"}
    tests = read_genetic_tests(Sources([folder / "calls.vcf"], coverage=beds, **panels))  # type: ignore[arg-type]
    assert not any("covers" in note for note in tests.notes)
    # The name of a sample may be that of a patient.
    beds = [_bed(folder, "p1.bed"), _bed(folder, "p2.bed", without=1)]
    tests = read_genetic_tests(Sources([folder / "calls.vcf"], coverage=beds, **given))  # type: ignore[arg-type]
    assert tests.notes[0] == "1 of 2 BED files of one sample do not cover all of BRCA1, BRCA2"
    assert not any("p2" in note for note in tests.notes)
    beds = [_bed(folder, "of_p2_alone.bed", without=24)]
    tests = read_genetic_tests(Sources([folder / "calls.vcf"], coverage=beds, **given))  # type: ignore[arg-type]
    assert not any("p2" in note for note in tests.notes)
    assert tests.notes[0].startswith("coverage 1 covers none of BRCA1")


def test_coverage_without_calls_has_no_effect(folder: Path) -> None:
    table = _tests(folder, HEADER + "p1,,,,not detected,BRCA1/2,full,2024-01-01,germline\n")
    tests = read_genetic_tests(Sources([table], coverage=[_bed(folder, "targets.bed")]))
    assert tests.notes == ("coverage has no effect: there is no VCF among the tests",)


def test_a_bed_of_one_sample_is_of_no_other(folder: Path) -> None:
    assert _calls(folder, coverage=[_bed(folder, "p1.callable.bed")])["p2"].label is None
    assert _calls(folder, coverage=[_bed(folder, "p2.callable.bed")])["p2"].label == 0


def test_a_site_without_a_genotype_was_not_read(folder: Path) -> None:
    text = VCF.replace("0/0:99:40:40,0\t0/1:99:8:4,4", "./.:.:.:.\t0/1:99:8:4,4")
    (folder / "calls.vcf").write_text(text)
    for coverage in ({"panels": folder / "panels.csv"}, {"coverage": [_bed(folder, "targets.bed")]}):
        found = _calls(folder, **coverage)
        assert found["p2"].reason.startswith("1 of 2 listed genes not tested in full: BRCA1 (BRCA1 has a site")


def test_a_gvcf_is_its_own_coverage(folder: Path) -> None:
    blocks = []
    for symbol in ("BRCA1", "BRCA2"):
        gene = locate_gene(symbol, "GRCh38")
        assert gene is not None
        blocks.append(
            f"chr{gene.chromosome}\t{gene.start}\t.\tA\t<NON_REF>\t.\t.\tEND={gene.end}\tGT:GQ:MIN_DP\t0/0:99:30"
        )
    head = VCF.splitlines()[:2]
    titles = VCF.splitlines()[2].replace("p1\tp2\tp3", "p2")
    path = _tests(folder, "\n".join([*head, titles, *blocks]) + "\n", "p2.g.vcf")
    found = _findings(path, calls_origin="germline")
    assert (found["p2"].label, found["p2"].statuses["BRCA2"]) == (0, "non-carrier")
    half = _tests(folder, "\n".join([*head, titles, blocks[0]]) + "\n", "p2.g.vcf")
    assert _findings(half, calls_origin="germline")["p2"].label is None


def test_a_row_of_a_table_points_to_calls(folder: Path) -> None:
    header = "patient,panel,result,origin\n"
    table = _tests(folder, header + "p1,whole,see vcf,germline\np2,whole,see vcf,germline\np9,whole,see vcf,germline\n")
    found = _findings(
        table, folder / "calls.vcf", panels=folder / "panels.csv", classifications=[folder / "clinvar.vcf"]
    )
    assert {key: one.label for key, one in found.items()} == {"p1": 1, "p2": 0, "p9": None, "p3": None}
    assert found["p9"].reason == "tests.csv row 4 points to calls, no germline VCF among the tests holds them: give it"


def test_a_row_that_points_to_a_tumour_has_no_calls(folder: Path) -> None:
    table = _tests(folder, "patient,panel,result,origin\np2,whole,see vcf,germline\n")
    (folder / "calls.vcf").write_text(VCF.replace("##contig", "##source=Mutect2\n##contig", 1))
    found = _findings(table, folder / "calls.vcf", panels=folder / "panels.csv")
    assert found["p2"].label is None
    assert "no germline VCF among the tests holds them" in found["p2"].reason


def test_assemblies_must_agree(folder: Path) -> None:
    (folder / "clinvar.vcf").write_text(CLINVAR.replace("GRCh38", "GRCh37"))
    with pytest.raises(TableError, match=r"calls.vcf is GRCh38 and clinvar.vcf is GRCh37: both must be of one"):
        _calls(folder)


def test_a_table_and_calls_of_one_patient_meet(folder: Path) -> None:
    """The laboratory did not find what was called: c.181T>G is the call's own c. name."""
    table = _tests(folder, HEADER + "p1,BRCA1,c.181T>G,,not detected,,single site,,germline\n")
    found = _findings(table, folder / "calls.vcf", classifications=[folder / "clinvar.vcf"], calls_origin="germline")
    assert found["p1"].statuses["BRCA1"] == "conflicting"


@pytest.mark.parametrize(
    ("variant", "label"),
    [
        ("c.68_69del", None),
        ("c.80+10del", None),
        ("c.5266dup", 1),
        ("c.80+900del", 1),
        ("185delAG; c.5266dup", None),
        ("c.(4185+1_4186-1)_(4357+1_4358-1)del", None),
    ],
)
def test_a_call_without_a_name_is_compared_by_its_place(folder: Path, variant: str, label: int | None) -> None:
    """The call lies at c.68: a benign deletion there may be what the table calls pathogenic, far away it is not."""
    (folder / "clinvar.vcf").write_text(
        CLINVAR + "17\t43124027\t9\tACT\tA\t.\t.\tCLNSIG=Benign;CLNREVSTAT=reviewed_by_expert_panel\n"
    )
    lines = [*VCF.splitlines()[:3], VCF.splitlines()[4].replace("0/0:99:40:40,0", "0/1:99:40:20,20")]
    (folder / "calls.vcf").write_text("\n".join(lines) + "\n")
    table = _tests(folder, HEADER + f"p1,BRCA1,{variant},P,detected,,,2024-01-01,germline\n".replace("; ", " + "))
    found = _findings(table, folder / "calls.vcf", classifications=[folder / "clinvar.vcf"], calls_origin="germline")
    assert found["p1"].label == label


def test_statuses_of_each_gene(folder: Path) -> None:
    full = "BRCA1;BRCA2,full,2024-01-01,germline\n"
    rows = [
        f"p1,BRCA1,c.68_69del,P,detected,{full}",
        f"p2,BRCA2,c.8167G>C,LP,detected,{full}",
        f"p3,BRCA2,c.7994A>G,VUS,detected,{full}",
        f"p4,,,,not detected,{full}",
        f"p5,BRCA1,c.181T>G,P,detected,{full}",
        f"p5,BRCA1,c.181T>G,B,detected,{full}",
        "p6,,,,not detected,BRCA1;BRCA2,founder,,germline\n",
        f"p7,BRCA1,c.68_69del,P,maybe,{full}",
        f"p8,BRCA2,c.1A>G,,detected,{full}",
    ]
    found = _findings(_tests(folder, HEADER + "".join(rows)))
    assert {key: tuple(one.statuses.values()) for key, one in found.items()} == {
        "p1": ("carrier", "non-carrier"),
        "p2": ("non-carrier", "likely-carrier"),
        "p3": ("non-carrier", "vus"),
        "p4": ("non-carrier", "non-carrier"),
        "p5": ("conflicting", "non-carrier"),
        "p6": ("not-tested", "not-tested"),
        "p7": ("not-tested", "not-tested"),
        "p8": ("non-carrier", "vus"),
    }
    assert {key: one.label for key, one in found.items() if one.label is not None} == {"p1": 1, "p2": 1, "p4": 0}


def test_the_newest_of_two_reports_counts_and_the_other_is_told(folder: Path) -> None:
    rows = "p1,BRCA1,c.5A>G,VUS,detected,BRCA1;BRCA2,full,{},germline\np1,BRCA1,c.5A>G,LP,detected,,full,{},germline\n"
    for old, new, label in (("2015-01-01", "2024-01-01", 1), ("2024-01-01", "2015-01-01", None), ("", "", None)):
        finding = _findings(_tests(folder, HEADER + rows.format(old, new)))["p1"]
        assert finding.label == label
        assert "two reports disagree on the class of a variant in BRCA1" in finding.warnings


def test_a_release_classifies_a_table_without_classes(folder: Path) -> None:
    sheet = _tests(folder, "gene,hgvs,class,date\nBRCA1,c.181T>G,Pathogenic,2015-08-10\n", "sheet.csv")
    rows = "p1,BRCA1,c.181T>G,,detected,,,,germline\np2,BRCA1,c.2A>G,,detected,,,,germline\n"
    found = _findings(_tests(folder, HEADER + rows), classifications=[sheet])
    assert (found["p1"].label, found["p2"].label) == (1, None)
    assert "pathogenic (sheet.csv, 2015-08-10)" in found["p1"].evidence
    # The class of p1 is of no use to p2, and a laboratory's class of one patient classifies no other.
    rows = "p1,BRCA1,c.2A>G,P,detected,,,,germline\np2,BRCA1,c.2A>G,,detected,,,,germline\n"
    found = _findings(_tests(folder, HEADER + rows))
    assert (found["p1"].label, found["p2"].label) == (1, None)


def test_a_published_class_makes_a_negative_report_doubtful_only_with_a_class_of_its_own(folder: Path) -> None:
    """A report called negative for its VUS is none once the VUS is pathogenic; a variant named as absent is clear."""
    sheet = _tests(folder, "gene,hgvs,class,date\nBRCA1,c.181T>G,Pathogenic,2025-08-10\n", "sheet.csv")
    rows = "p1,BRCA1,c.181T>G,{},not detected,BRCA1/2,full,2020-01-01,germline\n"
    for own, vus, label in (("VUS", "negative", None), ("VUS", "exclude", None), ("", "exclude", 0)):
        found = _findings(_tests(folder, HEADER + rows.format(own)), classifications=[sheet], vus=vus)["p1"]
        assert found.label == label
        assert found.statuses["BRCA1"] == ("conflicting" if label is None else "non-carrier")


def test_pathogenic_against_benign_needs_a_precedence(folder: Path) -> None:
    sheet = _tests(folder, "gene,hgvs,class,date\nBRCA1,c.181T>G,Benign,2025-08-10\n", "sheet.csv")
    table = _tests(folder, HEADER + "p1,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2020-01-01,germline\n")
    found = _findings(table, classifications=[sheet])["p1"]
    assert (found.label, found.statuses["BRCA1"]) == (None, "conflicting")
    assert found.reason.startswith("conflicting classifications of a variant in BRCA1: name a precedence")
    assert found.warnings[0] == "sources disagree: sheet.csv benign; laboratory pathogenic"
    assert _findings(table, classifications=[sheet], precedence=("laboratory",))["p1"].label == 1
    assert _findings(table, classifications=[sheet], precedence=("curated",))["p1"].label == 0


def test_a_class_below_the_minimum_review_is_told(folder: Path) -> None:
    release = folder / "clinvar_20261109.vcf"
    release.write_text(CLINVAR.replace("reviewed_by_expert_panel", "no_assertion_criteria_provided"))
    table = _tests(folder, HEADER + "p1,BRCA1,c.181T>G,,detected,BRCA1/2,full,,germline\n")
    found = _findings(table, classifications=[release])["p1"]
    assert found.reason.startswith("a variant in BRCA1 has no class but one below the minimum review status")
    assert "passed over (clinvar_20261109.vcf, 0 of 4 stars" in found.evidence
    assert _findings(table, classifications=[release], minimum_review=0)["p1"].label == 1


def test_old_tests_and_stale_classes_are_told(folder: Path) -> None:
    rows = (
        "p1,,,,not detected,BRCA1/2,full,2010-01-01,germline\n"
        "p2,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2015-01-01,germline\n"
        "p3,,,,not detected,BRCA1/2,full,2024-01-01,germline\n"
    )
    found = _findings(_tests(folder, HEADER + rows))
    assert [one.label for one in found.values()] == [0, 1, 0]
    assert found["p1"].warnings[0].startswith("an old assay")
    assert found["p2"].warnings[0].startswith("a stale classification")
    assert found["p3"].warnings == ()


@pytest.mark.parametrize(
    ("genes", "notes"),
    [
        (["BRCA1", "BRCA2"], ()),
        (["BRAC1"], ("no row names BRAC1; did you mean BRCA1?",)),
        (["BRAC1", "BRCA2"], ("no row names BRAC1; did you mean BRCA1?",)),
        (["BRCA1", "PLAB2"], ("no row names PLAB2; did you mean PALB2?",)),
        (["BRCA1", "PALB2"], ("no row names PALB2",)),
        (["ZZZ9"], ("no row names ZZZ9",)),
    ],
)
def test_a_listed_gene_that_no_row_names_is_told(folder: Path, genes: list[str], notes: tuple[str, ...]) -> None:
    table = _tests(folder, HEADER + "p1,,,,not detected,BRCA1/2,full,2024-01-01,germline\n")
    assert read_genetic_tests(Sources([table], genes)).notes == notes


def test_a_listed_gene_in_calls_or_a_panel_is_named(folder: Path) -> None:
    given = Sources([folder / "calls.vcf"], ["ATM", "NBN", "BRAC1"], calls_origin="germline")
    assert read_genetic_tests(given).notes == ("no row names NBN", "no row names BRAC1; did you mean BRCA1?")
    (folder / "panels.csv").write_text("panel,gene,scope\nwhole,ATM,full\nwhole,NBN,full\n")
    given = Sources([folder / "calls.vcf"], ["ATM", "NBN"], panels=folder / "panels.csv", calls_origin="germline")
    assert not any("no row names" in note for note in read_genetic_tests(given).notes)


def test_a_date_in_the_future_makes_nothing_old(folder: Path) -> None:
    rows = (
        "p1,,,,not detected,BRCA1/2,full,2018-01-01,germline\n"
        "p2,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2023-01-01,germline\n"
        "p3,,,,not detected,BRCA1/2,full,2203-04-01,germline\n"
    )
    tests = read_genetic_tests(Sources([_tests(folder, HEADER + rows)]))
    assert [one.label for one in tests.findings.values()] == [0, 1, 0]
    assert all(one.warnings == () for one in tests.findings.values())
    assert tests.notes == ("tests.csv: a date in the future is left out (1 row, the first row 4); correct it",)
    # Nor does it hide that the rest of a patient's tests are old.
    old = rows + "p1,,,,not detected,BRCA1/2,full,2203-04-01,germline\n" + rows.replace("2018", "2005")
    found = _findings(_tests(folder, HEADER + old.replace("2018", "2005")))
    assert found["p1"].warnings[0].startswith("an old assay")


def test_a_release_or_class_of_the_future_makes_nothing_old(folder: Path) -> None:
    (folder / "clinvar.vcf").write_text(CLINVAR.replace("2026-11-09", "2203-11-09"))
    sheet = _tests(folder, "gene,hgvs,class,date\nBRCA1,c.181T>G,Pathogenic,2203-08-10\n", "sheet.csv")
    rows = "p1,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2023-01-01,germline\n"
    sources = Sources([_tests(folder, HEADER + rows)], classifications=[folder / "clinvar.vcf", sheet])
    tests = read_genetic_tests(sources)
    assert tests.findings["p1"].warnings == ()
    assert any(
        note.startswith("clinvar.vcf: a date in the future is left out; correct the name") for note in tests.notes
    )


def test_dates_that_cannot_be_read_are_told_once(folder: Path) -> None:
    rows = "".join(
        f"p{index},,,,not detected,BRCA1/2,full,{day},germline\n"
        for index, day in enumerate(("2024-01-01", "01/04/2023", "", "2022-13-45"))
    )
    tests = read_genetic_tests(Sources([_tests(folder, HEADER + rows)]))
    assert tests.notes == (
        "tests.csv: a date that cannot be read is left out (2 rows, the first row 3); write it as YYYY-MM-DD",
    )
    assert "2023-04-01" not in "".join(one.evidence for one in tests.findings.values())


def test_a_deep_call_without_a_class_is_no_question(folder: Path) -> None:
    (folder / "calls.vcf").write_text(VCF + "chr17\t43100000\t.\tA\tG\t50\tPASS\t.\tGT\t0/0\t0/1\t0/0\n")
    assert _calls(folder, panels=folder / "panels.csv")["p2"].label == 0


def test_a_gene_whose_place_is_unknown_is_read_by_a_panel_alone(folder: Path) -> None:
    given = {"genes": ["BRCA2", "NBN"], "coverage": [_bed(folder, "targets.bed")]}
    assert _calls(folder, **given)["p2"].reason == ("1 of 2 listed genes not tested in full: NBN")
    (folder / "panels.csv").write_text("panel,gene,scope\nwhole,BRCA2,full\nwhole,NBN,full\n")
    assert _calls(folder, panels=folder / "panels.csv", **given)["p2"].label == 0


def test_two_files_of_one_release(folder: Path) -> None:
    """The release is read once, and again when it changes."""
    sheet = _tests(folder, "gene,hgvs,class\nBRCA1,c.181T>G,P\n", "sheet.csv")
    table = _tests(folder, HEADER + "p1,BRCA1,c.181T>G,,detected,,,,germline\n")
    assert _findings(table, classifications=[sheet, sheet])["p1"].label == 1
    sheet.write_text("gene,hgvs,class\nBRCA1,c.181T>G,Benign\n")
    assert _findings(table, classifications=[sheet])["p1"].label is None


def test_what_a_run_may_hold_has_no_variant_and_no_day(folder: Path) -> None:
    table = _tests(folder, HEADER + "p1,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2015-01-01,germline\n")
    sources = Sources([table, folder / "calls.vcf"], classifications=[folder / "clinvar.vcf"], calls_origin="germline")
    tests = read_genetic_tests(sources)
    for patient_id in ("p1", "p2", "p3"):
        text = f"{tests.find_evidence(Case('c', patient_id, ('x.nii',)))} {tests} {tests.findings} {tests.notes}"
        assert not re.search(r"181|43106487|2015|2026-11-09", text)
    assert tests.find_evidence(Case("c", "p1", ("x.nii",))).statuses == "BRCA1 carrier; BRCA2 non-carrier"


def test_a_file_named_after_a_patient_is_called_by_its_number(folder: Path) -> None:
    (folder / "jane_doe.vcf").write_text(VCF.replace("p1\tp2\tp3", "JANE_DOE\tp2\tp3"))
    sources = Sources([folder / "jane_doe.vcf"], classifications=[folder / "clinvar.vcf"], calls_origin="germline")
    tests = read_genetic_tests(sources, pseudonym=lambda name: f"x{len(name)}{name[-1]}")
    evidence = tests.find_evidence(Case("c", "x8E", ("x.nii",)))
    assert (evidence.label, evidence.source) == (1, "calls 1")
    assert "jane" not in f"{tests.rows}".lower()


def test_the_table_of_labels(folder: Path) -> None:
    rows = "p1,BRCA1,c.181T>G,P,detected,BRCA1/2,full,2015-01-01,germline\np2,,,,not detected,,,,germline\n"
    table = read_genetic_tests(Sources([_tests(folder, HEADER + rows)])).as_table()
    assert list(table.columns) == [
        *("patient_id", "label", "BRCA1_status", "BRCA2_status", "evidence", "reason", "warnings"),
    ]
    assert table["label"].tolist() == ["1", ""]
    assert "c.181T>G" in table["evidence"].tolist()[0]


def _simulate(count: int) -> tuple[pd.DataFrame, dict[str, int]]:
    patients = draw_patients(patients=count, effect="half", prevalence=0.4, sites=3, shortcut="none", seed=4)
    truth = {}
    for patient in patients:
        if patient.test in ("full", "founder", "single-variant") and patient.gene:
            truth[patient.patient_id] = 1
        elif patient.test == "full":
            truth[patient.patient_id] = 0
    return genetic_tests_table(patients, seed=4), truth


def test_simulated_patients_get_their_true_labels(tmp_path: Path) -> None:
    table, truth = _simulate(3000)
    table.to_csv(tmp_path / "tests.csv", index=False)
    started = time.monotonic()
    found = _findings(tmp_path / "tests.csv")
    assert time.monotonic() - started < 60
    assert {key: one.label for key, one in found.items() if one.label is not None} == truth
    _check_consistency(found)


def _check_consistency(found: dict[str, Finding]) -> None:
    for one in found.values():
        assert set(one.statuses.values()) <= set(STATUSES)
        carrier = {"carrier", "likely-carrier"} & set(one.statuses.values())
        assert (one.label == 1) == bool(carrier)
        assert one.label != 0 or set(one.statuses.values()) <= {"non-carrier", "vus"}
        assert (one.label is None) == bool(one.reason)


@pytest.mark.real_data
@pytest.mark.skipif(not SHEET.exists(), reason=f"needs {SHEET}")
def test_the_enigma_sheet_classifies_a_table_of_names(tmp_path: Path) -> None:
    rows = [
        row
        for row in csv.reader(SHEET.read_text(encoding="utf-8").splitlines(), delimiter="\t")
        if len(row) > 12 and row[4].startswith("c.")
    ]
    lines = [f"p{i},{row[2]},{row[4]},,detected,BRCA1/2,full,,germline\n" for i, row in enumerate(rows)]
    found = _findings(_tests(tmp_path, HEADER + "".join(lines)), classifications=[SHEET])
    expected = {f"p{i}": int(row[11] == "Pathogenic") for i, row in enumerate(rows)}
    assert {key: one.label for key, one in found.items()} == expected


SOURCES: dict[str, str] = {
    "tests.csv": HEADER
    + "p1,BRCA1,c.68_69delAG,Pathogenic,detected,BRCA1;BRCA2,full,2021-01-01,germline\n"
    + "p2,,,,not detected,BRCA1/2,full,2022-01-01,germline\np3,BRCA2,6174delT,VUS,detected,BRCA1,founder,,\n",
    "calls.vcf": VCF,
    "clinvar.vcf": CLINVAR,
    "sheet.csv": "gene,hgvs,class,date\nBRCA1,c.181T>G,Pathogenic,2015-08-10\nBRCA2,c.9976A>T,Benign,\n",
    "panels.csv": PANEL,
    "targets.bed": "chr17\t43044294\t43125364\nchr13\t32315507\t32400268\n",
    "calls.maf": "#version 2.4\nHugo_Symbol\tTumor_Sample_Barcode\tMutation_Status\tHGVSc\n"
    "BRCA1\tp1\tGermline\tc.181T>G\n",
    "variant_summary_2026-11.txt": "#AlleleID\tName\tGeneSymbol\tClinicalSignificance\tLastEvaluated\tReviewStatus"
    "\tAssembly\n1\tNM_007294.4(BRCA1):c.68_69del\tBRCA1\tPathogenic\tAug 10, 2015\treviewed by expert panel\tGRCh38\n",
}


def _mutate(text: str, random: random.Random) -> bytes:
    """What copying, editing and exporting do to a file: cut, swap, repeat, replace, re-encode, pack."""
    content = bytearray(text.encode())
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(content) + 1)
        match random.randrange(9):
            case 0:
                del content[place:]
            case 1:
                del content[place : place + random.randint(1, 40)]
            case 2:
                content[place:place] = random.choice(
                    [b"\t", b",", b";", b'"', b"\n", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf"]
                )
            case 3:
                content[place:place] = content[place : place + random.randint(1, 80)]
            case 4 if content:
                content[place % len(content)] = random.randrange(256)
            case 5:
                lines = bytes(content).splitlines(keepends=True)
                random.shuffle(lines)
                content = bytearray(b"".join(lines))
            case 6:
                content = content.replace(random.choice([b",", b"\t"]), random.choice([b";", b"\t", b",", b" "]))
            case 7:
                content = content.replace(
                    random.choice([b"p1", b"BRCA1", b"1", b"c.", b"germline"]),
                    random.choice([b"", b"9" * 30, b"=1+1", "é".encode()]),
                )
            case _:
                content[place:place] = random.choice(
                    ["🧬", "NaN", "-1", "1e999", "../x", "c." * 50, "(" * 40, "9" * 400]
                ).encode()
        content = content or bytearray(b"x")
    packed = random.random()
    if packed < 0.1:
        return gzip.compress(bytes(content))[: random.randint(1, 400)]
    return bytes(content).decode("utf-8", "replace").encode("utf-16") if packed < 0.15 else bytes(content)


def _fuzz(folder: Path, seeds: range) -> tuple[int, int]:
    """Read mutated sources; returns how many were read and how many refused, each with one clear line."""
    read = refused = 0
    for seed in seeds:
        draw = random.Random(seed)
        for name, text in SOURCES.items():
            (folder / name).write_bytes(text.encode())
        victim = draw.choice(list(SOURCES))
        (folder / victim).write_bytes(_mutate(SOURCES[victim], draw))
        sources = Sources(
            [folder / "tests.csv", folder / "calls.vcf", folder / "calls.maf"],
            classifications=[folder / "clinvar.vcf", folder / "sheet.csv", folder / "variant_summary_2026-11.txt"],
            panels=folder / "panels.csv",
            coverage=[folder / "targets.bed"],
            calls_origin="germline",
        )
        started = time.monotonic()
        try:
            tests = read_genetic_tests(sources)
        except GenovoxError as error:
            said = str(error)
            refused += 1
        else:
            _check_consistency(tests.findings)
            untouched = {"p1", "p2", "p3"} if victim not in ("tests.csv", "calls.vcf") else {"p1", "p2"}
            assert victim in ("tests.csv", "calls.vcf") or untouched <= set(tests.findings), (seed, victim)
            _check_nobody_is_lost(folder / "tests.csv", tests, victim)
            read += 1
            said = "read"
        assert 0 < len(said.strip()) < 1500, (seed, victim)
        assert time.monotonic() - started < 20, (seed, victim)
    return read, refused


def _check_nobody_is_lost(path: Path, tests: GeneticTests, victim: str) -> None:
    """Every line of the table that names a patient of ours has a finding."""
    if victim == "tests.csv":
        first = re.findall(rb"^(p[123])[,;\t]", path.read_bytes(), re.MULTILINE)
        quoted = b'"' in path.read_bytes()
        assert quoted or {name.decode() for name in first} <= set(tests.findings)


def test_damaged_files_give_a_reason_or_one_clear_error(tmp_path: Path) -> None:
    read, refused = _fuzz(tmp_path, range(60))
    assert read
    assert refused


@pytest.mark.slow
def test_many_damaged_files_give_a_reason_or_one_clear_error(tmp_path: Path) -> None:
    read, refused = _fuzz(tmp_path, range(1000, 2500))
    assert read > 100
    assert refused > 100


@pytest.mark.parametrize("victim", sorted(SOURCES))
def test_an_empty_file_is_told(tmp_path: Path, victim: str) -> None:
    (tmp_path / victim).write_bytes(b"")
    tests = [tmp_path / victim] if victim in ("tests.csv", "calls.vcf", "calls.maf") else []
    is_release = any(word in victim for word in ("clinvar", "sheet", "summary"))
    sources = Sources(
        tests,
        classifications=[tmp_path / victim] if is_release else [],
        panels=tmp_path / victim if victim == "panels.csv" else None,
        coverage=[tmp_path / victim] if victim == "targets.bed" else [],
    )
    with pytest.raises(TableError, match=re.escape(victim)):
        read_genetic_tests(sources)
