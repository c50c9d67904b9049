"""What was read: panels, targeted regions (BED), and whether they hold a gene's coding exons in full."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genovox.core.artifacts import read_table
from genovox.core.errors import TableError
from genovox.genetics.calls import SPLICE_BASES, stream_lines
from genovox.genetics.genes import ASSEMBLIES, Gene, find_today, locate_gene

FULL, FOUNDER, SINGLE = "full", "founder", "single-variant"
_PANEL_COLUMNS = ("panel", "gene", "scope")
Stretches = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Panel:
    """A test as a laboratory offers it.

    Attributes:
        genes: Scope by gene: ``full``, ``founder`` or ``single-variant``.
        cnv: ``yes`` or ``no``, or empty where not stated: whether deletions and duplications of exons are looked for.
    """

    name: str
    genes: dict[str, str] = field(hash=False)
    cnv: str = ""

    @property
    def scope(self) -> str:
        """The scope of all its genes, or empty where they differ."""
        scopes = set(self.genes.values())
        return scopes.pop() if len(scopes) == 1 else ""

    def list_full(self, scope: str = "") -> frozenset[str]:
        """Genes it reads in full; a report of a narrower scope reads none."""
        if scope not in ("", FULL):
            return frozenset()
        return frozenset(gene for gene, own in self.genes.items() if own == FULL)


def read_panels(path: Path) -> dict[str, Panel]:
    """Read ``panels.csv``: ``panel,gene,scope`` and optionally ``cnv``; a row a gene of a panel.

    Returns:
        Panels by name in lower case.

    Raises:
        TableError: For a missing column, an empty cell or a word that is none of ours.
    """
    table = read_table(path, required=_PANEL_COLUMNS)
    genes: dict[str, dict[str, str]] = {}
    answers: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        key, scope, cnv = row["panel"].casefold(), row["scope"].lower(), str(row.get("cnv", "")).lower()
        symbol = find_today(row["gene"].upper())
        if not key or not re.fullmatch(r"[A-Z][A-Z0-9-]{1,15}", symbol):
            raise TableError(f"{path.name} row {number}: panel and gene must name one of each; write a row a gene")
        if scope not in (FULL, FOUNDER, SINGLE) or cnv not in ("yes", "no", ""):
            raise TableError(
                f"{path.name} row {number}: scope must be {FULL}, {FOUNDER} or {SINGLE} and cnv yes or no, got "
                f"{scope[:20]!r} and {cnv[:20]!r}; correct them"
            )
        if genes.setdefault(key, {}).setdefault(symbol, scope) != scope:
            raise TableError(f"{path.name} row {number}: {symbol} stands twice in one panel with two scopes; keep one")
        answers.setdefault(key, set()).add(cnv)
        names[key] = row["panel"]
    # One gene without CNV is enough to say so of the whole.
    return {
        key: Panel(names[key], own, "no" if "no" in answers[key] else "yes" if answers[key] == {"yes"} else "")
        for key, own in genes.items()
    }


def read_bed(path: Path, *, genes: Collection[str]) -> dict[str, list[tuple[int, int]]]:
    """Read the stretches of a BED near the genes in either assembly.

    Returns:
        Stretches by chromosome, from 1, both ends included.

    Raises:
        TableError: For a file that cannot be read or is no BED.
    """
    places = [locate_gene(gene, assembly) for gene in genes for assembly in ASSEMBLIES]
    chromosomes = {place.chromosome for place in places if place}
    found: dict[str, list[tuple[int, int]]] = {}
    rows = 0
    for number, line in enumerate(stream_lines(path, path.name), start=1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        cells = line.split()
        numbers = [cell for cell in cells[1:3] if re.fullmatch(r"\d{1,10}", cell)]
        if len(numbers) < 2 or int(numbers[0]) > int(numbers[1]):
            raise TableError(
                f"{path.name} row {number} must be chromosome, start and end (BED), the end not first; export it"
            )
        rows += 1
        chromosome = re.sub(r"^chr", "", cells[0], flags=re.IGNORECASE)
        if chromosome in chromosomes:
            found.setdefault(chromosome, []).append((int(numbers[0]) + 1, int(numbers[1])))
    if not rows:
        raise TableError(f"{path.name} holds no region; give the BED of what was read")
    return {chromosome: join_stretches(stretches) for chromosome, stretches in found.items()}


def join_stretches(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted stretches that neither touch nor overlap; empty ones are dropped."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if end < start:
            continue
        if joined and start <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def share_read(gene: Gene, stretches: Iterable[tuple[int, int]], unread: Stretches = ()) -> float:
    """Share of a gene's coding bases and canonical splice sites that was read, 0 to 1.

    Args:
        gene: In the assembly of the stretches.
        stretches: What was read, both ends included.
        unread: What was not, whatever ``stretches`` say.
    """
    joined, gaps = join_stretches(stretches), join_stretches(unread)
    wanted = have = 0
    for first, last in join_stretches(gene.list_targets(SPLICE_BASES)):
        wanted += last - first + 1
        for start, end in joined:
            low, high = max(start, first), min(end, last)
            if low <= high:
                have += high - low + 1 - sum(max(0, min(high, e) - max(low, s) + 1) for s, e in gaps)
    return have / wanted


def describe_gaps(beds: Mapping[str, Mapping[str, Stretches]], genes: Collection[str], assembly: str) -> list[str]:
    """Which BED covers how much of each gene that all of them together do not cover; none where they do.

    Args:
        beds: Stretches by chromosome, by the name of the file.
        genes: Symbols; one whose place is not known is passed over.
        assembly: That of the calls, one of ``ASSEMBLIES``.
    """
    found = []
    for gene in filter(None, (locate_gene(symbol, assembly) for symbol in genes)):
        if share_read(gene, [stretch for bed in beds.values() for stretch in bed.get(gene.chromosome, ())]) == 1.0:
            continue
        for name, bed in beds.items():
            other = locate_gene(gene.symbol, next(one for one in ASSEMBLIES if one != assembly))
            shares = [share_read(one, bed.get(one.chromosome, ())) for one in (gene, other) if one]
            part = f"{100 * min(shares[0], 0.999):.1f}%" if shares[0] else "none"
            hint = f" (it looks like the other assembly, calls are {assembly})" if shares[1] > shares[0] else ""
            found.append(f"{name} covers {part} of {gene.symbol}{hint}")
    return found
