"""Variant calls in VCF and BCF files: the assembly, the samples, and what was called in or near the genes.

The reader streams: it keeps the header and the records of a few genes. Alleles are trimmed to the shortest pair that
says the same (parsimony, doi:10.1093/bioinformatics/btv112); shifting them to the left needs the reference sequence,
which is not read, so both sides must be left-aligned, as callers and ClinVar write them.
"""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genovox.core.errors import TableError
from genovox.core.extras import import_optional
from genovox.genetics.genes import ASSEMBLIES, CHROMOSOME_LENGTHS, Gene, locate_gene

REPORTABLE_BASES = 20
"""How far into an intron a call without a class is still a question; beyond, only a published class counts."""
SPLICE_BASES = 2
"""Bases of the intron that a full test must have read: the canonical splice sites."""
# Below these a call, or a stretch called like the reference, is no confirmed result.
LEAST_DEPTH, LEAST_QUALITY, LEAST_FRACTION = 10, 20, 0.25
_LONGEST_LINE = 1 << 26
_MOST_HEADER_LINES = 200_000
_ACCESSION = re.compile(r"NC_0000(\d\d)\.\d+")
_ASSEMBLY_WORDS = (
    ("GRCh37", re.compile(r"GRCh37|hg19|(?<![a-z\d])b37|hs37|g1k_v37|NCBI37", re.IGNORECASE)),
    ("GRCh38", re.compile(r"GRCh38|hg38|(?<![a-z\d])b38|hs38|NCBI38", re.IGNORECASE)),
)
_SOMATIC = re.compile(
    r"mutect|somatic|##(tumor|normal)_sample|\bmuse\b|varscan2? somatic|strelka2? somatic", re.IGNORECASE
)


@dataclass(frozen=True)
class Record:
    """One line of a VCF in a gene; positions count from 1.

    Attributes:
        alternates: Alleles as written, upper case.
        end: Last base it speaks of.
        samples: The samples' columns, not taken apart.
    """

    gene: Gene
    chromosome: str
    position: int
    reference: str
    alternates: tuple[str, ...]
    end: int
    passed: bool
    info: str
    layout: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A variant called in one sample.

    Attributes:
        names: On the chromosome, and the c. name of a changed base.
        place: The c. position where it starts, or empty outside the coding part.
        near_exon: Whether it lies in a coding exon or within ``REPORTABLE_BASES`` of one.
        weak: What speaks against the call (filter, depth, quality, fraction); empty where nothing does.
        fraction: Reads with the variant, 0 to 1, or None.
    """

    gene: str
    names: frozenset[str]
    place: str
    near_exon: bool
    weak: tuple[str, ...]
    fraction: float | None
    zygosity: str


@dataclass
class SampleCalls:
    """What one sample's column says.

    Attributes:
        read: Stretches by gene that a gVCF says were read well enough, both ends included.
        uncalled: Stretches by gene where the caller gave no genotype.
    """

    calls: list[Call] = field(default_factory=list)
    read: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    uncalled: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class CallFile:
    """A VCF or BCF of patients' samples."""

    name: str
    assembly: str
    is_somatic: bool
    samples: dict[str, SampleCalls]


def read_calls(path: Path, name: str, *, genes: Collection[str]) -> CallFile:
    """Read every sample's calls in the genes.

    Raises:
        TableError: For a file that is no VCF, damaged, without samples or of an assembly that cannot be told.
        MissingExtraError: For a BCF without the extra that reads it.
    """
    header, records = open_vcf(path, name, genes=genes)
    names = header.samples
    if not names:
        raise TableError(f"{name} must hold a column a sample after FORMAT, it has none; give the patients' own VCF")
    if len(set(names)) < len(names) or "" in names:
        raise TableError(f"{name} must name each sample once, a name is empty or stands twice; rename the samples")
    samples = {sample: SampleCalls() for sample in names}
    for record in records:
        for sample, cells in zip(names, record.samples, strict=False):
            _read_sample(samples[sample], record, header.assembly, cells)
    return CallFile(name, header.assembly, header.is_somatic, samples)


@dataclass(frozen=True)
class Header:
    """What the head of a VCF says."""

    assembly: str
    samples: tuple[str, ...]
    is_somatic: bool
    file_date: str


def open_vcf(path: Path, name: str, *, genes: Collection[str]) -> tuple[Header, Iterator[Record]]:
    """Read the head of a VCF or BCF and stream its records in the genes.

    Raises:
        TableError: For a file that is no VCF or damaged, or of an assembly that cannot be told.
        MissingExtraError: For a BCF without the extra that reads it.
    """
    lines = stream_lines(path, name)
    meta: list[str] = []
    for line in lines:
        if not line.startswith("##"):
            break
        meta.append(line)
        if len(meta) > _MOST_HEADER_LINES:
            break
    else:
        line = ""
    titles = line.rstrip("\r\n").split("\t")
    if not meta or not meta[0].startswith("##fileformat=VCF") or titles[:5] != ["#CHROM", "POS", "ID", "REF", "ALT"]:
        raise TableError(f"{name} must start with ##fileformat=VCF and name #CHROM POS ID REF ALT; export it as VCF")
    assembly = _tell_assembly(meta, name)
    located = [gene for symbol in sorted(genes) if (gene := locate_gene(symbol, assembly))]
    samples = tuple(title.strip() for title in titles[9:])
    somatic = any(
        _SOMATIC.search(line) for line in meta if line.startswith(("##source", "##GATK", "##tumor", "##normal"))
    )
    somatic = somatic or any(line.startswith("##INFO=<ID=SOMATIC") for line in meta)
    somatic = somatic or {"TUMOR", "NORMAL"} <= {sample.upper() for sample in samples}
    dates = [line.partition("=")[2].strip() for line in meta if line.startswith("##fileDate=")]
    return Header(assembly, samples, somatic, dates[0] if dates else ""), _stream_records(
        lines, name, located, len(titles) - 1
    )


def trim_alleles(position: int, reference: str, alternate: str) -> tuple[int, str, str]:
    """The shortest pair of alleles that says the same, and where it starts."""
    while len(reference) > 1 and len(alternate) > 1 and reference[-1] == alternate[-1]:
        reference, alternate = reference[:-1], alternate[:-1]
    while len(reference) > 1 and len(alternate) > 1 and reference[0] == alternate[0]:
        reference, alternate, position = reference[1:], alternate[1:], position + 1
    return position, reference, alternate


def name_alleles(gene: Gene, assembly: str, position: int, reference: str, alternate: str) -> frozenset[str]:
    """Names of a variant given by its alleles: on the chromosome, and by its c. name if it is a changed base."""
    position, reference, alternate = trim_alleles(position, reference.upper(), alternate.upper())
    names = {f"{assembly}:{gene.chromosome}:{position}:{reference}>{alternate}"}
    coding = gene.name_substitution(position, reference, alternate)
    return frozenset(names | ({coding.replace("c.", "c:").lower()} if coding else set()))


def stream_lines(path: Path, name: str, keep: Callable[[bytes], bool] | None = None) -> Iterator[str]:
    """Lines of a text file, gzip or not, or of a BCF; bounded in memory.

    Args:
        path: The file.
        name: How messages call it.
        keep: Yield the first line and those of which this is true; the others are not decoded.

    Raises:
        TableError: For a file that is missing, damaged, or holds a line of no text file.
        MissingExtraError: For a BCF without the extra that reads it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        packed = start == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            head = stream.read(3)
        if head == b"BCF":
            yield from _stream_bcf(path, name)
            return
        with io.BufferedReader(gzip.open(path, "rb") if packed else path.open("rb", 0), 1 << 20) as stream:
            is_first = True
            while line := stream.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise TableError(f"{name} holds a line longer than {_LONGEST_LINE >> 20} MiB; it is no text table")
                if keep is None or is_first or keep(line):
                    yield line.decode("utf-8", errors="replace")
                is_first = False
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TableError(f"{name} is damaged or cut short (gzip); copy it again") from None
    except OSError as error:
        raise TableError(f"{name} cannot be read ({error.strerror}); check the path") from None


def _stream_bcf(path: Path, name: str) -> Iterator[str]:
    cyvcf2 = import_optional("cyvcf2", purpose=f"{name} (a BCF)")
    try:
        file = cyvcf2.VCF(str(path))
        yield from (f"{line}\n" for line in file.raw_header.splitlines())
        yield from (str(record) for record in file)
    except Exception as error:  # noqa: BLE001 - the library raises plain exceptions for damaged files
        raise TableError(f"{name} is no readable BCF ({type(error).__name__}); convert it to VCF") from None


def _tell_assembly(meta: Sequence[str], name: str) -> str:
    """GRCh37 or GRCh38, by the lengths of the contigs and the words of the head; both must agree."""
    lengths = set()
    for line in meta:
        contig = re.match(r"##contig=<.*?ID=([^,>]+)", line)
        size = re.search(r"[<,]length=(\d+)", line)
        chromosome = _tidy_chromosome(contig[1]) if contig else ""
        if size and chromosome in CHROMOSOME_LENGTHS:
            known = CHROMOSOME_LENGTHS[chromosome]
            lengths.add(
                ASSEMBLIES[known.index(int(size[1]))] if int(size[1]) in known else f"contigs of {size[1]} bases"
            )
    words = set()
    for line in meta:
        if line.startswith(("##reference", "##assembly", "##contig")):
            words |= {assembly for assembly, pattern in _ASSEMBLY_WORDS if pattern.search(line)}
    found = lengths | words
    if len(found) != 1 or not found <= set(ASSEMBLIES):
        got = " and ".join(sorted(found)) or "nothing that tells it"
        raise TableError(
            f"{name} must be of GRCh37 or GRCh38 by its ##contig lengths, ##reference or ##assembly, got {got}; "
            "add a line such as ##reference=GRCh38 if you are sure"
        )
    return found.pop()


def _tidy_chromosome(text: str) -> str:
    accession = _ACCESSION.fullmatch(text)
    return str(int(accession[1])) if accession else re.sub(r"^chr", "", text, flags=re.IGNORECASE)


def _stream_records(lines: Iterator[str], name: str, genes: Sequence[Gene], columns: int) -> Iterator[Record]:
    """Records in the genes; a file that lost its end is refused, since calls that are gone would look like none."""
    by_chromosome: dict[str, list[Gene]] = {}
    for gene in genes:
        by_chromosome.setdefault(gene.chromosome, []).append(gene)
    known: dict[str, list[Gene]] = {}
    line = "\n"
    for line in lines:
        chromosome, _, rest = line.partition("\t")
        if chromosome not in known:
            known[chromosome] = by_chromosome.get(_tidy_chromosome(chromosome), []) if len(known) < 100_000 else []
        near = known[chromosome]
        if not near:
            continue
        cells = rest.rstrip("\r\n").split("\t")
        if len(cells) != columns or len(cells) < 7 or not re.fullmatch(r"\d{1,10}", cells[0]):
            raise TableError(f"{name}: a record on chromosome {near[0].chromosome} is cut short or has no position")
        position, reference = int(cells[0]), cells[2].upper()
        end = re.search(r"(?:^|;)END=(\d{1,10})(?:;|$)", cells[6])
        last = max(int(end[1]) if end else 0, position + len(reference) - 1)
        for gene in near:
            if position <= gene.end and last >= gene.start:
                alternates = tuple(cells[3].upper().split(","))
                passed = cells[5] in ("PASS", ".")
                layout = tuple(cells[7].split(":")) if len(cells) > 7 else ()
                yield Record(
                    *(gene, gene.chromosome, position, reference, alternates, last, passed, cells[6], layout),
                    tuple(cells[8:]),
                )
    if not line.endswith("\n"):
        raise TableError(f"{name} ends within a line: it may be cut short; copy it again")


def _read_sample(sample: SampleCalls, record: Record, assembly: str, text: str) -> None:
    cells = dict(zip(record.layout, text.split(":"), strict=False))
    alleles = [int(allele) if allele.isdecimal() else None for allele in re.split(r"[/|]", cells.get("GT", "."))]
    stretch = (record.position, record.end)
    gene = record.gene
    if None in alleles and gene.lies_near_exon(*stretch, SPLICE_BASES):
        sample.uncalled.setdefault(gene.symbol, []).append(stretch)
    depth, quality = _read_number(cells, "MIN_DP", "DP"), _read_number(cells, "GQ", "RGQ")
    filtered = not record.passed or cells.get("FT", "PASS") not in ("PASS", ".", "")
    called = sorted({allele for allele in alleles if allele})
    is_block = "<NON_REF>" in record.alternates or "<*>" in record.alternates or record.alternates == (".",)
    if is_block and None not in alleles and (depth or 0) >= LEAST_DEPTH and (quality or 0) >= LEAST_QUALITY:
        sample.read.setdefault(gene.symbol, []).append(stretch)
    for allele in called:
        alternate = record.alternates[allele - 1] if allele <= len(record.alternates) else ""
        if alternate in ("", "*", ".", "<NON_REF>", "<*>", "<*:DEL>") or "*" in alternate:
            continue
        fraction = _read_fraction(cells, allele)
        weak = ["filter"] if filtered else []
        weak += [f"depth {depth:g}"] if depth is not None and depth < LEAST_DEPTH else []
        weak += [f"genotype quality {quality:g}"] if quality is not None and quality < LEAST_QUALITY else []
        weak += [f"allele fraction {fraction:.2f}"] if fraction is not None and fraction < LEAST_FRACTION else []
        if re.fullmatch("[ACGTN]+", alternate) and re.fullmatch("[ACGTN]+", record.reference):
            names = name_alleles(gene, assembly, record.position, record.reference, alternate)
        else:
            names = frozenset({f"{assembly}:{gene.chromosome}:{record.position}-{record.end}:{alternate}"})
        near = gene.lies_near_exon(*stretch, REPORTABLE_BASES)
        zygosity = "homozygous" if len(alleles) > 1 and set(alleles) == {allele} else "heterozygous"
        place = gene.name_position(record.position)
        sample.calls.append(Call(gene.symbol, names, place, near, tuple(weak), fraction, zygosity))


def _read_number(cells: dict[str, str], *keys: str) -> float | None:
    for key in keys:
        if re.fullmatch(r"\d{1,9}(?:\.\d+)?", cells.get(key, "")):
            return float(cells[key])
    return None


def _read_fraction(cells: dict[str, str], allele: int) -> float | None:
    """Share of reads with an allele, by AD (reads of each allele, the reference first) or the caller's own figure."""
    depths = cells.get("AD", "").split(",")
    if len(depths) > allele and all(re.fullmatch(r"\d{1,9}", depth) for depth in depths):
        reads = [int(depth) for depth in depths]
        return reads[allele] / sum(reads) if sum(reads) else None
    for key in ("AF", "VAF"):
        shares = cells.get(key, "").split(",")
        if len(shares) >= allele and re.fullmatch(r"[01](?:\.\d+)?", shares[allele - 1]):
            return float(shares[allele - 1])
    return None
