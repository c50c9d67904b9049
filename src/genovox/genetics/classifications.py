"""Published classes of variants: whose word counts, and where two words disagree.

A class is P, LP, VUS, LB or B (ACMG/AMP, doi:10.1038/gim.2015.30) as somebody published it; genovox never weighs the
criteria itself. Where several sources classify one variant, an expert panel or a curated sheet comes before others and
the newest before older ones; pathogenic against benign is no majority vote but a conflict.
"""

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from genovox.core.errors import TableError
from genovox.genetics.genes import find_today
from genovox.genetics.hgvs import read_variant

PATHOGENIC, UNCERTAIN, BENIGN = "pathogenic or likely pathogenic", "VUS", "benign"
CONFLICTING, UNCLASSIFIED = "conflicting classifications", "unclassified"
_LIKELY_PATHOGENIC = "likely pathogenic, pathogenic/likely pathogenic, pathogenic or likely pathogenic, lp, p/lp, 4"
CLASSES = {
    PATHOGENIC: f"pathogenic, definitely pathogenic, p, 5, {_LIKELY_PATHOGENIC}",
    UNCERTAIN: "uncertain significance, vus, vous, uncertain, variant of uncertain significance, "
    "variant of unknown significance, variant of uncertain significance (vus), uncertain significance/vus, 3",
    BENIGN: "benign, likely benign, benign/likely benign, b, lb, b/lb, benign/little clinical significance, 2, 1",
}
# What ClinVar puts beside a class or in its place; by itself it says nothing about dominant disease.
_NO_GERMLINE_CLASS = {
    *("affects", "association", "association not found", "confers sensitivity", "drug response", "other"),
    *("protective", "risk factor", "established risk allele", "likely risk allele", "uncertain risk allele"),
}
KINDS = ("curated", "clinvar", "laboratory")
"""Who classifies, as ``cohort.precedence`` names them."""
_SHEET_COLUMNS = {
    "gene": ("gene", "gene symbol"),
    "transcript": ("reference sequence", "transcript", "refseq"),
    "hgvs": ("hgvs", "hgvs cdna", "hgvsc", "hgvs c", "variant", "c hgvs"),
    "class": ("clinical significance", "classification", "class", "pathogenicity expert", "interpretation"),
    "evaluated": ("date last evaluated", "last evaluated", "date", "date last evaluated enigma"),
}
_HEADER_ROWS = 40
_MONTHS = ("%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y")


@dataclass(frozen=True)
class Classification:
    """What one source says of one variant.

    Attributes:
        category: One of the five constants above.
        is_likely: Whether a pathogenic class is (also) called likely.
        source: Name of the file, or ``laboratory``.
        kind: One of ``KINDS``.
        stars: ClinVar's review status, 0 to 4, or None elsewhere.
        evaluated: When the source last looked at the variant, or None.
    """

    category: str
    is_likely: bool = False
    source: str = "laboratory"
    kind: str = "laboratory"
    stars: int | None = None
    evaluated: date | None = None

    @property
    def is_expert(self) -> bool:
        """An expert panel, a practice guideline or a curated sheet."""
        return self.kind == "curated" or (self.stars or 0) >= 3

    @property
    def word(self) -> str:
        """The class as evidence shows it."""
        if self.category == PATHOGENIC:
            return "likely pathogenic" if self.is_likely else "pathogenic"
        return "passed over" if self.category == UNCLASSIFIED else self.category


@dataclass(frozen=True)
class Verdict:
    """What the sources say together.

    Attributes:
        chosen: The word that counts; of the category ``UNCLASSIFIED`` where there is none.
        disagreement: The sources and their words where they differ in category, or empty.
    """

    chosen: Classification
    disagreement: str = ""


@dataclass(frozen=True)
class Release:
    """One file of classifications.

    Attributes:
        kind: ``curated`` or ``clinvar``.
        released: The day of a ClinVar release, None for a sheet.
        assembly: The one its coordinates are of; empty where it has none or both.
        entries: Classes by gene and name.
        unread: How many rows of the wanted genes have a name or class that was not understood.
    """

    name: str
    kind: str
    released: date | None
    assembly: str = ""
    entries: dict[tuple[str, str], list[Classification]] = field(default_factory=dict, repr=False)
    unread: int = 0


@dataclass(frozen=True)
class Classifications:
    """Every file of a study.

    Attributes:
        precedence: Kinds in the order the study trusts them; empty: experts first, then the newest.
    """

    releases: tuple[Release, ...] = ()
    precedence: tuple[str, ...] = ()

    def find(self, genes: Collection[str], names: Collection[str]) -> list[Classification]:
        """What the files say of a variant; nothing where a cell names several variants or no gene."""
        systems = [name.partition(":")[0] for name in names]
        if len(set(systems)) < len(systems):
            return []
        found: dict[Classification, None] = {}
        for release in self.releases:
            for gene in genes:
                for name in names:
                    found |= dict.fromkeys(release.entries.get((gene, name), ()))
        return list(found)

    def choose(self, found: Iterable[Classification]) -> Verdict:
        """The word that counts among several of one variant.

        Without a named precedence: experts before others, the newer before the older; pathogenic against benign is
        ``CONFLICTING``, and so is pathogenic against VUS where no date decides.
        """
        given = [one for one in found if one.category != UNCLASSIFIED]
        if not given:
            return Verdict(Classification(UNCLASSIFIED))
        order = sorted(given, key=self._rank)
        first = order[0]
        categories = {one.category for one in given}
        words = dict.fromkeys(f"{one.source} {one.word}" for one in order)
        disagreement = "; ".join(words) if len(categories) > 1 else ""
        level = [one for one in order if self._rank(one) == self._rank(first)]
        if {PATHOGENIC, BENIGN} <= categories and not self.precedence:
            first = replace(first, category=CONFLICTING)
        elif len({one.category for one in level}) > 1:
            undecided = PATHOGENIC in {one.category for one in level}
            first = replace(first, category=CONFLICTING if undecided else UNCERTAIN)
        return Verdict(first, disagreement)

    def _rank(self, one: Classification) -> tuple[int, bool, int]:
        trusted = self.precedence.index(one.kind) if one.kind in self.precedence else len(self.precedence)
        return trusted, not one.is_expert, -(one.evaluated.toordinal() if one.evaluated else 0)


def read_category(text: str) -> tuple[str, bool] | None:
    """Category and whether it is likely, of a class as laboratories, sheets and ClinVar write it; None for no class.

    ClinVar joins a class and other words by ``;``, ``|`` or ``,``: ``Pathogenic; risk factor`` is pathogenic,
    ``risk factor`` alone is no class, two classes that differ are conflicting. Low penetrance is no class of a
    dominant disease and stays without one.
    """
    word = tidy_word(text)
    found = _find_category(word)
    if found:
        return found
    if re.match(r"conflicting (?:interpretations|classifications)", word):
        return CONFLICTING, False
    if "low penetrance" in word:
        return None
    parts = [part.strip() for part in re.split(r"[;|,]", word) if part.strip() not in ("", *_NO_GERMLINE_CLASS)]
    classes = [_find_category(part) for part in parts]
    known = [one for one in classes if one]
    if not known or len(known) < len(classes):
        return None
    if len({category for category, _ in known}) > 1:
        return CONFLICTING, False
    return known[0][0], any(is_likely for _, is_likely in known)


def tidy_word(text: str) -> str:
    """Lower case, one blank between words, none around a slash; ``Class 5`` and ``5.0`` are ``5``."""
    word = re.sub(r"\s*/\s*", "/", re.sub(r"[\s_-]+", " ", text.casefold())).strip()
    # pandas writes a column of classes with empty cells as 5.0.
    return re.sub(r"^(?:(?:acmg )?class ?)?([1-5])(?:\.0)?$", r"\1", word)


def _find_category(word: str) -> tuple[str, bool] | None:
    for category, words in CLASSES.items():
        if word and word in words.split(", "):
            return category, word in _LIKELY_PATHOGENIC.split(", ")
    return None


def read_date(text: str, *, is_american: bool = False) -> date | None:
    """A day as tables write it, or None; ``3/4/2021`` is a day only where the month is known to come first.

    A month or a year alone counts from its first day.
    """
    text = text.strip()
    found = re.fullmatch(r"(\d{4})(?:[-/.]?(\d{2}))?(?:[-/.]?(\d{2}))?(?:[T ].*)?", text)
    if found:
        return _make_date(found[1], found[2] or "1", found[3] or "1")
    found = re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", text)
    if found:
        first, second = int(found[1]), int(found[3])
        if found[2] == "." or first > 12:
            return _make_date(found[4], found[3], found[1])
        return _make_date(found[4], found[1], found[3]) if is_american or second > 12 else None
    for form in _MONTHS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def _make_date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def read_sheet(path: Path, *, genes: Collection[str]) -> Release:
    """Read a curated sheet: CSV or TSV with gene, HGVS and class; rows above its header and below it are passed over.

    Raises:
        TableError: If it cannot be read, or no row names the columns.
    """
    rows = _read_rows(path)
    heads = [_find_columns(row) for row in rows[:_HEADER_ROWS]]
    start = next((index for index, head in enumerate(heads) if {"gene", "hgvs", "class"} <= head.keys()), None)
    if start is None:
        raise TableError(
            f"{path} must name gene, HGVS and classification in one of its first {_HEADER_ROWS} rows, none does; name "
            "its columns gene,hgvs,classification,date, or give a ClinVar variant_summary or VCF"
        )
    columns = heads[start]
    entries: dict[tuple[str, str], list[Classification]] = {}
    unread = 0
    for row in rows[start + 1 :]:
        cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
        gene = find_today(cells["gene"].upper())
        if gene not in genes:
            continue
        text = f"{cells['transcript']}:{cells['hgvs']}" if cells.get("transcript") else cells["hgvs"]
        names, found = read_variant(text, gene).names, read_category(cells["class"])
        if len(names) != 1 or not found:
            unread += 1
            continue
        evaluated = read_date(cells.get("evaluated", ""), is_american=True)
        entry = Classification(found[0], found[1], path.name, "curated", None, evaluated)
        entries.setdefault((gene, next(iter(names))), []).append(entry)
    return Release(path.name, "curated", None, entries=entries, unread=unread)


def _read_rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is not UTF-8 text; save the sheet as UTF-8 CSV or TSV") from None
    separator = "\t" if text.count("\t") > text.count(",") else ";" if text.count(";") > text.count(",") else ","
    try:
        return list(csv.reader(text.splitlines(keepends=True), delimiter=separator))
    except csv.Error as error:
        raise TableError(f"{path} is not a readable table ({error}); save the sheet as UTF-8 CSV or TSV") from None


def _find_columns(row: Sequence[str]) -> dict[str, int]:
    titles = [re.sub(r"[\s_.]+", " ", cell.lstrip("#").strip().casefold()) for cell in row]
    found = {}
    for name, words in _SHEET_COLUMNS.items():
        index = next((titles.index(word) for word in words if word in titles), None)
        if index is not None:
            found[name] = index
    return found
