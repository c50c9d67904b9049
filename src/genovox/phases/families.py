"""Families: series of one name that could be the phases of one examination, and how well they explain one.

What orders a family, the surest first: subtractions that cite the series they subtract; images bound from one series;
names that say pre and post, a number or minutes; a name repeated for each phase. One series that holds all phases shows
it by subtractions that cite its images, by derivatives whose counts divide its own, or by its name.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from genovox.phases.names import DYNAMIC, MANY_PHASES, SeriesName

_SAME_SIZE = 0.05
_MIN_PHASES, _MAX_PHASES = 2, 60
_MIN_REPEATED = 3
_MIN_SLICES = 16
_GUESSED_PHASES = 4
_NEXT_NUMBER = 10  # scanners that number their series 401, 501, 601 number derivatives 402, 403


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of one series without its images.

    Attributes:
        images: How many files, or frames.
        image_bytes: Mean size of a file, 0 where unknown: images of one matrix have one size.
        study_date: Text that is equal on one day.
        series_date: The same of the series; empty where unknown.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    number: int | None
    name: str
    images: int
    image_bytes: float = 0.0
    study_description: str = ""
    study_date: str = ""
    series_date: str = ""
    sop_class: str = ""


@dataclass(frozen=True, eq=False)
class Member:
    """A series with its name read, as the families see it."""

    facts: SeriesFacts
    name: SeriesName

    @property
    def number(self) -> int:
        return self.facts.number or 0

    @property
    def images(self) -> int:
        return self.facts.images


@dataclass(frozen=True)
class FoundPhase:
    """What one series of a family is; ``side`` is ``left``, ``right``, ``first`` or ``second`` of two, or empty."""

    member: Member
    role: str
    number: int | None
    side: str
    evidence: str


@dataclass(frozen=True)
class Family:
    """A dynamic series as a family explains it.

    Attributes:
        phases: What its series are; others of the family play no part.
        candidates: All its series.
        count: Phases of one breast, as far as counts tell.
        rank: How it is known: 4 by citation, 3 by counts, 2 by names, 1 by repetition or a name alone.
    """

    stem: str
    side: str
    phases: tuple[FoundPhase, ...]
    candidates: tuple[Member, ...]
    count: float
    rank: int
    confidence: str

    @property
    def numbers(self) -> list[int]:
        return [phase.member.number for phase in self.phases]


def join_families(members: Sequence[Member]) -> list[list[Member]]:
    """Series by their name's stem, side and date; a family without a pre-contrast one borrows one of its images.

    Args:
        members: Of one study, by series number, without those that are set aside.
    """
    families: dict[tuple[str, str, str], list[Member]] = defaultdict(list)
    for member in members:
        families[member.name.stem, member.name.side, member.facts.series_date].append(member)
    joined = []
    for family in families.values():
        first = family[0]
        told = all(member.name.claim == "post" or _is_numbered_phase(member) for member in family)
        before = [
            one
            for one in members
            if told and one.name.claim == "pre" and one.number < first.number and _same_images(one, first)
        ]
        joined.append([*before[-1:], *family])
    return joined


def explain_family(members: Sequence[Member], subtractions: Sequence[Member]) -> Family | None:
    """Explain series of one name and side as a dynamic examination.

    Args:
        members: By series number.
        subtractions: Of the whole study; those that cite images or series tell most.

    Returns:
        The explanation, or None where there is none.
    """
    whole = [family for member in members if (family := _explain_whole(member, members, subtractions))]
    apart = _explain_apart(members, subtractions)
    return max([*whole, *([apart] if apart else [])], key=lambda family: (family.rank, family.count), default=None)


def _explain_whole(member: Member, members: Sequence[Member], subtractions: Sequence[Member]) -> Family | None:
    """One series that holds the pre-contrast phase and those after it."""
    alone = len(members) == 1 and bool(MANY_PHASES.search(member.name.text))
    if (member.name.claim and not alone) or member.name.claim == "pre" or _is_numbered_phase(member):
        return None
    number, why, rank = _count_phases(member, subtractions)
    # A series of a name that others of its size share is one phase of several.
    if rank < 4 and any(other is not member and _same_images(other, member) for other in members):
        return None
    if rank == 0:
        return None
    sure = {4: "high", 3: "high", 1: "medium" if alone and not member.name.claim else "low"}[rank]
    phase = FoundPhase(member, "dynamic", None, member.name.side, why)
    return Family(member.name.stem, member.name.side, (phase,), tuple(members), number, rank, sure)


def _count_phases(member: Member, subtractions: Sequence[Member]) -> tuple[float, str, int]:
    """How many phases a series holds, why, and how well that is known (0 for not at all)."""
    cited = {
        one.images
        for one in subtractions
        if one.name.cites and one.name.cites.minuend == one.name.cites.subtrahend == member.number
    }
    for size in cited:
        if member.images % size == 0 and _MIN_PHASES <= member.images // size <= _MAX_PHASES:
            count = member.images // size
            return count, f"phases 0 to {count - 1} in one series: subtractions cite its images, {size} a phase", 4
    if not DYNAMIC.search(member.name.text):
        return 0, "", 0
    sizes = [one.images for one in subtractions if not one.name.cites and one.name.ordinal is not None]
    for size in dict.fromkeys(sizes):
        count, rest = divmod(member.images, size)
        if rest == 0 and count > max(one.name.ordinal or 0 for one in subtractions if one.images == size):
            return count, f"phases 0 to {count - 1} in one series: {member.images} images, subtractions have {size}", 3
    for one in subtractions:  # all subtractions in one series: one phase less than the series itself
        missing = member.images - one.images
        beside = 0 < one.number - member.number < _NEXT_NUMBER and one.name.minute is None
        if (
            beside
            and missing > 0
            and member.images % missing == 0
            and _MIN_PHASES < member.images // missing <= _MAX_PHASES
        ):
            count = member.images // missing
            return count, f"phases 0 to {count - 1} in one series: its subtractions have one phase less", 3
    if MANY_PHASES.search(member.name.text) or member.images >= 2 * _GUESSED_PHASES * _MIN_SLICES * 2:
        guess = _GUESSED_PHASES + min(member.images, 9_999) / 10_000
        return guess, f"phases in one series of {member.images} images by its name", 1
    return 0, "", 0


def _explain_apart(members: Sequence[Member], subtractions: Sequence[Member]) -> Family | None:
    """Phases stored in series of their own, or all after contrast in one."""
    cited = _cited_pre(members, subtractions)
    found = [_explain_lane(lane, side, cited) for lane, side in _split_lanes(members, cited)]
    known = [lane for lane in found if lane]
    if not known or len(known) < len(found):
        return None
    phases = tuple(phase for lane, _, _ in known for phase in lane)
    rank = min(rank for _, _, rank in known)
    whole = all(phase.member.images % phases[0].member.images == 0 for phase in phases if phase.role == "dynamic-post")
    repeated = "medium" if DYNAMIC.search(members[-1].name.text) else "low"
    sure = {4: "high", 3: "high", 2: "high", 1: repeated}[rank] if whole else "low"
    first = members[-1].name  # the first may be borrowed
    return Family(first.stem, first.side, phases, tuple(members), max(count for _, count, _ in known), rank, sure)


def _cited_pre(members: Sequence[Member], subtractions: Sequence[Member]) -> set[int]:
    """Numbers of the series that subtractions subtract, where both they and the minuends are in the family."""
    numbers = {member.number for member in members}
    pairs = [one.name.cites for one in subtractions if one.name.cites]
    return {
        pair.subtrahend
        for pair in pairs
        if pair.subtrahend in numbers and pair.minuend in numbers and pair.subtrahend != pair.minuend
    }


def _split_lanes(members: Sequence[Member], cited: set[int]) -> list[tuple[list[Member], str]]:
    """The breasts of a family whose series alternate between two; else the family as it is."""
    bound = [member for member in members if member.name.bound]
    first = members[0].name.side
    if bound and len(bound) == len(members):
        sources: dict[int, list[Member]] = defaultdict(list)
        for member in sorted(bound, key=lambda one: one.name.bound or (0, 0, 0)):
            sources[member.name.bound[0] if member.name.bound else 0].append(member)
        if all(len(blocks) % 2 == 0 for blocks in sources.values()):
            lanes = [[one for blocks in sources.values() for one in blocks[start::2]] for start in (0, 1)]
            return list(zip(lanes, ("first", "second"), strict=True))
        return [([one for blocks in sources.values() for one in blocks], first)]
    pre = sorted(cited) or [member.number for member in members if member.name.claim == "pre"]
    later = [member for member in members if pre and member.number > pre[-1] and member.name.claim != "pre"]
    if len(pre) == 2 and pre[1] == pre[0] + 1 and later and len(later) % 2 == 0:
        lanes = [[one for one in members if (one.number - pre[0]) % 2 == start] for start in (0, 1)]
        if all(len({one.images for one in lane if one.number >= pre[0]}) == 1 for lane in lanes):
            return list(zip(lanes, ("first", "second"), strict=True))
    return [(list(members), first)]


def _explain_lane(lane: Sequence[Member], side: str, cited: set[int]) -> tuple[tuple[FoundPhase, ...], int, int] | None:
    """Phases of one breast or both, their number, and how they are known."""
    pre, why, rank = _find_pre(lane, cited)
    if pre is None:
        return None
    position = lane.index(pre)
    before = [one for one in lane[:position] if one.name.claim == "pre" and _same_images(one, pre)]
    after = [one for one in lane[position + 1 :] if _fits(one, pre)]
    order = "series numbers"
    for kind in ("ordinal", "minute"):
        told = [getattr(one.name, kind) for one in after]
        if None not in told and len(set(told)) == len(told):
            after, order = sorted(after, key=lambda one: getattr(one.name, kind)), f"{kind}s in names"
            break
    if not after or (rank == 1 and not _is_repeated(pre, after)):
        return None
    phases = [FoundPhase(pre, "pre", 0, side, why)]
    phases += [
        FoundPhase(one, "pre", None, side, f"before contrast by its name; series {pre.number} is used")
        for one in before
    ]
    number = 0
    for one in after:
        several, rest = divmod(one.images, pre.images)
        if several > 1 or rest:
            which = f"phases {number + 1} to {number + several}"
            evidence = f"{which} in one series: {several} times the {pre.images} images of series {pre.number}"
            evidence += f", and {rest} of a phase that is incomplete" if rest else ""
            phases.append(FoundPhase(one, "dynamic-post", None, side, evidence))
        else:
            evidence = f"phase {number + 1} of {sum(other.images // pre.images for other in after)} by {order}"
            evidence += " and by its name" if one.name.claim == "post" or one.name.ordinal == number + 1 else ""
            phases.append(FoundPhase(one, "post", number + 1, side, evidence))
        number += several
    return tuple(phases), number + 1, rank


def _find_pre(lane: Sequence[Member], cited: set[int]) -> tuple[Member | None, str, int]:
    """The last series before contrast, why, and how well that is known."""
    by_citation = [one for one in lane if one.number in cited]
    if by_citation:
        return by_citation[0], "pre-contrast: subtractions subtract it", 4
    bound = [(one.name.bound[0], one) for one in lane if one.name.bound]
    if bound:
        source = bound[-1][0]
        earlier = [one for number, one in bound if number < source]
        return (earlier[-1] if earlier else None), f"pre-contrast: bound from the series before series {source}", 3
    return _find_named_pre(lane)


def _find_named_pre(lane: Sequence[Member]) -> tuple[Member | None, str, int]:
    claims = [one.name.claim for one in lane]
    plain = [one for one in lane if not _is_numbered_phase(one)]
    if "pre" in claims:
        followed = [
            one
            for at, one in enumerate(lane)
            if one.name.claim == "pre" and any(_fits(later, one) for later in lane[at + 1 :])
        ]
        told = "post" in claims or len(plain) < len(lane)
        return (followed[-1] if followed else None), "pre-contrast by its name", 2 if told else 1
    if "post" not in claims and len(plain) == 1 and len(lane) > 1:
        return plain[0], "pre-contrast: the one without a number of its name", 2
    if len(plain) == len(lane) and claims[0] == "" and "" not in claims[1:]:
        return lane[0], "pre-contrast: of its name, the only one not after contrast", 2
    if len(plain) == len(lane) and set(claims) == {""}:
        return lane[0], "pre-contrast as the first of its name", 1
    return None, "", 0


def _is_numbered_phase(member: Member) -> bool:
    return member.name.ordinal is not None


def _fits(member: Member, pre: Member) -> bool:
    """Whether a series has the pre-contrast one's images, once or several times; the last of several may lack some."""
    whole = member.images % pre.images == 0
    started = member.name.claim == "post" and member.images >= _MIN_PHASES * pre.images
    return member.name.claim != "pre" and (whole or started) and _same_size(member, pre)


def _same_images(one: Member, other: Member) -> bool:
    return one.images == other.images and _same_size(one, other)


def _same_size(one: Member, other: Member) -> bool:
    a, b = one.facts.image_bytes, other.facts.image_bytes
    return not a or not b or abs(a - b) <= _SAME_SIZE * max(a, b)


def _is_repeated(pre: Member, after: Sequence[Member]) -> bool:
    """Whether a bare name stands for phases: often enough, or once and then several in one series."""
    enough = len(after) >= _MIN_REPEATED - 1 or any(one.images > pre.images for one in after)
    named = bool(DYNAMIC.search(pre.name.text)) or (pre.name.stem != "" and len(after) >= _MIN_REPEATED)
    return enough and named and pre.images >= _MIN_SLICES
