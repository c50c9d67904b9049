"""Names as scanners and people write them; most stand in public archives (TCGA-BRCA, Duke, I-SPY 2; CC BY)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.phases.names import ROLES, RULES, Citation, find_numbers, names_biopsy, read_name


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("3-PLANE LOCALIZER", "localizer"),
        ("Localization", "localizer"),
        ("ax sag cor loc", "localizer"),
        ("SURVEY/MST", "localizer"),
        ("ASSET CAL", "other"),
        ("B1map", "other"),
        ("SAG T2 (FAT-SAT) LEFT", "t2"),
        ("AX STIR-WaterSat", "t2"),
        ("t2_tirm_tra", "t2"),
        ("Ir fse ax bilat", "t2"),
        ("VISTA", "t2"),
        ("ax ep2d_diff_ORTHOGONALXYZ", "dwi"),
        ("b=800", "dwi"),
        ("DTI_b800", "dwi"),
        ("ax ep2d_diff_ORTHOGONALXYZ_ADC", "adc"),
        ("facadc", "adc"),
        ("PJN", "projection"),
        ("RT 1 MIN<MIP Collection>", "projection"),
        ("left 1 min radials", "projection"),
        ("fl3d_dynamic_1 min_SUB", "subtraction"),
        ("SUB3 min", "subtraction"),
        ("ssubtractions", "subtraction"),
        ("(11251/104/7)-(11251/102/7)", "subtraction"),
        ("SUB_S14-S13_1", "subtraction"),
        ("CAD~ REG CAD~ Sub 1", "subtraction"),
        ("CAD~ sub2 sag", "reformat"),
        ("CAD~ COR REF", "reformat"),
        ("CAD~ Thin MIP 5mm subtraction 2nd axial", "projection"),
        ("CAD~ VOLUME", "other"),
        ("Screen Save", "other"),
        ("ISPY2: VOLSER: uni-lateral cropped: SER", "other"),
        ("ISPY2: VOLSER: uni-lateral cropped: original DCE", "other"),
        ("Registered AX Sen Vibrant MultiPhase", "other"),
        ("FAT:Ax IDEAL", "other"),
    ],
)
def test_what_is_no_phase(name: str, role: str) -> None:
    aside = read_name(name).aside
    assert aside is not None
    assert aside.role == role


@pytest.mark.parametrize(
    ("name", "claim", "stem"),
    [
        ("SAG 3D (PRE-CONTRAST)", "pre", "sag 3d"),
        ("SAG 3D (POST-CONTRAST)5/12", "post", "sag 3d"),
        ("AX_dynVIEWS 6 min_gad", "post", "ax dynviews"),
        ("eTHRIVE unenhanced", "pre", "ethrive"),
        ("t1_fl3d_tra_SPAIR_POST", "post", "t1 fl3d tra spair"),
        ("ax dyn 1st pass", "post", "ax dyn"),
        ("ISPY2: Ph3/AX DYN MP 326 2.4 62 NO DELAY", "", "ax dyn mp 326 2 4 62 no"),
        ("AX CE PrePost FS", "", "ax ce prepost fs"),
        ("T1 FL3D DYN FS PRE+5POST", "", "t1 fl3d dyn fs +5post"),
        ("T1 right breast post delay", "post", "t1 breast"),
        ("Ax Vibrant MULTIPHASE", "", "ax vibrant multiphase"),
        ("SAG FSE T1 W/O FATSAT", "", "sag fse t1 w o fatsat"),
        ("posterior", "", "posterior"),
    ],
)
def test_before_or_after_contrast_and_what_phases_share(name: str, claim: str, stem: str) -> None:
    found = read_name(name)
    assert found.aside is None
    assert (found.claim, found.stem) == (claim, stem)


@pytest.mark.parametrize(
    ("name", "minute", "ordinal"),
    [
        ("fl3d_dynamic_3 min", 3, None),
        ("SUB3 min", 3, None),
        ("Ph12/ax 3d dyn", None, 12),
        ("2nd ax dyn", None, 2),
        ("ax dyn 4th pass", None, 4),
        ("CAD~ 103:Sub Phase 4", None, 4),
        ("CAD~ sub 2", None, 2),
        ("dyn", None, None),
    ],
)
def test_numbers(name: str, minute: int | None, ordinal: int | None) -> None:
    found = read_name(name)
    assert (found.minute, found.ordinal) == (minute, ordinal)


def test_numbers_of_a_simplified_name() -> None:
    assert find_numbers("post 2 after 3 min") == {"minute": 3, "ordinal": 2}
    assert find_numbers("dyn") == {}


@pytest.mark.parametrize(
    ("name", "side"),
    [("LT SAG FSE T1", "left"), ("T1 right breast", "right"), ("thin mip sag rt to lt", ""), ("t1", "")],
)
def test_sides(name: str, side: str) -> None:
    assert read_name(name).side == side


def test_what_is_cited_and_what_was_bound() -> None:
    assert read_name("(2126/8/225)-(2126/8/1)").cites == Citation(8, 225, 8, 1)
    assert read_name("SUB_S14-S13_1").cites == Citation(14, None, 13, None)
    assert read_name("Bind(11251/7/97..146)").bound == (7, 97, 146)
    assert read_name("t1").cites is None
    assert read_name("t1").bound is None


@pytest.mark.parametrize(
    ("name", "is_biopsy"),
    [("MRI Breast Biopsy", True), ("MRI BREAST BX VAC CLIP", True), ("BREAST MRI", False), ("", False)],
)
def test_studies_for_a_biopsy(name: str, *, is_biopsy: bool) -> None:
    assert names_biopsy(name) is is_biopsy


@given(st.text(max_size=80))
def test_nothing_is_wrong_with_a_name(name: str) -> None:
    found = read_name(name)
    assert found.claim in ("", "pre", "post")
    assert found.side in ("", "left", "right")
    assert read_name(name.upper().lower()).claim == read_name(name.lower()).claim


def test_rules_speak_the_sheets_words() -> None:
    assert {rule.role for rule in RULES} <= set(ROLES)
