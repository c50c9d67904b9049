"""Facts about the genes: symbols, transcripts, and where their coding exons lie in GRCh37 and GRCh38.

Symbols and their former names: HGNC (https://www.genenames.org). Transcripts: MANE Select
(doi:10.1038/s41586-022-04558-8). Coordinates: NCBI RefSeq as in UCSC's refGene tables of hg38 and hg19; between the two
each of these genes moves as one block, so one table and a shift hold both.
"""

import bisect
import difflib
import functools
import re
from collections.abc import Collection
from dataclasses import dataclass

ASSEMBLIES = ("GRCh37", "GRCh38")
# Lengths of the chromosomes the genes lie on, GRCh37 and GRCh38 (Genome Reference Consortium).
CHROMOSOME_LENGTHS = {
    "2": (243199373, 242193529),
    "10": (135534747, 133797422),
    "11": (135006516, 135086622),
    "13": (115169878, 114364328),
    "16": (90354753, 90338345),
    "17": (81195210, 83257441),
    "19": (59128983, 58617616),
    "22": (51304566, 50818468),
}
_FORMER_SYMBOLS = {
    "BRCA1": "RNF53 BRCC1 PPP1R53 FANCS",
    "BRCA2": "FANCD1 FAD1 BRCC2",
    "CDH1": "UVO CD324",
    "CHEK2": "CHK2 RAD53",
    "PALB2": "FANCN",
    "PTEN": "MMAC1",
    "RAD51C": "FANCO RAD51L2",
    "RAD51D": "RAD51L3",
    "STK11": "LKB1 PJS",
    "TP53": "P53 LFS1",
}
SYMBOLS = {former: gene for gene, names in _FORMER_SYMBOLS.items() for former in names.split()}
"""Today's symbol by a former one or one of another field (FANCD1 is BRCA2)."""

# Other genes of panels for hereditary cancer, whose place is not held here: a symbol like another is no error then.
_OTHER_SYMBOLS = (
    "APC AXIN2 BLM BMPR1A BRAT1 BRCC3 BRIP1 CDK4 CDKN2A CHEK1 EPCAM FANCA FANCC FANCM FH FLCN GREM1 HOXB13 MEN1 MET "
    "MLH1 MLH3 MRE11 MSH2 MSH3 MSH6 MUTYH NBN NF2 NTHL1 PMS1 PMS2 POLD1 POLE RAD50 RAD51 RAD51B RB1 RECQL RET SDHB "
    "SDHC SDHD SMAD4 TP63 TP73 TSC1 TSC2 VHL XRCC2"
)
_LEAST_LIKENESS = 0.8  # one letter of five wrong, or two of five swapped

# Accession, chromosome, strand, first and last base of the transcript in GRCh38, and its shift from GRCh37.
_PLACES = {
    "ATM": ("NM_000051", "11", "+", 108223067, 108369102, 129273),
    "BARD1": ("NM_000465", "2", "-", 214725646, 214809683, -864724),
    "BRCA1": ("NM_007294", "17", "-", 43044295, 43125364, 1847983),
    "BRCA2": ("NM_000059", "13", "+", 32315508, 32400268, -574137),
    "CDH1": ("NM_004360", "16", "+", 68737292, 68835537, -33903),
    "CHEK2": ("NM_007194", "22", "-", 28687743, 28741820, -395988),
    "NF1": ("NM_001042492", "17", "+", 31094977, 31377675, 1672982),
    "PALB2": ("NM_024675", "16", "-", 23603165, 23641310, -11321),
    "PTEN": ("NM_000314", "10", "+", 87863625, 87971930, -1759757),
    "RAD51C": ("NM_058216", "17", "+", 58692602, 58735611, 1922639),
    "RAD51D": ("NM_002878", "17", "-", 35092221, 35119860, 1672981),
    "STK11": ("NM_000455", "19", "+", 1205778, 1228431, 1),
    "TP53": ("NM_000546", "17", "-", 7668421, 7687490, 96682),
}
# Coding bases of each exon in GRCh38, both ends included, as they lie on the chromosome.
_EXONS = {
    "ATM": (
        "108227625-108227696 108227776-108227888 108229178-108229323 108235670-108235834 108243953-108244118 "
        "108244788-108245026 108246964-108247127 108248933-108249102 108250701-108251072 108251837-108252031 "
        "108252817-108252912 108253814-108254039 108256215-108256340 108257481-108257606 108258986-108259075 "
        "108267171-108267342 108268410-108268609 108271064-108271146 108271251-108271406 108272532-108272607 "
        "108272722-108272852 108279491-108279608 108280995-108281168 108282710-108282879 108284227-108284473 "
        "108287600-108287715 108288977-108289103 108289602-108289801 108292619-108292793 108293313-108293477 "
        "108294927-108295059 108297287-108297382 108299714-108299885 108301648-108301789 108302853-108303029 "
        "108304675-108304852 108307897-108307984 108310160-108310315 108312411-108312498 108315823-108315911 "
        "108316011-108316113 108317373-108317521 108319954-108320058 108321301-108321420 108325310-108325544 "
        "108326058-108326225 108327645-108327758 108329021-108329238 108330214-108330421 108331444-108331557 "
        "108331879-108332037 108332762-108332900 108333886-108333968 108334969-108335109 108335845-108335961 "
        "108343222-108343371 108345743-108345908 108347279-108347365 108353766-108353880 108354811-108354874 "
        "108365082-108365218 108365325-108365508"
    ),
    "BARD1": (
        "214728676-214729008 214730411-214730508 214745067-214745159 214745722-214745854 214752447-214752555 "
        "214767482-214767654 214769232-214769312 214780560-214781509 214792297-214792445 214797061-214797117 "
        "214809412-214809569"
    ),
    "BRCA1": (
        "43045678-43045802 43047643-43047703 43049121-43049194 43051063-43051117 43057052-43057135 43063333-43063373 "
        "43063874-43063951 43067608-43067695 43070928-43071238 43074331-43074521 43076488-43076614 43082404-43082575 "
        "43090944-43091032 43091435-43094860 43095846-43095922 43097244-43097289 43099775-43099880 43104122-43104261 "
        "43104868-43104956 43106456-43106533 43115726-43115779 43124017-43124096"
    ),
    "BRCA2": (
        "32316461-32316527 32319077-32319325 32325076-32325184 32326101-32326150 32326242-32326282 32326499-32326613 "
        "32329443-32329492 32330919-32331030 32332272-32333387 32336265-32341196 32344558-32344653 32346827-32346896 "
        "32354861-32355288 32356428-32356609 32357742-32357929 32362523-32362693 32363179-32363533 32370402-32370557 "
        "32370956-32371100 32376670-32376791 32379317-32379515 32379750-32379913 32380007-32380145 32394689-32394933 "
        "32396898-32397044 32398162-32398770"
    ),
    "CDH1": (
        "68737416-68737463 68738297-68738411 68801670-68801893 68808424-68808567 68808693-68808848 68810197-68810341 "
        "68811684-68811859 68812135-68812263 68813313-68813495 68815515-68815759 68819280-68819425 68822001-68822225 "
        "68823399-68823626 68828174-68828304 68829654-68829797 68833290-68833499"
    ),
    "CHEK2": (
        "28687897-28687986 28689135-28689215 28694032-28694117 28695127-28695242 28695710-28695873 28696901-28696987 "
        "28699838-28699937 28703505-28703566 28710006-28710059 28711909-28712017 28719395-28719485 28724977-28725124 "
        "28725243-28725367 28734403-28734721"
    ),
    "NF1": (
        "31095310-31095369 31155983-31156126 31159010-31159093 31163186-31163376 31169891-31169997 31181422-31181489 "
        "31181710-31181785 31182508-31182665 31200422-31200595 31201037-31201159 31201411-31201485 31206240-31206371 "
        "31214451-31214585 31219005-31219118 31221850-31221929 31223444-31223567 31225095-31225250 31226435-31226684 "
        "31227218-31227291 31227523-31227606 31229025-31229465 31229835-31229974 31230260-31230382 31230842-31230925 "
        "31232073-31232189 31232700-31232881 31233002-31233213 31235611-31235772 31235918-31236021 31248984-31249119 "
        "31252938-31253000 31258344-31258502 31259032-31259129 31260369-31260515 31261711-31261857 31265229-31265339 "
        "31325820-31326252 31327499-31327839 31330296-31330498 31334838-31335031 31336333-31336473 31336635-31336914 "
        "31337368-31337582 31337819-31337880 31338025-31338139 31338704-31338805 31340505-31340645 31343009-31343135 "
        "31349120-31349251 31350183-31350318 31352257-31352414 31356460-31356582 31356960-31357090 31357269-31357369 "
        "31358480-31358622 31358969-31359015 31360487-31360703 31374013-31374155"
    ),
    "PALB2": (
        "23603459-23603669 23607864-23608012 23614004-23614091 23621362-23621478 23622969-23623130 23624009-23624094 "
        "23626236-23626397 23629204-23629275 23629640-23630469 23634862-23636334 23637850-23637952 23638070-23638129 "
        "23641110-23641157"
    ),
    "PTEN": (
        "87864470-87864548 87894025-87894109 87925513-87925557 87931046-87931089 87933013-87933251 87952118-87952259 "
        "87957853-87958019 87960894-87961118 87965287-87965472"
    ),
    "RAD51C": (
        "58692644-58692788 58694931-58695189 58696693-58696859 58703196-58703329 58709859-58709990 58720746-58720812 "
        "58724040-58724100 58732484-58732544 58734118-58734222"
    ),
    "RAD51D": (
        "35100953-35101036 35101201-35101365 35103254-35103324 35103454-35103544 35106386-35106481 35106988-35107122 "
        "35107366-35107447 35118501-35118619 35119111-35119172 35119532-35119613"
    ),
    "STK11": (
        "1206914-1207203 1218417-1218500 1219324-1219413 1220373-1220505 1220581-1220717 1221213-1221340 "
        "1221949-1222006 1222985-1223172 1226454-1226647"
    ),
    "TP53": (
        "7669609-7669690 7670609-7670715 7673535-7673608 7673701-7673837 7674181-7674290 7674859-7674971 "
        "7675053-7675236 7675994-7676272 7676382-7676403 7676521-7676594"
    ),
}
# Bases before the ATG in the exon that holds it, where old names count introns from 1.
_LEADERS = {"BRCA1": 19, "BRCA2": 39}
TRANSCRIPTS = {place[0]: gene for gene, place in _PLACES.items()}
"""Gene by the accession its c. names count on."""


@dataclass(frozen=True)
class Gene:
    """A gene in one assembly; positions count from 1, both ends are included.

    Attributes:
        exons: Coding bases of each exon in the order of the transcript.
        coding_ends: The c. position each exon ends with.
    """

    symbol: str
    accession: str
    chromosome: str
    strand: str
    start: int
    end: int
    exons: tuple[tuple[int, int], ...]
    coding_ends: tuple[int, ...]

    @property
    def coding_length(self) -> int:
        """Bases from the ATG to the end of the stop codon."""
        return self.coding_ends[-1]

    def list_targets(self, margin: int) -> list[tuple[int, int]]:
        """The coding exons with ``margin`` bases on either side, in the order of the chromosome."""
        return sorted((start - margin, end + margin) for start, end in self.exons)

    def lies_near_exon(self, start: int, end: int, margin: int) -> bool:
        """Whether any base of a stretch is coding or within ``margin`` bases of it."""
        return any(start <= last and end >= first for first, last in self.list_targets(margin))

    def name_position(self, position: int) -> str:
        """The c. position of a base of the chromosome, as in ``181`` or ``4186-3420``; empty outside the coding part.

        The middle base of an intron of odd length belongs to the exon before it (HGVS, doi:10.1002/humu.22981).
        """
        along = position if self.strand == "+" else -position
        ends = [end if self.strand == "+" else -start for start, end in self.exons]
        starts = [start if self.strand == "+" else -end for start, end in self.exons]
        index = bisect.bisect_left(ends, along)
        if index == len(ends) or along < starts[0]:
            return ""
        if along >= starts[index]:
            return str(self.coding_ends[index] - (ends[index] - along))
        before, after = along - ends[index - 1], starts[index] - along
        if before <= after:
            return f"{self.coding_ends[index - 1]}+{before}"
        return f"{self.coding_ends[index - 1] + 1}-{after}"

    def name_substitution(self, position: int, reference: str, alternate: str) -> str:
        """The c. name of a changed base, as in ``c.181T>G``; empty for anything else or outside the coding part."""
        if not (re.fullmatch("[ACGT]", reference) and re.fullmatch("[ACGT]", alternate)):
            return ""
        place = self.name_position(position)
        if self.strand == "-":
            pair = str.maketrans("ACGT", "TGCA")
            reference, alternate = reference.translate(pair), alternate.translate(pair)
        return f"c.{place}{reference}>{alternate}" if place else ""

    def count_from_legacy(self, number: int) -> str:
        """The c. position of a base numbered from the start of the old transcript (BIC: U14680, U43746).

        Its base 120 (BRCA1) or 229 (BRCA2) is the A of the ATG; there is no base 0 in either count.

        Raises:
            KeyError: For a gene that has no such numbering.
        """
        before = {"BRCA1": 119, "BRCA2": 228}[self.symbol]
        if number > before + self.coding_length:
            return f"*{number - before - self.coding_length}"
        if 0 < number <= before:
            return str(number - before - 1)
        return str(number - before)

    def bound_intron(self, number: int) -> tuple[str, str] | None:
        """The c. positions around an intron as old names number it (IVS2), or None where there is none.

        BRCA1 was published with 24 exons of which the fourth turned out to be none.

        Raises:
            KeyError: For a gene without old names.
        """
        leader = _LEADERS[self.symbol]
        exons = [2, 3, *range(5, 25)] if self.symbol == "BRCA1" else list(range(2, 28))
        if number == 1:
            return f"-{leader + 1}", f"-{leader}"
        if number not in exons[:-1]:
            return None
        end = self.coding_ends[exons.index(number)]
        return str(end), str(end + 1)


@functools.cache
def locate_gene(symbol: str, assembly: str) -> Gene | None:
    """Where a gene lies, or None for one whose place genovox does not know.

    Args:
        symbol: Today's symbol.
        assembly: One of ``ASSEMBLIES``.
    """
    if symbol not in _PLACES:
        return None
    accession, chromosome, strand, start, end, shift = _PLACES[symbol]
    back = shift if assembly == "GRCh37" else 0
    pairs = [tuple(int(base) - back for base in exon.split("-")) for exon in _EXONS[symbol].split()]
    exons = tuple((first, last) for first, last in (pairs if strand == "+" else reversed(pairs)))
    ends, length = [], 0
    for first, last in exons:
        length += last - first + 1
        ends.append(length)
    return Gene(symbol, accession, chromosome, strand, start - back, end - back, exons, tuple(ends))


def find_today(symbol: str) -> str:
    """Today's symbol of a gene; one that is today's or unknown stays."""
    return SYMBOLS.get(symbol, symbol)


def list_located() -> tuple[str, ...]:
    """Symbols of the genes whose place is known."""
    return tuple(_PLACES)


def is_known(symbol: str) -> bool:
    """Whether a symbol of today is one that genovox has heard of."""
    return symbol in _PLACES or symbol in _OTHER_SYMBOLS.split()


def suggest_genes(symbol: str, genes: Collection[str]) -> frozenset[str]:
    """The genes that a mistyped symbol most likely means: those it is most like, none where none is close.

    Args:
        symbol: In upper case.
        genes: What it may mean.
    """
    bare = symbol.replace("-", "")
    likeness = {gene: difflib.SequenceMatcher(None, gene.replace("-", ""), bare).ratio() for gene in genes}
    most = max(likeness.values(), default=0.0)
    return frozenset(gene for gene, share in likeness.items() if share == most >= _LEAST_LIKENESS)


def question_symbols(symbols: Collection[str], meant: Collection[str]) -> str:
    """What is odd about symbols of which some are unknown, given the genes they may mean."""
    said = f"{', '.join(sorted(symbol for symbol in symbols if not is_known(symbol)))} is no gene this study knows"
    if meant:
        return f"{said}; did you mean {' or '.join(sorted(meant))}?"
    return f"{said}, nor among its genes_tested: correct one"
