import dataclasses
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genovox.scans.dicom import arrange_series
from genovox.scans.headers import Header

from .conftest import arrange_one

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SLICES = 4


def _made(
    phases: int = 1, slices: int = SLICES, change: Callable[[int, int], dict[str, object]] = lambda p, k: {}
) -> list[Header]:
    """Headers of a series as one sees them after reading; ``change`` gives what phase and slice have of their own."""
    made = []
    for p in range(phases):
        for k in range(slices):
            header = Header(
                path=f"{p}-{k}",
                size=1,
                mtime_ns=1,
                patient_id="Doe^Jane",
                study_uid="1.2.3",
                series_uid="1.2.3.4",
                sop_uid=f"1.2.3.4.{p}.{k}",
                sop_class=MR,
                instance_number=1 + p * slices + k,
                acquisition_s=100.0,
                position=(0.0, 0.0, 2.0 * k),
                orientation=AXIAL,
                pixel_spacing=(1.0, 1.0),
                rows=8,
                columns=6,
                image_type=("ORIGINAL", "PRIMARY"),
            )
            made.append(replace(header, **change(p, k)))  # type: ignore[arg-type]
    return made


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    seed=st.integers(0, 99),
)
def test_voxels_lie_where_the_headers_say(
    angles: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...], seed: int
) -> None:
    axes = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        i, j = [n for n in range(3) if n != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        axes = turn @ axes
    orientation = tuple(np.concatenate([axes[:, 0], axes[:, 1]]).round(6))

    def place(p: int, k: int) -> dict[str, object]:
        position = np.array(origin) + axes[:, 2] * spacing[2] * k
        return {
            "position": tuple(position.round(4)),
            "orientation": orientation,
            "pixel_spacing": spacing[:2],
            "temporal_position": p,
        }

    headers = _made(2, 5, place)
    random.Random(seed).shuffle(headers)
    series = arrange_one(headers)
    assert series.problem == ""
    by_path = {header.path: header for header in headers}
    for stack in series.stacks:
        affine = np.array(stack.affine)
        assert np.linalg.det(affine[:3, :3]) > 0  # the third axis runs along the normal
        for k, file in enumerate(stack.files):
            x, y, z = by_path[file].position or ()
            np.testing.assert_allclose((affine @ [0, 0, k, 1])[:3], [-x, -y, z], atol=0.02)
        rows, columns = affine[:3, 1], affine[:3, 0]
        np.testing.assert_allclose(np.linalg.norm([rows, columns], axis=1), spacing[:2], rtol=1e-4)


@pytest.mark.parametrize(
    ("order", "change", "times"),
    [
        ("temporal position", lambda p, k: {"temporal_position": 3 - p}, None),
        ("trigger time", lambda p, k: {"trigger_ms": 9e4 * (3 - p)}, [190, 280, 370]),
        ("acquisition time", lambda p, k: {"acquisition_s": 500 - 90.0 * p + k / 9}, [320, 410, 500]),
        ("content time", lambda p, k: {"content_s": 300 - 90.0 * p}, [120, 210, 300]),
        ("instance number", lambda p, k: {"instance_number": 10 * k - p}, None),
    ],
)
def test_phases_are_told_apart(
    order: str, change: Callable[[int, int], dict[str, object]], times: list[float] | None
) -> None:
    series = arrange_one(_made(3, SLICES, change))
    assert series.problem == ""
    assert [stack.order for stack in series.stacks] == [order] * 3
    assert [stack.files[1] for stack in series.stacks] == ["2-1", "1-1", "0-1"]
    assert [stack.time_s for stack in series.stacks] == (times or [100.0] * 3)


def test_phases_by_number_are_timed_by_the_clock_that_moves() -> None:
    series = arrange_one(
        _made(3, SLICES, lambda p, k: {"temporal_position": p, "trigger_ms": 5000.0 * p, "content_s": 1.0 * p})
    )
    assert [stack.time_s for stack in series.stacks] == [100, 105, 110]
    untimed = arrange_one(_made(2, SLICES, lambda p, k: {"temporal_position": p, "acquisition_s": None}))
    assert [stack.time_s for stack in untimed.stacks] == [None, None]


def test_a_series_may_pass_midnight() -> None:
    series = arrange_one(_made(3, SLICES, lambda p, k: {"acquisition_s": (86_300.0 + 90 * p) % 86_400}))
    assert series.problem == ""
    assert [stack.time_s for stack in series.stacks] == [86_300, 86_390, 86_480]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda p, k: {"sop_class": "1.2.840.10008.5.1.4.1.1.88.33"},
            "MR Image Storage, got Comprehensive SR Storage;",
        ),
        (lambda p, k: {"sop_class": "1.2.3.4567"}, "MR Image Storage, got another class;"),
        (lambda p, k: {"samples": 3, "photometric": "RGB"}, "got a secondary capture in RGB; it stays out"),
        (lambda p, k: {"sop_class": MR + ".2"}, "MR Image Storage, got MR Spectroscopy Storage;"),
        (lambda p, k: {"frames": 40}, "must say where each lies, got a classic MR image with more than one; export it"),
        (lambda p, k: {"patient_id": f"Doe^{k}"}, "a series must belong to one patient, got 4"),
        (lambda p, k: {"study_uid": f"1.{p}"}, "a series must belong to one study, got 2"),
        (lambda p, k: {"series_uid": ""}, "a series must carry its identifier"),
        (lambda p, k: {"sop_uid": f"1.{k}"}, "4 of 8 files repeat another; delete the copies"),
        (lambda p, k: {"position": None} if k else {}, "each slice must carry a position, 6 of 8 do not"),
        (lambda p, k: {"orientation": None}, "each slice must carry an orientation, 8 of 8 do not"),
        (lambda p, k: {"pixel_spacing": None}, "each slice must carry a pixel spacing"),
        (lambda p, k: {"rows": 0 if k else 8}, "each slice must carry a matrix, 6 of 8 do not"),
        (lambda p, k: {"rows": 8 + k}, "slices must share one matrix, got 4"),
        (
            lambda p, k: {"orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0 if k else 1.0)},
            "share one orientation, got 2: a",
        ),
        (lambda p, k: {"orientation": (0.0,) * 6}, "an orientation must be two unit vectors at right angles"),
        (lambda p, k: {"pixel_spacing": (1.0, 1.0 + k)}, "slices must share one pixel spacing above 0 mm, got 1 to 4"),
        (lambda p, k: {"pixel_spacing": (0.0, 0.0)}, "slices must share one pixel spacing above 0 mm, got 0 to 0"),
        (lambda p, k: {"echo_time_ms": 1.0 + p}, "a series must hold one kind of image, got 2"),
        (lambda p, k: {"image_type": ("M",) if p else ("P",)}, "a series must hold one kind of image, got 2"),
        (lambda p, k: {"position": (0.0, 0.0, 7.0)}, "needs at least 3 slices at different places, got 1 in 8 files"),
        (lambda p, k: {"position": (0.0, 0.0, 2.0 * k + 2 * (k == 3))}, "got 2.000 to 4.000 mm (1 slices missing if 2"),
        (lambda p, k: {"position": (0.0, 0.3 * k, 2.0 * k)}, "stacked along their normal, got some 0.90 mm beside it"),
        (lambda p, k: {"position": (90.0 * p, 0.0, 2.0 * k)}, "got some 90.00 mm beside it (gantry tilt, or several"),
        (lambda p, k: {"position": (0.0, 0.0, 2.0 * min(k + p, 3))}, "hold each slice once, got 1 to 3 files a place"),
        (
            lambda p, k: {"instance_number": k},
            "2 files a place that no phase number, time or instance number tells apart",
        ),
        (lambda p, k: {"temporal_position": p if k else 7}, "got 3 phases by temporal position and places without one"),
        (lambda p, k: {"temporal_position": (p + k) * 10 + k}, "temporal positions that differ between slices"),
        (lambda p, k: {"acquisition_s": 1.0 * (p or not k)}, "got 2 phases by acquisition time and places without"),
        (
            lambda p, k: {"temporal_position": p, "acquisition_s": 9.0 - p},
            "temporal position and acquisition time order",
        ),
    ],
)
def test_a_series_that_stays_out_says_why(change: Callable[[int, int], dict[str, object]], problem: str) -> None:
    series = arrange_one(_made(2, SLICES, change))
    assert problem in series.problem
    assert series.stacks == ()
    assert "Doe" not in series.problem
    assert "1.2.3" not in series.problem


def test_series_are_in_order_and_one_bad_one_harms_no_other() -> None:
    good = [
        replace(header, series_uid="9", series_number=2) for header in _made(change=lambda p, k: {"sop_uid": f"9.{k}"})
    ]
    bad = _made(change=lambda p, k: {"position": None, "series_number": 10})
    headers = good + bad
    random.Random(1).shuffle(headers)
    series = arrange_series(headers)
    assert [(one.first.series_number, len(one.stacks), bool(one.problem)) for one in series] == [
        (2, 1, False),
        (10, 0, True),
    ]
    assert dataclasses.asdict(series[0].stacks[0].first)["series_uid"] == "9"
    assert arrange_series([]) == []


def _sagittal(p: int, k: int) -> dict[str, object]:
    """Slices of both breasts in one series: five to the left, five to the right, nothing between."""
    side, place = divmod(k, 5)
    x = (30.0 + 3 * place) if side else (-30.0 - 3 * place)
    return {"position": (x, -80.0, 60.0 + side), "orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), "temporal_position": p}


def _two_slabs(p: int, k: int) -> dict[str, object]:
    """Axial slabs, one a breast."""
    side, place = divmod(k, 5)
    return {"position": (40.0 if side else -70.0, 0.0, 2.0 * place), "temporal_position": p}


@pytest.mark.parametrize("place", [_sagittal, _two_slabs])
def test_both_breasts_in_one_series(place: Callable[[int, int], dict[str, object]]) -> None:
    headers = _made(2, 10, place)
    random.Random(3).shuffle(headers)
    series = arrange_one(headers)
    assert series.problem == ""
    assert [stack.first.laterality for stack in series.stacks] == ["left", "left", "right", "right"]
    assert [stack.temporal_position for stack in series.stacks] == [0, 1, 0, 1]
    for stack in series.stacks:
        assert stack.shape == (5, 8, 6)
        middle = np.array(stack.affine) @ [2.5, 3.5, 2, 1]
        assert (middle[0] < 0) == (stack.first.laterality == "left")  # RAS


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        # Neighbours across the midline, or a gap that missing slices may have left, are no two breasts.
        (lambda k: {"position": (3.0 * k - 15 + 3 * (k > 4), 0.0, 0.0)}, "got 3.000 to 6.000 mm (1 slices missing"),
        (lambda k: {"position": (3.0 * k - 15 + 8 * (k > 4), 0.0, 0.0)}, "got 3.000 to 11.000 mm"),
        (lambda k: {"position": (3.0 * k + 5 + 80 * (k > 4), 0.0, 0.0)}, "got 3.000 to 83.000 mm"),
        (lambda k: {"position": (3.0 * k - 30 + 80 * (k > 4) + 3 * (k > 6), 0.0, 0.0)}, "got 3.000 to 6.000 mm"),
    ],
)
def test_what_is_not_both_breasts(gone: Callable[[int], dict[str, object]], problem: str) -> None:
    series = arrange_one(_made(1, 10, lambda p, k: gone(k) | {"orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}))
    assert problem in series.problem


def test_a_volume_across_the_midline_stays_one() -> None:
    series = arrange_one(
        _made(
            1, 10, lambda p, k: {"position": (3.0 * k - 15, 0.0, 0.0), "orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}
        )
    )
    assert (series.problem, len(series.stacks), series.stacks[0].first.laterality) == ("", 1, "")
