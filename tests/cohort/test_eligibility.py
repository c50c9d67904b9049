"""Which exams may be in."""

from datetime import date
from typing import Any

import pytest

from genovox.cohort.eligibility import ExamFacts, apply_rules, parse_day, read_day
from genovox.core.case import Case
from genovox.core.errors import TableError
from genovox.core.sections import EligibilityTable

SCANNED = date(2019, 5, 10)
CASE = Case("c", "p", ("a.json", "b.json"))
FACTS = ExamFacts(SCANNED, 1, "MRI_BREAST BIOPSY, guided", frozenset({"t2", "localizer"}))


def _judge(facts: ExamFacts, events: dict[str, dict[str, date | None]] | None = None, **rules: Any) -> tuple[str, str]:
    return apply_rules([CASE], {"c": facts}, events or {}, EligibilityTable(**rules)).get("c", ("", ""))


def test_without_rules_everyone_may_be_in() -> None:
    assert apply_rules([CASE], {}, {}, EligibilityTable()) == {}


def test_a_study_is_left_out_by_a_word_of_its_description() -> None:
    assert _judge(FACTS, leave_out=("Biops",)) == (
        "study",
        'the study is described by "Biops", which eligibility.leave_out leaves out',
    )
    assert _judge(FACTS, leave_out=("iopsy",))[0] == ""  # not inside a word
    assert _judge(FACTS, leave_out=("breast biopsy",))[0] == "study"


def test_a_series_that_is_asked_for() -> None:
    assert _judge(FACTS, roles=("t2",))[0] == ""
    assert _judge(FACTS, roles=("t2", "dwi")) == (
        "roles",
        "eligibility.roles asks for dwi, no series of the study has that role",
    )


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (SCANNED, SCANNED, ""),
        (date(2019, 5, 11), None, "before eligibility.from_date, 2019-05-11"),
        (None, date(2019, 5, 9), "after eligibility.to_date, 2019-05-09"),
    ],
)
def test_a_window_of_dates_holds_its_ends(start: date | None, end: date | None, words: str) -> None:
    assert _judge(FACTS, from_date=start, to_date=end)[1].endswith(words)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ({"p": {"surgery_date": date(2019, 5, 10)}}, ""),  # the day itself is in time
        ({"p": {"surgery_date": None}}, ""),  # never operated on
        ({"p": {"surgery_date": date(2019, 5, 7)}}, "the exam lies 3 days after surgery_date"),
        ({"q": {"surgery_date": None}}, "no row for the patient, so surgery_date is not known; add it"),
    ],
)
def test_a_scan_comes_before_treatment(events: dict[str, dict[str, date | None]], words: str) -> None:
    assert _judge(FACTS, events, before=("surgery_date",))[1].endswith(words)


def test_an_exam_without_a_date_is_not_known_to_be_in_time() -> None:
    assert _judge(ExamFacts(), from_date=SCANNED) == (
        "date",
        "the exam has no date, which the rules on dates need; fill it in",
    )


def test_the_earliest_eligible_exam_is_in() -> None:
    cases = [Case(f"p-{visit}-{side}", "p", ("x",)) for visit in (1, 2, 3) for side in ("left", "right")]
    facts = {case.case_id: ExamFacts(date(2018 + int(case.case_id[2]), 1, 1), int(case.case_id[2])) for case in cases}
    lost = apply_rules(cases, facts, {}, EligibilityTable(exams="earliest", from_date=date(2020, 1, 1)))
    assert {case_id: rule for case_id, (rule, _) in lost.items()} == {
        "p-1-left": "date",
        "p-1-right": "date",
        "p-3-left": "later",
        "p-3-right": "later",
    }


def test_two_exams_of_one_day_have_an_order() -> None:
    cases = [Case("p-1", "p", ("x",)), Case("p-2", "p", ("x",)), Case("q", "q", ("x",))]
    facts = {"p-1": ExamFacts(SCANNED, 1), "p-2": ExamFacts(SCANNED, 2), "q": ExamFacts(SCANNED, 1)}
    assert list(apply_rules(cases, facts, {}, EligibilityTable(exams="earliest"))) == ["p-2"]


def test_a_patient_without_images_is_judged_elsewhere() -> None:
    assert apply_rules([Case("c", "p", ())], {}, {}, EligibilityTable(from_date=SCANNED, exams="earliest")) == {}


@pytest.mark.parametrize("text", ["2019-05-10", "20190510", " 2019-05-10 ", "2019-05-10T08:00", "2019-05-10 08:00"])
def test_dates_as_tables_and_dicom_write_them(text: str) -> None:
    assert parse_day(text) == SCANNED


@pytest.mark.parametrize("text", ["10.05.2019", "2019-13-01", "20190532", "2018", "x", "05/10/2019"])
def test_a_date_that_could_be_two_is_none(text: str) -> None:
    assert parse_day(text) is None
    with pytest.raises(TableError, match="t row 3: d must be a date such as 2019-03-01, or empty") as caught:
        read_day(text, "t row 3: d")
    assert text not in str(caught.value)


def test_an_empty_cell_is_no_date() -> None:
    assert read_day(" ", "t row 3") is None
