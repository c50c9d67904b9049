"""Names of variants written alike: HGVS, the old numbering of BRCA1 and BRCA2, and rearrangements of whole exons.

A name is ``system:change``; only names of one system can tell two variants apart. ``c`` counts on the gene's MANE
Select transcript, ``ex`` on exons, an accession on that transcript, an assembly on a chromosome. HGVS:
doi:10.1002/humu.22981. Old names (BIC) count from the start of the transcript and do not shift a deletion to its last
possible place, so that an offset alone is right for substitutions only: the known deletions and insertions stand in a
table, any other is left without a name rather than given a wrong one.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from genovox.genetics.genes import TRANSCRIPTS, find_today, list_located, locate_gene

# Old name -> HGVS. Janavicius 2010 (doi:10.1007/s13167-010-0037-y), Rebbeck 2018 (doi:10.1002/humu.23406); CHEK2 and
# ATM were never numbered otherwise and are written without c. by habit.
_OLD_NAMES = {
    "BRCA1": (
        "185delAG=68_69del 187delAG=68_69del 5382insC=5266dup 5385insC=5266dup 4153delA=4035del 4154delA=4035del "
        "3819del5=3700_3704del 3875del4=3756_3759del 3829delT=3710del 1675delA=1556del 1135insA=1016dup "
        "816delGT=697_698del 3347delAG=3228_3229del 2804delAA=2685_2686del 2800delAA=2681_2682del "
        "1294del40=1175_1214del 917delTT=798_799del 943ins10=815_824dup 962del4=843_846del 2080delA=1961del "
        "2080insA=1961dup 2594delC=2475del 3171ins5=3048_3052dup 4184del4=4065_4068del 4693delAA=4574_4575del "
        "5149del4=5030_5033del 3600del11=3481_3491del 5083del19=4964_4982del 3450del4=3331_3334del "
        "300T>G=181T>G 1806C>T=1687C>T 4446C>T=4327C>T 5242C>A=5123C>A"
    ),
    "BRCA2": (
        "6174delT=5946del 999del5=771_775del 8765delAG=8537_8538del 3036del4=2808_2811del 3034del4=2806_2809del "
        "6503delTT=6275_6276del 5579insA=5351dup 9254del5=9026_9030del 9132delC=8904del 886delGT=658_659del "
        "4075delGT=3847_3848del 1538del4=1310_1313del 7297delCT=7069_7070del 2041insA=1813dup "
        "5950delCT=5722_5723del 5804del4=5576_5579del 3398del5=3170_3174del 8525delC=8297del"
    ),
    "CHEK2": "1100delC=1100del",
    "ATM": "7271T>G=7271T>G",
}
# c. names that are not shifted to the last possible place, as older reports write them.
_UNSHIFTED = {
    "BRCA1": {"66_67del": "68_69del", "5263_5264insc": "5266dup", "5265_5266insc": "5266dup", "4034del": "4035del"},
}
# The same transcripts in other collections (LRG, doi:10.1186/gm145; Ensembl).
_SAME_TRANSCRIPT = {
    "lrg_292t1": "NM_007294",
    "lrg_293t1": "NM_000059",
    "enst00000357654": "NM_007294",
    "enst00000380152": "NM_000059",
    "enst00000544455": "NM_000059",
    "enst00000261584": "NM_024675",
    "enst00000404276": "NM_007194",
    "enst00000278616": "NM_000051",
    "enst00000675843": "NM_000051",
    "enst00000269305": "NM_000546",
    "enst00000371953": "NM_000314",
    "enst00000261769": "NM_004360",
    "enst00000326873": "NM_000455",
    "enst00000337432": "NM_058216",
    "enst00000345365": "NM_002878",
    "enst00000260947": "NM_000465",
    "enst00000358273": "NM_001042492",
}

_POSITION = r"(?:[-*]?\d+(?:[+-]\d+)?|\?)"
_PLACE = rf"(?:{_POSITION}|\({_POSITION}_{_POSITION}\))"
_CHANGE = r"(?:[acgt]>[acgt]|(?:del|dup|inv)(?:[acgtn]+|\d+)?(?:ins(?:[acgtn]+|\d+))?|ins(?:[acgtn]+|\d+))"
_CODING_NAME = re.compile(
    rf"(?:(?P<accession>nm_\d+|lrg_\d+t\d+|enst\d+|[a-z]{{1,2}}_?\d{{5,}})(?:\.\d+)?(?:\([^()]*\))?:)?"
    rf"(?<![a-z\d])c\.(?P<change>{_PLACE}(?:_{_PLACE})?{_CHANGE})(?![a-z\d>])"
)
_OLD_NAME = re.compile(r"(?<![\w.+>-])(\d+(?:(?:del|ins)(?:[acgt]+|\d+)|[acgt]>[acgt]))(?![a-z\d>])")
_INTRON_NAME = re.compile(r"(?<![a-z\d])ivs ?(\d+)([+-]\d+)([acgt]>[acgt])(?![a-z\d>])")
_OLD_SUBSTITUTION = re.compile(r"(?<![\w.+>-])(-?\d+)([acgt]>[acgt])(?![a-z\d>])")
_EXONS = r"ex(?:ons?)?\.? ?(\d+[a-z]?)(?: ?(?:-|_|to|through|–) ?(?:ex(?:on)?\.? ?)?(\d+[a-z]?))?"
_KIND = r"(del(?:etion|eted)?|dup(?:lication|licated)?)"
_EXON_NAMES = (
    re.compile(rf"(?<![a-z]){_EXONS} ?_?{_KIND}(?![a-z])"),
    re.compile(rf"(?<![a-z]){_KIND} ?(?:of |in )?{_EXONS}(?![a-z\d])"),
)
_WHOLE_GENE = re.compile(r"(?:whole|entire|complete|full)[ -]gene (del|dup)")
_SYMBOL = re.compile(r"(?<![A-Z\d])[A-Z][A-Z\d]{1,9}\d?(?![A-Z\d])")


@dataclass(frozen=True)
class VariantName:
    """What a cell names.

    Attributes:
        named: Whether it names a variant in whatever way.
        names: Its names in our writing; empty where it is written in no way that we can compare.
        genes: Genes that the cell itself tells, by symbol or transcript.
    """

    named: bool
    names: frozenset[str] = frozenset()
    genes: frozenset[str] = frozenset()


def may_be_one(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two sets of names may be of one variant: only names of one system tell variants apart."""
    mine, theirs = set(names), set(others)
    shared = {_system(name) for name in mine} & {_system(name) for name in theirs}
    return bool(mine & theirs) or not shared


def read_variant(text: str, gene: str = "", *, is_old: bool = False) -> VariantName:
    """Read the name of a variant as laboratories write it.

    Args:
        text: A cell, such as ``NM_007294.4(BRCA1):c.5266dup (p.Gln1756fs)``, ``185delAG`` or ``ex13dup``.
        gene: Today's symbol of its gene, where another cell tells it.
        is_old: The cell holds old (BIC) names, whose substitutions count from the start of the transcript.
    """
    plain = re.sub(r"\s+", " ", re.sub("[‐-―−]", "-", unicodedata.normalize("NFKC", text))).replace("→", ">").strip()
    tidy = re.sub(r"[\[\]]", "", plain.lower())
    tidy = re.sub(r" *([_>]) *|(?<=\bc\.) +", lambda found: found[1] or "", tidy)
    tidy = re.sub(r"(?<=\d) +(?=(?:del|dup|ins|inv|[acgt]>))|(?<=del|dup|ins) +(?=(?:[acgt]+|\d+)(?![\w]))", "", tidy)
    whole_gene = _WHOLE_GENE.search(tidy)
    named = bool(re.search(r"\d", tidy)) or bool(whole_gene)
    genes = _find_genes(plain.upper())
    known = [gene] if gene else sorted(genes)
    names: set[str] = set()
    for found in _CODING_NAME.finditer(tidy):
        accession = _SAME_TRANSCRIPT.get(found["accession"] or "", (found["accession"] or "").upper())
        genes |= {TRANSCRIPTS[accession]} if accession in TRANSCRIPTS else set()
        change = _shorten(found["change"])
        if accession in TRANSCRIPTS or not accession:
            owner = TRANSCRIPTS.get(accession) or (known[0] if len(known) == 1 else "")
            names.add(f"c:{_UNSHIFTED.get(owner, {}).get(change, change)}")
        else:
            names.add(f"{accession.lower()}:{change}")
    old, inferred = _read_old(tidy, known or sorted(genes), is_old=is_old and not names)
    names |= old
    genes |= inferred
    for pattern in _EXON_NAMES:
        names |= {_name_exons(found.groups()) for found in pattern.finditer(tidy)}
    if whole_gene:
        names.add(f"ex:all{whole_gene[1]}")
    return VariantName(named, frozenset(names), frozenset(genes))


def _system(name: str) -> str:
    return name.partition(":")[0]


def _find_genes(text: str) -> set[str]:
    located = set(list_located())
    return {find_today(word) for word in _SYMBOL.findall(text)} & located


def _shorten(change: str) -> str:
    """No bases after del, dup and inv, no range of one base: HGVS leaves them out."""
    change = re.sub(r"(del|dup|inv)(?:[acgtn]+|\d+)(?=ins|$)", r"\1", change)
    return re.sub(r"^([^_()]+)_\1(?=del|dup)", r"\1", change)


def _read_old(tidy: str, known: list[str], *, is_old: bool) -> tuple[set[str], set[str]]:
    """Names of what is written in the old way, and the gene where the name alone tells it."""
    names: set[str] = set()
    inferred: set[str] = set()
    for word in _OLD_NAME.findall(tidy):
        owners = [gene for gene, table in _old_names().items() if _measure(word) in table and gene in (known or [gene])]
        if len(owners) == 1:
            names.add(f"c:{_old_names()[owners[0]][_measure(word)]}")
            inferred.add(owners[0])
    if len(known) == 1 and known[0] in ("BRCA1", "BRCA2"):
        gene = locate_gene(known[0], "GRCh38")
        assert gene is not None
        for number, offset, change in _INTRON_NAME.findall(tidy):
            bounds = gene.bound_intron(int(number))
            if bounds:
                names.add(f"c:{bounds[offset[0] == '-']}{offset}{change}")
        for number, change in _OLD_SUBSTITUTION.findall(tidy) if is_old and not names else ():
            names.add(f"c:{gene.count_from_legacy(int(number))}{change}")
    return names, inferred


@functools.cache
def _old_names() -> dict[str, dict[str, str]]:
    tables = {}
    for gene, text in _OLD_NAMES.items():
        pairs = (pair.lower().split("=") for pair in text.split())
        tables[gene] = {_measure(old): new for old, new in pairs}
    return tables


def _measure(word: str) -> str:
    """185delag as 185del2: some write the bases that are gone and some their number. Inserted bases count as such."""
    found = re.fullmatch(r"(\d+del)([acgt]+)", word)
    return f"{found[1]}{len(found[2])}" if found else word


def _name_exons(groups: tuple[str | None, ...]) -> str:
    words = [word for word in groups if word]
    kind = next(word[:3] for word in words if word[:3] in ("del", "dup"))
    exons = [word for word in words if word[0].isdigit()]
    return f"ex:{'-'.join(dict.fromkeys(exons))}{kind}"
