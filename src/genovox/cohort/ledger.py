"""The ledger of exclusions: no case disappears without a row."""

from dataclasses import asdict, dataclass

import pandas as pd

RULES = {
    "image": "image missing or unusable",
    "label": "no label",
    "side": "side unknown",
}


@dataclass(frozen=True)
class Exclusion:
    """One row of ``exclusions.csv``."""

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
