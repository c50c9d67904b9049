"""ClinVar's releases: the table ``variant_summary`` and the VCF (doi:10.1093/nar/gkx1153).

A release is dated, since classes change from one to the next; its day stands in the file's name or, in a VCF, in its
head. Both are streamed, only the wanted genes are kept: the table has some ten million rows.
"""

import re
from collections.abc import Collection
from datetime import date
from pathlib import Path

from genovox.core.errors import TableError
from genovox.genetics.calls import name_alleles, open_vcf, stream_lines
from genovox.genetics.classifications import UNCLASSIFIED, Classification, Release, read_category, read_date, read_sheet
from genovox.genetics.genes import SYMBOLS, find_today, locate_gene
from genovox.genetics.hgvs import read_variant

# https://www.ncbi.nlm.nih.gov/clinvar/docs/review_status/
_STARS = (
    ("practice guideline", 4),
    ("reviewed by expert panel", 3),
    ("criteria provided, multiple submitters, no conflicts", 2),
    ("criteria provided, multiple submitters", 2),
    ("criteria provided, conflicting classifications", 1),
    ("criteria provided, conflicting interpretations", 1),
    ("criteria provided, single submitter", 1),
)
_SUMMARY_COLUMNS = ("Name", "GeneSymbol", "ClinicalSignificance", "LastEvaluated", "ReviewStatus", "Assembly")
_PLACE_COLUMNS = ("PositionVCF", "ReferenceAlleleVCF", "AlternateAlleleVCF")


def read_classifications(path: Path, *, genes: Collection[str], minimum_review: int) -> Release:
    """Read a file of classifications, whichever of the three kinds it is.

    Args:
        path: ClinVar's ``variant_summary`` or VCF, or a curated sheet.
        genes: Symbols to keep.
        minimum_review: ClinVar's review status, 0 to 4 stars; a class below it is kept as ``UNCLASSIFIED``, so that
            evidence can tell that it was passed over.

    Raises:
        TableError: For a file that cannot be read, or a ClinVar release without a date.
        MissingExtraError: For a BCF without the extra that reads it.
    """
    if not path.is_file():
        raise TableError(f"no such file of classifications: {path}; check the path")
    first = next(iter(stream_lines(path, path.name)), "")
    if first.startswith("##fileformat=VCF"):
        return _read_vcf(path, genes=genes, minimum_review=minimum_review)
    titles = first.lstrip("#﻿").rstrip("\r\n").split("\t")
    if {"AlleleID", "ClinicalSignificance"} <= set(titles):
        return _read_summary(path, titles, genes=genes, minimum_review=minimum_review)
    return read_sheet(path, genes=genes)


def count_stars(review: str) -> int:
    """ClinVar's stars of a review status as the table or the VCF writes it."""
    words = review.replace("_", " ").replace("criteria provided  ", "criteria provided, ").strip().lower()
    return next((stars for status, stars in _STARS if words.startswith(status)), 0)


def _read_summary(path: Path, titles: list[str], *, genes: Collection[str], minimum_review: int) -> Release:
    missing = [title for title in _SUMMARY_COLUMNS if title not in titles]
    if missing:
        raise TableError(
            f"{path.name} lacks the columns {', '.join(missing)} of ClinVar's variant_summary; fetch it again"
        )
    released = _date_release(path, "")
    place = {title: titles.index(title) for title in (*_SUMMARY_COLUMNS, *_PLACE_COLUMNS) if title in titles}
    gene_column = place["GeneSymbol"]
    entries: dict[tuple[str, str], list[Classification]] = {}
    wanted = {*genes, *(former for former, today in SYMBOLS.items() if today in genes)}
    unread = 0
    in_bytes = {symbol.encode() for symbol in wanted}

    def is_wanted(line: bytes) -> bool:
        # Of several genes ("BRCA1;LOC110485084") the name tells the one that is meant.
        cells = line.split(b"\t", gene_column + 1)
        return len(cells) > gene_column + 1 and not in_bytes.isdisjoint(cells[gene_column].split(b";"))

    lines = stream_lines(path, path.name, is_wanted)
    next(lines)
    for line in lines:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < len(titles):
            unread += 1
            continue
        variant = read_variant(cells[place["Name"]])
        owners = variant.genes & set(genes) or {find_today(one) for one in cells[gene_column].split(";")} & set(genes)
        found = read_category(cells[place["ClinicalSignificance"]])
        names = set(variant.names) if len(variant.names) == 1 else set()
        for gene in owners:
            names |= _name_place(cells, place, gene)
        if not found or not names or len(owners) != 1:
            unread += 1
            continue
        stars = count_stars(cells[place["ReviewStatus"]])
        if stars < minimum_review:
            found = (UNCLASSIFIED, False)
        evaluated = read_date(cells[place["LastEvaluated"]], is_american=True) or released
        _add(entries, next(iter(owners)), names, Classification(*found, path.name, "clinvar", stars, evaluated))
    return Release(path.name, "clinvar", released, "", entries, unread)


def _name_place(cells: list[str], place: dict[str, int], symbol: str) -> frozenset[str]:
    """The name on the chromosome, where the table gives the alleles as a VCF does."""
    if len(set(_PLACE_COLUMNS) & place.keys()) < len(_PLACE_COLUMNS):
        return frozenset()
    gene = locate_gene(symbol, cells[place["Assembly"]])
    position, reference, alternate = (cells[place[column]] for column in _PLACE_COLUMNS)
    alleles = re.fullmatch("[ACGT]+", reference) and re.fullmatch("[ACGT]+", alternate)
    if not gene or cells[place["Assembly"]] not in ("GRCh37", "GRCh38") or not position.isdecimal() or not alleles:
        return frozenset()
    return name_alleles(gene, cells[place["Assembly"]], int(position), reference, alternate)


def _read_vcf(path: Path, *, genes: Collection[str], minimum_review: int) -> Release:
    header, records = open_vcf(path, path.name, genes=genes)
    released = _date_release(path, header.file_date)
    entries: dict[tuple[str, str], list[Classification]] = {}
    unread = 0
    for record in records:
        info = dict(pair.partition("=")[::2] for pair in record.info.split(";"))
        named = {find_today(one.partition(":")[0]) for one in info.get("GENEINFO", "").split("|")}
        found = read_category(info.get("CLNSIG", "").replace("_", " "))
        if info.get("GENEINFO") and record.gene.symbol not in named:
            continue
        if not found or not re.fullmatch("[ACGTN]+", record.reference):
            unread += 1
            continue
        stars = count_stars(info.get("CLNREVSTAT", ""))
        if stars < minimum_review:
            found = (UNCLASSIFIED, False)
        for alternate in record.alternates:
            if re.fullmatch("[ACGTN]+", alternate):
                names = name_alleles(record.gene, header.assembly, record.position, record.reference, alternate)
                entry = Classification(*found, path.name, "clinvar", stars, released)
                _add(entries, record.gene.symbol, names, entry)
    return Release(path.name, "clinvar", released, header.assembly, entries, unread)


def _add(
    entries: dict[tuple[str, str], list[Classification]], gene: str, names: Collection[str], entry: Classification
) -> None:
    for name in names:
        known = entries.setdefault((gene, name), [])
        if entry not in known:
            known.append(entry)


def _date_release(path: Path, inside: str) -> date:
    """The day of a release, by its name or its head.

    Raises:
        TableError: If neither tells it.
    """
    found = re.search(r"(?<!\d)(20\d\d)[-_]?(\d\d)(?:[-_]?(\d\d))?(?!\d)", path.name)
    day = read_date("-".join(part for part in found.groups() if part)) if found else None
    day = day or read_date(inside)
    if day is None:
        raise TableError(
            f"{path.name} must be dated, since classes change: neither its name nor its head holds a date; rename it "
            "as in variant_summary_2026-11.txt.gz, after the release it is of"
        )
    return day
