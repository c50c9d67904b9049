"""What a check of the audit says."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "warn", "fail", "not-assessed"]
MARKS: dict[Status, str] = {"pass": "✓", "warn": "▲", "fail": "✕", "not-assessed": "○"}
"""How a status is shown, on a page and on a terminal."""


@dataclass(frozen=True)
class Check:
    """One check: a figure, its interval, a threshold with its reason, a status and what to do.

    Attributes:
        name: Stable name for scripts.
        question: What it asks, as a person would.
        status: ``not-assessed`` where it could not look; never a pass.
        finding: What was found, in words.
        figure: The figure, or None.
        low: Lower bound of its 95% interval, or None.
        high: Upper bound, or None.
        threshold: From where on it warns or fails, and why.
        advice: What to do; empty where nothing is left to do.
    """

    name: str
    question: str
    status: Status
    finding: str
    threshold: str
    figure: float | None = None
    low: float | None = None
    high: float | None = None
    advice: str = ""


GROUPS: dict[str, tuple[str, ...]] = {
    "Leakage": (
        "fold-disjointness",
        "study-disjointness",
        "duplicate-volumes",
        "near-duplicates",
        "same-person",
        "fitted-in-fold",
        "early-stopping",
        "test-threshold",
        "validation-gap",
        "model-choice",
    ),
    "Confounding": (
        "metadata-label",
        "metadata-columns",
        "exclusions",
        "score-place",
        "features-place",
        "matched-pairs",
    ),
    "Controls": (
        "label-permutation",
        "like-permutation",
        "pipeline-permutation",
        "input-background",
        "input-shuffled",
        "input-no-lesion",
        "input-phases",
        "site-drop",
        "earlier-image",
    ),
    "Baselines": ("beyond-clinical", "beyond-radiomics"),
}
"""Every check by what it is about, in the order in which it is shown."""
