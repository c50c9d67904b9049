"""Which exams may be in: the rules of ``[cohort.eligibility]``, each exclusion with the rule that made it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from genovox.core.case import Case
from genovox.core.errors import TableError
from genovox.core.sections import EligibilityTable

LATER = "later"
Loss = tuple[str, str]


@dataclass(frozen=True)
class ExamFacts:
    """What the rules need to know of an exam, and no run ever holds.

    Attributes:
        day: When it was made, or None.
        visit: Its number among the exams of its patient, in the order of time, or 0 where that is unknown.
        description: Of its study, as the hospital wrote it; it may name a person.
        roles: Of the other series of its study, such as ``t2``; None where nothing is known of them.
    """

    day: date | None = None
    visit: int = 0
    description: str = ""
    roles: frozenset[str] | None = None


def split_breasts(exams: Sequence[Case], facts: Mapping[str, ExamFacts]) -> tuple[list[Case], dict[str, ExamFacts]]:
    """Each scan of both breasts as two cases, one a breast; preprocessing crops each to its side.

    Args:
        exams: The candidates.
        facts: By case.

    Returns:
        The cases, and the facts of each.
    """
    cases, known = [], dict(facts)
    for exam in exams:
        sides = ("left", "right") if exam.images and exam.laterality == "bilateral" else ()
        halves = [replace(exam, case_id=f"{exam.case_id}-{side}", laterality=side) for side in sides]
        cases += halves or [exam]
        if exam.case_id in facts:
            known |= {half.case_id: facts[exam.case_id] for half in halves}
    return cases, known


def are_halves(one: Case, other: Case) -> bool:
    """Whether two cases are the left and the right breast of one scan."""
    base = one.case_id.removesuffix("-left")
    return one.images == other.images and (one.case_id, other.case_id) == (f"{base}-left", f"{base}-right")


def apply_rules(
    cases: Sequence[Case],
    facts: Mapping[str, ExamFacts],
    events: Mapping[str, Mapping[str, date | None]],
    rules: EligibilityTable,
) -> dict[str, Loss]:
    """Find the exams that may not be in.

    An exam may lie on the day of an event, as staging scans often do. A patient whose row leaves an event empty has
    not had it; one without a row, or whose exam has no date, is not known to be in time and stays out.

    Args:
        cases: The candidates; those without images are judged elsewhere and pass.
        facts: By case.
        events: Dates of the columns of ``rules.before`` by patient.
        rules: What the study asks for.

    Returns:
        Rule and reason by case; of a patient's eligible exams all but the earliest, where only that one is wanted.
    """
    lost = {}
    for case in cases:
        if case.images and (loss := _judge(case, facts.get(case.case_id, ExamFacts()), events, rules)):
            lost[case.case_id] = loss
    if rules.exams == "earliest":
        lost |= _find_later([case for case in cases if case.images and case.case_id not in lost], facts)
    return lost


def _judge(
    case: Case, facts: ExamFacts, events: Mapping[str, Mapping[str, date | None]], rules: EligibilityTable
) -> Loss | None:
    word = next((word for word in rules.leave_out if _says(facts.description, word)), "")
    if word:
        return "study", f'the study is described by "{word}", which eligibility.leave_out leaves out'
    missing = [role for role in rules.roles if facts.roles is None or role not in facts.roles]
    if missing:
        return "roles", f"eligibility.roles asks for {', '.join(missing)}, no series of the study has that role"
    return _judge_date(case.patient_id, facts.day, events, rules)


def _judge_date(
    patient_id: str, day: date | None, events: Mapping[str, Mapping[str, date | None]], rules: EligibilityTable
) -> Loss | None:
    if not (rules.from_date or rules.to_date or rules.before):
        return None
    if day is None:
        return "date", "the exam has no date, which the rules on dates need; fill it in"
    if rules.from_date and day < rules.from_date:
        return "date", f"the exam lies before eligibility.from_date, {rules.from_date}"
    if rules.to_date and day > rules.to_date:
        return "date", f"the exam lies after eligibility.to_date, {rules.to_date}"
    return _judge_events(day, events.get(patient_id), rules.before)


def _judge_events(day: date, events: Mapping[str, date | None] | None, before: Sequence[str]) -> Loss | None:
    if before and events is None:
        return "event", f"the clinical table has no row for the patient, so {before[0]} is not known; add it"
    for event in before:
        when = (events or {}).get(event)
        if when is not None and day > when:
            return "event", f"the exam lies {(day - when).days} days after {event}"
    return None


def _says(description: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word.lower())}", description.lower().replace("_", " ")) is not None


def _find_later(eligible: Sequence[Case], facts: Mapping[str, ExamFacts]) -> dict[str, Loss]:
    """Exams that are not the first of their patient; both breasts of one visit are one exam."""
    first: dict[str, tuple[date, int]] = {}

    def when(case: Case) -> tuple[date, int]:
        known = facts.get(case.case_id, ExamFacts())
        return known.day or date.min, known.visit

    for case in eligible:
        first[case.patient_id] = min(first.get(case.patient_id, when(case)), when(case))
    return {
        case.case_id: (LATER, "a later exam of the patient; the earliest eligible one is in")
        for case in eligible
        if when(case) > first[case.patient_id]
    }


def read_day(cell: str, place: str) -> date | None:
    """A date as tables and DICOM write it: ``2019-03-01`` or ``20190301``; None for an empty cell.

    Raises:
        TableError: For anything else; the message does not repeat the cell, which may be a birth date.
    """
    if not cell.strip():
        return None
    day = parse_day(cell)
    if day is None:
        raise TableError(f"{place} must be a date such as 2019-03-01, or empty; correct it")
    return day


def parse_day(text: str) -> date | None:
    """A date, or None where the text is none."""
    match = re.fullmatch(r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ].*)?", text.strip())
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None
