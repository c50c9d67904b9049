import pytest

from genovox.phases.families import Member
from genovox.phases.names import read_name
from genovox.phases.subtractions import number_subtraction
from tests.phases.test_roles import list_study

PHASES = {4: 0, 5: 1, 7: 2, 9: 3}


def _number(text: str, *, at: int = 0) -> tuple[int | None, str]:
    """The first of some subtractions, or another, of a study whose phases are series 4, 5, 7 and 9 of 60 images."""
    members = {one.number: Member(one, read_name(one.name)) for one in list_study(text)}
    named = {5: "dyn 1 min", 7: "dyn 3 min", 9: "dyn 5 min"}
    study = list_study("\n".join(f"{number}|{named.get(number, 'dyn')}|60" for number in PHASES))
    phases = {Member(one, read_name(one.name)): PHASES[one.number or 0] for one in study}
    rivals = list(members.values())
    found = number_subtraction(rivals[at], phases, rivals)
    return found.phase, found.confidence


@pytest.mark.parametrize(
    ("subtractions", "phase", "confidence"),
    [
        ("20|(1/7/3)-(1/4/3)|60", 2, "high"),
        ("20|(1/7/3)-(1/5/3)|60", None, "medium"),  # of two phases after contrast
        ("20|(1/4/3)-(1/7/3)|60", None, "medium"),  # the wrong way round
        ("20|(1/99/3)-(1/4/3)|60", None, "medium"),
        ("20|(1/8/121)-(1/8/1)|60", 2, "high"),
        ("20|(1/8/100)-(1/8/1)|60", None, "low"),
        ("20|(1/8/1)-(1/8/61)|60", None, "low"),
        ("20|SUB_S9-S4_1|60", 3, "high"),
        ("20|dyn sub 3|60", 3, "high"),
        ("20|SUB3 min|60", 2, "high"),
        ("20|SUB 8 min|60", None, "medium"),
        ("6|SUB|60\n8|SUB|60\n10|SUB|60", 1, "medium"),
        ("20|SUB|60\n21|SUB|60\n22|SUB|60", 1, "medium"),
        ("20|SUB|60\n21|SUB|60", None, "medium"),
        ("20|SUB|60", None, "medium"),
        ("20|SUB|61", None, "medium"),
        ("3|SUB|60", None, "medium"),
        ("6|SUB|60", 1, "medium"),
    ],
)
def test_of_which_phase(subtractions: str, phase: int | None, confidence: str) -> None:
    assert _number(subtractions) == (phase, confidence)


def test_each_follows_its_phase_or_as_many_as_there_are_follow_all() -> None:
    assert [_number("6|SUB|60\n8|SUB|60\n10|SUB|60", at=at)[0] for at in range(3)] == [1, 2, 3]
    assert [_number("20|SUB|60\n21|SUB|60\n22|SUB|60", at=at)[0] for at in range(3)] == [1, 2, 3]
