"""Phases: which stack of a study is pre-contrast, which is the k-th after contrast, and what all the others are.

The whole study is judged at once: what is no T1-weighted volume is set aside by name, image type or physics; of the
rest, the largest group on one grid is the dynamic series; time orders it, names must not contradict. What cannot be
decided gives no exam, and the evidence says why. Evidence is in our own words: a DICOM text may hold a person's name.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from genovox.core.errors import DataError
from genovox.phases.names import DYNAMIC, RULES, SIDES, find_claim, find_numbers, find_side, names_biopsy, simplify
from genovox.scans.dicom import SAME_GRID_MM, Series, Stack
from genovox.scans.headers import Header

BILATERAL_MM = 200.0
_MIDLINE_MM = 20.0
_HALF_DAY_S, _DAY_S = 43_200.0, 86_400.0


@dataclass(frozen=True)
class PhaseRole:
    """What one stack is.

    Attributes:
        series_uid: Its series.
        stack: Index in ``Series.stacks``; 0 for a series that has none.
        role: ``pre``, ``post``, ``subtraction``, ``projection``, ``t2``, ``dwi``, ``adc``, ``localizer``, ``reformat``
            or ``other``.
        phase: 0 for the pre-contrast phase, k for the k-th after contrast, None where it is not used.
        evidence: Why, in words that name no one.
    """

    series_uid: str
    stack: int
    role: str
    phase: int | None
    evidence: str


@dataclass(frozen=True)
class Exam:
    """One dynamic examination of one breast or both.

    Attributes:
        phases: The pre-contrast phase, then those after contrast in order.
        times_s: Seconds of each phase after the pre-contrast one, which is 0; empty where unknown.
        laterality: ``left``, ``right``, ``bilateral``, or empty where position, header and names do not tell.
        roles: Of its phases, and of further volumes before contrast on the same grid.
    """

    patient_id: str
    study_uid: str
    phases: tuple[tuple[Series, Stack], ...]
    times_s: tuple[float, ...]
    laterality: str
    roles: tuple[PhaseRole, ...]


class _Physics(NamedTuple):
    """Sets a series aside by what its header says of the acquisition."""

    role: str
    reason: str
    holds: Callable[[Header], bool]


@dataclass(frozen=True, eq=False)
class StackInSeries:
    series: Series
    at: int

    @property
    def stack(self) -> Stack:
        return self.series.stacks[self.at]

    @property
    def name(self) -> str:
        return simplify(self.series.first.description or self.series.first.protocol)

    def play(self, role: str, phase: int | None, evidence: str) -> PhaseRole:
        return PhaseRole(self.series.series_uid, self.at, role, phase, evidence)


_PHYSICS = (
    _Physics(
        "dwi",
        "diffusion",
        lambda header: (header.b_value or 0) > 0 or "EP" in header.scanning_sequence.upper().split("\\"),
    ),
    _Physics("t2", "T2-weighted", lambda header: (header.echo_time_ms or 0) > 40),
    _Physics("other", "not T1-weighted", lambda header: (header.repetition_time_ms or 0) > 1500),
)


def find_exams(series: Sequence[Series]) -> tuple[list[Exam], list[PhaseRole]]:
    """Find the dynamic examinations among all series.

    Args:
        series: Of any number of patients, in any order; those with a problem get a role as well.

    Returns:
        The exams by patient, study and side, and a role for each stack (one for a series without any), by patient,
        study and series number.
    """
    studies = defaultdict(list)
    for one in sorted(series, key=lambda s: (s.patient_id, s.study_uid, s.first.series_number or 0, s.series_uid)):
        studies[one.patient_id, one.study_uid].append(one)
    exams: list[Exam] = []
    roles: list[PhaseRole] = []
    for study in studies.values():
        found, of_study = _judge_study(study)
        exams += found
        roles += of_study
    return exams, roles


def _judge_study(study: list[Series]) -> tuple[list[Exam], list[PhaseRole]]:
    phases = [StackInSeries(series, at) for series in study for at in range(max(1, len(series.stacks)))]
    roles = {phase: _set_aside(phase) for phase in phases}
    groups = _group_by_grid([phase for phase, role in roles.items() if role is None])
    for number, group in enumerate(groups):
        original = [phase for phase in group if "DERIVED" not in phase.stack.first.image_type]
        if len(original) >= 2:  # copies computed from the phases, such as motion-corrected ones, are no further phases
            groups[number] = original
            for phase in set(group) - set(original):
                roles[phase] = phase.play("other", None, "derived from others on its grid, which are used instead")
    chosen, why = _choose_groups(groups)
    unusable = [phase for phase, role in roles.items() if role and role.evidence == phase.series.problem]
    exams = []
    for group in groups:
        reason = why if len(group) > 1 else "T1-weighted volume with no other phase on its grid"
        try:
            if group in chosen:
                _refuse_gap(group, unusable)
                exams.append(_make_exam(group))
                by_stack = {(role.series_uid, role.stack): role for role in exams[-1].roles}
                roles.update({phase: by_stack[phase.series.series_uid, phase.at] for phase in group})
                continue
        except DataError as error:
            reason = str(error)
        roles.update({phase: phase.play("other", None, reason) for phase in group})
    return sorted(exams, key=lambda exam: exam.laterality), [role for role in roles.values() if role]


def _refuse_gap(group: list[StackInSeries], unusable: list[StackInSeries]) -> None:
    """Refuse phases among which one is missing: a later one would take its number.

    A scan that was begun in vain before the others is no gap, unless its name says that it is the pre-contrast one.

    Raises:
        DataError: With the reason why the missing one cannot be used.
    """
    for lost in unusable:
        if not _resembles(lost.series.first, group[0].stack.first):
            continue
        clocks = (
            (lost.series.first.acquisition_s, [phase.stack.time_s for phase in group]),
            (lost.series.first.series_number, [phase.series.first.series_number for phase in group]),
        )
        for when, others in clocks:
            known = [other for other in others if other is not None]
            if when is None or len(known) < len(group):
                continue
            if min(known) < when < max(known) or (when <= min(known) and _claim(lost) == "pre"):
                raise DataError(
                    f"a series among the phases cannot be used ({lost.series.problem}): the next one would take its "
                    "number; repair it, or say by a phase sheet which phases to use"
                )
            break


def _resembles(one: Header, other: Header) -> bool:
    """Whether a series was scanned as another was, as far as headers tell."""
    sizes = (one.rows, one.columns) == (other.rows, other.columns)
    turned = one.orientation and other.orientation and not np.allclose(one.orientation, other.orientation, atol=1e-2)
    return sizes and not turned and _same_physics(one, other)


def _set_aside(phase: StackInSeries) -> PhaseRole | None:
    """The role of what cannot be a dynamic phase; None for what can."""
    first, problem = phase.series.first, phase.series.problem
    also = f"; {problem}" if problem else ""
    for rule in RULES:
        by_type = set(rule.image_types.split("|")) & set(first.image_type)
        if by_type or re.search(rule.name, phase.name):
            how = "image type" if by_type else "name"
            return phase.play(rule.role, None, f"{rule.reason} by its {how}{also}")
    for physics in _PHYSICS:
        if physics.holds(first):
            return phase.play(physics.role, None, f"{physics.reason} by its physics{also}")
    if names_biopsy(first.study_description):
        return phase.play("other", None, "biopsy by the study's name")
    return phase.play("other", None, problem) if problem else None


def _group_by_grid(phases: list[StackInSeries]) -> list[list[StackInSeries]]:
    groups: list[list[StackInSeries]] = []
    for phase in phases:
        for group in groups:
            if same_grid(group[0].stack, phase.stack) and _same_physics(group[0].stack.first, phase.stack.first):
                group.append(phase)
                break
        else:
            groups.append([phase])
    return groups


def same_grid(one: Stack, other: Stack) -> bool:
    if one.shape != other.shape:
        return False
    z, y, x = one.shape
    corners = np.array([[i, j, k, 1] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)]).T
    moved = (np.array(one.affine) - np.array(other.affine)) @ corners
    return float(np.linalg.norm(moved[:3], axis=0).max()) <= SAME_GRID_MM


def _same_physics(one: Header, other: Header) -> bool:
    """Whether the contrast of two volumes is the same but for the agent; what is not stated agrees."""
    for a, b in (
        (one.repetition_time_ms, other.repetition_time_ms),
        (one.echo_time_ms, other.echo_time_ms),
        (one.flip_angle_deg, other.flip_angle_deg),
    ):
        if a is not None and b is not None and abs(a - b) > 0.1 * max(a, b):
            return False
    return _suppresses_fat(one) == _suppresses_fat(other)


def _suppresses_fat(header: Header) -> bool:
    return "FS" in header.scan_options.upper().split("\\")


def _choose_groups(groups: list[list[StackInSeries]]) -> tuple[list[list[StackInSeries]], str]:
    """The dynamic series, or one for each side, and why the other groups are not."""

    def rank(group: list[StackInSeries]) -> tuple[int, bool]:
        return len(group), any(DYNAMIC.search(phase.name) for phase in group)

    dynamic = [group for group in groups if len(group) >= 2]
    if not dynamic:
        return [], ""
    best = max(map(rank, dynamic))
    leaders = [group for group in dynamic if rank(group) == best]
    chosen = leaders
    if all(find_volume_side(group) in SIDES for group in leaders):
        chosen = []
        for side in SIDES:
            own = [group for group in dynamic if find_volume_side(group) == side]
            chosen += [group for group in own if rank(group) == max(map(rank, own))]
    sides = [find_volume_side(group) for group in chosen]
    if len(chosen) > 1 and sorted(sides) != sorted(SIDES):
        return [], f"{len(chosen)} groups of up to {best[0]} phases could be the dynamic series; choose one by hand"
    return chosen, f"{best[0]} phases on another grid are the dynamic series"


def find_volume_side(group: list[StackInSeries]) -> str:
    """Where the volume lies: ``left``, ``right``, ``bilateral``, or empty if nothing tells or the tellers disagree."""
    stack = group[0].stack
    affine, size = np.array(stack.affine), np.array(stack.shape[::-1])
    if abs(affine[0, :3]) @ size > BILATERAL_MM:
        return "bilateral"
    centre_mm = float(affine[0] @ [*((size - 1) / 2), 1])  # RAS: x grows to the patient's right
    told = {"right" if centre_mm > 0 else "left"} if abs(centre_mm) >= _MIDLINE_MM else set()
    for phase in group:
        told.add(phase.stack.first.laterality)
        told.add(find_side(phase.name))
    told.discard("")
    return told.pop() if len(told) == 1 else ""


def _make_exam(group: list[StackInSeries]) -> Exam:
    """Order a dynamic series and find where contrast came.

    Raises:
        DataError: If order or pre-contrast phase cannot be told, or names contradict time.
    """
    ordered, seconds, clock = _order_phases(group)
    _check_names(ordered, clock)
    count, why = _count_pre(ordered)
    used = ordered[count - 1 :]
    times = tuple(time - seconds[count - 1] for time in seconds[count - 1 :]) if seconds else ()
    side = find_volume_side(group)
    note = "" if side else "; side unknown: position, header and names do not tell, or disagree"
    roles = []
    for number, phase in enumerate(ordered, start=1 - count):
        if number < 0:
            role = phase.play("pre", None, f"before the pre-contrast phase that is used{note}")
        else:
            when = f", {times[number]:.0f} s after pre-contrast" if times else ", time unknown"
            evidence = f"phase {number} of {len(used) - 1} by {clock}{when}" if number else f"{why}, by {clock}"
            role = phase.play("post" if number else "pre", number, evidence + note)
        roles.append(role)
    first = group[0].series
    phases = tuple((phase.series, phase.stack) for phase in used)
    return Exam(first.patient_id, first.study_uid, phases, times, side, tuple(roles))


def _order_phases(group: list[StackInSeries]) -> tuple[list[StackInSeries], list[float], str]:
    """The phases in order, their times in seconds (empty where unknown) and the clock that ordered them."""
    clocks: tuple[tuple[str, Callable[[StackInSeries], float | None]], ...] = (
        ("acquisition time", lambda phase: phase.stack.time_s),
        ("trigger time", _triggered),
        ("content time", lambda phase: phase.stack.first.content_s),
        ("temporal position", lambda phase: phase.stack.temporal_position),
        ("the numbers in names", lambda phase: 0 if _claim(phase) == "pre" else _numbers(phase).get("ordinal")),
        ("series number", lambda phase: phase.series.first.series_number),
    )
    for clock, read in clocks:
        known = [value for value in map(read, group) if value is not None]
        if len(known) < len(group):
            continue
        if clock.endswith("time") and max(known) - min(known) > _HALF_DAY_S:
            known = [value + _DAY_S if value < _HALF_DAY_S else value for value in known]
        # Equal values may stand within one series, whose own order is known, never between two.
        if any(
            len({p.series.series_uid for p, v in zip(group, known, strict=True) if v == value}) > 1 for value in known
        ):
            continue
        order = sorted(range(len(group)), key=lambda i: (known[i], group[i].at))
        values = [known[i] for i in order]
        timed = clock.endswith("time") and all(early < late for early, late in pairwise(values))
        own = {group[i].stack.order for i in order} - {""}
        within = f" and, within a series, {' and '.join(sorted(own))}" if own and not timed else ""
        return [group[i] for i in order], values if timed else [], clock + within
    raise DataError(
        "the order of the phases cannot be told: no time or number differs between them; order them by hand"
    )


def _triggered(phase: StackInSeries) -> float | None:
    """Time of a series with one phase, as GE's scanners time phases that are stored apart: from a common start."""
    stack = phase.stack
    if stack.time_s is None or stack.order:
        return stack.time_s
    return stack.time_s + (stack.first.trigger_ms or 0) / 1000


def _claim(phase: StackInSeries) -> str:
    return find_claim(phase.name)


def _numbers(phase: StackInSeries) -> dict[str, int]:
    """Numbers of a single phase in its series' name: minutes after contrast, or its place in the order."""
    return {} if len(phase.series.stacks) > 1 else find_numbers(phase.name)


def _check_names(ordered: list[StackInSeries], clock: str) -> None:
    for kind in ("minute", "ordinal"):
        numbers = [_numbers(phase)[kind] for phase in ordered if kind in _numbers(phase)]
        if numbers != sorted(numbers):
            raise DataError(
                f"names must agree with time, but by {clock} the {kind}s in names run {', '.join(map(str, numbers))}; "
                "order the phases by hand"
            )


def _count_pre(ordered: list[StackInSeries]) -> tuple[int, str]:
    """How many phases, from the first, are before contrast, and why."""
    claims = [_claim(phase) for phase in ordered]
    agents = [phase.stack.first.contrast_agent for phase in ordered]
    without = agents.index(True) if True in agents else 0
    count, why = 1, "pre-contrast as the first in time"
    if "pre" in claims:
        count, why = len(claims) - claims[::-1].index("pre"), "pre-contrast by its name"
    elif without and all(agents[without:]) and _ends_series(ordered, without):
        count, why = without, "pre-contrast as the last without a contrast agent"
    whole = {phase.series.series_uid for phase in ordered if len(phase.series.stacks) > 2}
    if len(whole) > 1 and "pre" not in claims:  # a repeated scan: its second half is not late enhancement
        raise DataError(f"an exam has one dynamic series, got {len(whole)} on one grid; choose one by hand")
    if "post" in claims[:count]:
        raise DataError(
            f"a phase named as after contrast is number {claims.index('post') + 1}, but {count} must be before; "
            "name the pre-contrast phase by hand"
        )
    if count == len(ordered):
        raise DataError(f"an exam needs a phase after contrast, all {count} are before; look for it among the others")
    return count, why


def _ends_series(ordered: list[StackInSeries], count: int) -> bool:
    """Whether no series of several phases lies before contrast as a whole: its header then omits the agent."""
    later = {phase.series.series_uid for phase in ordered[count:]}
    return all(len(p.series.stacks) == 1 or p.series.series_uid in later for p in ordered[:count])
