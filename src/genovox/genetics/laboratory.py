"""What a laboratory reports, row by row in our words: its own table, or a MAF."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandas as pd

from genovox.core.artifacts import read_table
from genovox.core.errors import TableError
from genovox.genetics.classifications import (
    CLASSES,
    UNCLASSIFIED,
    Classification,
    Classifications,
    read_category,
    read_date,
    tidy_word,
)
from genovox.genetics.coverage import FOUNDER, FULL, SINGLE, Panel
from genovox.genetics.genes import find_today
from genovox.genetics.hgvs import VariantName, read_variant

COLUMNS: dict[str, str] = {
    "patient_id": "patient_id, patient, subject, subject_id, sample, sample_id, individual",
    "gene": "gene, gene_symbol, symbol, gene_name",
    "hgvs": "hgvs, variant, hgvsc, hgvs_c, c_hgvs, hgvs_cdna, hgvs_coding, nucleotide_change, cdna, cdna_change, "
    "coding_change, mutation, dna_change, sequence_variant",
    "old_name": "bic, bic_name, bic_nomenclature, legacy, legacy_name, old_name",
    "classification": "classification, class, interpretation, clinical_significance, significance, pathogenicity, "
    "variant_class, acmg, acmg_class, acmg_classification",
    "result": "result, results, test_result, finding, outcome",
    "genes_tested": "genes_tested, tested_genes, genes_analysed, genes_analyzed, gene_list",
    "panel": "panel, panel_name, test_name",
    "scope": "scope, assay, test_scope, test_type, extent",
    "date": "test_date, date, report_date, reported, date_of_report, date_of_test",
    "origin": "origin, allele_origin, sample_origin, germline_somatic, germline_or_somatic",
    "method": "method, technique, methodology",
    "zygosity": "zygosity, genotype",
    "fraction": "allele_fraction, vaf, variant_allele_fraction, vaf_percent, af",
    "cnv": "cnv, mlpa, del_dup, deletion_duplication, cnv_analysis",
    "laboratory": "laboratory, lab, testing_laboratory",
}
"""Our columns and what else laboratories call them, the most telling first."""
RESULTS = {
    "detected": "detected, positive, pos, variant detected, mutation detected, present, found, yes, mutated",
    "not detected": "not detected, negative, neg, none detected, no variant detected, no mutation detected, not found, "
    "no pathogenic variant detected, none found, absent, wild type, wildtype, wt",
    "in calls": "see vcf, vcf, in vcf, see calls, in calls",
}
_NO_CLASS = {"", "-", "none", "na", "n/a", "not applicable"}
# "panel" alone does not say that its genes were read in full, so it is no word of this list.
SCOPES = {
    FULL: "full, full gene, full genes, full sequencing, full panel, full gene panel, comprehensive",
    FOUNDER: "founder, founder panel, founder test, founder variant, founder variants, founder mutations",
    SINGLE: "single variant, single variant test, single site, known familial variant, familial variant, predictive, "
    "targeted, cascade",
}
# Blood and saliva are no origin: circulating tumour DNA and clonal haematopoiesis are found there too.
ORIGINS = {
    "germline": "germline, constitutional, germ line, inherited",
    "somatic": "somatic, tumour, tumor, tumour only, tumor only",
}
_ANSWERS = {"yes": "yes, y, true, 1, done, included", "no": "no, n, false, 0, not done, not included"}
# Screening that misses known kinds of variants (doi:10.1136/jmg.38.12.824).
_LIMITED_METHODS = re.compile(r"\b(?:sscp|dhplc|csce|csge|ptt|dgge|heteroduplex|hda|prescreen\w*)\b", re.IGNORECASE)
LEAST_LABORATORY_FRACTION = 0.30
"""Below this share of reads a variant in blood may be mosaic or of clonal haematopoiesis.

doi:10.1016/j.gim.2021.10.018, doi:10.1158/1055-9965.EPI-21-1296.
"""

FUTURE, UNREAD = "a date in the future", "a date that cannot be read"
_SYMBOL = re.compile(r"[A-Z][A-Z0-9-]{1,15}")
_SHOWN_WORD = re.compile(r"[^\W\d_]+(?:[ /?-]+[^\W\d_]+)*\??(?: ?\d)?|\d{1,2}")
_SHOWN_LENGTH = 24


@dataclass(frozen=True)
class Row:
    """One row in our words.

    Attributes:
        genes: Genes the variant may lie in; empty where the row names none or no symbol.
        named: Whether a variant is named in whatever way; each way holds a digit or means a whole gene.
        names: Its names as ``hgvs`` writes them alike.
        classification: The category that counts, and what all sources said of it.
        tested: Genes tested, or None where the cell is no list of symbols.
        full: Genes that the row says were read in full.
        scope: ``full``, ``founder``, ``single-variant``, or empty where not stated.
        problem: Why the row cannot be used, or empty.
        word: The classification where it is none we know, fit to be shown.
        doubt: Why a call is no confirmed result, or empty.
        warnings: What is odd about the row and changes no label.
        limits: What the test may have missed: of concern where nothing was found.
        place: The c. position of a call that has no c. name, or empty.
        date_fault: Why its date is left out, or empty.
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
    problem: str = ""
    word: str = ""
    full: frozenset[str] = frozenset()
    is_pointer: bool = False
    is_likely: bool = False
    doubt: str = ""
    warnings: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    place: str = ""
    date_fault: str = ""
    tested_on: date | None = field(default=None, repr=False)
    variant: str = field(default="", repr=False)
    laboratory: str = field(default="", repr=False)
    sources: tuple[Classification, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class RowReader:
    """Turns cells into rows.

    Attributes:
        listed: The study's genes.
        panels: Panels by name in lower case.
    """

    listed: tuple[str, ...]
    classifications: Classifications = field(default_factory=Classifications)
    panels: Mapping[str, Panel] = field(default_factory=dict)

    def read_table(self, path: Path, name: str, keep: Callable[[str, Row], None]) -> None:
        """Hand every row of a table to ``keep``, with the table's id of its patient.

        Raises:
            TableError: If it holds no row, columns are missing or stand twice, or a patient's id is empty.
        """
        table, first_row = _read_columns(path)
        is_maf = {"hugo_symbol", "tumor_sample_barcode"} <= {column.lower() for column in table.columns}
        table = _adopt_maf(table, name) if is_maf else _rename(table, name)
        if table.empty:
            raise TableError(f"{name} must hold at least one row, got a header alone; give the table of the tests")
        for number, values in zip(table.index + first_row, table.to_dict("records"), strict=True):
            cells = {str(column): str(value) for column, value in values.items()}
            if not cells["patient_id"]:
                raise TableError(
                    f"{name} row {number}: patient_id must not be empty, got ''; fill it in or delete the row"
                )
            keep(cells["patient_id"], self.read_row(cells, name, int(number)))

    def read_row(self, cells: Mapping[str, str], table: str, number: int) -> Row:
        """One row of a table whose columns are ours."""
        place, patient_id = f"{table} row {number}", cells["patient_id"]
        problems: list[str] = []
        is_id = cells.get("gene", "").casefold() == patient_id.casefold()
        told = frozenset((not is_id and self.read_genes(cells.get("gene", ""))) or ())
        variant = _read_variant(cells, told)
        genes = told or variant.genes
        if told and variant.genes and not told & variant.genes:
            problems.append(f"gene and variant in {place} are of two genes: correct one")
        result, own, word = self._read_finding(cells, variant.named, place, problems)
        scope = find_word(cells.get("scope", ""), SCOPES)
        if not scope and cells.get("scope"):
            got = show(cells["scope"], patient_id)
            problems.append(f"scope {got} in {place} is none of {', '.join(SCOPES)}: correct it")
        panel = self._find_panel(cells.get("panel", ""), place, patient_id, problems)
        tested = self.read_genes(cells.get("genes_tested", ""))
        full = frozenset(tested or ()) if scope == FULL else frozenset()
        gene_level = result == "not detected" and not variant.named and not cells.get("genes_tested") and not panel
        if gene_level and scope == FULL:
            full = told
        if panel:
            full |= panel.list_full(scope) & frozenset(tested or panel.genes)
            tested = tested or tuple(panel.genes)
        tested_on, date_fault = _read_day(cells.get("date", ""))
        given = [Classification(*own, evaluated=tested_on)] if own else []
        given += self.classifications.find(genes, variant.names)
        verdict = self.classifications.choose(given) if given else None
        chosen = verdict.chosen if verdict else Classification(UNCLASSIFIED)
        warnings = [f"sources disagree: {verdict.disagreement}"] if verdict and verdict.disagreement else []
        detected = result == "detected"
        if cells.get("panel") and not panel:
            warnings.append("a panel is named and no table of panels says what it reads: give panels")
        warnings += _warn_of_mosaic(cells) if detected else []
        return Row(
            table=table,
            number=number,
            genes=genes,
            named=variant.named,
            names=variant.names,
            classification=chosen.category,
            detected=detected,
            tested=None if tested is None else frozenset(tested),
            scope=scope or (panel.scope if panel else ""),
            origin=find_word(cells.get("origin", ""), ORIGINS) or "unknown",
            problem="; ".join(problems),
            word=word if chosen.category == UNCLASSIFIED else "",
            full=full,
            is_pointer=result == "in calls",
            is_likely=chosen.is_likely,
            warnings=tuple(warnings),
            limits=tuple(_tell_limits(cells, full, panel)),
            date_fault=date_fault,
            tested_on=tested_on,
            variant=cells.get("hgvs", "") or cells.get("old_name", ""),
            laboratory=cells.get("laboratory", ""),
            sources=tuple(given),
        )

    def read_genes(self, text: str) -> tuple[str, ...] | None:
        """Gene symbols of a cell, ``BRCA1/2`` expanded; None where any of it is no symbol ("all but BRCA1").

        Args:
            text: Symbols joined by ``;``, ``,`` or ``/``; former symbols become today's, ``BRCA-1`` is ``BRCA1``.
        """
        spellings = {gene.replace("-", ""): gene for gene in self.listed}
        genes: dict[str, None] = {}
        for part in filter(None, (part.strip() for part in re.split(r"[;,]", text.upper()))):
            first, *others = (symbol.strip() for symbol in part.split("/"))
            stem = first.rstrip("0123456789")
            for symbol in (first, *(stem + other if other.isdigit() else other for other in others)):
                if not _SYMBOL.fullmatch(symbol):
                    return None
                today = find_today(symbol)
                genes[spellings.get(today.replace("-", ""), today)] = None
        return tuple(genes)

    def _read_finding(
        self, cells: Mapping[str, str], named: bool, place: str, problems: list[str]
    ) -> tuple[str, tuple[str, bool] | None, str]:
        """Result, the laboratory's class, and its word for a class where it is none we know."""
        text, class_text = cells.get("result", ""), cells.get("classification", "")
        result, own = find_word(text, RESULTS), read_category(class_text)
        if not result and text and read_category(text) and tidy_word(class_text) in _NO_CLASS:
            return "detected", read_category(text), ""  # one column for both: "Pathogenic", "Negative"
        if "result" not in cells:
            said = find_word(class_text, RESULTS)
            if said:
                return said, None, ""
            result = "detected" if named or own else ""
        if not result:
            got = show(text, cells["patient_id"])
            problems.append(f"result {got} in {place} is none of detected, not detected: correct it")
        is_unknown = not own and class_text.casefold() not in _NO_CLASS
        return result, own, show(class_text, cells["patient_id"]) if is_unknown else ""

    def _find_panel(self, text: str, place: str, patient_id: str, problems: list[str]) -> Panel | None:
        if not text:
            return None
        panel = self.panels.get(text.casefold())
        if panel is None and self.panels:
            problems.append(f"panel {show(text, patient_id)} in {place} is not in the table of panels: add it there")
        return panel


def find_word(text: str, vocabulary: Mapping[str, str]) -> str:
    """Our word for what a laboratory writes, or empty."""
    word = tidy_word(text)
    return next((ours for ours, theirs in vocabulary.items() if word and word in theirs.split(", ")), "")


def is_future(day: date) -> bool:
    """Whether a day is later than today."""
    return day > date.today()


def show(word: str, patient_id: str) -> str:
    """A cell as a message may show it: a cell in the wrong column may hold a variant, a date or the patient's id."""
    if not word:
        return "''"
    is_id = re.search(rf"(?<!\w){re.escape(patient_id)}(?!\w)", word, re.IGNORECASE)
    if is_id or not _SHOWN_WORD.fullmatch(word):
        return f"(not shown, {len(word)} characters)"
    return repr(word if len(word) <= _SHOWN_LENGTH else word[: _SHOWN_LENGTH - 1] + "…")


def list_classes() -> str:
    """The classes as messages name them."""
    return ", ".join(CLASSES)


def _read_columns(path: Path) -> tuple[pd.DataFrame, int]:
    """A table separated by tabs, semicolons or commas, and the number of its first row in a spreadsheet."""
    head: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for line in file:
                head.append(line[:65536])
                if not line.startswith("#") or len(head) > 1000:
                    break
    except OSError:
        head = []  # what is wrong is told below
    skipped = max(0, len(head) - 1)
    title = head[-1] if head else ""
    separator = max(",\t;", key=title.count)
    return read_table(path, separator=separator, skip_rows=skipped), skipped + 2


def _rename(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table with our columns."""
    titles = {re.sub(r"[\s./-]+", "_", column.strip().lower()).strip("_"): column for column in table.columns}
    ours: dict[str, str] = {}
    for column, words in COLUMNS.items():
        found = [titles[word] for word in words.split(", ") if word in titles]
        if len(found) > 1 and column not in ("patient_id", "date"):
            raise TableError(
                f"{name}: the columns {' and '.join(found)} both tell {column}; keep one, or rename the other"
            )
        if found:
            ours[found[0]] = column
    have = set(ours.values())
    needs = [
        ("patient_id", {"patient_id"}),
        ("gene or hgvs", {"gene", "hgvs", "old_name", "genes_tested", "panel"}),
        ("result or classification", {"result", "classification", "hgvs", "old_name"}),
    ]
    missing = [words for words, columns in needs if not have & columns]
    if missing:
        raise TableError(
            f"{name} must say whom, what and with which result, got the columns {', '.join(table.columns)}; "
            f"add {', '.join(missing)}"
        )
    return table[list(ours)].rename(columns=ours)


def _adopt_maf(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A MAF with our columns: every row is a variant that was found, somatic unless it says germline."""
    lower = table.rename(columns={column: column.lower() for column in table.columns})

    def column(title: str) -> pd.Series:
        return lower[title] if title in lower.columns else pd.Series("", index=lower.index)

    if "hgvsc" not in lower.columns:
        raise TableError(f"{name} is a MAF without HGVSc, got neither names nor transcripts; annotate it with VEP")
    hgvs = column("hgvsc")
    names = (column("transcript_id") + ":" + hgvs).where(
        ~hgvs.str.contains(":") & (column("transcript_id") != ""), hgvs
    )
    alternate, depth = (pd.to_numeric(column(title), errors="coerce") for title in ("t_alt_count", "t_depth"))
    shares = (alternate / depth).where(depth > 0)
    origin = column("mutation_status").str.strip().str.lower()
    return pd.DataFrame(
        {
            "patient_id": column("patient_id").where(column("patient_id") != "", column("tumor_sample_barcode")),
            "gene": column("hugo_symbol"),
            "hgvs": names,
            "result": "detected",
            "origin": origin.where(origin == "germline", "somatic"),
            "fraction": [f"{share:.3f}" if share >= 0 else "" for share in shares],
        }
    )


def _read_variant(cells: Mapping[str, str], genes: frozenset[str]) -> VariantName:
    gene = next(iter(genes)) if len(genes) == 1 else ""
    variant = read_variant(cells.get("hgvs", ""), gene)
    if variant.names or not cells.get("old_name"):
        return variant
    old = read_variant(cells["old_name"], gene or next(iter(variant.genes), ""), is_old=True)
    return VariantName(variant.named or old.named, old.names, variant.genes | old.genes)


def _read_day(text: str) -> tuple[date | None, str]:
    """A day of the past; what is no day, or one in the future, is left out and named."""
    day = read_date(text)
    if day and is_future(day):
        return None, FUTURE
    return day, UNREAD if text and not day else ""


def _tell_limits(cells: Mapping[str, str], full: frozenset[str], panel: Panel | None) -> list[str]:
    if not full:
        return []
    cnv = find_word(cells.get("cnv", ""), _ANSWERS) or (panel.cnv if panel else "")
    limits = ["a full test without deletions and duplications of exons (CNV)"] if cnv == "no" else []
    if _LIMITED_METHODS.search(cells.get("method", "")):
        limits.append("a screening method of limited sensitivity")
    return limits


def _warn_of_mosaic(cells: Mapping[str, str]) -> list[str]:
    found = re.fullmatch(r"([\d.]{1,6})\s*(%?)", cells.get("fraction", "").replace(",", "."))
    try:
        share = float(found[1]) if found else 1.0
    except ValueError:
        share = 1.0
    share = share / 100 if (found and found[2]) or share > 1 else share
    is_mosaic = re.search(r"mosai|low[ -]level|chimer", cells.get("zygosity", ""), re.IGNORECASE)
    if is_mosaic or share < LEAST_LABORATORY_FRACTION:
        return ["mosaic or of low allele fraction, possibly clonal haematopoiesis: confirm it in another tissue"]
    return []
