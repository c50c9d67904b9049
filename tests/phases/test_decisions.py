"""Exams as a person decided them."""

import logging
from dataclasses import replace

import pytest

from genovox.phases.decisions import Decision, decide_exams
from genovox.phases.exams import Exam, PhaseRole, find_exams
from genovox.scans.dicom import Series
from tests.phases.test_exams import FLASH, SAGITTAL, THRIVE, _grid, _series

STUDY = [one for one in FLASH if "sub" not in one.first.description and one.first.series_number != 20]


def _decide(series: list[Series], **rows: str) -> tuple[list[Exam], dict[str, PhaseRole]]:
    """Rows by ``s`` and series number: ``role[ phase[ side]]``."""
    decisions = {}
    for at, (name, text) in enumerate(rows.items(), start=2):
        role, phase, side = (*text.split(), "", "")[:3]
        decision = Decision(
            role.replace("_", "-"), int(phase) if phase.isdigit() else None, side, f"phases.csv row {at}"
        )
        decisions[f"7.{name[1:]}"] = decision
    exams, roles = find_exams(series)
    decided, played = decide_exams(series, exams, roles, decisions)
    return decided, {f"{role.series_uid[2:]}-{role.stack}": role for role in played}


def _files(exams: list[Exam]) -> list[list[str]]:
    return [[stack.files[0] for _, stack in exam.phases] for exam in exams]


@pytest.mark.parametrize("series", [STUDY, THRIVE, SAGITTAL])
def test_what_was_judged_and_is_decided_alike_stays(series: list[Series]) -> None:
    exams, roles = find_exams(series)
    phases = {role.series_uid: role for role in roles}
    rows = {}
    for one in series:
        role = phases[one.series_uid]
        single = len(one.stacks) == 1
        rows[f"s{one.first.series_number}"] = f"{role.role} {role.phase}" if single else "dynamic"
    decided, played = _decide(series, **rows)
    assert [replace(exam, roles=()) for exam in decided] == [replace(exam, roles=()) for exam in exams]
    assert all("by phases.csv row " in role.evidence for role in played.values())


def test_roles_are_swapped_and_times_that_contradict_are_left_empty(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="genovox"):
        decided, played = _decide(STUDY, s5="post 1", s7="pre 0")
    assert _files(decided) == [["7-0", "5-0", "9-0", "11-0"]]
    assert decided[0].times_s == ()
    assert played["7-0"].evidence == "by phases.csv row 3"
    assert "orders 1 exam against the time of acquisition" in caplog.text
    assert "lists 2 series less than there are" in caplog.text


def test_a_phase_is_taken_out_and_a_series_taken_in() -> None:
    decided, played = _decide(STUDY, s11="other")
    assert _files(decided) == [["5-0", "7-0", "9-0"]]
    assert decided[0].times_s == (0, 90, 180)
    assert (played["11-0"].role, played["11-0"].phase) == ("other", None)
    late = _series("t1 late", 30, [900.0], repetition_time_ms=9.0)
    decided, _ = _decide([*STUDY, late], s30="post 4")
    assert _files(decided) == [["5-0", "7-0", "9-0", "11-0", "30-0"]]
    assert decided[0].times_s == (0, 90, 180, 270, 800)


def test_series_of_several_phases() -> None:
    apart = [_series("a", 4, [1.0], repetition_time_ms=9.0), _series("b", 5, [60.0, 120, 180])]
    decided, _ = _decide(apart, s4="pre 0", s5="dynamic_post")
    assert _files(decided) == [["4-0", "5-0", "5-1", "5-2"]]
    plain = [_series("a post", 5, [60.0, 120, 180])]
    assert find_exams(plain)[0] == []
    decided, played = _decide(plain, s5="dynamic")
    assert _files(decided) == [["5-0", "5-1", "5-2"]]
    assert [played[f"5-{at}"].phase for at in range(3)] == [0, 1, 2]
    two = [*apart[:1], _series("b", 5, [60.0]), _series("c", 6, [120.0, 180], scan_options="FS")]
    decided, _ = _decide(two, s4="pre 0", s5="post 1", s6="dynamic_post 2")
    assert _files(decided) == [["4-0", "5-0", "6-0", "6-1"]]


def test_sides_are_decided(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="genovox"):
        decided, _ = _decide(STUDY, s5="pre 0 left", s7="post 1 left", s9="post 2 left", s11="post 3 left")
    assert [exam.laterality for exam in decided] == ["left"]
    assert "gives 1 exam another side than where the volumes lie" in caplog.text
    caplog.clear()
    middle = [_series("t1 pre", 4, [1.0], grid=_grid(180, 5)), _series("t1 post", 5, [60.0], grid=_grid(180, 5))]
    decided, _ = _decide(middle, s4="pre 0 right", s5="post 1")
    assert [(exam.laterality, len(exam.phases)) for exam in decided] == [("right", 2)]
    assert "another side" not in caplog.text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"s5": "pre 0", "s7": "pre 0"}, "phases.csv row 2 and phases.csv row 3 are both phase 0 of one side"),
        ({"s7": "pre 0"}, "a series that the sheet does not list and phases.csv row 2 are both phase 0"),
        (
            {"s5": "other", "s7": "post 1"},
            "an exam needs a pre-contrast phase, phases.csv row 3 is phase 1 and none is 0",
        ),
        ({"s11": "post 7"}, "phases must run 0, 1, 2, …, got 0, 1, 2, 7 (phases.csv row 2)"),
        ({"s7": "other", "s9": "other", "s11": "other"}, "phases must run 0, 1, 2, …, got 0 "),
        ({"s5": "dynamic"}, "phases.csv row 2: dynamic is pre- and post-contrast phases in one series, it holds 1"),
        ({"s30": "post 4"}, "that of phases.csv row 2 is not that of phase 0 (a series that the sheet does not list)"),
        ({"s40": "post 4"}, "phases.csv row 2: post is one volume, the series holds 2 phases"),
        ({"s50": "post 4"}, "phases.csv row 2 makes a series post that cannot be used: a localizer"),
    ],
)
def test_contradictions_leave_the_study_out_and_name_the_row(rows: dict[str, str], words: str) -> None:
    extra = [
        _series("t2", 30, [900.0], grid=_grid(300)),
        _series("t1 hi-res", 40, [900.0, 950], repetition_time_ms=9.0),
        replace(_series("3-plane", 50, [1.0]), stacks=(), problem="a localizer"),
    ]
    decided, played = _decide([*STUDY, *extra], **rows)
    assert decided == []
    assert any(words in role.evidence for role in played.values())
    assert {role.role for role in played.values()} <= {"other", "t2", "localizer"}
    assert {role.phase for role in played.values()} == {None}


def test_other_studies_are_left_as_they_were(caplog: pytest.LogCaptureFixture) -> None:
    stack = [replace(one, study_uid="9", series_uid=f"9.{one.series_uid}") for one in THRIVE]
    exams, roles = find_exams([*STUDY, *stack])
    with caplog.at_level(logging.WARNING, logger="genovox"):
        decided, played = decide_exams(
            [*STUDY, *stack],
            exams,
            roles,
            {"7.5": Decision("other", None, "", "x"), "8.8": Decision("t2", None, "", "y")},
        )
    assert decided == [exam for exam in exams if exam.study_uid == "9"]
    assert [role for role in played if role.series_uid.startswith("9.")] == [
        role for role in roles if role.series_uid.startswith("9.")
    ]
    assert "lists 1 series that are not among the scans" in caplog.text
