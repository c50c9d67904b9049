"""A table of series without images: the index of a public archive, or what a picture archive exports."""

import csv
import gzip
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genovox.core.errors import TableError
from genovox.phases.families import SeriesFacts

REQUIRED = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "instanceCount")
OPTIONAL = ("Modality", "StudyDescription", "StudyDate", "SeriesDate", "SOPClassUID", "series_size_MB")
_UID = re.compile(r"[0-9.]{1,64}")
_GZIP = b"\x1f\x8b"


def read_catalogue(path: Path) -> tuple[list[SeriesFacts], int]:
    """Read a CSV table of series, plain or gzipped.

    Args:
        path: With the columns of ``REQUIRED`` and any of ``OPTIONAL``, named as the public index of the Imaging Data
            Commons names them (https://learn.canceridc.dev).

    Returns:
        The MR series, and how many rows of another modality there are.

    Raises:
        TableError: If it is no such table, or a row breaks a rule; the message names the row.
    """
    found = read_rows(path, required=REQUIRED)
    facts: dict[str, SeriesFacts] = {}
    places: dict[str, str] = {}
    for place, row in found:
        if row.get("Modality", "MR") not in ("MR", ""):
            continue
        one = read_facts(row, place)
        if one.series_uid in facts:
            raise TableError(f"{place}: a series stands once, {places[one.series_uid]} is the same; remove one")
        facts[one.series_uid], places[one.series_uid] = one, place
    if not facts:
        raise TableError(f"{path} has no MR series in {len(found)} rows; give the table of an MR collection")
    return list(facts.values()), len(found) - len(facts)


def read_rows(path: Path, *, required: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV table, plain or gzipped, each with its place as errors name it.

    Raises:
        TableError: If it cannot be read, has no row, or lacks a column that is required.
    """
    reader = csv.DictReader(io.StringIO(_read_text(path)))
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"{path} is not a readable CSV table ({error}); save it as UTF-8 CSV") from None
    missing = [column for column in required if column not in columns]
    if missing:
        got = ", ".join(columns)[:160] or "none"
        raise TableError(f"{path} must have the columns {', '.join(required)}, got {got}; add {', '.join(missing)}")
    if not rows:
        raise TableError(f"{path} has no row; give a table with one row a series")
    found = []
    for number, row in enumerate(rows, start=2):
        place = f"{path.name}, row {number}"
        if None in row or None in row.values():
            raise TableError(f"{place} has {'more' if None in row else 'fewer'} cells than the header; correct it")
        found.append((place, {(name or "").strip(): (value or "").strip() for name, value in row.items()}))
    return found


def read_facts(row: Mapping[str, Any], place: str) -> SeriesFacts:
    """One row as facts; ``place`` names it in errors."""
    text = {name: "" if value is None else str(value) for name, value in row.items()}
    for column in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not _UID.fullmatch(text[column]):
            raise TableError(f"{place}: {column} must be a DICOM UID, got {text[column][:70]!r}; correct it")
    if not text["PatientID"]:
        raise TableError(f"{place}: PatientID is empty; say whose series it is, or remove the row")
    images = _read_whole(text["instanceCount"], "instanceCount", place)
    if not images:
        raise TableError(f"{place}: instanceCount must be at least 1, got {text['instanceCount']!r}; correct it")
    megabytes = _read_size(text.get("series_size_MB", ""), place)
    return SeriesFacts(
        patient_id=text["PatientID"],
        study_uid=text["StudyInstanceUID"],
        series_uid=text["SeriesInstanceUID"],
        number=_read_whole(text["SeriesNumber"], "SeriesNumber", place),
        name=text["SeriesDescription"],
        images=images,
        image_bytes=megabytes * 1e6 / images,
        study_description=text.get("StudyDescription", ""),
        study_date=text.get("StudyDate", ""),
        series_date=text.get("SeriesDate", ""),
        sop_class=text.get("SOPClassUID", ""),
    )


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP:
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise TableError(f"no such folder or table: {path}; give a DICOM tree or a table of series") from None
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise TableError(f"{path} cannot be read ({error}); give a CSV table, plain or gzipped") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no UTF-8 text; save the table as UTF-8 CSV") from None
    if "\0" in text:
        raise TableError(f"{path} is no text; give a CSV table, plain or gzipped")
    return text


def _read_whole(text: str, column: str, place: str) -> int | None:
    if text == "":
        return None
    digits = text.removesuffix(".0")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise TableError(f"{place}: {column} must be a whole number from 0, got {text[:30]!r}; correct it")
    return int(digits)


def _read_size(text: str, place: str) -> float:
    try:
        size = float(text or 0)
    except ValueError:
        size = -1.0
    if not 0 <= size < 1e9:
        raise TableError(f"{place}: series_size_MB must be a number from 0, got {text[:30]!r}; correct it")
    return size
