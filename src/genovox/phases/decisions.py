"""What a person decided of series, and the exams that come of it."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.phases.exams import Exam, PhaseRole, StackInSeries, find_volume_side, same_grid
from genovox.phases.names import DCE_ROLES
from genovox.scans.dicom import Series, Stack

log = logging.getLogger(__name__)

_Key = tuple[str, int]


@dataclass(frozen=True)
class Decision:
    """What a row of the sheet says of one series.

    Attributes:
        phase: 0 for the pre-contrast phase, k for the k-th after contrast; the first one of ``dynamic-post``; or None.
        laterality: ``left``, ``right``, ``bilateral``, or empty to leave it to the scan.
        source: File and row, for evidence and messages.
    """

    role: str
    phase: int | None
    laterality: str
    source: str


def decide_exams(
    series: Sequence[Series], exams: Sequence[Exam], roles: Sequence[PhaseRole], decisions: Mapping[str, Decision]
) -> tuple[list[Exam], list[PhaseRole]]:
    """Let a person's decisions replace what was judged; series that they do not name keep their role.

    Args:
        series: Of any number of patients.
        exams: As ``find_exams`` judged them.
        roles: Likewise, one a stack.
        decisions: By series UID.

    Returns:
        As ``find_exams``. A study whose decisions contradict each other, or the images, has no exam; the evidence of
        its series names the rows.
    """
    studies: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        studies[one.patient_id, one.study_uid].append(one)
    judged = _Judged.of(exams, roles)
    decided: list[Exam] = []
    played: list[PhaseRole] = []
    for key in sorted(studies):
        study = sorted(studies[key], key=lambda one: (one.first.series_number or 0, one.series_uid))
        own = [exam for exam in exams if (exam.patient_id, exam.study_uid) == key]
        if any(one.series_uid in decisions for one in study):
            found, of_study = _decide_study(study, own, judged, decisions)
        else:
            found, of_study = own, judged.of_series(study)
        decided += found
        played += of_study
    _warn(series, decisions, decided, exams)
    return decided, played


@dataclass(frozen=True)
class _Judged:
    roles: dict[_Key, PhaseRole]
    sides: dict[_Key, str]
    times: dict[_Key, float]

    @classmethod
    def of(cls, exams: Sequence[Exam], roles: Sequence[PhaseRole]) -> "_Judged":
        sides, times = {}, {}
        for exam in exams:
            for number, (one, stack) in enumerate(exam.phases):
                key = (one.series_uid, one.stacks.index(stack))
                sides[key] = exam.laterality
                if exam.times_s:
                    times[key] = exam.times_s[number]
        return cls({(role.series_uid, role.stack): role for role in roles}, sides, times)

    def of_series(self, study: Sequence[Series]) -> list[PhaseRole]:
        keys = [(one.series_uid, at) for one in study for at in range(max(1, len(one.stacks)))]
        return [self.roles[key] for key in keys if key in self.roles]


@dataclass(frozen=True)
class _Place:
    """A stack that has a number in an exam."""

    series: Series
    at: int
    phase: int
    decision: Decision | None

    @property
    def stack(self) -> Stack:
        return self.series.stacks[self.at]

    @property
    def key(self) -> _Key:
        return self.series.series_uid, self.at

    @property
    def source(self) -> str:
        return self.decision.source if self.decision else "a series that the sheet does not list"


def _decide_study(
    study: list[Series], own: list[Exam], judged: _Judged, decisions: Mapping[str, Decision]
) -> tuple[list[Exam], list[PhaseRole]]:
    roles: dict[_Key, PhaseRole] = {(role.series_uid, role.stack): role for role in judged.of_series(study)}
    try:
        for one in study:
            if decision := decisions.get(one.series_uid):
                roles |= _play(one, decision, judged)
        places: dict[str, list[_Place]] = defaultdict(list)
        for one in study:
            for at in range(len(one.stacks)):
                role = roles.get((one.series_uid, at))
                if role is not None and role.phase is not None and role.role in ("pre", "post"):
                    place = _Place(one, at, role.phase, decisions.get(one.series_uid))
                    places[_find_side(place, judged)].append(place)
        exams = [_assemble(side, found, own, judged, roles) for side, found in sorted(_join_unknown(places).items())]
    except DataError as error:
        for key, role in roles.items():
            if role.role in ("pre", "post") or role.series_uid in decisions:
                is_phase = role.role in ("pre", "post")
                roles[key] = replace(role, role="other", phase=None, evidence=str(error)) if is_phase else role
        unread = [one for one in study if not one.stacks and one.series_uid in decisions]
        for one in unread:
            roles[one.series_uid, 0] = PhaseRole(one.series_uid, 0, "other", None, str(error))
        return [], list(roles.values())
    return exams, list(roles.values())


def _play(one: Series, decision: Decision, judged: _Judged) -> dict[_Key, PhaseRole]:
    """The role of each stack of a series as a person decided.

    Raises:
        DataError: If the images cannot play it.
    """
    uid, by = one.series_uid, f"by {decision.source}"
    if decision.role not in DCE_ROLES:
        phase = None  # the number of a subtraction is no phase of an exam
        return {(uid, at): PhaseRole(uid, at, decision.role, phase, by) for at in range(max(1, len(one.stacks)))}
    if not one.stacks:
        raise DataError(f"{decision.source} makes a series {decision.role} that cannot be used: {one.problem}")
    count = len(one.stacks)
    if decision.role in ("pre", "post"):
        if count > 1:
            raise DataError(
                f"{decision.source}: {decision.role} is one volume, the series holds {count} phases; write dynamic or "
                "dynamic-post"
            )
        return {(uid, 0): PhaseRole(uid, 0, decision.role, decision.phase, by)}
    known = [judged.roles.get((uid, at)) for at in range(count)]
    numbers = [role.phase if role else None for role in known]
    if decision.role == "dynamic" and 0 not in numbers:
        numbers = list(range(count))
    elif decision.role == "dynamic-post" and (decision.phase is not None or None in numbers or 0 in numbers):
        numbers = list(range(decision.phase or 1, (decision.phase or 1) + count))
    if decision.role == "dynamic" and count == 1:
        raise DataError(
            f"{decision.source}: dynamic is pre- and post-contrast phases in one series, it holds 1; write pre"
        )
    return {(uid, at): PhaseRole(uid, at, "post" if number else "pre", number, by) for at, number in enumerate(numbers)}


def _find_side(place: _Place, judged: _Judged) -> str:
    if place.decision and place.decision.laterality:
        return place.decision.laterality
    return judged.sides.get(place.key) or find_volume_side([StackInSeries(place.series, place.at)])


def _join_unknown(places: dict[str, list[_Place]]) -> dict[str, list[_Place]]:
    """Phases of unknown side belong to the only exam of a known one."""
    known = [side for side in places if side]
    if len(known) == 1 and "" in places:
        return {known[0]: [*places[known[0]], *places[""]]}
    return places


def _assemble(side: str, places: list[_Place], own: list[Exam], judged: _Judged, roles: dict[_Key, PhaseRole]) -> Exam:
    """One exam of the phases of one side.

    Raises:
        DataError: If numbers or grids contradict; the message names the rows.
    """
    ordered = sorted(places, key=lambda place: place.phase)
    for one, other in pairwise(ordered):
        if one.phase == other.phase:
            raise DataError(
                f"a phase of an exam is one volume, {one.source} and {other.source} are both phase {one.phase} of one "
                "side; correct one, or give both their laterality"
            )
    numbers = [place.phase for place in ordered]
    if numbers[0] != 0:
        raise DataError(f"an exam needs a pre-contrast phase, {ordered[0].source} is phase {numbers[0]} and none is 0")
    if numbers != list(range(len(numbers))) or len(numbers) == 1:
        listed = ", ".join(map(str, numbers))
        raise DataError(f"phases must run 0, 1, 2, …, got {listed} ({ordered[-1].source}); correct the sheet")
    for place in ordered[1:]:
        if not same_grid(ordered[0].stack, place.stack):
            raise DataError(
                f"phases of an exam share one grid, that of {place.source} is not that of phase 0 "
                f"({ordered[0].source}); choose series of one acquisition"
            )
    phases = tuple((place.series, place.stack) for place in ordered)
    first = ordered[0].series
    mine = tuple(roles[place.key] for place in ordered)
    for exam in own:
        if exam.phases == phases:
            return replace(exam, laterality=side, roles=mine)
    return Exam(first.patient_id, first.study_uid, phases, _tell_times(ordered, judged), side, mine)


def _tell_times(ordered: list[_Place], judged: _Judged) -> tuple[float, ...]:
    """Seconds of each phase after the first; empty where unknown, or against the order that was decided."""
    for clock in (
        [judged.times.get(place.key) for place in ordered],
        [place.stack.time_s for place in ordered],
    ):
        known = [time for time in clock if time is not None]
        if len(known) == len(ordered) and all(early < late for early, late in pairwise(known)):
            return tuple(time - known[0] for time in known)
    return ()


def _warn(
    series: Sequence[Series], decisions: Mapping[str, Decision], decided: Sequence[Exam], before: Sequence[Exam]
) -> None:
    unlisted = sum(one.series_uid not in decisions for one in series)
    known = {one.series_uid for one in series}
    absent = [decision.source for uid, decision in decisions.items() if uid not in known]
    if unlisted:
        log.warning("the phase sheet lists %d series less than there are; they are judged as without it", unlisted)
    if absent:
        log.warning("the phase sheet lists %d series that are not among the scans, such as %s", len(absent), absent[0])
    timed = {exam.phases for exam in before}
    against = [
        exam
        for exam in decided
        if not exam.times_s and all(stack.time_s is not None for _, stack in exam.phases) and exam.phases not in timed
    ]
    moved = 0
    for exam in decided:
        one, stack = exam.phases[0]
        lies = find_volume_side([StackInSeries(one, one.stacks.index(stack))])
        moved += lies not in ("", exam.laterality)
    if moved:
        log.warning(
            "the phase sheet gives %s another side than where the volumes lie; look there", write_count(moved, "exam")
        )
    if against:
        log.warning(
            "the phase sheet orders %s against the time of acquisition, such as by %s: no times are kept",
            write_count(len(against), "exam"),
            next(decisions[one.series_uid].source for one, _ in against[0].phases if one.series_uid in decisions),
        )
