from itertools import pairwise

import pytest

from genovox.genetics.genes import (
    ASSEMBLIES,
    CHROMOSOME_LENGTHS,
    SYMBOLS,
    find_today,
    is_known,
    list_located,
    locate_gene,
    suggest_genes,
)

# Residues of the canonical proteins in UniProt.
PROTEINS = {
    "ATM": 3056,
    "BARD1": 777,
    "BRCA1": 1863,
    "BRCA2": 3418,
    "CDH1": 882,
    "CHEK2": 543,
    "NF1": 2839,
    "PALB2": 1186,
    "PTEN": 403,
    "RAD51C": 376,
    "RAD51D": 328,
    "STK11": 433,
    "TP53": 393,
}


@pytest.mark.parametrize("assembly", ASSEMBLIES)
def test_the_coding_exons_make_the_proteins(assembly: str) -> None:
    assert set(list_located()) == set(PROTEINS)
    for symbol, residues in PROTEINS.items():
        gene = locate_gene(symbol, assembly)
        assert gene is not None
        assert gene.coding_length == 3 * (residues + 1), symbol
        assert all(gene.start <= start <= end <= gene.end for start, end in gene.exons)
        assert gene.end < CHROMOSOME_LENGTHS[gene.chromosome][ASSEMBLIES.index(assembly)]
        targets = gene.list_targets(0)
        assert all(end < start for (_, end), (start, _) in pairwise(targets))


# Published places of well-known variants (ClinVar).
@pytest.mark.parametrize(
    ("symbol", "assembly", "position", "change", "name"),
    [
        ("BRCA1", "GRCh37", 41258504, "A>C", "c.181T>G"),
        ("BRCA1", "GRCh38", 43106487, "A>C", "c.181T>G"),
        ("BRCA1", "GRCh37", 41215947, "C>T", "c.5096G>A"),
        ("BRCA2", "GRCh37", 32972626, "A>T", "c.9976A>T"),
        ("BRCA2", "GRCh38", 32398489, "A>T", "c.9976A>T"),
        ("TP53", "GRCh37", 7577538, "C>T", "c.743G>A"),
        ("TP53", "GRCh38", 7674220, "C>T", "c.743G>A"),
        ("CHEK2", "GRCh37", 29121087, "A>G", "c.470T>C"),
        ("ATM", "GRCh37", 108199929, "T>G", "c.7271T>G"),
        ("PALB2", "GRCh37", 23632683, "C>T", "c.3113G>A"),
    ],
)
def test_places_and_names_of_substitutions(symbol: str, assembly: str, position: int, change: str, name: str) -> None:
    gene = locate_gene(symbol, assembly)
    assert gene is not None
    assert gene.name_substitution(position, *change.split(">")) == name


def test_bases_of_introns_count_from_the_nearer_exon() -> None:
    gene = locate_gene("BRCA2", "GRCh38")
    assert gene is not None
    (_, end), (start, _) = gene.exons[0], gene.exons[1]
    assert [gene.name_position(end), gene.name_position(end + 1)] == ["67", "67+1"]
    assert [gene.name_position(start - 7), gene.name_position(start)] == ["68-7", "68"]
    middle = (end + start) // 2
    assert (start - end) % 2 == 0
    assert gene.name_position(middle) == f"67+{middle - end}"
    assert gene.name_position(gene.exons[0][0] - 1) == gene.name_position(gene.exons[-1][1] + 1) == ""


def test_only_changed_bases_have_a_name() -> None:
    gene = locate_gene("BRCA1", "GRCh38")
    assert gene is not None
    assert gene.name_substitution(43106487, "AC", "A") == ""
    assert gene.name_substitution(1, "A", "C") == ""


def test_former_symbols() -> None:
    assert [find_today(name) for name in ("FANCD1", "RNF53", "FANCS", "BRCA2", "LKB1")] == [
        "BRCA2",
        "BRCA1",
        "BRCA1",
        "BRCA2",
        "STK11",
    ]
    assert find_today("ABC9") == "ABC9"


def test_a_gene_whose_place_is_unknown() -> None:
    assert locate_gene("NBN", "GRCh38") is None


def test_old_numbers() -> None:
    one, two = locate_gene("BRCA1", "GRCh38"), locate_gene("BRCA2", "GRCh38")
    assert one is not None
    assert two is not None
    # 300T>G is c.181T>G; 203G>A of BRCA2 is c.-26G>A; ENIGMA's -73T>C is c.-192T>C, 11389 lies after the stop.
    assert [one.count_from_legacy(number) for number in (300, 120, 119, -73, 11389)] == [
        "181",
        "1",
        "-1",
        "-192",
        "*5678",
    ]
    assert [two.count_from_legacy(number) for number in (6174, 203, -536)] == ["5946", "-26", "-764"]
    assert one.bound_intron(1) == ("-20", "-19")
    assert one.bound_intron(2) == ("80", "81")
    assert one.bound_intron(4) is one.bound_intron(24) is None
    assert one.bound_intron(20) == ("5277", "5278")
    assert two.bound_intron(13) == ("7007", "7008")


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        *((word, "BRCA1 BRCA2") for word in ("BRCA3", "BRCA-I", "BRCA")),
        *((word, "BRCA1") for word in ("BRAC1", "BRC1", "BCRA1", "BRCA11", "RCA1")),
        *((word, "PALB2") for word in ("PLAB2", "PALPB2")),
        *((word, "") for word in ("CHEK1", "NBN", "BARD1", "FANCM", "ATM")),
    ],
)
def test_a_mistyped_symbol_is_told_from_another_gene(symbol: str, meant: str) -> None:
    assert suggest_genes(symbol, ["BRCA1", "BRCA2", "PALB2"]) == set(meant.split())


def test_known_symbols() -> None:
    assert all(is_known(symbol) for symbol in (*list_located(), *SYMBOLS.values(), "RAD51B", "MLH1"))
    assert not any(is_known(symbol) for symbol in ("BRAC1", "BRCA3", ""))
