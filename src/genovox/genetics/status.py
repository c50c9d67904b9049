"""From a patient's rows to a status for each gene and a label: 1, 0, or why neither."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from genovox.genetics.classifications import (
    BENIGN,
    CONFLICTING,
    PATHOGENIC,
    UNCERTAIN,
    UNCLASSIFIED,
    Classifications,
)
from genovox.genetics.coverage import FULL
from genovox.genetics.genes import is_known, question_symbols, suggest_genes
from genovox.genetics.hgvs import may_be_one
from genovox.genetics.laboratory import Row, list_classes

STATUSES = ("carrier", "likely-carrier", "vus", "conflicting", "non-carrier", "not-tested")
_CARRIER, _LIKELY_CARRIER, _VUS, _CONFLICTING, _NON_CARRIER, _NOT_TESTED = STATUSES
OLD_TEST_YEARS, STALE_CLASS_YEARS = 10, 5
_DAYS_A_YEAR = 365.25
# No insertion or deletion of the coding part can be shifted along a repeat by more bases.
_FURTHEST_SHIFT = 60


@dataclass(frozen=True)
class Finding:
    """What all tests of one patient say.

    Attributes:
        label: 1, 0, or None with the reason.
        source: Tables and rows behind it.
        kinds: The reasons in a word or two each, for counting.
        statuses: One of ``STATUSES`` by listed gene.
        warnings: What does not change the label and should be known.
        evidence: Variants, classes, sources and dates: for the user's own table, never for a run.
    """

    label: int | None
    source: str
    reason: str
    kinds: tuple[str, ...]
    statuses: dict[str, str]
    warnings: tuple[str, ...] = ()
    evidence: str = field(default="", repr=False)


@dataclass(frozen=True)
class _Doubt:
    kind: str
    rows: list[Row]
    reason: str
    suspected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rules:
    """How a study reads tests.

    Attributes:
        genes: The listed genes.
        today: The newest day in the study's tables and releases, against which tests and classes are old; or None.
    """

    genes: tuple[str, ...]
    vus_is_negative: bool
    other_carrier_is_negative: bool
    classifications: Classifications = field(default_factory=Classifications)
    today: date | None = None

    def judge_patient(self, rows: Sequence[Row]) -> Finding:
        """Label, source, reason and status of each gene from all rows of one patient."""
        unusable = [row for row in rows if row.problem]
        if unusable:
            reason = "; ".join(dict.fromkeys(row.problem for row in unusable))
            statuses = dict.fromkeys(self.genes, _NOT_TESTED)
            return Finding(None, cite(unusable), reason, ("a word to correct",), statuses)
        rows, warnings = self._pool_classes(rows)
        found = [row for row in rows if row.detected and row.origin != "somatic"]
        conflicts = {row: [other for other in rows if _contradict(other, row)] for row in found}
        carriers = [row for row in found if self._confirms(row) and not conflicts[row]]
        germline = [row for row in rows if row.origin == "germline"]
        full = [row for row in germline if row.full]
        doubts = self._doubt_variants(rows, found, conflicts)
        statuses = self._tell_statuses(carriers, doubts, full)
        missing = [gene for gene in self.genes if not any(gene in row.full for row in full)]
        concerned = carriers
        label: int | None = 1
        reason = ""
        kinds: tuple[str, ...] = ("carrier",)
        if not carriers and not germline:
            label, concerned, reason, kinds = None, list(rows), _describe_origins(rows), ("tumour or unknown origin",)
            statuses = dict.fromkeys(self.genes, _NOT_TESTED)
        elif not carriers and (doubts or missing):
            label, kinds = None, tuple(dict.fromkeys(doubt.kind for doubt in doubts))
            reasons = [doubt.reason for doubt in doubts]
            if missing:
                gap_kind, gap = self._describe_gaps(missing, rows)
                reasons, kinds = [*reasons, gap], (*kinds, gap_kind)
            concerned = [row for doubt in doubts for row in doubt.rows] + (germline if missing else [])
            reason = "; ".join(reasons)
        elif not carriers:
            label, kinds = 0, ("tested in full, none found",)
            concerned = [row for row in full if row.full & set(self.genes)]
        warnings += [warning for row in rows for warning in row.warnings if row in concerned or row in found]
        warnings += [limit for row in concerned for limit in row.limits] if label == 0 else []
        warnings += self._warn_of_age(label, concerned)
        evidence = _describe_evidence(found, [row for row in rows if row.origin == "somatic"], full, self.genes)
        return Finding(label, cite(concerned), reason, kinds, statuses, tuple(dict.fromkeys(warnings)), evidence)

    def _pool_classes(self, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
        """Rows that surely name one variant share the class that counts among all their sources, if there is one."""
        pooled, warnings = list(rows), []
        for index, row in enumerate(rows):
            alike = [other for other in rows if _name_one_variant(row, other)]
            if len({other.classification for other in alike}) < 2 or any(other.word for other in alike):
                continue
            own = {source.category for other in alike for source in other.sources if source.kind == "laboratory"}
            if len(own) > 1:
                warnings.append(f"two reports disagree on the class of a variant in {list_genes(row.genes)}")
            chosen = self.classifications.choose(
                dict.fromkeys(source for other in alike for source in other.sources)
            ).chosen
            if chosen.category not in (CONFLICTING, UNCLASSIFIED) and all(other.sources for other in alike):
                pooled[index] = replace(row, classification=chosen.category, is_likely=chosen.is_likely)
        return pooled, warnings

    def _confirms(self, row: Row) -> bool:
        """A pathogenic germline variant in a listed gene, and no other reading of the row."""
        listed = bool(row.genes) and row.genes <= set(self.genes)
        return listed and row.origin == "germline" and row.classification == PATHOGENIC and not row.doubt

    def _lies_elsewhere(self, row: Row) -> bool:
        return bool(row.genes) and not row.genes & set(self.genes)

    def _suspect_symbol(self, row: Row) -> frozenset[str] | None:
        """The listed genes that an unknown symbol may mean, or None where the row gives no cause for doubt."""
        if not self._lies_elsewhere(row) or all(is_known(gene) for gene in row.genes) or row.classification == BENIGN:
            return None
        if row.classification == UNCERTAIN and self.vus_is_negative:
            return None
        meant = frozenset().union(*(suggest_genes(gene, self.genes) for gene in row.genes if not is_known(gene)))
        is_stray = row.classification == PATHOGENIC and not row.genes <= (row.tested or frozenset())
        return meant if meant or is_stray else None

    def _doubt_variants(
        self, rows: Sequence[Row], found: Sequence[Row], conflicts: Mapping[Row, list[Row]]
    ) -> list[_Doubt]:
        """Every reason why the variants leave it open whether the patient is a carrier, with its rows."""
        near = [row for row in found if not self._lies_elsewhere(row)]
        mistyped = {row: meant for row in found if (meant := self._suspect_symbol(row)) is not None}
        far = [row for row in found if self._lies_elsewhere(row) and row not in mistyped]
        far = [] if self.other_carrier_is_negative else far
        clear = [row for row in near if not conflicts[row]]
        doubts = [
            _Doubt("gene not known", [row], f"{question_symbols(row.genes, meant)} ({cite([row])})", meant)
            for row, meant in mistyped.items()
        ]
        for genes in sorted({tuple(sorted(row.genes)) for row in near if conflicts[row]}):
            doubted = [row for row in near if conflicts[row] and tuple(sorted(row.genes)) == genes]
            doubted += [other for row in doubted for other in conflicts[row]]
            words = sorted({row.classification if row.detected else "not detected" for row in doubted})
            reason = f"conflicting: {cite(doubted)} call one variant in {list_genes(genes)} {' and '.join(words)}"
            if not all(row.names for row in doubted):
                reason += " (or variants that hgvs does not tell apart: write c. names)"
            doubts.append(_Doubt(_CONFLICTING, doubted, f"{reason}, keep what is confirmed"))

        def doubt(kind: str, doubted: list[Row], rule: str) -> None:
            if doubted:
                genes = {gene for row in doubted for gene in row.genes}
                doubts.append(_Doubt(kind, doubted, f"{rule.format(genes=list_genes(genes))} ({cite(doubted)})"))

        def pick(rows: Iterable[Row], test: Callable[[Row], bool]) -> list[Row]:
            return [row for row in rows if test(row)]

        pathogenic = pick(clear, lambda row: row.classification == PATHOGENIC and not self._confirms(row))
        doubt(
            "unknown origin",
            pick(pathogenic, lambda row: row.origin == "unknown"),
            "a pathogenic variant in {genes} of unknown origin: write germline or somatic",
        )
        germline = pick(pathogenic, lambda row: row.origin == "germline")
        for weakness in sorted({row.doubt for row in germline if row.doubt}):
            weak = pick(germline, lambda row, weakness=weakness: row.doubt == weakness)  # type: ignore[misc]
            doubt("weak call", weak, f"a pathogenic call in {{genes}} is not confirmed: {weakness}; confirm it")
        doubt(
            "gene not told",
            pick(germline, lambda row: not row.doubt),
            f"a pathogenic variant in {{genes}}, which may lie outside {', '.join(self.genes)}: write the one gene",
        )
        if not self.vus_is_negative:
            doubt(
                "VUS",
                pick(clear, lambda row: row.classification == UNCERTAIN),
                'VUS in {genes}, by policy vus = "exclude"',
            )
        doubt(
            _CONFLICTING,
            pick((*clear, *far), lambda row: row.classification == CONFLICTING),
            "conflicting classifications of a variant in {genes}: name a precedence, or keep what is confirmed",
        )
        unclassified = pick((*clear, *far), lambda row: row.classification == UNCLASSIFIED and not row.word)
        silent = pick(unclassified, lambda row: not row.sources)
        no_class = "a variant in {genes} was detected and has no classification"
        doubt("no class", pick(silent, lambda row: bool(row.number)), f"{no_class}: fill it in")
        doubt("no class", pick(silent, lambda row: not row.number), f"{no_class}: give classifications")
        doubt(
            "class below the minimum review",
            pick(unclassified, lambda row: bool(row.sources)),
            "a variant in {genes} has no class but one below the minimum review status: classify it",
        )
        for word in sorted({row.word for row in (*clear, *far) if row.word}):
            rule = f"classification {word} of a variant in {{genes}} is none of {list_classes()}: correct it"
            doubt("no class", pick((*clear, *far), lambda row, word=word: row.word == word), rule)  # type: ignore[misc]
        doubt(
            "carrier of another gene",
            pick(far, lambda row: row.classification == PATHOGENIC),
            'a carrier of {genes}, which is not listed, by policy other_genes = "exclude"',
        )
        told = {other for others in conflicts.values() for other in others}
        denied = [row for row in rows if row not in told and self._denies_itself(row)]
        pathogenic = pick(denied, lambda row: row.classification == PATHOGENIC)
        doubt(_CONFLICTING, pathogenic, "not detected, yet classed pathogenic: correct one")
        unclear = pick(denied, lambda row: row.classification != PATHOGENIC)
        doubt(_CONFLICTING, unclear, "not detected, yet a variant is classified: correct one")
        return doubts

    def _denies_itself(self, row: Row) -> bool:
        """The laboratory classes a variant and found none; a known one looked for alone and not found is clear.

        Laboratories call a report negative that holds a VUS. A class from elsewhere is none of the laboratory's.
        """
        if row.detected or row.origin == "somatic" or row.scope not in (FULL, ""):
            return False
        classed = any(source.kind == "laboratory" for source in row.sources)
        carried = classed and row.classification in (PATHOGENIC, CONFLICTING)
        if self._lies_elsewhere(row):
            return carried and not self.other_carrier_is_negative
        return carried or bool(row.word) or (row.classification == UNCERTAIN and not self.vus_is_negative)

    def _tell_statuses(self, carriers: Sequence[Row], doubts: Sequence[_Doubt], full: Sequence[Row]) -> dict[str, str]:
        statuses = {}
        for gene in self.genes:
            own = [row for row in carriers if gene in row.genes]
            kinds = {doubt.kind for doubt in doubts if self._concerns(doubt, gene)}
            if own:
                statuses[gene] = _LIKELY_CARRIER if all(row.is_likely for row in own) else _CARRIER
            elif _CONFLICTING in kinds:
                statuses[gene] = _CONFLICTING
            elif kinds & {"VUS", "no class", "class below the minimum review"}:
                statuses[gene] = _VUS
            elif any(gene in row.full for row in full) and not kinds:
                statuses[gene] = _NON_CARRIER
            else:
                statuses[gene] = _NOT_TESTED
        return statuses

    def _concerns(self, doubt: _Doubt, gene: str) -> bool:
        return gene in doubt.suspected or any(gene in row.genes or not row.genes for row in doubt.rows)

    def _describe_gaps(self, missing: Sequence[str], rows: Sequence[Row]) -> tuple[str, str]:
        germline = [row for row in rows if row.origin == "germline"]
        full = [row for row in germline if row.scope == FULL or row.full]
        if full:
            kind = "a gene not tested in full"
            reason = f"{len(missing)} of {len(self.genes)} listed genes not tested in full: {', '.join(missing)}"
        else:
            scopes = sorted({row.scope or "not stated" for row in germline})
            kind = "scope not stated" if scopes == ["not stated"] else "founder or single-variant test"
            listed = ", ".join(scopes)
            reason = f"{', '.join(missing)} not tested in full, only by tests of scope {listed} ({cite(germline)})"
        if unread := [row for row in full if row.tested is None]:
            reason += f" (genes_tested is no list of symbols joined by ; in {cite(unread)}: write it so)"
        partly = [row for row in germline if not row.number and not row.detected and row.doubt]
        if partly:
            reason += f" ({'; '.join(dict.fromkeys(row.doubt for row in partly))} in {cite(partly)})"
        elif silent := [row for row in germline if not row.number and not row.detected and not row.full]:
            reason += f" (calls do not say what was read: give panels, a BED or a gVCF for {cite(silent)})"
        if uncounted := [row for row in rows if row.origin != "germline" and row.scope == FULL]:
            reason += f" (tumour or unknown origin never counts: {cite(uncounted)})"
        return kind, reason

    def _warn_of_age(self, label: int | None, rows: Sequence[Row]) -> list[str]:
        """An old negative may lack today's methods, an old class have changed since (doi:10.1001/jama.2018.13152)."""
        if self.today is None or label is None:
            return []
        days = [row.tested_on for row in rows if row.tested_on]
        if label == 0 and days and _years(max(days), self.today) > OLD_TEST_YEARS:
            return [f"an old assay: tested more than {OLD_TEST_YEARS} years before the newest entry"]
        classed = [source.evaluated for row in rows if row.detected for source in row.sources if source.evaluated]
        classed = [day for day in classed if day <= self.today]
        if label == 1 and classed and _years(max(classed), self.today) > STALE_CLASS_YEARS:
            return [
                f"a stale classification: last evaluated more than {STALE_CLASS_YEARS} years before the newest entry"
            ]
        return []


def list_genes(genes: Collection[str]) -> str:
    """Genes as messages name them."""
    return ", ".join(sorted(genes)) or "a gene not named by its symbol"


def cite(rows: Iterable[Row]) -> str:
    """Tables and row numbers, as in ``genetic_tests.csv rows 12, 15``; a file of calls has none."""
    numbers: dict[str, set[int]] = {}
    for row in rows:
        numbers.setdefault(row.table, set()).update([row.number] if row.number else [])
    return ", ".join(
        f"{table} {'rows' if len(found) > 1 else 'row'} {', '.join(map(str, sorted(found)))}" if found else table
        for table, found in sorted(numbers.items())
    )


def _name_one_variant(row: Row, other: Row) -> bool:
    """Whether two rows that found something outside a tumour surely name one variant."""
    if not (row.detected and other.detected) or "somatic" in (row.origin, other.origin):
        return False
    return row.genes == other.genes and bool(row.names & other.names)


def _contradict(row: Row, other: Row) -> bool:
    """Whether ``other``, a variant detected outside a tumour, has another class or is not detected in ``row``."""
    if not (row.detected or row.named):
        return False
    if row.genes and other.genes and not row.genes & other.genes:
        return False
    if not may_be_one(row.names, other.names) or _lie_apart(row, other):
        return False
    classes = {row.classification, other.classification}
    differ = PATHOGENIC in classes and bool(classes & {UNCERTAIN, BENIGN})
    if row.origin == "somatic":
        # A tumour acquires and loses variants: it speaks only of the class, of a variant that is surely the same.
        return differ and bool(row.names & other.names)
    return differ or not row.detected or (PATHOGENIC in classes and UNCLASSIFIED in classes)


def _lie_apart(row: Row, other: Row) -> bool:
    """Whether a c. name and a call without one lie too far from each other to be two ways to write one variant."""
    if row.names & other.names or bool(row.place) == bool(other.place):
        return False
    named, called = (other, row) if row.place else (row, other)
    if len(named.names) != 1:
        return False
    places = [called.place, next(iter(named.names)).removeprefix("c:")]
    found = [re.match(r"(\d+)([+-]\d+)?(?![\d)])", place) for place in places]
    if None in found:
        return False
    pairs = [(int(one[1]), int(one[2] or 0)) for one in found if one]
    return any(abs(one - two) > _FURTHEST_SHIFT for one, two in zip(*pairs, strict=True))


def _describe_origins(rows: Sequence[Row]) -> str:
    somatic = [row for row in rows if row.origin == "somatic"]
    unknown = [row for row in rows if row.origin == "unknown"]
    found = [f"tumour only in {cite(somatic)}"] if somatic else []
    advice = "write germline or somatic" if any(row.number for row in unknown) else "state calls_origin"
    found += [f"unknown origin in {cite(unknown)} ({advice})"] if unknown else []
    return f"no germline test: {', '.join(found)}"


def _describe_evidence(found: Sequence[Row], somatic: Sequence[Row], full: Sequence[Row], genes: Sequence[str]) -> str:
    """Every variant with its classes and their sources, and what was tested in full."""
    parts = []
    for row in [*found, *(row for row in somatic if row.detected)]:
        words = []
        for source in row.sources:
            stars = f", {source.stars} of 4 stars" if source.stars is not None else ""
            day = f", {source.evaluated.isoformat()}" if source.evaluated else ""
            who = row.laboratory if source.kind == "laboratory" and row.laboratory else source.source
            words.append(f"{source.word} ({who}{stars}{day})")
        classes = "; ".join(words) or "no class"
        origin = "" if row.origin == "germline" else f" [{row.origin}]"
        variant = re.sub(r"\s+", " ", row.variant) or "a variant"
        others = [name.replace(":", ".") for name in sorted(row.names) if name.startswith("c:")]
        others = [_show_bases(name) for name in others if name not in variant.lower()]
        variant += "".join(f" = {name}" for name in others)
        parts.append(f"{list_genes(row.genes)} {variant}{origin}: {classes} <{cite([row])}>")
    for row in full:
        if row.full & set(genes):
            day = f", {row.tested_on.isoformat()}" if row.tested_on else ""
            parts.append(f"{list_genes(row.full & set(genes))} tested in full{day} <{cite([row])}>")
    return " | ".join(dict.fromkeys(parts))


def _show_bases(name: str) -> str:
    """``c.181t>g`` as ``c.181T>G``."""
    return re.sub(r"[acgt]>[acgt]|(?<=ins)[acgtn]+", lambda found: found[0].upper(), name)


def _years(earlier: date, later: date) -> float:
    return (later - earlier).days / _DAYS_A_YEAR
