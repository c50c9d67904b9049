"""Whole studies as they stand in public archives (series of TCGA-BRCA, Duke and I-SPY 2, CC BY; from their indices)."""

import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from genovox.phases.catalogue import read_catalogue
from genovox.phases.families import SeriesFacts
from genovox.phases.names import DCE_ROLES, ROLES
from genovox.phases.roles import SeriesRole, judge_series

TABLE = "tables/idc_tcga_brca_mr_series.csv.gz"


def list_study(text: str, *, patient: str = "P", study: str = "1", description: str = "") -> list[SeriesFacts]:
    """Series from lines ``number|name|images[|bytes an image]``."""
    found: list[SeriesFacts] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        number, name, images, *size = line.split("|")
        uid = f"{study}.{len(found) + 1}"
        bytes_each = float(size[0]) if size else 0.0
        found.append(
            SeriesFacts(patient, study, uid, int(number), name, int(images), bytes_each, description, "2001-01-01")
        )
    return found


def show(role: SeriesRole) -> str:
    """Role and phase in a word, with L or R for a side."""
    side = {"left": " L", "right": " R"}.get(role.laterality, "")
    return role.role + ("" if role.phase is None else f" {role.phase}") + side


def judge(text: str, **facts: str) -> dict[int, str]:
    return {role.number or 0: show(role) for role in judge_series(list_study(text, **facts))}


GE_BOUND = """
1|Localization|37
2|T2 left breast|33
3|T2 right breast|33
100|Bind(11251/5/1..50)|50
101|Bind(11251/5/51..96)|46
102|Bind(11251/6/1..50)|50
103|Bind(11251/6/51..96)|46
104|Bind(11251/7/1..50)|50
105|Bind(11251/7/51..96)|46
106|(11251/104/7)-(11251/102/7)|50
107|(11251/105/10)-(11251/103/10)|46
108|PJN|13
112|Bind(11251/7/97..146)|50
113|Bind(11251/7/147..192)|46
"""
BOUND_ROLES = {
    100: "other",
    101: "other",
    102: "pre 0 L",
    103: "pre 0 R",
    104: "post 1 L",
    105: "post 1 R",
    106: "subtraction 1 L",
    107: "subtraction 1 R",
    108: "projection",
    112: "post 2 L",
    113: "post 2 R",
}


def test_breasts_bound_from_one_series() -> None:
    assert judge(GE_BOUND).items() >= BOUND_ROLES.items()
    # Without subtractions, the series before the one of several phases is pre-contrast.
    uncited = "\n".join(line for line in GE_BOUND.splitlines() if ")-(" not in line)
    assert judge(uncited).items() >= {k: v for k, v in BOUND_ROLES.items() if k not in (106, 107)}.items()
    # Which breast is which is a guess.
    assert {role.confidence for role in judge_series(list_study(GE_BOUND)) if role.laterality} == {"medium", "high"}
    assert {role.confidence for role in judge_series(list_study(GE_BOUND)) if role.phase is not None} == {"medium"}
    # Without named sides there are still two breasts, but nothing tells which is which.
    unnamed = re.sub(r"\d\|T2.*", "", GE_BOUND)
    assert judge(unnamed)[102] == judge(unnamed)[103] == "pre 0"


def test_series_without_names_are_told_by_what_subtractions_cite() -> None:
    bare = re.sub(r"Bind[^|]*", "", GE_BOUND)
    assert judge(bare).items() >= BOUND_ROLES.items()
    nothing = re.sub(r".*\)-\(.*|.*PJN.*", "", bare)
    assert set(judge(nothing).values()) == {"localizer", "t2 L", "t2 R", "other"}


@pytest.mark.parametrize(
    ("study", "roles"),
    [
        (  # pre in one series, three posts in another; the first T1 is another acquisition
            "2|SAG T1 (PRE)|94\n5|ASSET CALIBRATION|74\n6|SAG 3D (PRE-CONTRAST)|128\n7|SAG 3D (POST-CONTRAST)|384",
            {2: "other", 5: "other", 6: "pre 0", 7: "dynamic-post"},
        ),
        (  # the last phase was not finished
            "6|SAG 3D (PRE-CONTRAST)|136\n7|SAG 3D (POST-CONTRAST)|364",
            {6: "pre 0", 7: "dynamic-post"},
        ),
        (  # the last of several before contrast is used; what was restarted with other counts plays no part
            "3|SAG 3D (PRE)|45\n4|SAG 3D (POST)|74\n9|SAG 3D (PRE)|136\n12|SAG 3D (PRE)|136\n13|SAG 3D (POST)|136",
            {3: "other", 4: "other", 9: "pre", 12: "pre 0", 13: "post 1"},
        ),
        (  # one series of five phases, as the workstation's subtractions show
            (
                "4|Sag Vibrant Pre|160\n5|Ax Vibrant MULTIPHASE|480\n6|Sag Vibrant +C|160\n"
                "100|CAD~ REG CAD~ Sub 1|96\n103|CAD~ REG CAD~ Sub 4|96\n200|CAD~ COR REF|97\n1001|CAD~ VOLUME|4"
            ),
            {
                4: "other",
                5: "dynamic",
                6: "other",
                100: "subtraction 1",
                103: "subtraction 4",
                200: "reformat",
                1001: "other",
            },
        ),
        (  # one series of four phases, as subtractions cite its images
            (
                "8|VIBRANT|448\n9|brava  (1 Min.)|136\n100|(2126/8/113)-(2126/8/1)|112\n"
                "101|(2126/8/337)-(2126/8/1)|112\n"
                "102|(2126/8/50)-(2126/8/1)|112"
            ),
            {8: "dynamic", 9: "other", 100: "subtraction 1", 101: "subtraction 3", 102: "subtraction"},
        ),
        (  # subtractions follow their phases, by minute
            (
                "6|fl3d_dynamic_Pre|112\n7|fl3d_dynamic_1 min|112\n8|SUB1 min|112\n9|fl3d_dynamic_3 min|112\n"
                "13|RT 1 MIN<MIP Collection>|1\n16|fl3d_sag_RT gad|176\n20|SUB3 MIN|112\n22|RT 5 MIN|1"
            ),
            {
                6: "pre 0",
                7: "post 1",
                8: "subtraction 1",
                9: "post 2",
                13: "projection",
                16: "other R",
                20: "subtraction 2",
                22: "projection",
            },
        ),
        (  # Siemens cites series by number; the sagittal pair is no part of it
            (
                "12|fl3d_sag_interVIEWS|144\n13|AX_dynVIEWS pre|192\n14|AX_dynVIEWS 1min gad|192\n"
                "15|AX_dynVIEWS 2min gad|192\n16|fl3d_sag_interVIEWS gad|144\n"
                "100|SUB_S14-S13_1|192\n101|SUB_S16-S12_1|144"
            ),
            {
                12: "other",
                13: "pre 0",
                14: "post 1",
                15: "post 2",
                16: "other",
                100: "subtraction 1",
                101: "subtraction",
            },
        ),
        (  # one name for all; each subtraction follows its phase
            (
                "8|T1 AXIAL|160\n10|AX CE PrePost FS|144\n11|AX CE PrePost FS|144\n12|AX CE PrePost FS_SUB|144\n"
                "14|AX CE PrePost FS|144\n15|AX CE PrePost FS_SUB|144"
            ),
            {8: "other", 10: "pre 0", 11: "post 1", 12: "subtraction 1", 14: "post 2", 15: "subtraction 2"},
        ),
        (  # one name for all; as many subtractions follow as there are phases
            (
                "5|fl3d_dynamic_1-pre_2-post|88\n6|fl3d_dynamic_1-pre_2-post|88\n7|fl3d_dynamic_1-pre_2-post|88\n"
                "11|fl3d_dynamic_1-pre_2-post_SUB|88\n14|fl3d_dynamic_1-pre_2-post_SUB|88"
            ),
            {5: "pre 0", 6: "post 1", 7: "post 2", 11: "subtraction 1", 14: "subtraction 2"},
        ),
        (  # Philips: all subtractions in one series, one phase less; 501 is a trial run
            "501|CK DYNAM half SENSE|200\n801|DYN_eTHRIVE HR|1400\n802|sSUBTRACTION LOW RES|1200\n901|DWI_SSh|250",
            {501: "other", 801: "dynamic", 802: "subtraction", 901: "dwi"},
        ),
        (  # Philips: s and the name of a series is computed from it
            "601|DYN_THRIVE HR SENSE|800\n602|sDYN_THRIVE HR SENSE|561",
            {601: "dynamic", 602: "subtraction"},
        ),
        (  # Duke: GE numbers what follows the first
            "3|ax t1|70\n500|ax 3d dyn|160\n501|Ph1/ax 3d dyn|160\n502|Ph2/ax 3d dyn|160",
            {3: "other", 500: "pre 0", 501: "post 1", 502: "post 2"},
        ),
        (  # Duke: ordinals, and a pre-contrast one of another name
            "5|ax 3d pre|96\n6|1st ax dyn|96\n7|2nd ax dyn|96\n904|AX IDEAL Breast|29",
            {5: "pre 0", 6: "post 1", 7: "post 2", 904: "other"},
        ),
        (  # the biggest family leads; the other plane is told of and left
            "401|PRE FS SAG|22\n501|PRE FS TRA|70\n601|POST FS SAG|22\n701|POST FS TRA|70\n801|POST FS SAG|22",
            {401: "pre 0", 501: "other", 601: "post 1", 701: "other", 801: "post 2"},
        ),
        (  # an image of another matrix is no phase, whatever its name
            "5|SAG 3D (PRE)|84|138000\n6|SAG 3D (POST)|84|15000\n7|SAG 3D (POST)|84|138000",
            {5: "pre 0", 6: "other", 7: "post 1"},
        ),
        ("5|dyn_eTHRIVE_8minPost|1400", {5: "dynamic"}),
        ("5|eTHRIVE_HR|165\n6|eTHRIVE_HR|990", {5: "pre 0", 6: "dynamic-post"}),
        ("5|t1 pre|60\n6|t1 w/o|60", {5: "other", 6: "other"}),
        ("5|t1 post 1|60\n6|t1 post 2|60", {5: "other", 6: "other"}),
        ("5|Sag Vibrant|60\n6|Sag Vibrant|60", {5: "other", 6: "other"}),
    ],
)
def test_styles(study: str, roles: dict[int, str]) -> None:
    assert {number: role.removesuffix(" R") for number, role in judge(study).items()} == {
        number: role.removesuffix(" R") for number, role in roles.items()
    }


def test_each_breast_has_a_dynamic_series_of_its_own() -> None:
    both = "\n".join(
        f"{number}|{side} dyn {phase}|50"
        for start, side in ((4, "LT"), (14, "RT"))
        for number, phase in enumerate(("pre", "post 1", "post 2"), start=start)
    )
    assert judge(both) == {
        number: f"{role} {phase} {side}"
        for start, side in ((4, "L"), (14, "R"))
        for number, (role, phase) in enumerate((("pre", 0), ("post", 1), ("post", 2)), start=start)
    }


def test_the_only_side_that_is_named_is_the_side() -> None:
    assert judge("3|RT SAG FSE T2|30\n6|VIBRANT|240\n100|(1/6/61)-(1/6/1)|60") == {
        3: "t2 R",
        6: "dynamic R",
        100: "subtraction 1 R",
    }


def test_a_biopsy_holds_no_phases() -> None:
    found = judge("1|loc|9\n2|dyn pre|30\n3|dyn post|30\n4|dyn_SUB|30", description="MRI Breast Biopsy")
    assert found == {1: "localizer", 2: "other", 3: "other", 4: "subtraction"}


def test_parts_of_one_examination_are_judged_together() -> None:
    parts = [
        *list_study("6|fl3d_pre|160\n7|fl3d_1 MIN|160", study="1"),
        *list_study("8|fl3d_1 MIN_SUB|160\n9|fl3d_2 MIN|160", study="2"),
    ]
    roles = judge_series(parts)
    assert [show(role) for role in roles] == ["pre 0", "post 1", "subtraction 1", "post 2"]
    assert roles[3].evidence.endswith("(judged with another study of that day)")
    # Two examinations of a day whose numbers meet stay two.
    again = judge_series([*parts[:2], *list_study("6|fl3d_pre|160\n7|fl3d_1 MIN|160", study="2")])
    assert [show(role) for role in again] == ["pre 0", "post 1"] * 2


def test_enhanced_images_are_many_in_one_file() -> None:
    facts = list_study("5|dyn_eTHRIVE|1")
    assert judge_series(facts)[0].role == "projection"
    enhanced = [SeriesFacts(**(vars(facts[0]) | {"sop_class": "1.2.840.10008.5.1.4.1.1.4.1"}))]
    assert judge_series(enhanced)[0].role == "dynamic"


def test_doubt_is_told() -> None:
    confidence = {role.number: role.confidence for role in judge_series(list_study("4|t1 dyn post|90"))}
    assert confidence == {4: "low"}
    unfinished = judge_series(list_study("6|SAG 3D (PRE)|136\n7|SAG 3D (POST)|364"))
    assert {role.confidence for role in unfinished} == {"low"}
    assert unfinished[1].evidence == (
        "phases 1 to 2 in one series: 2 times the 136 images of series 6, and 92 of a phase that is incomplete"
    )


def test_the_order_of_the_table_does_not_matter() -> None:
    facts = list_study(GE_BOUND)
    shuffled = random.Random(1).sample(facts, len(facts))
    assert judge_series(shuffled) == judge_series(facts)
    assert judge_series([]) == []


@pytest.mark.real_data
def test_a_public_collection(real_data: Path) -> None:
    """TCGA-BRCA: every series one role, and nothing is taken for a phase that a plain reading of its name refuses."""
    facts, others = read_catalogue(real_data / TABLE)
    assert (len(facts), others) == (1858, 4224)
    roles = judge_series(facts)
    assert sorted(role.series_uid for role in roles) == sorted(one.series_uid for one in facts)
    assert {role.role for role in roles} <= set(ROLES)
    names = {one.series_uid: one.name.lower() for one in facts}
    no_phase = re.compile(r"\bt2|stir|tirm|diff|dwi|adc|loc|scout|cad~|derived|mip|pjn|sub|calib|asset|vista")
    phases = [role for role in roles if role.role in DCE_ROLES]
    assert [names[role.series_uid] for role in phases if no_phase.search(names[role.series_uid])] == []
    # A study has one pre-contrast phase a side, and its phases run without a gap.
    numbers: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
    twice = []
    for role in phases:
        key = (role.patient_id, role.study_uid.rpartition(".")[0], role.laterality)
        if role.phase is not None:
            twice += [key] if role.phase in numbers[key] else []
            numbers[key].add(role.phase)
    assert twice == []
    counts = Counter(role.role for role in roles)
    assert counts["dynamic"] == 76
    assert counts["dynamic-post"] == 38
    assert (counts["pre"], counts["post"]) == (80, 153)
    with_exam = {role.study_uid for role in phases}
    assert len(with_exam) == 146
