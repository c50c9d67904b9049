"""``lesions.csv``: a row a proposal, in the form of a table of marks, for a person to correct."""

from pathlib import Path
from typing import Any

import pandas as pd

from genovox.core.artifacts import write_table
from genovox.core.case import Case

USED_FROM = 0.75
"""The first proposal of an exam is used from this confidence on; below it a person decides."""
COLUMNS = (
    "case_id",
    "patient_id",
    "exam",
    "laterality",
    "rank",
    "use",
    "point",
    "box",
    "mask",
    "diameter_mm",
    "volume_ml",
    "confidence",
    "peak_enhancement_percent",
    "ser",
    "evidence",
)


def list_rows(case: Case, visit: int, proposals: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows of an exam.

    Args:
        case: The exam.
        visit: Its number in time; 0 where a manifest does not say it.
        proposals: As ``write_proposals`` returns them, the surest first.
    """
    return [
        _start_row(case, visit)
        | {
            "laterality": proposal["laterality"],
            "rank": str(rank),
            "use": "yes" if rank == 1 and proposal["confidence"] >= USED_FROM else "no",
            "point": _join(proposal["point"]),
            "box": _join(proposal["box"]),
            "mask": mask_path(case, rank),
            "diameter_mm": f"{proposal['diameter_mm']:.1f}",
            "volume_ml": f"{proposal['volume_ml']:.2f}",
            "confidence": f"{proposal['confidence']:.2f}",
            "peak_enhancement_percent": f"{proposal['peak_enhancement_percent']:.0f}",
            "ser": "" if proposal["ser"] is None else f"{proposal['ser']:.2f}",
            "evidence": proposal["evidence"],
        }
        for rank, proposal in enumerate(proposals, start=1)
    ]


def explain_none(case: Case, visit: int, reason: str) -> dict[str, str]:
    """The row of an exam without a proposal, and why."""
    return _start_row(case, visit) | {"laterality": case.laterality, "use": "no", "evidence": reason}


def write_sheet(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the sheet."""
    write_table(path, pd.DataFrame(rows, columns=[*COLUMNS]).fillna(""))


def mask_path(case: Case, rank: int) -> str:
    """Where the mask of a proposal lies, relative to the sheet."""
    return f"lesions/{case.case_id}-{rank}.nii.gz"


def picture_path(case: Case) -> str:
    """Where the picture of an exam lies, relative to the sheet."""
    return f"lesions/{case.case_id}.png"


def _start_row(case: Case, visit: int) -> dict[str, str]:
    return {"case_id": case.case_id, "patient_id": case.patient_id, "exam": str(visit or "")}


def _join(numbers: list[float]) -> str:
    return ";".join(f"{number:.1f}" for number in numbers)
