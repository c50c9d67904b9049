"""A case: one scored unit (a breast, an exam, a lesion or a manifest row) of one patient; and what was left out."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from genovox.core.artifacts import read_table

SCAN_PREFIX = "scan_"
COLUMNS = (
    "case_id",
    "patient_id",
    "family_id",
    "site",
    "laterality",
    "part",
    "label",
    "images",
    "phase_times_s",
    "point_mm",
)


def list_metadata(cases: pd.DataFrame) -> list[str]:
    """Columns of a table of cases that describe the scan rather than the patient."""
    return [name for name in cases.columns if name.startswith(SCAN_PREFIX) or name in ("site", "phase_times_s")]


@dataclass(frozen=True)
class Case:
    """One row of ``cohort/cases.csv``.

    Attributes:
        case_id: Unique in the study.
        patient_id: Pseudonym of the patient.
        images: Paths in phase order, relative to the study's folder.
        label: 1 carrier, 0 non-carrier, None unknown.
        family_id: Family, or empty.
        site: Hospital, or empty.
        laterality: ``left``, ``right``, ``bilateral`` or empty.
        part: ``train``, ``val``, ``test`` or empty.
        phase_times_s: Acquisition time of each phase in seconds, or empty.
        point_mm: Where a reader marked the lesion that the case is about, RAS mm (x, y, z), or empty.
        scan: Scan metadata by name, each name starting with ``scan_``.
    """

    case_id: str
    patient_id: str
    images: tuple[str, ...]
    label: int | None = None
    family_id: str = ""
    site: str = ""
    laterality: str = ""
    part: str = ""
    phase_times_s: tuple[float, ...] = ()
    point_mm: tuple[float, ...] = ()
    scan: dict[str, str] = field(default_factory=dict)

    def image_paths(self, root: Path) -> list[Path]:
        """The images as paths, given the study's folder."""
        return [root / image for image in self.images]


def cases_table(cases: list[Case]) -> pd.DataFrame:
    """Cases as ``cases.csv`` holds them; every scan column of any case is a column."""
    scan_names = sorted({name for case in cases for name in case.scan})
    rows = [
        {
            "case_id": case.case_id,
            "patient_id": case.patient_id,
            "family_id": case.family_id,
            "site": case.site,
            "laterality": case.laterality,
            "part": case.part,
            "label": "" if case.label is None else str(case.label),
            "images": ";".join(case.images),
            "phase_times_s": _join(case.phase_times_s),
            "point_mm": _join(case.point_mm),
        }
        | {name: case.scan.get(name, "") for name in scan_names}
        for case in cases
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, *scan_names])


@dataclass(frozen=True)
class Exclusion:
    """One row of ``exclusions.csv``: no case, and no series, disappears without one.

    Attributes:
        level: ``case``, or ``series`` for a DICOM series that is not used.
        case_id: The case, or the series under a code.
    """

    level: str
    case_id: str
    patient_id: str
    stage: str
    rule: str
    reason: str
    label: int | None = None


def exclusions_table(exclusions: list[Exclusion]) -> pd.DataFrame:
    """Exclusions as ``exclusions.csv`` holds them."""
    columns = list(Exclusion.__dataclass_fields__)
    table = pd.DataFrame([asdict(exclusion) for exclusion in exclusions], columns=columns)
    table["label"] = ["" if exclusion.label is None else str(exclusion.label) for exclusion in exclusions]
    return table


def read_cases(path: Path) -> list[Case]:
    """Read ``cases.csv``."""
    table = read_table(path, required=COLUMNS)
    scan_names = [name for name in table.columns if name.startswith(SCAN_PREFIX)]
    return [
        Case(
            case_id=row["case_id"],
            patient_id=row["patient_id"],
            family_id=row["family_id"],
            site=row["site"],
            laterality=row["laterality"],
            part=row["part"],
            label=int(row["label"]) if row["label"] else None,
            images=tuple(row["images"].split(";")),
            phase_times_s=_split(row["phase_times_s"]),
            point_mm=_split(row["point_mm"]),
            scan={name: row[name] for name in scan_names},
        )
        for row in table.to_dict("records")
    ]


def _join(numbers: tuple[float, ...]) -> str:
    return json.dumps(numbers)[1:-1].replace(", ", ";")


def _split(cell: str) -> tuple[float, ...]:
    return tuple(float(number) for number in cell.split(";") if number)
