"""The role of each series of a study by what a table of series says: names, numbers, counts, dates, sizes.

Nothing is read from images, so that a user can choose what to download. The whole study is judged at once: series that
could be phases form families of one name, and the family that explains most phases is the dynamic series. Subtractions
then get the number of the phase that they subtract from. Where stacks can be read, ``scans.phases`` knows more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from genovox.scans.families import Family, Member, SeriesFacts, explain_family, join_families
from genovox.scans.names import DYNAMIC, names_biopsy, read_name

_FEW_IMAGES = 2
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MR = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED = (f"{_MR}.1", f"{_MR}.3", f"{_MR}.4")  # one file holds many images


@dataclass(frozen=True)
class SeriesRole:
    """A row of the sheet: what one series is.

    Attributes:
        role: One of ``scans.names.ROLES``.
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
    # A vendor's workstation stores its derivatives under a manufacturer of its own: one study stays one.
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
        elif member.images <= _FEW_IMAGES and member.facts.sop_class not in _ENHANCED and not (rule and rule.role == "localizer"):
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
    """Number of the phase that each subtraction subtracts the pre-contrast one from."""
    phases = {member: verdict for member, verdict in study.verdicts.items() if verdict.role in ("pre", "post")}
    dynamic = {member: verdict for member, verdict in study.verdicts.items() if verdict.role.startswith("dynamic")}
    by_number = {member.number: verdict for member, verdict in phases.items()}
    rivals = [member for member in study.members if study.verdicts[member].role == "subtraction"]
    for member, verdict in study.verdicts.items():
        if verdict.role != "subtraction" or names_biopsy(member.facts.study_description):
            continue
        number, why, sure = _find_subtracted(member, by_number, phases, rivals)
        several = [whole for whole in dynamic if number is None and member.images > 1.5 * _one_phase(whole, phases)]
        verdict.phase, verdict.confidence = number, sure
        verdict.evidence += f"; {why}" if number is not None or not several else "; of several phases"
        source = by_number.get(member.name.cites.minuend) if member.name.cites else None
        verdict.side = member.name.side or (source.side if source else "")


def _one_phase(whole: Member, phases: dict[Member, _Verdict]) -> float:
    first = [member.images for member, verdict in phases.items() if verdict.phase == 0]
    return first[0] if first else whole.images / 3


def _find_subtracted(
    member: Member, by_number: dict[int, _Verdict], phases: dict[Member, _Verdict], rivals: Sequence[Member]
) -> tuple[int | None, str, str]:
    cites, name = member.name.cites, member.name
    if cites and cites.minuend == cites.subtrahend:
        first, second = cites.minuend_image or 0, cites.subtrahend_image or 0
        steps, rest = divmod(first - second, member.images)
        if rest == 0 and steps > 0:
            return (
                steps,
                f"it cites images {first} and {second} of series {cites.minuend}, {member.images} a phase",
                "high",
            )
        return None, f"it cites series {cites.minuend}, but its {member.images} images are no phase there", "low"
    if cites:
        post, pre = by_number.get(cites.minuend), by_number.get(cites.subtrahend)
        if post and pre and pre.phase == 0:
            return post.phase, f"it cites series {cites.minuend} and {cites.subtrahend}", "high"
        return (
            None,
            f"it cites series {cites.minuend} and {cites.subtrahend}, no phases of the dynamic series",
            "medium",
        )
    if name.ordinal is not None:
        return name.ordinal, f"number {name.ordinal} by its name", "high"
    posts = [(other, found) for other, found in phases.items() if found.role == "post"]
    timed = [found.phase for other, found in posts if name.minute is not None and other.name.minute == name.minute]
    if len(set(timed)) == 1:
        return timed[0], f"of minute {name.minute}, as the phase", "high"
    before = [(other, found) for other, found in posts if _can_precede(other, member)]
    if not before:
        return None, "nothing tells of which phase", "medium"
    other, found = max(before, key=lambda pair: pair[0].number)
    alike = [one for one in rivals if one.name.text == name.text and one.images == member.images]
    later = [
        one for one in alike if not any(_can_precede(post, one) and post.number > other.number for post, _ in posts)
    ]
    later = [one for one in later if one.number > other.number]
    between = any(one.number < other.number for one in rivals if one is not member)
    if len(later) == 1 and (between or len(posts) == 1):
        return found.phase, f"it follows phase {found.phase}, series {other.number}", "medium"
    if len(later) == len(before):
        place = later.index(member) + 1
        return place, f"number {place} of {len(later)} of its name, as many as there are phases", "medium"
    return None, f"{len(later)} of its name after {len(posts)} phases", "medium"


def _can_precede(post: Member, subtraction: Member) -> bool:
    return post.number < subtraction.number and post.images == subtraction.images


def _find_sides(study: _Study) -> None:
    """Sides by names; of two stacks of one acquisition, in the order in which other series of the study name them."""
    named = [member.name.side for member in study.members if member.name.side and member.name.aside]
    order = list(dict.fromkeys(named))
    both = "bil" in study.members[0].facts.study_description.lower()
    for member, verdict in study.verdicts.items():
        if verdict.role not in ("pre", "post", "subtraction", "dynamic", "dynamic-post"):
            continue
        if verdict.side in ("first", "second"):
            if len(order) == 2:
                verdict.side = order[verdict.side == "second"]
                verdict.evidence += f"; {verdict.side} as the order of the sides is in other series"
            else:
                verdict.side = ""
                verdict.evidence += "; one breast of two, nothing tells which"
        elif not verdict.side and (both or member.name.plane == "axial"):
            verdict.side = "bilateral"
