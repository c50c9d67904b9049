"""What is told of each series of an archive: numbers, codes and closed lists, never a text of a header."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydicom.config import IGNORE
from pydicom.uid import UID

from genovox.cohort.eligibility import parse_day
from genovox.core.artifacts import hash_content
from genovox.phases.exams import PhaseRole
from genovox.scans.dicom import Series
from genovox.scans.headers import Header

_VENDORS = ("siemens", "ge", "philips", "hitachi", "toshiba", "canon", "fujifilm", "aurora", "esaote", "bruker", "uih")
_MODALITIES = ("MR", "CT", "MG", "US", "PT", "NM", "CR", "DX", "SC", "SR", "PR", "KO", "SEG", "REG", "OT")


@dataclass(frozen=True)
class Codes:
    """Numbers for texts that may name a person or a place: a text's rank among its kind, which needs no key."""

    known: dict[str, dict[str, int]]

    @classmethod
    def of(cls, series: Sequence[Series]) -> "Codes":
        """Codes of all texts of an archive."""
        texts: dict[str, set[str]] = defaultdict(set)
        for one in series:
            for kind, text in cls._texts(one.first).items():
                texts[kind].add(text)
        return cls(
            {kind: {text: place for place, text in enumerate(sorted(found), 1)} for kind, found in texts.items()}
        )

    @staticmethod
    def _texts(header: Header) -> dict[str, str]:
        return {
            "site": header.institution or header.station,
            "model": header.model,
            "series": header.description,
            "vendor": header.manufacturer,
        }

    def name(self, kind: str, header: Header) -> str:
        """The code of a header's ``site``, ``model``, ``series`` (its name) or ``vendor``; empty for no text."""
        text = self._texts(header)[kind]
        return f"{kind}-{self.known[kind][text]}" if text else ""

    def site(self, header: Header) -> str:
        """The code of the hospital, or of the station where no hospital is named."""
        return self.name("site", header)

    def vendor(self, header: Header) -> str:
        """A known vendor's name, or a code."""
        words = re.findall(r"[a-z]+", header.manufacturer.lower())
        return next((vendor for vendor in _VENDORS if vendor in words), "") or self.name("vendor", header)


def name_series(series: Series) -> str:
    """A name that is the same in every table and every run, and tells nothing."""
    return f"series-{hash_content([series.series_uid])[:10]}"


def series_table(
    series: Sequence[Series], roles: Sequence[PhaseRole], codes: Codes, pseudonym: Callable[[str], str]
) -> pd.DataFrame:
    """``series.csv``: a row a series, whether it is used or not.

    Args:
        roles: What each stack is.
        codes: Of the whole archive.
        pseudonym: The study's id of a patient.

    Returns:
        By patient, day and series number. ``day`` counts from the patient's first study; ``times_s`` are the starts of
        the phases after the first of the study; ``role`` and ``phase`` have an entry a stack, joined by ``;``.
    """
    played: dict[str, list[PhaseRole]] = defaultdict(list)
    for role in roles:
        played[role.series_uid].append(role)
    first_day: dict[str, int] = {}
    began_s: dict[str, float] = {}
    for one in series:
        day = parse_day(one.first.study_date)
        if day is not None:
            first_day[one.patient_id] = min(day.toordinal(), first_day.get(one.patient_id, day.toordinal()))
        for stack in one.stacks:
            if stack.time_s is not None:
                began_s[one.study_uid] = min(stack.time_s, began_s.get(one.study_uid, stack.time_s))
    rows = []
    for one in series:
        day = parse_day(one.first.study_date)
        who = {
            "series": name_series(one),
            "patient_id": pseudonym(one.patient_id) if one.patient_id.strip() else "",
            "study": f"study-{hash_content([one.study_uid])[:10]}",
            "day": "" if day is None else day.toordinal() - first_day[one.patient_id],
        }
        rows.append(who | _describe(one, played[one.series_uid], codes, began_s.get(one.study_uid, 0.0)))
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    return table.sort_values(["patient_id", "day", "number", "series"], kind="stable", ignore_index=True)


def _describe(one: Series, roles: Sequence[PhaseRole], codes: Codes, began_s: float) -> dict[str, object]:
    first = one.first
    ordered = sorted(roles, key=lambda role: role.stack)
    stack = one.stacks[0] if one.stacks else None
    spacing = np.linalg.norm(np.array(stack.affine)[:3, :3], axis=0) if stack else ()
    times = [s.time_s for s in one.stacks if s.time_s is not None]
    sides = dict.fromkeys(s.first.laterality for s in one.stacks)
    return {
        "number": _show(first.series_number),
        "name": codes.name("series", first),
        "site": codes.site(first),
        "vendor": codes.vendor(first),
        "model": codes.name("model", first),
        "modality": first.modality if first.modality in _MODALITIES else "other" if first.modality else "",
        "files": one.files,
        "stacks": len(one.stacks),
        "role": ";".join(role.role for role in ordered),
        "phase": ";".join(_show(role.phase) for role in ordered),
        "laterality": ";".join(side for side in sides if side) or first.laterality,
        "matrix": "x".join(map(str, stack.shape[::-1])) if stack else "",
        "spacing_mm": "x".join(f"{size:.3f}" for size in spacing),
        "times_s": ";".join(f"{time - began_s:.6g}" for time in times),
        "contrast_agent": "yes" if first.contrast_agent else "no",
        "repetition_time_ms": _show(first.repetition_time_ms),
        "echo_time_ms": _show(first.echo_time_ms),
        "flip_angle_deg": _show(first.flip_angle_deg),
        "field_strength_t": _show(first.field_strength_t),
        "encoding": _encoding(first),
        "problem": one.problem,
        "evidence": "; ".join(dict.fromkeys(role.evidence for role in ordered)),
    }


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _encoding(header: Header) -> str:
    """The name of the transfer syntax, or empty for one that is not in the standard."""
    uid = UID(header.transfer_syntax, validation_mode=IGNORE)
    return uid.name if uid.name != uid else ""
