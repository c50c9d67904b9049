"""DICOM files as volumes: which slices form one phase, and where they lie in the patient."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.config import IGNORE
from pydicom.uid import UID

from genovox.core.errors import ImageError
from genovox.scans.frames import ENHANCED, MR_STORAGE, expand_frames
from genovox.scans.headers import Header

MIN_SLICES = 3
SAME_PLACE_MM = 0.01
SAME_GRID_MM = 0.1
_UNEVEN = 0.05
_TILTED = 0.01
_BREASTS_APART_MM, _WIDE_GAP = 15.0, 4.0
_HALF_DAY_S, _DAY_S = 43_200.0, 86_400.0


@dataclass(frozen=True)
class Stack:
    """One phase of a series: slices in order on one grid.

    Attributes:
        files: One path a slice, in the order of the third axis, which runs along the slices' normal.
        affine: 4 x 4; maps the (x, y, z) index, that is column, row and slice, to RAS mm.
        shape: (z, y, x).
        time_s: When the phase began, in seconds since midnight, or None; phases of one series differ in it or share it.
        temporal_position: The scanner's number of the phase, if it gives one.
        order: What told the phases of the series apart, empty for a single one.
        first: Header of the first slice.
        frames: Number of each slice's frame, or tile of a mosaic, in its file; empty for files of one image each.
    """

    files: tuple[str, ...]
    affine: tuple[tuple[float, ...], ...]
    shape: tuple[int, int, int]
    time_s: float | None
    temporal_position: int | None
    order: str
    first: Header
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Series:
    """The files of one series.

    Attributes:
        first: The header that stands for the series.
        files: How many files there are.
        stacks: The phases in order; none where there is a problem.
        problem: Why the series cannot be used, or empty; it names no file, patient, identifier or date.
    """

    series_uid: str
    study_uid: str
    patient_id: str
    first: Header
    files: int
    stacks: tuple[Stack, ...]
    problem: str


def arrange_series(headers: Sequence[Header]) -> list[Series]:
    """Group files by series, split each series into phases and check that every phase is a volume.

    Returns:
        The series by patient, study and number, whatever the order of the headers; those that cannot be used carry the
        reason.
    """
    groups = defaultdict(list)
    for header in headers:
        groups[header.series_uid].append(header)
    series = [_arrange(group) for group in groups.values()]
    return sorted(series, key=lambda s: (s.patient_id, s.study_uid, s.first.series_number or 0, s.series_uid))


def _arrange(group: list[Header]) -> Series:
    files = sorted(group, key=lambda h: (h.instance_number or 0, h.sop_uid, h.path))
    first = files[0]
    stacks: tuple[Stack, ...] = ()
    problem = ""
    try:
        _check_kind(files)
        slices = expand_frames(files)
        first = slices[0]
        _check_grid(slices)
        parts = _part_breasts(_past_midnight(slices))
        stacks = tuple(stack for part in parts for stack in _split(part))
    except ImageError as error:
        problem = str(error)
    return Series(first.series_uid, first.study_uid, first.patient_id, first, len(files), stacks, problem)


def _check_kind(headers: list[Header]) -> None:
    if not headers[0].series_uid:
        raise ImageError("a series must carry its identifier, got files without one; export them again")
    for name, values in (
        ("patient", {h.patient_id for h in headers}),
        ("study", {h.study_uid for h in headers}),
    ):
        if len(values) > 1:
            raise ImageError(f"a series must belong to one {name}, got {len(values)}; export each {name} again")
    if any((h.samples or 1) > 1 or h.photometric.startswith(("RGB", "YBR", "PALETTE")) for h in headers):
        raise ImageError("a volume must hold one value a voxel, got a secondary capture in RGB; it stays out")
    others = {h.sop_class for h in headers} - {MR_STORAGE, *ENHANCED}
    if others:
        names = sorted({_class_name(uid) for uid in others})
        raise ImageError(f"a volume must be stored as MR Image Storage, got {', '.join(names)}; it stays out")
    if any(h.sop_class == MR_STORAGE and (h.frames or 1) > 1 for h in headers):
        raise ImageError(
            "a file of several frames must say where each lies, got a classic MR image with more than one; export it "
            "as enhanced MR, or as one image a slice"
        )
    repeated = len(headers) - len({h.sop_uid for h in headers})
    if repeated:
        raise ImageError(
            f"each image must be there once, {repeated} of {len(headers)} files repeat another; delete the copies"
        )


def _class_name(uid: str) -> str:
    name = UID(uid, validation_mode=IGNORE).name
    return "another class" if name == uid else name


def _check_grid(headers: list[Header]) -> None:
    again = "export the series again"
    for name, values in (
        ("a position", [h.position for h in headers]),
        ("an orientation", [h.orientation for h in headers]),
        ("a pixel spacing", [h.pixel_spacing for h in headers]),
        ("a matrix", [h.rows and h.columns for h in headers]),
    ):
        missing = sum(not value for value in values)
        if missing:
            raise ImageError(f"each slice must carry {name}, {missing} of {len(headers)} do not; {again}")
    matrices = {(h.columns, h.rows) for h in headers}
    if len(matrices) > 1:
        raise ImageError(f"slices must share one matrix, got {len(matrices)}; set the series aside or split it")
    axes = np.array([h.orientation for h in headers])
    lengths = np.linalg.norm(axes.reshape(-1, 2, 3), axis=2)
    if (abs(lengths - 1) > 0.01).any() or (abs((axes[:, :3] * axes[:, 3:]).sum(1)) > 0.01).any():
        raise ImageError(f"an orientation must be two unit vectors at right angles, got others; {again}")
    if np.ptp(axes, axis=0).max() > 1e-3:
        count = len(np.unique(axes.round(2), axis=0))
        raise ImageError(f"slices must share one orientation, got {max(count, 2)}: a localizer, or several in one")
    spacing = np.array([h.pixel_spacing for h in headers])
    if spacing.min() <= 0 or np.ptp(spacing, axis=0).max() > 1e-3:
        raise ImageError(
            f"slices must share one pixel spacing above 0 mm, got {spacing.min():g} to {spacing.max():g}; {again}"
        )
    kinds = {(h.image_type, h.echo_time_ms and round(h.echo_time_ms, 2)) for h in headers}
    if len(kinds) > 1:
        raise ImageError(
            f"a series must hold one kind of image, got {len(kinds)} (image types or echo times); split it by kind"
        )


def _past_midnight(headers: list[Header]) -> list[Header]:
    """The same headers with times after midnight counted on."""
    for name in ("acquisition_s", "content_s"):
        times = [getattr(h, name) for h in headers]
        known = [time for time in times if time is not None]
        if known and max(known) - min(known) > _HALF_DAY_S:
            late = [time + _DAY_S if time is not None and time < _HALF_DAY_S else time for time in times]
            headers = [replace(h, **{name: time}) for h, time in zip(headers, late, strict=True)]
    return headers


def _part_breasts(headers: list[Header]) -> list[list[Header]]:
    """The slices of each breast where a series holds two fields of view, left and right; else all together.

    Only where nothing is ambiguous: whole slices on either side of the midline, and between the sides a gap that is
    far wider than any between two slices of a side.
    """
    centres_mm = np.array([_centre_x_mm(h) for h in headers])
    left = centres_mm > 0  # in LPS
    if left.all() or not left.any():
        return [headers]
    sides = [np.unique(centres_mm[which].round(1)) for which in (left, ~left)]
    steps = np.concatenate([np.diff(side) for side in sides])
    gap_mm = sides[0].min() - sides[1].max()
    if gap_mm < max(_BREASTS_APART_MM, _WIDE_GAP * steps.max(initial=0)):
        return [headers]
    return [
        [replace(h, laterality=name) for h, inside in zip(headers, which, strict=True) if inside]
        for name, which in (("left", left), ("right", ~left))
    ]


def _centre_x_mm(header: Header) -> float:
    """Where the middle of a slice lies, in mm to the patient's left."""
    x, row, column = np.array(header.position)[0], np.array(header.orientation)[0], np.array(header.orientation)[3]
    between_rows, between_columns = np.array(header.pixel_spacing)
    across = ((header.columns or 1) - 1) / 2 * between_columns
    down = ((header.rows or 1) - 1) / 2 * between_rows
    return float(x + row * across + column * down)


def _split(headers: list[Header]) -> tuple[Stack, ...]:
    row, column = np.array(headers[0].orientation).reshape(2, 3)
    normal = np.cross(row, column)
    positions = np.array([h.position for h in headers])
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    cuts = np.flatnonzero(np.diff(depths[order]) > SAME_PLACE_MM) + 1
    places = np.split(order, cuts)
    if len(places) < MIN_SLICES:
        raise ImageError(
            f"a volume needs at least {MIN_SLICES} slices at different places, got {len(places)} in {len(headers)} "
            "files; set the series aside or export it whole"
        )
    increment = _check_increments(np.array([depths[place].mean() for place in places]))
    across = positions - np.outer(depths, normal)
    offset = np.linalg.norm(across - across[places[0][0]], axis=1)
    reach = np.maximum(_TILTED * abs(depths - depths.min()), max(SAME_PLACE_MM, _TILTED * increment))
    if (offset > reach).any():
        raise ImageError(
            f"slices must be stacked along their normal, got some {offset.max():.2f} mm beside it (gantry tilt, or "
            "several fields of view); resample the series"
        )
    phases, clock = _tell_apart([[headers[index] for index in place] for place in places])
    times = _phase_times(phases)
    return tuple(_stack(phase, time, clock) for phase, time in zip(phases, times, strict=True))


def _check_increments(depths: npt.NDArray[np.float64]) -> float:
    """The common distance between slices, in mm."""
    increments = np.diff(depths)
    usual = float(np.median(increments))
    if abs(increments - usual).max() > max(_UNEVEN * usual, SAME_PLACE_MM):
        missing = int((increments.round(3) / usual).round().clip(1).sum()) - len(increments)
        raise ImageError(
            f"slices must lie at even distances, got {increments.min():.3f} to {increments.max():.3f} mm "
            f"({missing} slices missing if {usual:.3f} mm is right); export the series again"
        )
    return usual


def _tell_apart(places: list[list[Header]]) -> tuple[list[list[Header]], str]:
    """Phases, each with one slice a place, and what orders them."""
    counts = {len(place) for place in places}
    if len(counts) > 1:
        raise ImageError(
            f"each phase must hold each slice once, got {min(counts)} to {max(counts)} files a place: a phase is "
            "incomplete or a slice is doubled; export the series again"
        )
    if counts == {1}:
        return [[place[0] for place in places]], ""
    count = counts.pop()
    for name, clock in _CLOCKS:
        values = [[clock(h) for h in place] for place in places]
        found = {value for place in values for value in place}
        if None in found or len(found) == 1:
            continue
        if all(len(set(place)) == count for place in values):
            ranked = [sorted(place, key=clock) for place in places]
            phases = [list(phase) for phase in zip(*ranked, strict=True)]
            _check_order(phases, name)
            return phases, name
        if len(found) == count or name == "temporal position":  # it does count phases, but a slice is not in each
            raise ImageError(
                f"each phase must hold each slice once, got {len(found)} phases by {name} and places without one of "
                "them; export the series again"
            )
    raise ImageError(
        f"slices are doubled: {count} files a place that no phase number, time or instance number tells apart; "
        "delete the copies or export the series again"
    )


def _check_order(phases: list[list[Header]], name: str) -> None:
    numbers = [{h.temporal_position for h in phase} for phase in phases]
    if name == "temporal position" and any(len(found) > 1 for found in numbers):
        raise ImageError("each phase must hold each slice once, got temporal positions that differ between slices")
    times = _starts(phases, lambda h: h.acquisition_s)
    if any(late < early for early, late in pairwise(times)):
        raise ImageError(
            f"phases must run in time, but {name} and acquisition time order {len(phases)} phases differently; "
            "split the series by hand"
        )


def _starts(phases: list[list[Header]], clock: Callable[[Header], float | None]) -> list[float]:
    """The smallest value of each phase; empty unless all slices have one."""
    values = [[clock(h) for h in phase] for phase in phases]
    known = [[value for value in phase if value is not None] for phase in values]
    return [min(phase) for phase in known] if all(map(len, known)) and known and values == known else []


def _phase_times(phases: list[list[Header]]) -> Sequence[float | None]:
    """Start of each phase in seconds since midnight, by the first clock that moves between the phases."""
    acquired = _starts(phases, lambda h: h.acquisition_s)
    series_s = phases[0][0].series_s
    base = min(acquired) if acquired else series_s
    triggers = _starts(phases, lambda h: h.trigger_ms)
    triggered = [base + trigger / 1000 for trigger in triggers] if base is not None else []
    for times in (acquired, triggered, _starts(phases, lambda h: h.content_s)):
        if times and all(early < late for early, late in pairwise(times)):
            return times
    return acquired or [None] * len(phases)


def _stack(slices: list[Header], time_s: float | None, order: str) -> Stack:
    first = slices[0]
    frames = tuple(h.frame for h in slices if h.frame is not None)
    origin, last = np.array(first.position), np.array(slices[-1].position)
    row, column = np.array(first.orientation).reshape(2, 3)
    between_rows, between_columns = np.array(first.pixel_spacing)
    lps = np.eye(4)
    lps[:3] = np.column_stack(
        (row * between_columns, column * between_rows, (last - origin) / (len(slices) - 1), origin)
    )
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    shape = (len(slices), first.rows or 0, first.columns or 0)
    files = tuple(h.path for h in slices)
    return Stack(
        files, tuple(map(tuple, affine.tolist())), shape, time_s, first.temporal_position, order, first, frames
    )


_CLOCKS: tuple[tuple[str, Callable[[Header], Any]], ...] = (
    ("temporal position", lambda h: h.temporal_position),
    ("trigger time", lambda h: h.trigger_ms),
    ("acquisition time", lambda h: h.acquisition_s),
    ("content time", lambda h: h.content_s),
    ("instance number", lambda h: h.instance_number),
)
