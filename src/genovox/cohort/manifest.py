"""The tables a person writes: the manifest of cases, a reader's marks, what the clinic knows."""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.eligibility import ExamFacts, parse_day, read_day
from genovox.core.artifacts import FileHashes, hash_content, hash_file, read_table
from genovox.core.case import SCAN_PREFIX, Case
from genovox.core.errors import DataError, ImageError, TableError
from genovox.core.names import split_words
from genovox.core.study import relative_path
from genovox.core.volume import read_volume

REQUIRED = ("case_id", "patient_id", "image")
OPTIONAL = ("laterality", "site", "family_id", "part", "mask", "point", "box", "phase_times_s", "exam_date")
NOT_YET_USED = ("mask", "box")
PARTS = ("train", "val", "test")
_LATERALITY = {"l": "left", "r": "right", "b": "bilateral", "": ""} | {n: n for n in ("left", "right", "bilateral")}
PHASE_NAME = re.compile(r"(?:^|[_\-. /])(?:(?P<pre>pre)|(?:post|phase|ph)[_\-]?(?P<number>\d+))$", re.IGNORECASE)
_PRIVATE = re.compile(
    r"^(patients?)?[_ -]?(full|first|last|sur|given|middle)?[_ -]?names?$"
    r"|birth|(^|[_ -])(dob|mrn|ssn|address|phone|email)($|[_ -])|accession|(^|[_ -])uid$|instanceuid"
)
_IDENTIFIER = re.compile(
    r"(^| )(ids?|identifier|[pu]id|mrn|nhs|ssn|accession|serial|register|registry|record|barcode|pseudonym|code|key"
    r"|(number|no|num|nr)(?! of )|\w*nummer)( |$)"
)
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def read_manifest(path: Path, *, part_column: str = "", root: Path | None = None) -> list[Case]:
    """Read a manifest.

    Args:
        path: CSV with ``case_id, patient_id, image`` and optionally ``laterality, site, family_id, part, mask, point,
            box, phase_times_s, exam_date``; ``image`` holds one path or several joined by ``;`` in phase order,
            relative to the study. Every other column is scan metadata and becomes ``scan_<column>``.
        part_column: The column that fixes train, val and test, or empty.
        root: Folder of the study; images are then told relative to it, so that a run holds no path of this machine.

    Returns:
        The cases in the table's order, without labels.

    Raises:
        TableError: For a missing column, no rows, a repeated or unsafe ``case_id``, an empty cell that must not be
            empty, or a value that is not allowed; the message names the row as a spreadsheet counts it.
    """
    if path.is_dir():
        raise TableError(
            f"a manifest is a CSV table, {path} is a folder; make a manifest of its NIfTI or NRRD files with: "
            f"genovox init {path} --labels labels.csv"
        )
    table = read_table(path, required=REQUIRED)
    if table.empty:
        raise TableError(f"{path.name} must hold at least one case, got no rows; add one row a case")
    if part_column and part_column not in table.columns:
        raise TableError(
            f"{path.name} has no column {part_column!r}, which cohort.splits.part_column names; "
            f"columns: {', '.join(table.columns)}"
        )
    _check_ids(table, path.name)
    known = {*REQUIRED, *OPTIONAL, part_column, *private_columns(table.columns)}
    scan_columns = [column for column in table.columns if column not in known]
    cases = [
        _read_row({str(k): v for k, v in row.items()}, f"{path.name} row {number}", part_column, scan_columns)
        for number, row in zip(table.index + 2, table.to_dict("records"), strict=True)
    ]
    if root is None:
        return cases
    return [replace(case, images=tuple(relative_path(image, root) for image in case.images)) for case in cases]


def hash_listed(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Content hash of files of a study, by name; ``missing`` for one that cannot be read.

    That is its own case's trouble, told when the case is read.

    Args:
        root: Folder of the study; what was hashed before is remembered in its ``.genovox``.
        names: Relative to it.
    """
    hashes = FileHashes(root / ".genovox" / "hashes.json")
    found = {}
    for name in names:
        try:
            found[name] = hashes.digest(root / name) if (root / name).is_file() else "missing"
        except (OSError, DataError):
            found[name] = "missing"
    hashes.save()
    return found


def read_exam_facts(path: Path) -> dict[str, ExamFacts]:
    """When each case of a manifest was scanned, by its column ``exam_date``; nothing where it has none.

    Raises:
        TableError: For a cell that is no date.
    """
    table = read_table(path, required=REQUIRED)
    if "exam_date" not in table.columns:
        return {}
    rows = zip(table.index + 2, table["case_id"], table["exam_date"], strict=True)
    return {case_id: ExamFacts(read_day(cell, f"{path.name} row {row}: exam_date")) for row, case_id, cell in rows}


def scan_name(column: str) -> str:
    """Name of a scan column in ``cases.csv``: ``Field Strength`` becomes ``scan_field_strength``."""
    return SCAN_PREFIX + re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_").removeprefix(SCAN_PREFIX)


def private_columns(columns: Iterable[str]) -> list[str]:
    """Columns whose names say that they identify a person; they never leave the manifest."""
    return [column for column in columns if _PRIVATE.search(column.lower())]


def names_identifier(column: str) -> bool:
    """Whether a column's name says that its numbers are names: ``hospital_number``, not ``number_of_children``."""
    return bool(_IDENTIFIER.search(split_words(column)))


def phase_number(name: str) -> int | None:
    """Phase that a file's name without suffix ends in: 0 for ``pre``, K for ``postK`` or ``phaseK``."""
    match = PHASE_NAME.search(name)
    if match is None:
        return None
    return 0 if match["pre"] else int(match["number"])


def refuse_disorder(images: Sequence[str], place: str) -> None:
    """Refuse phases whose names say that they are not in order.

    Raises:
        TableError: Naming the phases as given.
    """
    numbers = [phase_number(re.sub(r"\.(nii|nii\.gz|nrrd)$", "", image, flags=re.IGNORECASE)) for image in images]
    named = [number for number in numbers if number is not None]
    if named != sorted(named):
        names = ", ".join(Path(image).name for image in images)
        raise TableError(f"{place}: phases must run pre, post1, post2, …, got {names}; put them in order")


def describe_columns(path: Path, *, part_column: str = "") -> list[str]:
    """What a reader of the manifest should know of its columns, a line each."""
    columns = list(read_table(path).columns)
    lines = [f"column {name} is kept but has no effect in this version" for name in NOT_YET_USED if name in columns]
    lines += [f"column {name} looks like a person's and was left out" for name in private_columns(columns)]
    if "part" in columns and not part_column:
        lines.append('column part has no effect; to keep its test rows apart set cohort.splits.part_column = "part"')
    return lines


def _check_ids(table: pd.DataFrame, name: str) -> None:
    for column in REQUIRED:
        empty = table.index[table[column] == ""]
        if len(empty):
            raise TableError(f"{name} row {empty[0] + 2}: {column} must not be empty; fill it in or delete the row")
    repeated = table["case_id"][table["case_id"].duplicated()]
    if len(repeated):
        rows = ", ".join(str(index + 2) for index in table.index[table["case_id"] == repeated.iloc[0]])
        raise TableError(
            f"{name}: case_id must be unique, {repeated.iloc[0]!r} stands in rows {rows}; "
            "give each case an id of its own (several phases of one case go into one row, joined by ;)"
        )
    for index, case_id in table["case_id"].items():
        if not _SAFE_ID.fullmatch(case_id):
            raise TableError(
                f"{name} row {int(str(index)) + 2}: case_id names files, so it takes up to 120 letters, digits, "
                f"dots, dashes and underscores, got {case_id!r}; rename it"
            )


def _read_row(row: dict[str, str], place: str, part_column: str, scan_columns: list[str]) -> Case:
    part = row.get(part_column, "").lower() if part_column else ""
    if part_column and part not in PARTS:
        raise TableError(f"{place}: {part_column} must be train, val or test, got {part!r}; correct it")
    images = tuple(image.strip() for image in row["image"].split(";") if image.strip())
    if not images:
        raise TableError(f"{place}: image must name at least one file, got {row['image']!r}; fill it in")
    refuse_disorder(images, place)
    times = _read_times(row.get("phase_times_s", ""), place)
    if times and len(images) > 1 and len(times) != len(images):
        raise TableError(f"{place}: {len(images)} phases but {len(times)} phase_times_s; give one time a phase")
    return Case(
        case_id=row["case_id"],
        patient_id=row["patient_id"],
        images=images,
        family_id=row.get("family_id", ""),
        site=row.get("site", ""),
        laterality=read_side(row.get("laterality", ""), place),
        part=part,
        phase_times_s=times,
        point_mm=read_point(row.get("point", ""), place),
        scan={scan_name(column): row[column] for column in scan_columns},
    )


def read_point(cell: str, place: str) -> tuple[float, ...]:
    """A position ``x;y;z`` in RAS mm, or nothing.

    Raises:
        TableError: If it is neither empty nor three numbers.
    """
    try:
        point = tuple(float(number) for number in cell.split(";")) if cell else ()
    except ValueError:
        point = (math.nan,)
    if point and (len(point) != 3 or not all(math.isfinite(number) for number in point)):
        raise TableError(f"{place}: point must be x;y;z in mm (right, anterior, superior), got {cell!r}; correct it")
    return point


@dataclass(frozen=True)
class Mark:
    """What a reader points at.

    Attributes:
        point_mm: RAS mm, x, y, z.
        side: ``left``, ``right`` or empty.
        visit: Number of the exam in the order of time, or 0 where it is not said.
    """

    point_mm: tuple[float, ...]
    side: str
    visit: int


def read_marks(path: Path, pseudonym: Callable[[str], str], key: str = "patient_id") -> dict[str, list[Mark]]:
    """Read a reader's marks, or the sheet of ``genovox lesions``.

    Args:
        path: CSV with ``patient_id`` (or ``case_id``) and ``point``, or in its place ``mask`` (a NIfTI file, relative
            to the table) or ``box`` (``x0;y0;z0;x1;y1;z1``, RAS mm), whose middle counts; optionally ``laterality``,
            ``exam`` (its number in time) and ``use``: a row with ``no`` is left out.
        pseudonym: The study's id of a patient.
        key: Whom a row is about: ``patient_id`` or ``case_id``.

    Returns:
        Marks by the study's patient id, or by case, in the table's order.

    Raises:
        TableError: For a missing column, a value that is not allowed, or a mask that cannot be read or is empty.
    """
    table = read_table(path, required=(key,))
    if not {"point", "mask", "box"} & {*table.columns}:
        raise TableError(
            f"{path} must have the columns {key}, point (or mask, or box), got {', '.join(table.columns)}; add point"
        )
    marks: dict[str, list[Mark]] = {}
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        place = f"{path.name} row {number}"
        use = row.get("use", "").lower()
        if use not in ("", "yes", "no"):
            raise TableError(f"{place}: use must be yes, no or empty, got {row['use']!r}; correct it")
        if use == "no":
            continue
        point, visit = _read_place(row, path.parent, place), row.get("exam", "")
        if not row[key] or not point:
            raise TableError(f"{place}: {key} and point must not be empty; fill them in or delete the row")
        if visit and not visit.isdecimal():
            raise TableError(f"{place}: exam must be a number, 1 for the first, got {visit!r}; correct it")
        mark = Mark(point, read_side(row.get("laterality", ""), place), int(visit or 0))
        marks.setdefault(pseudonym(row[key]), []).append(mark)
    return marks


def hash_marks(path: Path, marks: Mapping[str, Sequence[Mark]]) -> str:
    """Of a table of marks and of where they lie: a mask may change while the table that names it stays."""
    return hash_content([hash_file(path), {name: [list(mark.point_mm) for mark in own] for name, own in marks.items()}])


def _read_place(row: Mapping[Hashable, str], folder: Path, place: str) -> tuple[float, ...]:
    """The point of a mark, or else the middle of its mask, or of its box."""
    if point := read_point(row.get("point", ""), place):
        return point
    if name := row.get("mask", ""):
        return _find_middle(folder / name, place)
    return _read_box(row.get("box", ""), place)


def _find_middle(path: Path, place: str) -> tuple[float, ...]:
    try:
        volume = read_volume(path)
    except ImageError as error:
        raise TableError(f"{place}: mask: {error}") from None
    voxels = np.argwhere(volume.array[0] > 0)
    if not len(voxels):
        raise TableError(f"{place}: the mask {path.name} is empty; mark the lesion in it, or give a point")
    x, y, z, _ = volume.affine @ [*voxels.mean(0)[::-1], 1]
    return float(x), float(y), float(z)


def _read_box(cell: str, place: str) -> tuple[float, ...]:
    try:
        edges = tuple(float(number) for number in cell.split(";")) if cell else ()
    except ValueError:
        edges = (math.nan,)
    if edges and (len(edges) != 6 or not all(math.isfinite(edge) for edge in edges)):
        raise TableError(f"{place}: box must be x0;y0;z0;x1;y1;z1 in mm (right, anterior, superior), got {cell!r}")
    return tuple((low + high) / 2 for low, high in zip(edges[:3], edges[3:], strict=True))


@dataclass(frozen=True)
class ClinicalRow:
    """What the clinical table says of a patient.

    Attributes:
        affected: Sides with disease; empty where unknown.
        family_id: The study's id of the family, or empty.
        site: Hospital, or empty.
        events: Dates of the columns asked for, None where the cell is empty.
        details: Every other cell by column, as text; what looks like a person's, and dates, are left out.
        dates: Of every column of dates, None where the cell is empty; they leave as days from the scan only.
    """

    affected: tuple[str, ...]
    family_id: str
    site: str
    events: dict[str, date | None]
    details: dict[str, str]
    dates: dict[str, date | None] = field(default_factory=dict)


def read_clinical(path: Path, pseudonym: Callable[[str], str], events: Sequence[str] = ()) -> dict[str, ClinicalRow]:
    """Read the clinical table.

    Args:
        path: CSV with ``patient_id`` and optionally ``affected_side`` (left, right, both), ``family_id``, ``site``,
            dates of events, and whatever else the clinic knows.
        pseudonym: The study's id of a patient or a family.
        events: Columns that hold dates.

    Raises:
        TableError: For a missing column, an id that is empty or stands twice, or a side or date that is none.
    """
    table = read_table(path, required=("patient_id", *events))
    known = {"patient_id", "affected_side", "family_id", "site", *events, *private_columns(table.columns)}
    dated = [name for name in table.columns if name in events or (name not in known and _holds_days(table[name]))]
    others = [name for name in table.columns if name not in {*known, *dated}]
    rows: dict[str, ClinicalRow] = {}
    for number, row in zip(table.index + 2, table.to_dict("records"), strict=True):
        place, patient_id = f"{path.name} row {number}", pseudonym(row["patient_id"])
        if not row["patient_id"] or patient_id in rows:
            raise TableError(f"{place}: patient_id must be there and stand once; correct it or delete the row")
        side = row.get("affected_side", "")
        both = side.lower() in ("both", "bilateral", "b")
        rows[patient_id] = ClinicalRow(
            affected=("left", "right") if both else tuple(filter(None, [read_side(side, place)])),
            # A family is often called by its name.
            family_id=pseudonym(row["family_id"]) if row.get("family_id") else "",
            site=row.get("site", ""),
            events={name: read_day(row[name], f"{place}: {name}") for name in events},
            details={name: row[name] for name in others},
            dates={name: read_day(row[name], f"{place}: {name}") for name in dated},
        )
    return rows


def _holds_days(column: pd.Series) -> bool:
    filled = column[column != ""]
    return len(filled) > 0 and all(parse_day(cell) is not None for cell in filled)


def read_side(cell: str, place: str) -> str:
    """``left``, ``right``, ``bilateral`` or empty.

    Raises:
        TableError: For any other word.
    """
    side = cell.lower()
    if side not in _LATERALITY:
        raise TableError(f"{place}: laterality must be left, right, bilateral or empty, got {cell!r}; correct it")
    return _LATERALITY[side]


def _read_times(text: str, place: str) -> tuple[float, ...]:
    try:
        times = tuple(float(time) for time in text.split(";") if time.strip())
    except ValueError:
        times = (math.nan,)
    if not all(math.isfinite(time) for time in times):
        raise TableError(f"{place}: phase_times_s must be seconds joined by ;, got {text!r}; correct it")
    return times
