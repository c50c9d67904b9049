"""Which phase a subtraction series subtracts the pre-contrast one from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from genovox.phases.families import Member
from genovox.phases.names import Citation


class Numbering(NamedTuple):
    """The phase, or None, why, and how sure."""

    phase: int | None
    why: str
    confidence: str


def number_subtraction(member: Member, phases: Mapping[Member, int], rivals: Sequence[Member]) -> Numbering:
    """Number one subtraction by what it cites, by its name, or by its place among the series.

    Args:
        member: The subtraction.
        phases: Number of each series that is one phase; 0 is pre-contrast.
        rivals: All subtractions of the study, this one included, by series number.
    """
    name = member.name
    if name.cites:
        return _by_citation(name.cites, member.images, phases)
    if name.ordinal is not None:
        return Numbering(name.ordinal, f"number {name.ordinal} by its name", "high")
    posts = {one: phase for one, phase in phases.items() if phase > 0}
    timed = {phase for one, phase in posts.items() if name.minute is not None and one.name.minute == name.minute}
    if len(timed) == 1:
        return Numbering(timed.pop(), f"of minute {name.minute}, as the phase", "high")
    return _by_place(member, posts, rivals)


def _by_citation(cites: Citation, images: int, phases: Mapping[Member, int]) -> Numbering:
    if cites.minuend == cites.subtrahend:
        first, second = cites.minuend_image or 0, cites.subtrahend_image or 0
        steps, rest = divmod(first - second, images)
        if rest == 0 and steps > 0:
            why = f"it cites images {first} and {second} of series {cites.minuend}, {images} a phase"
            return Numbering(steps, why, "high")
        return Numbering(None, f"it cites series {cites.minuend}, but its {images} images are no phase there", "low")
    numbers = {one.number: phase for one, phase in phases.items()}
    post, pre = numbers.get(cites.minuend), numbers.get(cites.subtrahend)
    why = f"it cites series {cites.minuend} and {cites.subtrahend}"
    if post and pre == 0:
        return Numbering(post, why, "high")
    return Numbering(None, f"{why}, not a phase and the pre-contrast one", "medium")


def _by_place(member: Member, posts: Mapping[Member, int], rivals: Sequence[Member]) -> Numbering:
    """By the phase before it, or by its place among as many of its name as there are phases."""
    before = [one for one in posts if _can_precede(one, member)]
    if not before:
        return Numbering(None, "nothing tells of which phase", "medium")
    last = max(before, key=lambda one: one.number)
    alike = [one for one in rivals if one.name.text == member.name.text and one.images == member.images]
    following = [
        one
        for one in alike
        if one.number > last.number and not any(post.number > last.number and _can_precede(post, one) for post in posts)
    ]
    between = any(one.number < last.number for one in rivals)
    if len(following) == 1 and (between or len(before) == 1):
        return Numbering(posts[last], f"it follows phase {posts[last]}, series {last.number}", "medium")
    if len(following) == len(before):
        place = following.index(member) + 1
        return Numbering(place, f"number {place} of {len(before)} of its name, as many as there are phases", "medium")
    return Numbering(None, f"{len(following)} of its name after {len(before)} phases", "medium")


def _can_precede(post: Member, subtraction: Member) -> bool:
    return post.number < subtraction.number and post.images == subtraction.images
