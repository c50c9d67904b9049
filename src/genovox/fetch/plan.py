"""What a download would bring: series of a public collection by role, their size, licence and what to cite.

The index is the one that the package idc-index-data carries (Imaging Data Commons, https://learn.canceridc.dev), or a
table with its columns; nothing is asked of the network.
"""

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.core.errors import TableError, UsageError
from genovox.core.extras import import_optional
from genovox.phases.catalogue import read_facts, read_rows
from genovox.phases.names import DCE_ROLES, ROLES
from genovox.phases.roles import SeriesRole, judge_series

_COLUMNS = ("collection_id", "crdc_series_uuid", "aws_bucket", "license_short_name", "source_DOI", "series_size_MB")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class RemoteSeries:
    """One series in the archive's store.

    Attributes:
        uuid: Its folder in the bucket.
        files: How many files the index counts.
        folder: Where it goes, below the collection's folder.
    """

    role: SeriesRole
    uuid: str
    bucket: str
    files: int
    megabytes: float
    folder: str


@dataclass(frozen=True)
class FetchPlan:
    """What is chosen of a collection.

    Attributes:
        series: Chosen, by patient, study and number.
        roles: Of every MR series of the patients chosen, for the phase sheet.
        licences: GB by licence.
        dois: What to cite.
        index: Which index it rests on.
    """

    collection: str
    series: tuple[RemoteSeries, ...]
    roles: tuple[SeriesRole, ...]
    licences: dict[str, float]
    dois: tuple[str, ...]
    index: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def gigabytes(self) -> float:
        return sum(one.megabytes for one in self.series) / 1000

    @property
    def patients(self) -> int:
        return len({one.role.patient_id for one in self.series})

    @property
    def studies(self) -> int:
        return len({one.role.study_uid for one in self.series})

    @property
    def restricted(self) -> list[str]:
        """Licences that allow no commercial use."""
        return [licence for licence in self.licences if "NC" in licence.upper().replace("-", " ").split()]


def parse_roles(text: str) -> tuple[str, ...]:
    """Roles as ``--roles`` takes them: names joined by commas; ``dce`` and ``all`` stand for several.

    Raises:
        UsageError: If one is unknown.
    """
    chosen: list[str] = []
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        groups = {"dce": DCE_ROLES, "all": ROLES}
        if word not in groups and word not in ROLES:
            near = difflib.get_close_matches(word, [*ROLES, *groups], n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"use dce, all or some of {', '.join(ROLES)}"
            raise UsageError(f"--roles {word!r} is unknown; {hint}")
        chosen += groups.get(word, (word,))
    if not chosen:
        raise UsageError("--roles names no role; use dce, or some of " + ", ".join(ROLES))
    return tuple(dict.fromkeys(chosen))


def plan_fetch(collection: str, roles: Sequence[str], *, index: Path | None = None, patients: int = 0) -> FetchPlan:
    """Choose series of a collection.

    Args:
        collection: Lower-case id, such as ``duke_breast_cancer_mri``.
        roles: Of the series wanted.
        index: A table of series in place of the packaged index.
        patients: The first so many, by id, that have such series; 0 for all.

    Raises:
        MissingExtraError: If the packaged index is not installed.
        UsageError: If there is no such collection.
        TableError: If the index lacks what is needed.
    """
    rows, source = _read_index(collection, index)
    facts = [read_facts(row, f"{source}, row {number}") for number, row in enumerate(rows, start=1)]
    judged = judge_series(facts)
    by_uid = {str(row["SeriesInstanceUID"]): row for row in rows}
    wanted = [role for role in judged if role.role in roles]
    if patients:
        first = sorted({role.patient_id for role in wanted})[:patients]
        wanted = [role for role in wanted if role.patient_id in first]
    chosen = tuple(_locate(role, by_uid[role.series_uid], source) for role in wanted)
    licences: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for one in chosen:
        licences[str(by_uid[one.role.series_uid]["license_short_name"]) or "not stated"] += one.megabytes / 1000
        counts[one.role.role] += 1
    dois = sorted({str(by_uid[one.role.series_uid]["source_DOI"]) for one in chosen} - {""})
    whose = {one.role.patient_id for one in chosen}
    return FetchPlan(
        collection=collection,
        series=chosen,
        roles=tuple(role for role in judged if role.patient_id in whose),
        licences=dict(licences),
        dois=tuple(dois),
        index=source,
        counts={role: counts[role] for role in ROLES if counts[role]},
    )


def _read_index(collection: str, index: Path | None) -> tuple[list[dict[str, Any]], str]:
    """MR rows of a collection and the name of the index."""
    if index is not None:
        table = read_rows(index, required=_COLUMNS)
        rows: list[dict[str, Any]] = [row for _, row in table if row.get("Modality", "MR") in ("MR", "")]
        known, source = {row["collection_id"] for row in rows}, index.name
        rows = [row for row in rows if row["collection_id"] == collection]
    else:
        package = import_optional("idc_index_data", purpose="genovox fetch")
        import_optional("pyarrow", purpose="genovox fetch")
        path = package.IDC_INDEX_PARQUET_FILEPATH
        source = f"idc-index-data {package.__version__}"
        known = set(_read_parquet(path, source, columns=["collection_id"])["collection_id"])
        wanted = [("collection_id", "==", collection), ("Modality", "==", "MR")]
        found = _read_parquet(path, source, filters=wanted)
        lacking = [column for column in _COLUMNS if column not in found.columns]
        if lacking:
            raise TableError(f"{source} has no column {', '.join(lacking)}; install the version of constraints.txt")
        filled = found.astype(object).where(found.notna(), "")
        rows = [{str(name): value for name, value in row.items()} for row in filled.to_dict("records")]
    if rows:
        return rows, source
    if collection in known:
        raise UsageError(f"{collection} has no MR series in {source}; choose an MR collection")
    near = difflib.get_close_matches(collection.lower().replace("-", "_"), known, n=3)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "ids are those of https://portal.imaging.datacommons.cancer.gov"
    )
    raise UsageError(f"no collection {collection!r} in {source}; {hint}")


def _read_parquet(path: Path, source: str, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, **options)
    except (OSError, KeyError, ValueError) as error:
        raise TableError(f"{source} cannot be read ({error}); install it again") from None


def _locate(role: SeriesRole, row: Mapping[str, Any], source: str) -> RemoteSeries:
    uuid, bucket = str(row["crdc_series_uuid"]), str(row["aws_bucket"])
    # Both become part of an address and of a path.
    if not _UUID.fullmatch(uuid) or not _BUCKET.fullmatch(bucket):
        raise TableError(
            f"{source}: a series needs a crdc_series_uuid and an aws_bucket, got {uuid[:40]!r} and {bucket[:40]!r}; "
            "use the index as it was published"
        )
    parts = (role.patient_id, role.study_uid, role.series_uid)
    return RemoteSeries(
        role=role,
        uuid=uuid,
        bucket=bucket,
        files=int(float(row["instanceCount"])),
        megabytes=float(row["series_size_MB"] or 0),
        folder="/".join(_safe(part) for part in parts),
    )


def _safe(part: str) -> str:
    name = _UNSAFE.sub("-", part).strip(".")
    return name or "_"
