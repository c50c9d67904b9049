"""The role of each series of a study by what a table of series says: names, numbers, counts, dates, sizes.

Nothing is read from images, so that a user can choose what to download. The whole study is judged at once: series that
could be phases form families of one name, and the family that explains most phases is the dynamic series. Subtractions
then get the number of the phase that they subtract from. Where stacks can be read, ``phases.exams`` knows more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from genovox.phases.families import Family, Member, SeriesFacts, explain_family, join_families
from genovox.phases.names import DYNAMIC, names_biopsy, read_name
from genovox.phases.subtractions import number_subtraction

_FEW_IMAGES = 2
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MR = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED = (f"{_MR}.1", f"{_MR}.3", f"{_MR}.4")  # one file holds many images


@dataclass(frozen=True)
class SeriesRole:
    """A row of the sheet: what one series is.

    Attributes:
        role: One of ``phases.names.ROLES``.
        phase: 0 for the pre-contrast phase, k for the k-th after contrast or its subtraction; None where there is no
            number, or several in one series.
        laterality: ``left``, ``right``, ``bilateral`` or empty.
        confidence: ``high``: two sources agree, or one states it outright; ``medium``: one source, nothing against it;
            ``low``: a guess, for a person to check.
        evidence: Why.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    number: int | None
    role: str
    phase: int | None
    laterality: str
    confidence: str
    evidence: str


@dataclass
class _Verdict:
    role: str
    evidence: str
    confidence: str = "high"
    phase: int | None = None
    side: str = ""


@dataclass
class _Study:
    members: list[Member]
    verdicts: dict[Member, _Verdict] = field(default_factory=dict)


def judge_series(series: Iterable[SeriesFacts]) -> list[SeriesRole]:
    """Judge every series of any number of studies.

    Returns:
        One role a series, by patient, study, number and UID.
    """
    days: dict[tuple[str, ...], list[SeriesFacts]] = defaultdict(list)
    for one in series:
        days[one.patient_id, one.study_date or one.study_uid].append(one)
    roles = [role for day in days.values() for part in _split_day(day) for role in _judge_study(part)]
    return sorted(roles, key=lambda role: (role.patient_id, role.study_uid, role.number or 0, role.series_uid))


def _split_day(day: list[SeriesFacts]) -> list[list[SeriesFacts]]:
    """The studies of a day; those whose series numbers never meet are parts of one examination, stored apart."""
    studies: dict[str, list[SeriesFacts]] = defaultdict(list)
    for one in day:
        studies[one.study_uid].append(one)
    numbers = [{one.number for one in study} for study in studies.values()]
    if len(studies) > 1 and sum(map(len, numbers)) == len(set().union(*numbers)) and None not in set().union(*numbers):
        return [day]
    return list(studies.values())


def _judge_study(facts: Sequence[SeriesFacts]) -> list[SeriesRole]:
    ordered = sorted(facts, key=lambda one: (one.number or 0, one.series_uid))
    study = _Study([Member(one, read_name(one.name)) for one in ordered])
    _set_aside(study)
    _find_dynamic(study)
    _number_subtractions(study)
    _find_sides(study)
    shared = " (judged with another study of that day)" if len({one.study_uid for one in facts}) > 1 else ""
    return [
        SeriesRole(
            member.facts.patient_id,
            member.facts.study_uid,
            member.facts.series_uid,
            member.facts.number,
            verdict.role,
            verdict.phase,
            verdict.side,
            verdict.confidence,
            verdict.evidence + (shared if verdict.phase is not None else ""),
        )
        for member, verdict in study.verdicts.items()
    ]


def _set_aside(study: _Study) -> None:
    """Give a role to all that cannot be a dynamic phase."""
    names = {member.name.text for member in study.members}
    for member in study.members:
        rule, text = member.name.aside, member.name.text
        if names_biopsy(member.facts.study_description) and not rule:
            study.verdicts[member] = _Verdict("other", "biopsy by the study's name")
        elif (
            member.images <= _FEW_IMAGES
            and member.facts.sop_class not in _ENHANCED
            and not (rule and rule.role == "localizer")
        ):
            role = "projection" if rule is None or rule.role in ("subtraction", "projection") else rule.role
            sure = "high" if rule else "medium"
            study.verdicts[member] = _Verdict(role, f"{member.images} image: no volume", sure)
        elif member.facts.sop_class == _SECONDARY_CAPTURE:
            study.verdicts[member] = _Verdict(rule.role if rule else "other", "secondary capture: no scanner's image")
        elif rule:
            study.verdicts[member] = _Verdict(rule.role, f"{rule.reason} by its name")
        elif text.startswith("s") and text[1:] in names:  # Philips writes s before what it computes from a series
            study.verdicts[member] = _Verdict("subtraction", "subtraction: named s and the name of a series", "medium")


def _find_dynamic(study: _Study) -> None:
    """Choose the family that explains most phases, one for each side, and give its series their phases."""
    families = join_families([member for member in study.members if member not in study.verdicts])
    subtractions = [member for member, verdict in study.verdicts.items() if verdict.role == "subtraction"]
    found = [family for members in families if (family := explain_family(members, subtractions))]
    chosen = _choose(found)
    for family in chosen:
        for phase in family.phases:
            study.verdicts[phase.member] = _Verdict(
                phase.role, phase.evidence, family.confidence, phase.number, phase.side
            )
    leader = max(chosen, key=lambda family: family.count, default=None)
    for member in study.members:
        if member not in study.verdicts:
            study.verdicts[member] = _leave_out(member, leader)


def _choose(found: list[Family]) -> list[Family]:
    if not found:
        return []
    best = max(found, key=lambda family: (family.count, family.rank, family.phases[0].member.number))
    if best.side == "":
        rivals = [one for one in found if one is not best and (one.count, one.rank) == (best.count, best.rank)]
        return [replace(best, confidence="low" if rivals else best.confidence)]
    chosen = [best]
    other = [one for one in found if one.side not in ("", best.side) and one.stem == best.stem]
    if other:
        chosen.append(max(other, key=lambda family: (family.count, family.rank)))
    return chosen


def _leave_out(member: Member, leader: Family | None) -> _Verdict:
    claim = {"pre": "before contrast", "post": "after contrast"}.get(member.name.claim, "")
    what = f"a volume {claim} by its name" if claim else "its name tells no role"
    if leader is None:
        doubt = "low" if claim or DYNAMIC.search(member.name.text) else "medium"
        return _Verdict("other", f"{what}; the study shows no dynamic series", doubt)
    where = ", ".join(map(str, sorted(leader.numbers)[:3])) + ("…" if len(leader.numbers) > 3 else "")
    sure = "low" if claim and member.name.stem == leader.stem else "medium"
    return _Verdict("other", f"{what}; the dynamic series is {where}", sure)


def _number_subtractions(study: _Study) -> None:
    """Number and side of each subtraction."""
    whole = [member for member, verdict in study.verdicts.items() if verdict.role.startswith("dynamic")]
    phases = {member: verdict.phase for member, verdict in study.verdicts.items() if verdict.role in ("pre", "post")}
    numbers = {member: phase for member, phase in phases.items() if phase is not None}
    sides = {member.number: study.verdicts[member].side for member in numbers}
    rivals = [member for member in study.members if study.verdicts[member].role == "subtraction"]
    for member in rivals:
        if names_biopsy(member.facts.study_description):
            continue
        verdict = study.verdicts[member]
        verdict.phase, why, verdict.confidence = number_subtraction(member, numbers, rivals)
        several = verdict.phase is None and any(member.images > 1.5 * _one_phase(one, numbers) for one in whole)
        verdict.evidence += "; of several phases" if several else f"; {why}"
        verdict.side = member.name.side or (sides.get(member.name.cites.minuend, "") if member.name.cites else "")


def _one_phase(whole: Member, numbers: dict[Member, int]) -> float:
    return next((member.images for member, phase in numbers.items() if phase == 0), whole.images / 3)


def _find_sides(study: _Study) -> None:
    """Sides by names; of two stacks of one acquisition, in the order in which other series of the study name them."""
    named = [member.name.side for member in study.members if member.name.side and member.name.aside]
    order = list(dict.fromkeys(named))
    both = "bil" in study.members[0].facts.study_description.lower()
    for member, verdict in study.verdicts.items():
        if verdict.role not in ("pre", "post", "subtraction", "dynamic", "dynamic-post"):
            verdict.side = member.name.side
            continue
        if verdict.side in ("first", "second"):
            if len(order) == 2:
                verdict.side = order[verdict.side == "second"]
                verdict.evidence += f"; {verdict.side} only as the order of the sides is in other series"
                verdict.confidence = "low" if verdict.confidence == "low" else "medium"
            else:
                verdict.side = ""
                verdict.evidence += "; one breast of two, nothing tells which"
        elif not verdict.side and (both or member.name.plane == "axial"):
            verdict.side = "bilateral"
        elif not verdict.side and len(order) == 1:
            verdict.side = order[0]
            verdict.evidence += f"; {order[0]} as all series that name a side"
