"""A plan as lines of at most 80 columns."""

import textwrap
from collections.abc import Iterator

from genovox.core.log import write_count
from genovox.plan.findings import Findings
from genovox.plan.outlook import CurveResult
from genovox.plan.prospect import CORRELATION, Prospect, Standing

WIDTH = 80
_LABEL = 46
_INDEPENDENCE = (
    "Intervals and power assume independent held-out scores, one a patient, and at least 10 patients in each class; "
    "in cross-validation the truth is a little wider."
)
_CHANCE = (
    "Chance: what a score that knows nothing stays below 39 times of 40. Models that are alike reach less than the "
    "best of as many independent ones."
)
_PAIR = f"Two models are compared on the same patients, their AUCs correlating {CORRELATION}."
_NETWORKS = (
    "Riley's sizes are for regression models of so many candidate parameters; of a network of a million they say "
    "nothing, a learning curve does."
)


def describe_plan(prospect: Prospect, findings: Findings | None = None, curve: CurveResult | None = None) -> list[str]:
    """The plan for a terminal.

    Args:
        prospect: From ``foresee``.
        findings: What a run has shown.
        curve: Its learning curve.

    Returns:
        Lines of at most 80 characters.
    """
    question = prospect.question
    parts = [f"prevalence {question.prevalence:.2f}", f"AUC {question.auc:.2f}"]
    if question.patients is not None:
        parts.insert(0, write_count(question.patients, "patient"))
    parts += [write_count(question.parameters, "parameter"), write_count(question.models, "model")]
    lines = [*_wrap("Plan: " + ", ".join(parts))]
    if findings:
        lines += _wrap(findings.sentence)
    if prospect.now:
        lines += ["", *_describe_standing(prospect, prospect.now)]
    lines += ["", _row("What you need", "patients", "carriers", "by"), "-" * WIDTH]
    for need in prospect.needs:
        lines.append(_row(need.aim, f"{need.patients:,}", f"{need.positives:,}", need.source))
    lines += ["", *_describe_sizes(prospect)]
    if curve:
        lines += ["", *_describe_curve(curve)]
    lines.append("")
    for note in (_INDEPENDENCE, _CHANCE, _PAIR, _NETWORKS):
        lines += _wrap(note)
    return lines


def _describe_standing(prospect: Prospect, now: Standing) -> Iterator[str]:
    question = prospect.question
    carriers, others = write_count(now.positives, "carrier"), write_count(now.negatives, "non-carrier")
    yield f"What {write_count(now.patients, 'patient')} can show ({carriers}, {others})"
    yield "-" * WIDTH
    if now.half_width is None or now.power is None:
        yield from _wrap("Fewer than 10 patients in a class: give exact counts, and no interval of an AUC.")
    else:
        low, high = max(0, question.auc - now.half_width), min(1, question.auc + now.half_width)
        yield _pair(f"an AUC of {question.auc:.2f} would read", f"{low:.2f} to {high:.2f} (95% interval)")
        yield _pair("and be told from 0.5 with power", _percent(now.power))
        yield _pair("smallest AUC told from 0.5, power 80%", f"{now.detectable:.2f}")
        yield _pair("chance alone, one model, stays below", f"{now.chance:.2f}")
        if question.models > 1:
            yield _pair(f"chance alone, best of {question.models}, stays below", f"{now.best_chance:.2f}")
    fitted = f"a regression of {write_count(question.parameters, 'parameter')}"
    yield _pair(f"{fitted}: shrinkage", f"{now.shrinkage:.2f} (0.90 is aimed at)")
    yield _pair("candidate parameters these patients allow", str(now.affordable))


def _describe_sizes(prospect: Prospect) -> Iterator[str]:
    auc = prospect.question.auc
    interval = f"interval of {auc:.2f}"
    yield f"{'patients':>8}{'carriers':>10}{interval:>20}{'power':>8}{'least AUC':>12}{'parameters':>13}"
    yield "-" * WIDTH
    for size in prospect.later:
        start = f"{size.patients:>8,}{size.positives:>10,}"
        if size.half_width is None or size.power is None:
            yield f"{start}{'counts only':>20}{'':>8}{'':>12}{size.affordable:>13}"
            continue
        low, high = max(0, auc - size.half_width), min(1, auc + size.half_width)
        shown = f"{f'{low:.2f} to {high:.2f}':>20}{_percent(size.power):>8}{size.detectable:>12.2f}"
        yield f"{start}{shown}{size.affordable:>13}"


def _describe_curve(curve: CurveResult) -> Iterator[str]:
    yield f"Learning curve of {curve.model}: nested subsamples of each fold's training patients"
    yield "-" * WIDTH
    yield f"{'cohort':>8}{'trained on':>12}{'AUC':>8}{'95% interval':>18}"
    for point in curve.points:
        interval = f"{point.low:.2f} to {point.high:.2f}"
        yield f"{point.cohort:>8,}{point.training:>12,}{point.auc:>8.2f}{interval:>18}  {point.kind}"
    yield from _wrap(curve.sentence)


def _row(label: str, patients: str, positives: str, source: str) -> str:
    return f"{label:<{_LABEL}}{patients:>10}{positives:>10}  {source}"


def _pair(label: str, value: str) -> str:
    return f"{label:<{_LABEL}}{value}"


def _percent(power: float) -> str:
    return ">99%" if power > 0.99 else f"{power:.0%}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
