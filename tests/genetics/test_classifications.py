import os
from datetime import date
from pathlib import Path

import pytest

from genovox.core.errors import TableError
from genovox.genetics.classifications import (
    BENIGN,
    CONFLICTING,
    PATHOGENIC,
    UNCERTAIN,
    UNCLASSIFIED,
    Classification,
    Classifications,
    Release,
    read_category,
    read_date,
    read_sheet,
)

SHEET = Path(os.environ.get("GENOVOX_REAL_DATA", "../shared/data")) / "tables" / "enigma_brca12_variants.tsv"
LABORATORY = Classification(PATHOGENIC, evaluated=date(2020, 1, 1))
CLINVAR = Classification(UNCERTAIN, False, "summary", "clinvar", 2, date(2024, 1, 1))
EXPERT = Classification(PATHOGENIC, False, "summary", "clinvar", 3, date(2015, 1, 1))
CURATED = Classification(BENIGN, False, "sheet", "curated", None, date(2015, 1, 1))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Pathogenic", (PATHOGENIC, False)),
        ("Likely_pathogenic", (PATHOGENIC, True)),
        ("Pathogenic/Likely pathogenic", (PATHOGENIC, True)),
        ("Pathogenic; risk factor", (PATHOGENIC, False)),
        ("Pathogenic|drug_response|other", (PATHOGENIC, False)),
        ("Likely pathogenic, protective", (PATHOGENIC, True)),
        ("Benign/Likely_benign", (BENIGN, False)),
        ("Benign / Little Clinical Significance", (BENIGN, False)),
        ("Uncertain_significance", (UNCERTAIN, False)),
        ("class 4", (PATHOGENIC, True)),
        ("ACMG class 5", (PATHOGENIC, False)),
        ("Conflicting_classifications_of_pathogenicity", (CONFLICTING, False)),
        ("Conflicting interpretations of pathogenicity; risk factor", (CONFLICTING, False)),
        ("Pathogenic|Benign", (CONFLICTING, False)),
        ("Pathogenic, low penetrance", None),
        ("risk factor", None),
        ("drug response|other", None),
        ("Established risk allele", None),
        ("not provided", None),
        ("no classification for the single variant", None),
        ("-", None),
        ("", None),
        (";|,", None),
    ],
)
def test_words_for_classes(text: str, category: tuple[str, bool] | None) -> None:
    assert read_category(text) == category


@pytest.mark.parametrize(
    ("text", "is_american", "day"),
    [
        ("2021-05-17", False, date(2021, 5, 17)),
        ("2021-05", False, date(2021, 5, 1)),
        ("20210517", False, date(2021, 5, 17)),
        ("2021-05-17T08:00:00", False, date(2021, 5, 17)),
        ("17.05.2021", False, date(2021, 5, 17)),
        ("17/05/2021", False, date(2021, 5, 17)),
        ("05/17/2021", False, date(2021, 5, 17)),
        ("3/4/2021", False, None),
        ("3/4/2021", True, date(2021, 3, 4)),
        ("Aug 10, 2015", False, date(2015, 8, 10)),
        ("2021-13-40", False, None),
        ("31.02.2021", False, None),
        ("-", False, None),
        ("yesterday", False, None),
    ],
)
def test_days(text: str, is_american: bool, day: date | None) -> None:
    assert read_date(text, is_american=is_american) == day


@pytest.mark.parametrize(
    ("found", "category"),
    [
        ([], UNCLASSIFIED),
        ([LABORATORY], PATHOGENIC),
        ([LABORATORY, CLINVAR], UNCERTAIN),  # the newest
        ([CLINVAR, EXPERT], PATHOGENIC),  # an expert panel before the newest
        ([EXPERT, CURATED], CONFLICTING),  # pathogenic against benign is never outvoted
        ([LABORATORY, CURATED], CONFLICTING),
        ([CLINVAR, CURATED], BENIGN),
        ([LABORATORY, Classification(UNCERTAIN)], PATHOGENIC),  # what has no date is the oldest
        ([Classification(PATHOGENIC), Classification(UNCERTAIN)], CONFLICTING),  # nothing decides
        ([Classification(BENIGN), Classification(UNCERTAIN)], UNCERTAIN),
        ([Classification(UNCLASSIFIED, False, "summary", "clinvar", 0)], UNCLASSIFIED),
        ([Classification(CONFLICTING, False, "summary", "clinvar", 1, date(2025, 1, 1)), LABORATORY], CONFLICTING),
    ],
)
def test_whose_word_counts(found: list[Classification], category: str) -> None:
    for order in (found, found[::-1]):
        verdict = Classifications().choose(order)
        assert verdict.chosen.category == category
        assert bool(verdict.disagreement) == (len({one.category for one in found}) > 1)


def test_a_named_precedence_decides_what_would_be_a_conflict() -> None:
    found = [LABORATORY, CURATED, CLINVAR]
    for precedence, category in (
        (("laboratory",), PATHOGENIC),
        (("curated",), BENIGN),
        (("clinvar", "curated"), UNCERTAIN),
    ):
        verdict = Classifications(precedence=precedence).choose(found)
        assert verdict.chosen.category == category
        assert "laboratory pathogenic" in verdict.disagreement


def test_a_class_is_found_by_gene_and_name() -> None:
    release = Release("sheet", "curated", None, entries={("BRCA1", "c:1a>g"): [CURATED]})
    known = Classifications((release,))
    assert known.find({"BRCA1"}, {"c:1a>g"}) == [CURATED]
    assert known.find({"BRCA2"}, {"c:1a>g"}) == []
    assert known.find(set(), {"c:1a>g"}) == []
    # Two variants in one cell have no class together.
    assert known.find({"BRCA1"}, {"c:1a>g", "c:2a>g"}) == []
    assert known.find({"BRCA1"}, {"c:1a>g", "GRCh38:17:5:A>G"}) == [CURATED]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_sheet_below_other_rows(tmp_path: Path, separator: str) -> None:
    rows = [
        ["a sheet of ours"],
        [],
        ["#Gene symbol", "Reference sequence", "HGVS", "Clinical significance", "Date last evaluated"],
        ["BRCA1", "NM_007294.3", "c.181T>G", "Pathogenic", "2015-08-10"],
        ["BRCA1", "NM_007294.3", "", "Pathogenic", ""],
        ["BRCA1", "NM_007294.3", "c.5A>G", "hm", ""],
        ["FANCD1", "", "c.9976A>T", "Benign"],
        ["XYZ", "", "c.9976A>T", "Benign", ""],
    ]
    path = tmp_path / "sheet.csv"
    path.write_text("\n".join(separator.join(row) for row in rows))
    release = read_sheet(path, genes={"BRCA1", "BRCA2"})
    assert (release.kind, release.released, release.unread) == ("curated", None, 2)
    assert set(release.entries) == {("BRCA1", "c:181t>g"), ("BRCA2", "c:9976a>t")}
    (entry,) = release.entries["BRCA1", "c:181t>g"]
    assert (entry.category, entry.evaluated, entry.is_expert) == (PATHOGENIC, date(2015, 8, 10), True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "must name gene, HGVS and classification"),
        (b"", "must name gene, HGVS and classification"),
        (b"gene,hgvs,class\n\xff\xfe", "is not UTF-8 text"),
        (b'gene,hgvs,class\n"' + b"x" * 200_000, "is not a readable table"),
    ],
)
def test_what_is_no_sheet(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=words):
        read_sheet(path, genes={"BRCA1"})


def test_a_sheet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_sheet(tmp_path / "no.csv", genes={"BRCA1"})


@pytest.mark.real_data
@pytest.mark.skipif(not SHEET.exists(), reason=f"needs {SHEET}")
def test_the_enigma_sheet_as_its_curators_wrote_it() -> None:
    release = read_sheet(SHEET, genes={"BRCA1", "BRCA2"})
    assert (len(release.entries), release.unread) == (1030, 0)
    categories = [entry.category for entries in release.entries.values() for entry in entries]
    assert (categories.count(PATHOGENIC), categories.count(BENIGN)) == (44, 986)
    assert all(entry.evaluated for entries in release.entries.values() for entry in entries)
