"""A tree of DICOM files as exams: every header read once, every person behind a pseudonym, nothing left out unsaid."""

import hashlib
import json
import logging
import os
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.eligibility import ExamFacts, parse_day
from genovox.cohort.manifest import Mark, read_marks
from genovox.cohort.series import Codes, name_series, series_table
from genovox.core.artifacts import atomic_path, hash_content, recall
from genovox.core.case import SCAN_PREFIX, Case, Exclusion
from genovox.core.errors import DataError
from genovox.core.volume import Volume, holds_point
from genovox.phases.decisions import Decision, decide_exams
from genovox.phases.exams import Exam, PhaseRole, find_exams
from genovox.scans.dicom import Series, Stack, arrange_series
from genovox.scans.headers import Header
from genovox.scans.index import hash_stacks, index_folder, read_folder
from genovox.scans.store import StackFiles
from genovox.scans.voxels import read_stack

log = logging.getLogger(__name__)

_KEY_BYTES = 32
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Archive:
    """What a folder of DICOM files holds.

    Attributes:
        cases: One a usable exam (of one breast or both), in the order of patients and dates; images are stack files.
        lost: Patients without a usable exam, and why.
        exclusions: Series that are no phase of an exam, and why.
        series: How many series there are.
        table: A row a series, in pseudonyms and codes.
        files: How many DICOM files.
        facts: What the rules of eligibility need to know of each case's exam; never written.
        digests: Content hash of each stack file's voxels and grid.
        content: Hash that changes when any file comes, goes or changes its size.
        pseudonym: The study's id of a patient, given the id in the headers or in a table.
        patients: The study's id of each patient by the id in the headers; never written into a run.
    """

    cases: list[Case]
    lost: dict[str, str]
    exclusions: list[Exclusion]
    series: int
    table: pd.DataFrame
    files: int
    facts: dict[str, ExamFacts]
    digests: dict[str, str]
    content: str
    pseudonym: Callable[[str], str]
    patients: dict[str, str]

    def read_marks(self, path: Path) -> dict[str, list[Mark]]:
        """Marks by the study's id of a patient; a table's ids are the study's own, or those in the headers.

        A sheet of ``genovox lesions`` names patients as the study does; one of a reader, as the hospital does.

        Raises:
            TableError: As ``manifest.read_marks``.
        """
        known = {case.patient_id for case in self.cases}
        return read_marks(path, lambda name: name if name in known else self.pseudonym(name))


@dataclass(frozen=True)
class Pseudonyms:
    """Ids as they are where every file says that it is de-identified, a keyed hash otherwise."""

    key: bytes

    def __call__(self, patient_id: str) -> str:
        """The id that leaves the input."""
        name = patient_id.strip()
        if not self.key:
            safe = _UNSAFE.sub("-", name).strip("-._")
            # Where signs were lost, a hash keeps two ids from becoming one.
            return name if safe == name else f"{safe or 'id'}-{hash_content(name)[:6]}"
        return f"P-{hashlib.blake2b(name.encode(), key=self.key, digest_size=6).hexdigest()}"


def open_archive(folder: Path, root: Path, decisions: Mapping[str, Decision] | None = None) -> Archive:
    """Read what is new in a tree of DICOM files and arrange the whole of it.

    Args:
        folder: Searched with its subfolders; names do not matter.
        root: Folder of the study; ``.genovox`` in it holds the index, the stack files and the key of the pseudonyms.
        decisions: What a person decided, by series UID.

    Raises:
        DataError: If there is no DICOM file, or the machine failed to read some.
    """
    index = index_folder(folder, root)
    if not index.files:
        raise DataError(f"no DICOM file under {folder}; give the folder that holds the scans, or a manifest.csv")
    pseudonym = Pseudonyms(_read_key(root / ".genovox" / "key") if index.named else b"")
    series = [_refuse_nameless(one) for one in index.series]
    exams, roles = find_exams(series)
    if decisions:
        exams, roles = decide_exams(series, exams, roles, decisions)
    _warn_of_travellers(exams, pseudonym)
    codes = Codes.of(series)
    written = _write_stacks(exams, root)
    digests: dict[str, str] = {}
    played = _collect_roles(series, roles)
    facts: dict[str, ExamFacts] = {}
    cases = []
    for exam, number, count in _number(exams):
        stacks = []
        for one, stack in exam.phases:
            name, digest = written[_place(one, stack)]
            digests[name] = digest
            stacks.append(name)
        patient_id = pseudonym(exam.patient_id)
        case_id = patient_id + (f"-{number}" if count > 1 else "")
        case_id += f"-{exam.laterality}" if exam.laterality in ("left", "right") else ""
        first = exam.phases[0][0].first
        facts[case_id] = ExamFacts(
            parse_day(first.study_date), number, first.study_description, played[exam.patient_id, exam.study_uid]
        )
        cases.append(
            Case(
                case_id=case_id,
                patient_id=patient_id,
                images=tuple(stacks),
                site=codes.site(exam.phases[0][0].first),
                laterality=exam.laterality,
                phase_times_s=exam.times_s,
                scan=_describe_scan(exam, codes),
            )
        )
    return Archive(
        # By the study's own ids: the order of the input's would tell who is who.
        cases=sorted(cases, key=lambda case: case.case_id),
        lost=dict(sorted(_find_lost(series, exams, roles, pseudonym).items())),
        exclusions=sorted(
            _list_exclusions(series, roles, pseudonym), key=lambda row: (row.patient_id, row.reason, row.case_id)
        ),
        series=len(series),
        table=series_table(series, roles, codes, pseudonym),
        files=index.files,
        facts=facts,
        digests=digests,
        content=index.content,
        pseudonym=pseudonym,
        patients={one.patient_id: pseudonym(one.patient_id) for one in series if one.patient_id.strip()},
    )


def _collect_roles(series: Sequence[Series], roles: Sequence[PhaseRole]) -> dict[tuple[str, str], frozenset[str]]:
    """Roles of the series of each patient's study."""
    studies = {one.series_uid: (one.patient_id, one.study_uid) for one in series}
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for role in roles:
        found[studies[role.series_uid]].add(role.role)
    return {study: frozenset(names) for study, names in found.items()}


def _refuse_nameless(series: Series) -> Series:
    """Series that name no patient stay out: they would all become one."""
    if series.patient_id.strip():
        return series
    return replace(series, stacks=(), problem="a series must name its patient, PatientID is empty; fill it in")


def _warn_of_travellers(exams: Sequence[Exam], pseudonym: Callable[[str], str]) -> None:
    """One id at two hospitals may be one patient who moved, or two whom their hospitals numbered alike."""
    places: dict[str, set[str]] = defaultdict(set)
    for exam in exams:
        places[exam.patient_id] |= {exam.phases[0][0].first.institution} - {""}
    moved = [pseudonym(patient_id) for patient_id, found in places.items() if len(found) > 1]
    if moved:
        log.warning(
            "%d patient ids stand at more than one hospital, such as %s: they count as one patient each; if they are "
            "not, give them ids of their own",
            len(moved),
            moved[0],
        )


def read_exam(folder: Path, point_mm: tuple[float, ...] = ()) -> tuple[Volume, tuple[float, ...]]:
    """Read the one dynamic exam of a folder, for scoring a new scan.

    Args:
        folder: Searched with its subfolders.
        point_mm: A place in RAS mm that the exam must hold, where both breasts were scanned apart; or empty.

    Returns:
        The phases, pre-contrast first, array (phase, z, y, x), and the acquisition time of each in seconds, or none.

    Raises:
        DataError: If there is none, or more than one.
        ImageError: If its voxels cannot be read.
    """
    headers = read_folder(folder)
    exams, roles = find_exams(arrange_series(headers))
    if point_mm and len(exams) > 1:
        exams = [exam for exam in exams if holds_point(exam.phases[0][1].affine, exam.phases[0][1].shape, point_mm)]
    if len(exams) != 1:
        reasons = Counter(role.evidence for role in roles)
        why = f" ({'; '.join(reason for reason, _ in reasons.most_common(3))})" if reasons and not exams else ""
        raise DataError(
            f"a folder to score must hold one dynamic exam, {folder} holds {len(exams)} in {len(headers)} DICOM "
            f"files{why}; give the folder of one visit, or score each: --out FOLDER"
        )
    stacks = [stack for _, stack in exams[0].phases]
    volumes = [
        read_stack([Path(path) for path in stack.files], stack.affine, stack.shape, stack.frames) for stack in stacks
    ]
    return Volume(np.concatenate([volume.array for volume in volumes]), volumes[0].affine), exams[0].times_s


def _read_key(path: Path) -> bytes:
    """The key of the pseudonyms, made once and never put into a run; without a whole one no id leaves the input."""
    if not path.exists():
        with atomic_path(path) as partial, os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise DataError(
            f"the key of the pseudonyms, {path.parent.name}/{path.name}, is damaged; bring it back from a copy, or "
            "delete it, which gives every patient a new id"
        )
    return key


def _number(exams: Sequence[Exam]) -> list[tuple[Exam, int, int]]:
    """Each exam with the number of its visit, in the order of time, and how many visits its patient has."""
    visits: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for exam in exams:
        first = exam.phases[0][0].first
        visit = (first.study_date, first.study_time, exam.study_uid)
        if visit not in visits[exam.patient_id]:
            visits[exam.patient_id].append(visit)
    numbered = []
    for exam in exams:
        first = exam.phases[0][0].first
        known = sorted(visits[exam.patient_id])
        numbered.append((exam, known.index((first.study_date, first.study_time, exam.study_uid)) + 1, len(known)))
    return numbered


def _write_stacks(exams: Sequence[Exam], root: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """Keep which files make up each phase, and the hash of their content; returns name in the study and hash."""
    stacks = {_place(one, stack): stack for exam in exams for one, stack in exam.phases}
    return {place: _write_stack(place[0], stacks[place], files, root) for place, files in hash_stacks(root, [*stacks])}


def _place(series: Series, stack: Stack) -> tuple[str, int]:
    return series.series_uid, next(at for at, one in enumerate(series.stacks) if one is stack)


def _write_stack(series_uid: str, stack: Stack, found: StackFiles, root: Path) -> tuple[str, str]:
    folder = root / ".genovox" / "stacks"
    above = os.path.relpath(root, folder)
    grid = {"affine": [list(row) for row in stack.affine], "shape": list(stack.shape)}
    content: dict[str, object] = grid | {
        "files": [f"{above}/{name}" for name in found.files],
        "frames": list(found.frames),
        "stored_type": _stored_type(stack.first),
    }
    path = folder / f"{hash_content([series_uid, content])[:20]}.json"
    content |= {"stamp": found.stamp, "content": found.content}
    if not path.exists() or recall(path) != content:
        with atomic_path(path) as partial:  # in ASCII: a name of a file need not be a text
            partial.write_text(json.dumps(content), encoding="ascii")
    return os.path.relpath(path, root), hash_content([found.content, grid])


def _stored_type(header: Header) -> str:
    sign = "int" if header.pixel_representation else "uint"
    return f"{sign}{header.bits_allocated or 16}"


def _describe_scan(exam: Exam, codes: Codes) -> dict[str, str]:
    """What the headers say of how the scan was made; texts of a hospital's own become numbers."""
    first = exam.phases[0][0].first
    measures = {
        "field_strength": first.field_strength_t,
        "repetition_time_ms": first.repetition_time_ms,
        "echo_time_ms": first.echo_time_ms,
        "flip_angle_deg": first.flip_angle_deg,
    }
    words = {
        "vendor": codes.vendor(first),
        "model": codes.name("model", first),
        "series_name": codes.name("series", first),
        "year": first.study_date[:4] if first.study_date[:4].isdigit() else "",
        "series_per_exam": str(len({one.series_uid for one, _ in exam.phases})),
    }
    scan = words | {name: "" if value is None else f"{value:.6g}" for name, value in measures.items()}
    return {SCAN_PREFIX + name: value for name, value in scan.items()}


def _find_lost(
    series: Sequence[Series], exams: Sequence[Exam], roles: Sequence[PhaseRole], pseudonym: Callable[[str], str]
) -> dict[str, str]:
    """Patients with scans but without an exam, and the reasons, the most frequent first."""
    found = {exam.patient_id for exam in exams}
    evidence = {(role.series_uid, role.stack): role.evidence for role in roles}
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for one in series:
        if one.patient_id not in found and one.patient_id.strip():
            reasons[one.patient_id][one.problem or evidence.get((one.series_uid, 0), "no role")] += 1
    return {
        pseudonym(patient_id): f"no usable dynamic exam in {sum(counts.values())} series: "
        + "; ".join(f"{reason} ({count})" for reason, count in counts.most_common(3))
        for patient_id, counts in reasons.items()
    }


def _list_exclusions(
    series: Sequence[Series], roles: Sequence[PhaseRole], pseudonym: Callable[[str], str]
) -> list[Exclusion]:
    """A row a series that is no phase of an exam."""
    played: dict[str, list[PhaseRole]] = defaultdict(list)
    for role in roles:
        played[role.series_uid].append(role)
    rows = []
    for one in series:
        mine = played[one.series_uid]
        if any(role.phase is not None for role in mine):
            continue
        kind = mine[0].role if mine else "other"
        reason = one.problem or (mine[0].evidence if mine else "no role")
        rows.append(
            Exclusion("series", name_series(one), pseudonym(one.patient_id), "cohort", "series", f"{kind}: {reason}")
        )
    return rows
