"""Labels from a laboratory's genetic tests: what was tested, what was found, and what neither makes a 0 nor a 1."""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_table
from genovox.core.case import Case
from genovox.core.errors import StudyError, TableError
from genovox.genetics.labels import LabelEvidence

COLUMNS = ("patient_id", "gene", "hgvs", "classification", "result", "genes_tested", "scope", "origin")
"""What a table must hold. A test date may stand there too; it is never read, since no rule needs it."""

PATHOGENIC, UNCERTAIN, BENIGN, UNCLASSIFIED = "pathogenic or likely pathogenic", "VUS", "benign", "unclassified"
_CLASSES = {
    PATHOGENIC: "pathogenic, likely pathogenic, pathogenic/likely pathogenic, pathogenic or likely pathogenic, "
    "p, lp, p/lp, 5, 4",
    UNCERTAIN: "uncertain significance, vus, vous, uncertain, variant of uncertain significance, "
    "variant of unknown significance, variant of uncertain significance (vus), uncertain significance/vus, 3",
    BENIGN: "benign, likely benign, benign/likely benign, b, lb, b/lb, 2, 1",
}
_RESULTS = {
    "detected": "detected, positive, variant detected",
    "not detected": "not detected, negative, none detected, no variant detected",
}
_NO_CLASS = {"", "-", "none", "na", "n/a", "not applicable"}
# "panel" alone does not say that its genes were read in full, so it is no word of this list.
_SCOPES = {
    "full": "full, full gene, full genes, full sequencing, full panel, full gene panel",
    "founder": "founder, founder panel, founder test, founder variant, founder variants",
    "single-variant": "single variant, single variant test, single site, known familial variant, familial variant",
}
# Blood and saliva are no origin: circulating tumour DNA and clonal haematopoiesis are found there too.
_ORIGINS = {"germline": "germline, constitutional", "somatic": "somatic, tumour, tumor"}

_SYMBOL = re.compile(r"[A-Z][A-Z0-9-]{1,15}")
# A c. name up to the next name or protein change: "NM_007294.4:c.68_69del(p.Glu23fs)" is "68_69del".
_CODING_NAME = re.compile(r"c\.((?:(?!\(?[cgmnpr]\.)[^;,|\[\]])+)")
_SHOWN_WORD = re.compile(r"[^\W\d_]+(?:[ /?-]+[^\W\d_]+)*\??(?: ?\d)?|\d{1,2}")
_SHOWN_LENGTH = 24


@dataclass(frozen=True)
class GeneticTests:
    """What the laboratories' tables say of each patient.

    Attributes:
        name: Names of the tables.
        rows: Label, source and reason by the study's patient id; nothing of a variant but its class is kept.
        unit: Tests belong to patients.
    """

    name: str
    rows: dict[str, tuple[int | None, str, str]]
    unit: str = "patient"

    def find_evidence(self, case: Case) -> LabelEvidence:
        """The label of a case's patient, or the reason there is none."""
        if case.patient_id not in self.rows:
            reason = f"not tested: no row in {self.name} for patient {case.patient_id}; "
            reason += "absence of a row is never a negative"
            return LabelEvidence(case.case_id, case.patient_id, None, "", reason)
        label, source, reason = self.rows[case.patient_id]
        return LabelEvidence(case.case_id, case.patient_id, label, source, reason)


@dataclass(frozen=True)
class _Row:
    """One row in our words.

    Attributes:
        genes: Genes the variant may lie in; empty where the row names none or no symbol.
        named: Whether ``hgvs`` names a variant in whatever way; each way holds a digit.
        names: Its c. names without transcript and protein change.
        tested: Genes tested, or None where the cell is no list of symbols.
        scope: ``full``, ``founder``, ``single-variant``, or empty where not stated.
        problem: Why the row cannot be used, or empty.
        word: The classification where it is none we know, fit to be shown.
    """

    table: str
    number: int
    genes: frozenset[str]
    named: bool
    names: frozenset[str]
    classification: str
    detected: bool
    tested: frozenset[str] | None
    scope: str
    origin: str
    problem: str
    word: str

    @property
    def classified(self) -> bool:
        return self.classification in _CLASSES

    def may_be_variant_of(self, other: "_Row") -> bool:
        """Whether both rows may speak of one variant: only two c. names can tell variants of a gene apart."""
        if self.genes and other.genes and not self.genes & other.genes:
            return False
        return not self.names or not other.names or bool(self.names & other.names)

    def contradicts(self, other: "_Row") -> bool:
        """Whether ``other``, a variant detected outside a tumour, has another class or is not detected here."""
        if not (self.detected or self.named) or not self.may_be_variant_of(other):
            return False
        classes = {self.classification, other.classification}
        differ = PATHOGENIC in classes and bool(classes & {UNCERTAIN, BENIGN})
        if self.origin == "somatic":
            # A tumour acquires and loses variants: it speaks only of the class, of a variant that is surely the same.
            return differ and bool(self.names & other.names)
        return differ or not self.detected or (PATHOGENIC in classes and UNCLASSIFIED in classes)


@dataclass(frozen=True)
class _Rules:
    genes: tuple[str, ...]
    vus_is_negative: bool
    other_carrier_is_negative: bool

    def label_patient(self, rows: Sequence[_Row]) -> tuple[int | None, str, str]:
        """Label, source and reason from all rows of one patient."""
        unusable = [row for row in rows if row.problem]
        if unusable:
            return None, _cite(unusable), "; ".join(dict.fromkeys(row.problem for row in unusable))
        found = [row for row in rows if row.detected and row.origin != "somatic"]
        conflicts = {row: [other for other in rows if other.contradicts(row)] for row in found}
        carriers = [
            row
            for row in found
            if row.origin == "germline"
            and row.classification == PATHOGENIC
            and self._lies_in_listed(row)
            and not conflicts[row]
        ]
        if carriers:
            return 1, _cite(carriers), ""
        germline = [row for row in rows if row.origin == "germline"]
        if not germline:
            return None, _cite(rows), _describe_origins(rows)
        doubts = self._doubt_variants(rows, found, conflicts)
        reasons = [reason for _, reason in doubts]
        full = [row for row in germline if row.scope == "full"]
        tested = frozenset[str]().union(*(row.tested or () for row in full))
        missing = [gene for gene in self.genes if gene not in tested]
        if missing:
            reasons.append(self._describe_gaps(missing, rows))
        if reasons:
            concerned = [row for doubted, _ in doubts for row in doubted] + (germline if missing else [])
            return None, _cite(concerned), "; ".join(reasons)
        return 0, _cite(row for row in full if row.tested and row.tested & set(self.genes)), ""

    def _lies_in_listed(self, row: _Row) -> bool:
        return bool(row.genes) and row.genes <= set(self.genes)

    def _lies_elsewhere(self, row: _Row) -> bool:
        return bool(row.genes) and not row.genes & set(self.genes)

    def _doubt_variants(
        self, rows: Sequence[_Row], found: Sequence[_Row], conflicts: dict[_Row, list[_Row]]
    ) -> list[tuple[list[_Row], str]]:
        """Every reason why the variants leave it open whether the patient is a carrier, with its rows."""
        near = [row for row in found if not self._lies_elsewhere(row)]
        far = [] if self.other_carrier_is_negative else [row for row in found if self._lies_elsewhere(row)]
        clear = [row for row in near if not conflicts[row]]
        doubts: list[tuple[list[_Row], str]] = []
        for genes in sorted({tuple(sorted(row.genes)) for row in near if conflicts[row]}):
            doubted = [row for row in near if conflicts[row] and tuple(sorted(row.genes)) == genes]
            doubted += [other for row in doubted for other in conflicts[row]]
            words = sorted({row.classification if row.detected else "not detected" for row in doubted})
            reason = f"conflicting: {_cite(doubted)} call one variant in {_list_genes(genes)} {' and '.join(words)}"
            if not all(row.names for row in doubted):
                reason += " (or variants that hgvs does not tell apart: write c. names)"
            doubts.append((doubted, f"{reason}, keep what is confirmed"))

        def doubt(doubted: list[_Row], rule: str) -> None:
            if doubted:
                genes = {gene for row in doubted for gene in row.genes}
                doubts.append((doubted, f"{rule.format(genes=_list_genes(genes))} ({_cite(doubted)})"))

        pathogenic = [row for row in clear if row.classification == PATHOGENIC]
        doubt(
            [row for row in pathogenic if row.origin == "unknown"],
            "a pathogenic variant in {genes} of unknown origin: write germline or somatic",
        )
        doubt(
            [row for row in pathogenic if row.origin == "germline"],
            f"a pathogenic variant in {{genes}}, which may lie outside {', '.join(self.genes)}: write the one gene",
        )
        if not self.vus_is_negative:
            doubt(
                [row for row in clear if row.classification == UNCERTAIN], 'VUS in {genes}, by policy vus = "exclude"'
            )
        doubt(
            [row for row in (*clear, *far) if not row.classified and not row.word],
            "a variant in {genes} was detected and has no classification: fill it in",
        )
        for word in sorted({row.word for row in (*clear, *far) if row.word}):
            rule = f"classification {word} of a variant in {{genes}} is none of {_list_words(_CLASSES)}: correct it"
            doubt([row for row in (*clear, *far) if row.word == word], rule)
        doubt(
            [row for row in far if row.classification == PATHOGENIC],
            'a carrier of {genes}, which is not listed, by policy other_genes = "exclude"',
        )
        doubt(
            [row for row in rows if self._denies_itself(row)], "not detected, yet a variant is classified: correct one"
        )
        return doubts

    def _denies_itself(self, row: _Row) -> bool:
        """Laboratories call a report negative that holds a VUS; a named variant looked for and not found is clear."""
        if row.detected or row.origin == "somatic" or self._lies_elsewhere(row):
            return False
        unclear = (row.classification == PATHOGENIC and not row.named) or bool(row.word)
        return row.scope in ("full", "") and (unclear or (row.classification == UNCERTAIN and not self.vus_is_negative))

    def _describe_gaps(self, missing: Sequence[str], rows: Sequence[_Row]) -> str:
        germline = [row for row in rows if row.origin == "germline"]
        full = [row for row in germline if row.scope == "full"]
        if full:
            reason = f"{len(missing)} of {len(self.genes)} listed genes not tested in full: {', '.join(missing)}"
        else:
            scopes = ", ".join(sorted({row.scope or "not stated" for row in germline}))
            reason = f"{', '.join(missing)} not tested in full, only by tests of scope {scopes} ({_cite(germline)})"
        if unread := [row for row in full if row.tested is None]:
            reason += f" (genes_tested is no list of symbols joined by ; in {_cite(unread)}: write it so)"
        if uncounted := [row for row in rows if row.origin != "germline" and row.scope == "full"]:
            reason += f" (tumour or unknown origin never counts: {_cite(uncounted)})"
        return reason


def read_genetic_tests(
    paths: Sequence[Path],
    *,
    genes: Sequence[str],
    vus: str,
    other_genes: str,
    pseudonym: Callable[[str], str] = str,
) -> GeneticTests:
    """Read the laboratories' tables and derive each patient's label.

    1 is a pathogenic or likely pathogenic germline variant in a listed gene, by rows that agree on that variant. 0 is
    every listed gene tested in full in the germline and none found. Anything else has no label, with the reason.

    Args:
        paths: CSV tables with ``COLUMNS``, a row a reported variant or a test that found nothing; the rows of a
            patient are taken together, wherever they stand.
        genes: The listed genes.
        vus: ``negative``: a VUS counts as none found; otherwise one in a listed gene leaves the patient out.
        other_genes: ``negative``: a carrier of a gene outside the list may be a 0; otherwise that one is left out.
        pseudonym: From the table's patient id to the study's.

    Raises:
        StudyError: If no gene is listed.
        TableError: For a missing column, an empty patient id, or two patients under one pseudonym.
    """
    listed = _read_genes(";".join(genes), {})
    if not listed:
        raise StudyError(
            f"cohort.genes must list at least one gene symbol and nothing else, got {list(genes)}; "
            'write them as in genes = ["BRCA1", "BRCA2"]'
        )
    rules = _Rules(listed, vus == "negative", other_genes == "negative")
    spellings = {gene.replace("-", ""): gene for gene in listed}
    patients: dict[str, list[_Row]] = {}
    raw_ids: dict[str, str] = {}
    paths = list(dict.fromkeys(paths))
    names = _name_tables(paths)
    for path, name in zip(paths, names, strict=True):
        table = read_table(path, required=COLUMNS)
        for number, cells in zip(table.index + 2, table.to_dict("records"), strict=True):
            raw_id = cells["patient_id"]
            if not raw_id:
                raise TableError(
                    f"{name} row {number}: patient_id must not be empty, got ''; fill it in or delete the row"
                )
            key = pseudonym(raw_id)
            rows = patients.setdefault(key, [])
            if raw_ids.setdefault(key, raw_id) != raw_id:
                raise TableError(
                    f"{name} row {number}: each patient must have a pseudonym of their own, got that of {_cite(rows)}; "
                    "write one patient's id alike in all rows, or make a new key"
                )
            rows.append(_read_row(cells, name, number, spellings))
    labels = {key: rules.label_patient(rows) for key, rows in patients.items()}
    return GeneticTests(", ".join(names), labels)


def _read_row(cells: Mapping[Hashable, str], table: str, number: int, spellings: dict[str, str]) -> _Row:
    place = f"{table} row {number}"
    result, scope = _find_word(cells["result"], _RESULTS), _find_word(cells["scope"], _SCOPES)
    problems = []
    if not result:
        got = _show(cells["result"], cells["patient_id"])
        problems.append(f"result {got} in {place} is none of {_list_words(_RESULTS)}: correct it")
    if not scope and cells["scope"]:
        got = _show(cells["scope"], cells["patient_id"])
        problems.append(f"scope {got} in {place} is none of {_list_words(_SCOPES)}: correct it")
    classification = _find_word(cells["classification"], _CLASSES)
    is_id = cells["gene"].casefold() == cells["patient_id"].casefold()
    is_word_unknown = not classification and cells["classification"].casefold() not in _NO_CLASS
    return _Row(
        table=table,
        number=number,
        genes=frozenset((not is_id and _read_genes(cells["gene"], spellings)) or ()),
        named=bool(re.search(r"\d", cells["hgvs"])),
        names=_read_coding_names(cells["hgvs"]),
        classification=classification or UNCLASSIFIED,
        detected=result == "detected",
        tested=None if (tested := _read_genes(cells["genes_tested"], spellings)) is None else frozenset(tested),
        scope=scope,
        origin=_find_word(cells["origin"], _ORIGINS) or "unknown",
        problem="; ".join(problems),
        word=_show(cells["classification"], cells["patient_id"]) if is_word_unknown else "",
    )


def _find_word(text: str, vocabulary: dict[str, str]) -> str:
    """Our word for what a laboratory writes, or empty."""
    word = re.sub(r"\s*/\s*", "/", re.sub(r"[\s_-]+", " ", text.casefold())).strip()
    # pandas writes a column of classes with empty cells as 5.0.
    word = re.sub(r"^(?:class ?)?([1-5])(?:\.0)?$", r"\1", word)
    return next((ours for ours, theirs in vocabulary.items() if word and word in theirs.split(", ")), "")


def _read_genes(text: str, spellings: dict[str, str]) -> tuple[str, ...] | None:
    """Gene symbols of a cell, ``BRCA1/2`` expanded; None where any of it is no symbol ("all but BRCA1").

    Args:
        text: Symbols joined by ``;``, ``,`` or ``/``.
        spellings: The listed genes by their symbol without hyphens, so that ``BRCA-1`` is no other gene.
    """
    genes: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[;,]", text.upper()))):
        first, *others = (symbol.strip() for symbol in part.split("/"))
        stem = first.rstrip("0123456789")
        for symbol in (first, *(stem + other if other.isdigit() else other for other in others)):
            if not _SYMBOL.fullmatch(symbol):
                return None
            genes[spellings.get(symbol.replace("-", ""), symbol)] = None
    return tuple(genes)


def _read_coding_names(hgvs: str) -> frozenset[str]:
    """The c. names of a cell, written alike: no transcript, no protein change, no bases after del and dup."""
    names = _CODING_NAME.findall(re.sub(r"\s+", "", hgvs.lower()).rstrip("."))
    alike = (re.sub(r"(del|dup|inv)(?:[acgtn]+|\d+)(?=ins|$)", r"\1", name) for name in names)
    return frozenset(name[:-1] if name.count(")") > name.count("(") else name for name in alike)


def _show(word: str, patient_id: str) -> str:
    """A cell as a message may show it: a cell in the wrong column may hold a variant, a date or the patient's id."""
    if not word:
        return "''"
    is_id = re.search(rf"(?<!\w){re.escape(patient_id)}(?!\w)", word, re.IGNORECASE)
    if is_id or not _SHOWN_WORD.fullmatch(word):
        return f"(not shown, {len(word)} characters)"
    return repr(word if len(word) <= _SHOWN_LENGTH else word[: _SHOWN_LENGTH - 1] + "…")


def _describe_origins(rows: Sequence[_Row]) -> str:
    somatic = [row for row in rows if row.origin == "somatic"]
    unknown = [row for row in rows if row.origin == "unknown"]
    found = [f"tumour only in {_cite(somatic)}"] if somatic else []
    found += [f"unknown origin in {_cite(unknown)} (write germline or somatic)"] if unknown else []
    return f"no germline test: {', '.join(found)}"


def _list_genes(genes: Collection[str]) -> str:
    return ", ".join(sorted(genes)) or "a gene not named by its symbol"


def _list_words(vocabulary: dict[str, str]) -> str:
    return ", ".join(vocabulary)


def _cite(rows: Iterable[_Row]) -> str:
    """Tables and row numbers, as in ``genetic_tests.csv rows 12, 15``."""
    numbers: dict[str, set[int]] = {}
    for row in rows:
        numbers.setdefault(row.table, set()).add(row.number)
    return ", ".join(
        f"{table} {'rows' if len(found) > 1 else 'row'} {', '.join(map(str, sorted(found)))}"
        for table, found in sorted(numbers.items())
    )


def _name_tables(paths: Sequence[Path]) -> list[str]:
    """File names, with their folder where two are alike."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
