"""The verdict: fixed rules, one word and one paragraph."""

from dataclasses import dataclass
from typing import Any, Literal

from genovox.audit.additions import Addition
from genovox.audit.checks import Check
from genovox.audit.confounding import MetadataFinding
from genovox.audit.controls import PERMUTATION_P
from genovox.evaluate.schema import Metric

Word = Literal["leaking", "confounded", "signal", "no-signal", "underpowered"]
LEAKAGE_CHECKS = (
    "fold-disjointness",
    "study-disjointness",
    "duplicate-volumes",
    "near-duplicates",
    "fitted-in-fold",
    "early-stopping",
)


@dataclass(frozen=True)
class Verdict:
    """What the study shows.

    Attributes:
        verdict: The word.
        confounding: Whether metadata tell a part of the label; ``unknown`` where the scanner is not known.
        beyond_clinical: Whether the score adds to age, subtype and family history.
        paragraph: For a reader who is no statistician.
        next_steps: The three most useful.
    """

    verdict: Word
    confounding: Literal["none", "partial", "unknown"]
    beyond_clinical: Literal["yes", "no", "unknown"]
    paragraph: str
    next_steps: tuple[str, ...]


def reach_verdict(
    checks: list[Check],
    metadata: MetadataFinding,
    auc: Metric,
    permutation_p: float,
    minimum_auc: float,
    *,
    largest_p: float = PERMUTATION_P,
    clinical: Addition | None = None,
) -> Verdict:
    """Apply the rules, in this order, fixed before the study.

    ``leaking`` if a leak is found; ``confounded`` if metadata tell the label and the image's score adds nothing given
    them, or the classes do not overlap in metadata; ``signal`` if the interval lies above 0.5 and the permutation's
    p is small; ``no-signal`` if the upper bound is below ``minimum_auc``; ``underpowered`` otherwise.

    Args:
        checks: All checks.
        metadata: What metadata tell.
        auc: The headline.
        permutation_p: p of the permutation of the pipeline, or of the labels where nothing was trained anew.
        minimum_auc: What would be useful, from ``[audit]``.
        largest_p: From where on p is no longer small, from ``[audit]``.
        clinical: What the score adds to what the clinic knows; None where that is not given.
    """
    confounding: Literal["none", "partial", "unknown"] = (
        "partial" if metadata.tells_label or metadata.separates else "none" if metadata.rules_out else "unknown"
    )
    beyond: Literal["yes", "no", "unknown"] = (
        "unknown" if clinical is None or not clinical.is_assessed else "yes" if clinical.adds else "no"
    )
    leaks = [check for check in checks if check.name in LEAKAGE_CHECKS and check.status == "fail"]
    if leaks:
        word: Word = "leaking"
    elif metadata.separates or (metadata.tells_label and not metadata.score_adds):
        word = "confounded"
    elif auc.low is not None and auc.low > 0.5 and permutation_p < largest_p:
        word = "signal"
    elif auc.high is not None and auc.high < minimum_auc:
        word = "no-signal"
    else:
        word = "underpowered"
    paragraph = _PARAGRAPHS[word].format(
        auc=_describe(auc), minimum=minimum_auc, leak=leaks[0].finding if leaks else "", why=_WHY[metadata.separates]
    )
    if word == "signal":
        paragraph += _weigh_signal(confounding, beyond, clinical, auc, minimum_auc)
    return Verdict(word, confounding, beyond, paragraph, _next_steps(word, beyond, checks))


def describe_headline(
    model: str, auc: Metric, block: dict[str, Any], label_unit: str, *, is_fixed: bool = False
) -> str:
    """The study's one figure, in one line."""
    unit = "patients" if label_unit == "patient" else "cases"
    who = f"{block['n_positive']} positive and {block['n_negative']} negative {unit}"
    if label_unit == "case":
        who += f" of {block['n_patients']} patients"
    if auc.estimate is None:
        return f"{model}: AUC not defined; {who}"
    interval = (
        f"(95% interval {auc.low:.2f} to {auc.high:.2f})"
        if auc.low is not None and auc.high is not None
        else "(too few patients for an interval)"
    )
    where = "fixed test part" if is_fixed else "mean within fold"
    return f"{model}: AUC {auc.estimate:.2f} {interval}, {where}; {who}"


_PARAGRAPHS = {
    "leaking": "The figures of this study cannot be believed: {leak}. A network may have recognised patients instead "
    "of reading scans. Mend the leak and run again before anything is reported.",
    "confounded": "How the scans were made tells the label, and {why}. The score ({auc}) is no evidence of biology: "
    "where it is above chance, the scanner may be all there is to it.",
    "signal": "The images tell the label better than chance ({auc}) in patients the networks had not seen. The audit "
    "shows an association in this cohort, not its cause, and says nothing yet of other hospitals.",
    "no-signal": "The images do not tell the label well enough to be useful: {auc}, below the {minimum:.2f} that was "
    "fixed before the study. In this cohort, with these networks, there is nothing to pursue.",
    "underpowered": "This study cannot say: {auc}. Chance has not been ruled out, and neither has a useful score of "
    "{minimum:.2f} or more. More patients are needed, not more models.",
}
_WHY = {
    True: "the classes do not overlap in it, so nothing can tell the patient from the scanner",
    False: "among scans made alike the images do not show that they add anything",
}
_STEPS = {
    "leaking": (
        "Mend what the failed check names and run the same command again.",
        "Ask where the data were merged: the same mistake may sit in other tables.",
        "Report no figure of this run.",
    ),
    "confounded": (
        "Test within one scanner and protocol, or match carriers and non-carriers by them.",
        "Find out why the metadata differ between the classes.",
        "Collect carriers and non-carriers from the same hospitals and years.",
    ),
    "signal": (
        "Test the frozen networks once on patients of a hospital that was not in this study.",
        "Compare with age, tumour subtype and family history; the scan may tell no more than they do.",
        "Look at the maps: do the networks look at the breast and the lesion?",
    ),
    "no-signal": (
        "Report it: a well-made negative study is worth publishing.",
        "Check the QC pictures: was the lesion inside the crop, and were the phases right?",
        "Change the question or the input, not the threshold.",
    ),
    "underpowered": (
        "Add patients of the rarer class; the width of the interval follows their number.",
        "Do not try more models on the same patients: the best of many looks good by chance.",
        "Check the QC pictures: was the lesion inside the crop, and were the phases right?",
    ),
}


def _next_steps(word: Word, beyond: str, checks: list[Check]) -> tuple[str, ...]:
    """The verdict's steps, led by what an open check advises."""
    own = _STEPS[word]
    if word == "signal" and beyond == "yes":
        own = (own[0], *own[2:], own[1])
    told = [check for check in checks if check.advice and not check.name.endswith("-permutation")]
    # What warns or fails comes before what was not looked at.
    told.sort(key=lambda check: ("fail", "warn", "not-assessed", "pass").index(check.status))
    if word in ("signal", "no-signal", "underpowered") and told:
        return (told[0].advice, *own[:2])
    return own


def _weigh_signal(confounding: str, beyond: str, clinical: Addition | None, auc: Metric, minimum_auc: float) -> str:
    """What a signal may still be, in words."""
    weak = f" It stays below the {minimum_auc:.2f} that was fixed as useful before the study."
    parts = [weak if auc.high is not None and auc.high < minimum_auc else ""]
    parts.append(
        {
            "partial": " Scan metadata tell a part of the label too, so a part of the score may be the scanner.",
            "unknown": " What is known of the scanners does not rule them out as its source.",
            "none": "",
        }[confounding]
    )
    if clinical is None or beyond == "unknown":
        parts.append(" Age, subtype and indication were not weighed, and may explain it as well as biology does.")
    elif beyond == "yes":
        parts.append(f" It adds to {clinical.base}.")
    else:
        parts.append(f" It is not shown to add to {clinical.base}, known without a network.")
    return "".join(parts)


def _describe(auc: Metric) -> str:
    if auc.estimate is None:
        return "AUC not defined"
    if auc.low is None or auc.high is None:
        return f"AUC {auc.estimate:.2f}, too few patients for an interval"
    return f"AUC {auc.estimate:.2f}, 95% interval {auc.low:.2f} to {auc.high:.2f}"
