import gzip
from datetime import date
from pathlib import Path

import pytest

from genovox.core.errors import TableError
from genovox.genetics.classifications import BENIGN, CONFLICTING, PATHOGENIC, UNCERTAIN, UNCLASSIFIED
from genovox.genetics.clinvar import count_stars, read_classifications

GENES = frozenset({"BRCA1", "BRCA2", "CHEK2"})
TITLES = (
    "#AlleleID\tType\tName\tGeneID\tGeneSymbol\tHGNC_ID\tClinicalSignificance\tClinSigSimple\tLastEvaluated"
    "\tRS# (dbSNP)\tReviewStatus\tNumberSubmitters\tAssembly\tChromosome"
    "\tPositionVCF\tReferenceAlleleVCF\tAlternateAlleleVCF"
)
EXPERT, TWO, ONE, NONE = (
    "reviewed by expert panel",
    "criteria provided, multiple submitters, no conflicts",
    "criteria provided, single submitter",
    "no assertion criteria provided",
)


def summary_row(
    name: str,
    gene: str,
    significance: str,
    *,
    review: str = TWO,
    evaluated: str = "Aug 10, 2015",
    assembly: str = "GRCh38",
    place: tuple[str, str, str] = ("-1", "na", "na"),
) -> str:
    cells = ["1", "single nucleotide variant", name, "672", gene, "HGNC:1", significance, "1", evaluated, "-", review]
    return "\t".join([*cells, "3", assembly, "17", *place])


def write_summary(path: Path, *rows: str) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([TITLES, *rows]) + "\n")
    return path


def _read(path: Path, minimum_review: int = 1):  # type: ignore[no-untyped-def]
    return read_classifications(path, genes=GENES, minimum_review=minimum_review)


def test_the_table_by_name_and_place(tmp_path: Path) -> None:
    path = write_summary(
        tmp_path / "variant_summary_2026-11.txt.gz",
        summary_row(
            "NM_007294.4(BRCA1):c.181T>G (p.Cys61Gly)",
            "BRCA1",
            "Pathogenic; risk factor",
            review=EXPERT,
            place=("43106487", "A", "C"),
        ),
        summary_row("NM_000059.4(BRCA2):c.5946del (p.Ser1982fs)", "BRCA2", "Pathogenic", evaluated="-"),
        summary_row(
            "NM_007194.4(CHEK2):c.470T>C (p.Ile157Thr)", "CHEK2", "Conflicting classifications of pathogenicity"
        ),
        summary_row("NM_007294.4(BRCA1):c.1A>G", "BRCA1;NBR2", "Uncertain significance", review=ONE),
        summary_row("NM_007294.4(BRCA1):c.2T>G", "BRCA1", "Pathogenic", review=NONE),
        summary_row("NM_007294.4(BRCA1):c.3G>A", "BRCA1", "not provided"),
        summary_row("NM_000546.6(TP53):c.743G>A", "TP53", "Pathogenic"),
    )
    release = _read(path)
    assert (release.kind, release.released, release.assembly, release.unread) == ("clinvar", date(2026, 11, 1), "", 1)
    (expert,) = release.entries["BRCA1", "c:181t>g"]
    assert (expert.category, expert.stars, expert.is_expert, expert.evaluated) == (
        PATHOGENIC,
        3,
        True,
        date(2015, 8, 10),
    )
    assert release.entries["BRCA1", "GRCh38:17:43106487:A>C"] == [expert]
    assert release.entries["BRCA2", "c:5946del"][0].evaluated == date(2026, 11, 1)
    assert release.entries["CHEK2", "c:470t>c"][0].category == CONFLICTING
    assert release.entries["BRCA1", "c:1a>g"][0].category == UNCERTAIN
    # Below the minimum a class is known and does not count.
    assert release.entries["BRCA1", "c:2t>g"][0].category == UNCLASSIFIED
    assert _read(path, 0).entries["BRCA1", "c:2t>g"][0].category == PATHOGENIC
    assert _read(path, 3).entries["BRCA2", "c:5946del"][0].category == UNCLASSIFIED
    assert ("TP53", "c:743g>a") not in release.entries


def test_both_assemblies_of_one_row(tmp_path: Path) -> None:
    name = "NM_007294.4(BRCA1):c.181T>G (p.Cys61Gly)"
    path = write_summary(
        tmp_path / "variant_summary_20261105.txt.gz",
        summary_row(name, "BRCA1", "Pathogenic", assembly="GRCh37", place=("41258504", "A", "C")),
        summary_row(name, "BRCA1", "Pathogenic", place=("43106487", "A", "C")),
    )
    release = _read(path)
    assert release.released == date(2026, 11, 5)
    assert set(release.entries) == {
        ("BRCA1", name) for name in ("c:181t>g", "GRCh37:17:41258504:A>C", "GRCh38:17:43106487:A>C")
    }
    assert all(len(entries) == 1 for entries in release.entries.values())


VCF = """##fileformat=VCFv4.1
##fileDate=2026-11-09
##source=ClinVar
##reference=GRCh38
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
17\t43106487\t1\tA\tC\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=BRCA1:672
17\t43124027\t2\tACT\tA\t.\t.\tCLNSIG=Pathogenic;CLNREVSTAT=practice_guideline;GENEINFO=BRCA1:672|NBR2:1
13\t32398489\t3\tA\tT\t.\t.\tCLNSIG=Benign|drug_response;CLNREVSTAT=criteria_provided,_multiple_submitters,_no_conflicts
13\t32398490\t4\tA\tT\t.\t.\tCLNREVSTAT=no_assertion_provided;GENEINFO=BRCA2:675
13\t32398491\t5\tA\tT\t.\t.\tCLNSIG=Benign;CLNREVSTAT=criteria_provided,_single_submitter;GENEINFO=OTHER:1
1\t100\t6\tA\tT\t.\t.\tCLNSIG=Benign
"""


def test_the_vcf(tmp_path: Path) -> None:
    path = tmp_path / "clinvar.vcf"
    path.write_text(VCF)
    release = _read(path)
    assert (release.assembly, release.released, release.unread) == ("GRCh38", date(2026, 11, 9), 1)
    assert release.entries["BRCA1", "c:181t>g"][0].stars == 3
    assert release.entries["BRCA1", "GRCh38:17:43124027:ACT>A"][0].stars == 4
    assert release.entries["BRCA2", "c:9976a>t"][0].category == BENIGN
    assert len(release.entries) == 5


@pytest.mark.parametrize(
    "name", ["variant_summary.txt.gz", "variant_summary_2026.txt.gz", "variant_summary_2026-13.txt.gz"]
)
def test_a_release_is_dated(tmp_path: Path, name: str) -> None:
    with pytest.raises(TableError, match=r"must be dated, .*rename it as in variant_summary_2026-11"):
        _read(write_summary(tmp_path / name))
    (tmp_path / "clinvar.vcf").write_text(VCF.replace("##fileDate=2026-11-09\n", ""))
    with pytest.raises(TableError, match="must be dated"):
        _read(tmp_path / "clinvar.vcf")


def test_what_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file of classifications"):
        _read(tmp_path / "no.txt.gz")
    whole = write_summary(tmp_path / "variant_summary_2026-11.txt.gz", summary_row("x", "BRCA1", "Benign")).read_bytes()
    cut = tmp_path / "variant_summary_2026-10.txt.gz"
    cut.write_bytes(whole[:-9])
    with pytest.raises(TableError, match="is damaged or cut short"):
        _read(cut)
    other = tmp_path / "variant_summary_2026-09.txt"
    other.write_text("#AlleleID\tClinicalSignificance\n")
    with pytest.raises(TableError, match="lacks the columns Name, GeneSymbol"):
        _read(other)
    short = tmp_path / "variant_summary_2026-08.txt"
    short.write_text(f"{TITLES}\n1\tx\tNM_007294.4(BRCA1):c.1A>G\t1\tBRCA1\tHGNC:1\n")
    assert _read(short).unread == 1


@pytest.mark.parametrize(
    ("review", "stars"),
    [
        ("practice guideline", 4),
        ("reviewed_by_expert_panel", 3),
        ("criteria_provided,_multiple_submitters,_no_conflicts", 2),
        ("criteria provided, conflicting interpretations", 1),
        ("criteria provided, single submitter", 1),
        ("no assertion criteria provided", 0),
        ("no classification provided", 0),
        ("", 0),
    ],
)
def test_stars(review: str, stars: int) -> None:
    assert count_stars(review) == stars
