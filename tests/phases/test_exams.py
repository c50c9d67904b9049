import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.volume import read_volume
from genovox.phases.exams import Exam, PhaseRole, StackInSeries, find_exams, find_volume_side
from genovox.scans.dicom import Series, Stack
from genovox.scans.headers import Header

Grid = tuple[tuple[int, int, int], tuple[tuple[float, ...], ...]]
Times = Sequence[float | None]
HEADER = Header(path="", size=1, mtime_ns=1, patient_id="P1", study_uid="7", series_uid="", sop_uid="", sop_class="")
SECONDARY = ("DERIVED", "SECONDARY")


def _grid(width_mm: float = 320, centre_mm: float = 0) -> Grid:
    """An axial grid of some width, its centre to the right of the midline."""
    voxel = width_mm / 32
    return (20, 32, 32), (
        (-voxel, 0.0, 0.0, centre_mm + 15.5 * voxel),
        (0.0, -10.0, 0.0, 100.0),
        (0.0, 0.0, 3.0, -30.0),
        (0.0, 0.0, 0.0, 1.0),
    )


def _series(
    name: str, number: int, times: Times, *, grid: Grid | None = None, order: str = "", **more: object
) -> Series:
    """A series with one phase a time, named and numbered; ``more`` goes into its headers."""
    shape, affine = grid or _grid()
    headers = [
        replace(
            HEADER,
            **{  # type: ignore[arg-type]
                "series_uid": f"7.{number}",
                "series_number": number,
                "description": name,
                "image_type": ("ORIGINAL", "PRIMARY"),
                "echo_time_ms": 2.3,
                "repetition_time_ms": 5.1,
                "flip_angle_deg": 10.0,
                "acquisition_s": time,
                **more,
            },
        )
        for time in times
    ]
    order = order or ("acquisition time" if len(times) > 1 else "")
    stacks = [
        Stack((f"{number}-{at}",), affine, shape, time, header.temporal_position, order, header)
        for at, (time, header) in enumerate(zip(times, headers, strict=True))
    ]
    first = headers[0]
    return Series(first.series_uid, first.study_uid, first.patient_id, first, len(times), tuple(stacks), "")


def _others() -> list[Series]:
    localizer = _series("3-plane", 1, [10])
    return [
        replace(
            localizer, stacks=(), problem="slices must share one orientation, got 3: a localizer, or several in one"
        ),
        _series("Ax TSE", 2, [60], echo_time_ms=90.0, repetition_time_ms=4000.0),
        _series("ep2d_diff_b50_b800", 3, [90]),
        _series("ADC", 4, [91]),
        _series("dyn_MIP", 90, [999], image_type=SECONDARY),
        _series("cor", 91, [999], image_type=(*SECONDARY, "REFORMATTED")),
    ]


def _shown(exam: Exam) -> list[tuple[str, float | None]]:
    return [(stack.files[0], stack.time_s) for _, stack in exam.phases]


def _roles(roles: list[PhaseRole]) -> dict[str, tuple[str, int | None]]:
    return {f"{role.series_uid[2:]}-{role.stack}": (role.role, role.phase) for role in roles}


VIBRANT = [_series("Ax VIBRANT MPH", 5, [100, 190, 280, 370, 460], order="temporal position")]
FLASH = [
    _series("t1_fl3d_tra_dyn_pre", 5, [100]),
    *[_series(f"t1_fl3d_tra_dyn_post_{k}", 5 + 2 * k, [100 + 90.0 * k]) for k in (1, 2, 3)],
    *[_series(f"t1_fl3d_tra_dyn_sub_{k}", 6 + 2 * k, [100 + 90.0 * k], image_type=SECONDARY) for k in (1, 2, 3)],
    _series("t1_fl3d_tra_dyn", 20, [200], image_type=(*SECONDARY, "SUBTRACTION")),
]
THRIVE = [_series("dyn_eTHRIVE", 5, [100.0, 160, 220])]
LEFT, RIGHT = _grid(150, -80), _grid(150, 80)
SAGITTAL = [
    *[_series("Sag VIBRANT pre", n, [100.0 + n], grid=grid) for n, grid in ((5, LEFT), (6, RIGHT))],
    # Stored apart, all with the time the whole acquisition began and the trigger time of the phase.
    *[
        _series(f"Ph{k}/Sag VIBRANT", 10 * side + k, [200.0 + side], grid=grid, trigger_ms=9e4 * (k - 1))
        for side, grid in ((1, LEFT), (2, RIGHT))
        for k in (1, 2)
    ],
]


@pytest.mark.parametrize(
    ("study", "exams"),
    [
        (VIBRANT, {"bilateral": ([f"5-{k}" for k in range(5)], (0, 90, 180, 270, 360))}),
        (FLASH, {"bilateral": (["5-0", "7-0", "9-0", "11-0"], (0, 90, 180, 270))}),
        (THRIVE, {"bilateral": (["5-0", "5-1", "5-2"], (0, 60, 120))}),
        (
            SAGITTAL,
            {"left": (["5-0", "11-0", "12-0"], (0, 96, 186)), "right": (["6-0", "21-0", "22-0"], (0, 96, 186))},
        ),
    ],
)
def test_styles_of_hospitals(study: list[Series], exams: dict[str, tuple[list[str], tuple[float, ...]]]) -> None:
    found, roles = find_exams([*study, *_others()])
    assert {exam.laterality: ([file for file, _ in _shown(exam)], exam.times_s) for exam in found} == exams
    assert len(roles) == sum(max(1, len(one.stacks)) for one in study) + len(_others())
    for exam in found:
        assert [role.role for role in exam.roles] == ["pre", *["post"] * (len(exam.phases) - 1)]
        assert [role.phase for role in exam.roles] == list(range(len(exam.phases)))
        assert set(exam.roles) <= set(roles)
    named = _roles(roles)
    expected = {"1": "localizer", "2": "t2", "3": "dwi", "4": "adc", "90": "projection", "91": "reformat"}
    assert {number: named[f"{number}-0"] for number in expected} == {n: (role, None) for n, role in expected.items()}
    if study is FLASH:
        assert {named[f"{n}-0"][0] for n in (8, 10, 12, 20)} == {"subtraction"}
    evidence = " ".join(role.evidence for role in roles)
    assert not any(word in evidence for word in ("VIBRANT", "fl3d", "P1", "THRIVE"))


def test_evidence_says_why() -> None:
    _, roles = find_exams([*FLASH[:2], *_others()[:2]])
    assert [role.evidence for role in roles] == [
        "localizer by its name; slices must share one orientation, got 3: a localizer, or several in one",
        "T2-weighted by its physics",
        "pre-contrast by its name, by acquisition time",
        "phase 1 of 1 by acquisition time, 90 s after pre-contrast",
    ]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), study=st.sampled_from([VIBRANT, FLASH, THRIVE, SAGITTAL]))
def test_the_order_of_arrival_does_not_matter(seed: int, study: list[Series]) -> None:
    series = [*study, *_others(), replace(THRIVE[0], patient_id="P0"), replace(THRIVE[0], study_uid="8")]
    shuffled = random.Random(seed).sample(series, len(series))
    assert find_exams(shuffled) == find_exams(series)
    assert find_exams(shuffled)[0][0].patient_id == "P0"


def test_a_biopsy_becomes_no_exam() -> None:
    by_study = [_series("T1 fl3d dyn", 5, [1, 60], study_description="MR guided biopsy")]
    by_name = [_series("fl3d needle", 6, [1.0]), _series("fl3d needle check", 7, [90.0])]
    for study in (by_study, by_name):
        exams, roles = find_exams(study)
        assert exams == []
        assert {role.role for role in roles} == {"other"}
    exams, _ = find_exams([*VIBRANT, *[replace(one, study_uid="9") for one in by_study]])
    assert [exam.study_uid for exam in exams] == ["7"]


@pytest.mark.parametrize(
    "names", [("pre 1", "pre 2", "post 1"), ("t1", "fl3d w/o", "fl3d gad"), ("nativ", "ohne KM", "")]
)
def test_of_several_pre_the_last_is_used(names: tuple[str, ...]) -> None:
    exams, roles = find_exams([_series(name, n, [100.0 * n]) for n, name in enumerate(names, start=1)])
    assert [_shown(exam) for exam in exams] == [[("2-0", 200), ("3-0", 300)]]
    assert exams[0].times_s == (0, 100)
    assert _roles(roles) == {"1-0": ("pre", None), "2-0": ("pre", 0), "3-0": ("post", 1)}
    assert [role.phase for role in exams[0].roles] == [None, 0, 1]
    assert roles[0].evidence == "before the pre-contrast phase that is used"


def test_the_agent_in_the_header_tells_pre() -> None:
    plain = [_series("fl3d", n, [100.0 * n], contrast_agent=n > 2) for n in (1, 2, 3, 4)]
    exams, roles = find_exams(plain)
    assert [file for file, _ in _shown(exams[0])] == ["2-0", "3-0", "4-0"]
    assert roles[1].evidence == "pre-contrast as the last without a contrast agent, by acquisition time"
    # A whole dynamic series whose header omits the agent is not before contrast because a late volume has it.
    exams, _ = find_exams([_series("fl3d", 1, [1, 60, 120]), _series("fl3d", 2, [300], contrast_agent=True)])
    assert [file for file, _ in _shown(exams[0])] == ["1-0", "1-1", "1-2", "2-0"]
    # Nor does an agent that comes and goes tell anything.
    exams, _ = find_exams([_series("fl3d", n, [60.0 * n], contrast_agent=n == 2) for n in (1, 2, 3)])
    assert [file for file, _ in _shown(exams[0])] == ["1-0", "2-0", "3-0"]


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        (
            [("dyn pre", 1, [300.0]), ("dyn post 1", 2, [100.0])],
            "named as after contrast is number 1, but 2 must be before",
        ),
        (
            [("dyn post 1", 1, [1.0]), ("dyn post 2", 2, [60.0])],
            "named as after contrast is number 1, but 1 must be before",
        ),
        (
            [("dyn pre", 1, [1.0]), ("dyn post 2", 2, [60.0]), ("dyn post 1", 3, [90.0])],
            "by acquisition time the ordinals in names run 2, 1; order the phases by hand",
        ),
        (
            [("dyn pre", 1, [1.0]), ("dyn 5 min", 2, [60.0]), ("dyn 1min", 3, [90.0])],
            "by acquisition time the minutes in names run 5, 1",
        ),
        ([("pre 1", 1, [1.0]), ("pre 2", 2, [60.0])], "an exam needs a phase after contrast, all 2 are before"),
    ],
)
def test_what_cannot_be_decided_gives_no_exam(series: list[tuple[str, int, Times]], reason: str) -> None:
    for shuffled in itertools.permutations(series):
        exams, roles = find_exams([_series(*one) for one in shuffled])
        assert exams == []
        assert all(role.role == "other" and reason in role.evidence for role in roles)


def test_no_time_and_no_number_gives_no_exam() -> None:
    same = [replace(one, series_uid=f"7.{n}") for n, one in enumerate([_series("fl3d", 5, [100.0])] * 3)]
    exams, roles = find_exams(same)
    assert exams == []
    assert {role.evidence for role in roles} == {
        "the order of the phases cannot be told: no time or number differs between them; order them by hand"
    }


@pytest.mark.parametrize(
    ("series", "clock", "order", "times"),
    [
        (
            [_series("dyn", 9 - n, [None], content_s=10.0 * n) for n in (1, 2, 3)],
            "content time",
            "8-0 7-0 6-0",
            (0, 10, 20),
        ),
        ([_series("dyn", 9 - n, [50], temporal_position=n) for n in (1, 2, 3)], "temporal position", "8-0 7-0 6-0", ()),
        (
            [_series(name, n, [50]) for n, name in enumerate(["post 2", "1st post", "pre"])],
            "the numbers in names",
            "2-0 1-0 0-0",
            (),
        ),
        ([_series("dyn", n, [None]) for n in (3, 2, 10)], "series number", "2-0 3-0 10-0", ()),
        (
            [_series("dyn", 2, [5]), _series("dyn", 1, [9, 9], order="instance number")],
            "acquisition time and, within a series, instance number",
            "2-0 1-0 1-1",
            (),
        ),
        (
            [_series("dyn", n, [t]) for n, t in ((3, 86_350), (1, 40), (2, 130))],
            "acquisition time",
            "3-0 1-0 2-0",
            (0, 90, 180),
        ),
    ],
)
def test_clocks_in_turn(series: list[Series], clock: str, order: str, times: tuple[float, ...]) -> None:
    exams, roles = find_exams(series)
    assert [file for file, _ in _shown(exams[0])] == order.split()
    assert exams[0].times_s == times
    assert any(role.evidence.startswith(f"phase 2 of 2 by {clock}, ") for role in roles)


def test_a_repeated_scan_is_not_late_enhancement() -> None:
    exams, roles = find_exams([*THRIVE, _series("dyn_eTHRIVE", 6, [700.0, 760, 820])])
    assert exams == []
    assert roles[0].evidence == "an exam has one dynamic series, got 2 on one grid; choose one by hand"
    exams, _ = find_exams([_series("pre", 4, [1.0, 20, 40]), *THRIVE])
    assert [file for file, _ in _shown(exams[0])] == ["4-2", "5-0", "5-1", "5-2"]


def test_volumes_of_another_contrast_are_no_phases() -> None:
    extra = [
        _series("T1 not fat sat", 1, [20.0], repetition_time_ms=8.0),
        _series("T1 hi-res", 2, [30.0], scan_options="FS"),
        _series("T1 late", 3, [900.0], grid=_grid(centre_mm=5)),
        _series("moco", 4, [100.0], image_type=SECONDARY),
    ]
    exams, roles = find_exams([*THRIVE, *extra])
    assert [file for file, _ in _shown(exams[0])] == ["5-0", "5-1", "5-2"]
    assert {role.role for role in roles[:4]} == {"other"}
    assert roles[0].evidence == "T1-weighted volume with no other phase on its grid"
    assert roles[3].evidence == "derived from others on its grid, which are used instead"


def test_the_dynamic_series_has_most_phases_then_the_name() -> None:
    apart = _grid(centre_mm=9)
    exams, roles = find_exams([*THRIVE, _series("vibrant", 6, [500, 600], grid=apart)])
    assert [len(exam.phases) for exam in exams] == [3]
    assert roles[-1].evidence == "3 phases on another grid are the dynamic series"
    exams, _ = find_exams([*THRIVE, _series("t1", 6, [500, 600, 700], grid=apart)])
    assert [exam.phases[0][1].files for exam in exams] == [("5-0",)]
    exams, roles = find_exams([*THRIVE, _series("vibrant", 6, [500, 600, 700], grid=apart)])
    assert exams == []
    assert {role.evidence for role in roles} == {
        "2 groups of up to 3 phases could be the dynamic series; choose one by hand"
    }


@pytest.mark.parametrize(
    ("name", "grid", "stated", "side"),
    [
        ("dyn", _grid(201), "left", "bilateral"),
        ("dyn", _grid(180, 60), "", "right"),
        ("dyn", _grid(180, -60), "left", "left"),
        ("dyn", _grid(180, -60), "right", ""),
        ("dyn", _grid(180, 5), "right", "right"),
        ("dyn LT", _grid(180, 5), "", "left"),
        ("dyn rt to lt", _grid(180, 5), "", ""),
        ("dyn_left", _grid(180, 60), "", ""),
    ],
)
def test_the_side(name: str, grid: Grid, stated: str, side: str) -> None:
    exams, roles = find_exams([_series(name, 1, [1, 60], grid=grid, laterality=stated)])
    assert [exam.laterality for exam in exams] == [side]
    assert all(("side unknown" in role.evidence) == (side == "") for role in roles)


@pytest.mark.real_data
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_of_a_real_breast(real_data: Path, side: str) -> None:
    volume = read_volume(real_data / "tcga-ao-a03m" / f"{side}_pre.nii.gz")
    shape = volume.array.shape[1:]
    one = _series("", 1, [1.0], grid=((shape[0], shape[1], shape[2]), tuple(map(tuple, volume.affine.tolist()))))
    assert find_volume_side([StackInSeries(one, 0)]) == side
