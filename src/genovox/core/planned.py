"""What the study file may say one day but this version cannot do: refused by name, never ignored."""

import json
from collections.abc import Callable
from typing import Any

from genovox import __version__
from genovox.core.errors import StudyError

_PLANNED: tuple[tuple[str, Callable[[Any], bool], str, str], ...] = (
    ("cohort.tests", bool, "labels from laboratory tables", "give cohort.labels"),
    ("cohort.classifications", bool, "variant classifications", "give cohort.labels"),
    ("cohort.clinical", bool, "clinical tables", "leave it out"),
    ("cohort.phases", bool, "phase sheets for DICOM", "list the phases in the manifest's image column"),
    ("cohort.marks", bool, "marks by a reader", "leave it out"),
    ("cohort.unit", lambda unit: unit in ("exam", "lesion"), "this unit", 'use "volume" or "breast"'),
    ("preprocess.bias", lambda bias: bias == "n4", "bias field correction", 'use "none"'),
    ("preprocess.motion", lambda motion: motion != "none", "motion correction", 'use "none"'),
    (
        "preprocess.foreground",
        lambda name: name in ("breast", "brain"),
        "this foreground",
        'use "body" or "none"',
    ),
    (
        "preprocess.normalise",
        lambda name: name in ("nyul", "pre", "uint8"),
        "this normalisation",
        'use "joint-z", "percentile" or "none"',
    ),
)


def refuse_planned(content: dict[str, Any], name: str) -> None:
    """Refuse what a later version brings.

    Args:
        content: The study file as parsed, valid by its schema.
        name: The file's name, for the message.

    Raises:
        StudyError: Naming each such key, its value and what to use today.
    """
    lines = []
    for place, is_planned, what, instead in _PLANNED:
        value: Any = content
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and is_planned(value):
            lines.append(f"{name}: {place} = {json.dumps(value)}: {what} is not in genovox {__version__}; {instead}")
    cohort = content.get("cohort", {})
    if cohort.get("unit") == "breast" and cohort.get("breasts", "affected") != "both":
        lines.append(
            f'{name}: cohort.breasts = "{cohort.get("breasts", "affected")}" needs the affected side from a clinical '
            f'table, which is not in genovox {__version__}; use breasts = "both"'
        )
    if lines:
        raise StudyError("\n".join(lines))
