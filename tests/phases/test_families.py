from collections.abc import Sequence

import pytest

from genovox.phases.families import Family, Member, explain_family, join_families
from genovox.phases.names import read_name
from tests.phases.test_roles import list_study


def _members(text: str) -> list[Member]:
    return [Member(one, read_name(one.name)) for one in list_study(text)]


def _explain(text: str, subtractions: str = "") -> Family | None:
    return explain_family(_members(text), _members(subtractions))


def _phases(family: Family | None) -> list[tuple[int, str, int | None]]:
    assert family is not None
    return [(phase.member.number, phase.role, phase.number) for phase in family.phases]


@pytest.mark.parametrize(
    ("members", "subtractions", "rank", "confidence"),
    [
        ("4|t1|36\n5|t1 post|36", "9|(1/5/2)-(1/4/2)|36", 4, "high"),
        ("4|Bind(1/6/1..50)|50\n5|Bind(1/7/1..50)|50\n6|Bind(1/7/51..100)|50", "", 3, "high"),
        ("4|dyn pre|36\n5|dyn post|36", "", 2, "high"),
        ("4|dyn|36\n5|Ph1/dyn|36", "", 2, "high"),
        ("4|dyn|36\n5|dyn 1 min|36", "", 2, "high"),
        ("4|dyn|36\n5|dyn|36\n6|dyn|36", "", 1, "medium"),
        ("4|sag 3d|36\n5|sag 3d|36\n6|sag 3d|36\n7|sag 3d|36", "", 1, "low"),
        ("4|VIBRANT|144", "9|(1/4/37)-(1/4/1)|36", 4, "high"),
        ("4|VIBRANT|144", "9|CAD sub 2|36", 3, "high"),
        ("401|VIBRANT|144", "402|ssub|108", 3, "high"),
        ("4|multiphase|400", "", 1, "medium"),
        ("4|VIBRANT|400", "", 1, "low"),
    ],
)
def test_how_it_is_known(members: str, subtractions: str, rank: int, confidence: str) -> None:
    family = _explain(members, subtractions)
    assert family is not None
    assert (family.rank, family.confidence) == (rank, confidence)


@pytest.mark.parametrize(
    ("members", "subtractions"),
    [
        ("4|t1|400", ""),  # no name of a dynamic series
        ("4|VIBRANT|100", ""),  # too few images for a guess
        ("4|VIBRANT|144", "9|(1/4/37)-(1/4/1)|37"),  # no whole number of phases
        ("4|VIBRANT|144", "9|CAD sub 4|36"),  # fewer phases than subtractions
        ("4|dyn|10\n5|dyn|10\n6|dyn|10", ""),  # too few slices for a volume
        ("4|dyn|36\n5|dyn|36", ""),  # not often enough
        ("4||36\n5||36\n6||36\n7||36", ""),  # no name at all
        ("4|dyn pre|36\n5|dyn post|37", ""),  # other counts
        ("4|Bind(1/7/1..50)|50\n5|Bind(1/7/51..100)|50", ""),  # nothing before
        ("4|dyn|36\n5|t1 dyn|36\n6|Ph1/dyn|36", ""),  # two without a number
    ],
)
def test_what_is_not_known_is_not_guessed(members: str, subtractions: str) -> None:
    assert _explain(members, subtractions) is None


def test_phases_are_ordered_by_what_names_say_before_numbers() -> None:
    assert _phases(_explain("4|dyn pre|36\n5|dyn 3rd pass|36\n6|dyn 1st pass|36")) == [
        (4, "pre", 0),
        (6, "post", 1),
        (5, "post", 2),
    ]
    assert _phases(_explain("4|dyn pre|36\n5|dyn 6 min|36\n6|dyn 1 min|36")) == [
        (4, "pre", 0),
        (6, "post", 1),
        (5, "post", 2),
    ]


def test_posts_in_one_series_and_more_after_it() -> None:
    family = _explain("4|dyn pre|36\n5|dyn post|72\n6|dyn post|36")
    assert _phases(family) == [(4, "pre", 0), (5, "dynamic-post", None), (6, "post", 3)]
    assert family is not None
    assert family.count == 4
    assert family.numbers == [4, 5, 6]


def test_two_breasts_alternate_only_where_their_counts_agree() -> None:
    pairs = "4|t1 pre|40\n5|t1 pre|42\n6|t1 post|40\n7|t1 post|42"
    family = _explain(pairs)
    assert family is not None
    assert [phase.side for phase in family.phases] == ["first", "first", "second", "second"]
    odd = "4|t1 pre|42\n5|t1 pre|42\n6|t1 post|42"
    assert _phases(_explain(odd)) == [(5, "pre", 0), (4, "pre", None), (6, "post", 1)]


def _numbers(families: Sequence[Sequence[Member]]) -> list[list[int]]:
    return [[member.number for member in family] for family in families]


def test_families_share_a_name_and_borrow_a_pre_contrast_series() -> None:
    members = _members("3|ax pre|96\n4|ax t1|70\n5|1st ax dyn|96\n6|2nd ax dyn|96\n7|lt dyn pre|50\n8|rt dyn pre|50")
    assert _numbers(join_families(members)) == [[3], [4], [3, 5, 6], [7], [8]]
    assert _numbers(join_families(_members("3|ax pre|95\n5|1st ax dyn|96"))) == [[3], [5]]
