from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import TableError
from genovox.genetics.calls import SPLICE_BASES
from genovox.genetics.coverage import describe_gaps, join_stretches, read_bed, read_panels, share_read
from genovox.genetics.genes import Gene, locate_gene

STRETCHES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=8)
GENE = Gene("X", "NM_1", "1", "+", 1, 60, ((10, 20), (30, 35)), (11, 17))


def _write(folder: Path, text: str, name: str = "panels.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_panels(tmp_path: Path) -> None:
    text = "panel,gene,scope,cnv\nBig,BRCA1,full,yes\nBig,FANCD1,full,no\nSmall,BRCA1,founder,\nMixed,BRCA1,full,yes\n"
    panels = read_panels(_write(tmp_path, text + "Mixed,BRCA2,single-variant,yes\n"))
    assert panels["big"].genes == {"BRCA1": "full", "BRCA2": "full"}
    assert (panels["big"].cnv, panels["small"].cnv, panels["mixed"].cnv) == ("no", "", "yes")
    assert (panels["big"].scope, panels["small"].scope, panels["mixed"].scope) == ("full", "founder", "")
    assert panels["mixed"].list_full() == {"BRCA1"}
    assert panels["big"].list_full("founder") == panels["small"].list_full() == frozenset()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("panel,gene\nA,BRCA1\n", "add scope"),
        ("panel,gene,scope\nA,BRCA1,everything\n", "panels.csv row 2: scope must be full, founder or single-variant"),
        ("panel,gene,scope,cnv\nA,BRCA1,full,maybe\n", "cnv yes or no"),
        ("panel,gene,scope\n,BRCA1,full\n", "panel and gene must name one of each"),
        ("panel,gene,scope\nA,BRCA1;BRCA2,full\n", "panel and gene must name one of each"),
        ("panel,gene,scope\nA,BRCA1,full\nA,BRCA1,founder\n", "BRCA1 stands twice in one panel with two scopes"),
    ],
)
def test_panels_that_break_a_rule(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_panels(_write(tmp_path, text))


def test_a_bed(tmp_path: Path) -> None:
    text = "track name=x\n#c\nchr17\t43044294\t43044300\n17 43044300 43044310 exon\nchr1\t1\t5\n\nchr13\t5\t5\n"
    bed = read_bed(_write(tmp_path, text, "targets.bed"), genes={"BRCA1", "BRCA2"})
    assert bed == {"17": [(43044295, 43044310)], "13": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chr17\t5\n", "row 1 must be chromosome, start and end"),
        ("chr17\t5\t4\n", "row 1 must be"),
        ("chr17\ta\t4\n", "row 1 must be"),
        ("#\n", "holds no region"),
    ],
)
def test_what_is_no_bed(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_bed(_write(tmp_path, text, "targets.bed"), genes={"BRCA1"})


@given(STRETCHES, STRETCHES)
def test_the_share_is_that_of_counted_bases(read: list[tuple[int, int]], unread: list[tuple[int, int]]) -> None:
    def bases(stretches: list[tuple[int, int]]) -> set[int]:
        return {base for start, end in stretches for base in range(start, end + 1)}

    wanted = bases(GENE.list_targets(SPLICE_BASES))
    have = wanted & bases(read) - bases(unread)
    assert share_read(GENE, read, unread) == pytest.approx(len(have) / len(wanted))
    assert bases(join_stretches(read)) == bases(read)


def test_one_base_short_is_not_full() -> None:
    gene = locate_gene("BRCA1", "GRCh38")
    assert gene is not None
    targets = gene.list_targets(SPLICE_BASES)
    assert share_read(gene, targets) == 1.0
    assert share_read(gene, [(gene.start, gene.end)]) == 1.0
    (start, end), *others = targets
    assert 0.99 < share_read(gene, [(start, end - 1), *others]) < 1.0
    other = locate_gene("BRCA1", "GRCh37")
    assert other is not None
    assert share_read(gene, other.list_targets(20)) == 0.0


def test_gaps_are_told_by_file_and_gene() -> None:
    genes = {symbol: locate_gene(symbol, "GRCh38") for symbol in ("BRCA1", "BRCA2")}
    whole = {gene.chromosome: gene.list_targets(SPLICE_BASES) for gene in genes.values() if gene}
    old = locate_gene("BRCA1", "GRCh37")
    assert old is not None
    other = {"17": old.list_targets(SPLICE_BASES)}
    assert describe_gaps({"all.bed": whole}, [*genes, "NBN"], "GRCh38") == []
    assert describe_gaps({}, genes, "GRCh38") == []
    halves = {"one.bed": {"17": whole["17"]}, "two.bed": {"13": whole["13"]}}
    assert describe_gaps(halves, genes, "GRCh38") == []
    assert describe_gaps({"one.bed": halves["one.bed"]}, genes, "GRCh38") == ["one.bed covers none of BRCA2"]
    assert describe_gaps({"t37.bed": other}, ["BRCA1"], "GRCh38") == [
        "t37.bed covers none of BRCA1 (it looks like the other assembly, calls are GRCh38)"
    ]
    (start, end), *others = whole["17"]
    short = {"17": [(start, end - 1), *others]}
    assert describe_gaps({"short.bed": short}, ["BRCA1"], "GRCh38") == ["short.bed covers 99.9% of BRCA1"]
