"""Delays: how long after the injection each phase shows the breast, and the phase nearest to a delay.

A delay counts from the injection to the middle of a phase's acquisition, where the centre of k-space is usually read: a
phase of 60 s and one of 120 s that start together show different moments. A phase lasts until the next one starts, at
most ``LONGEST_PHASE_S``; the last one lasts as long as the one before. Exams rarely record the injection; without it,
it is taken to lie ``INJECTION_LEAD_S`` before the first post-contrast phase starts. The pause between the pre-contrast
phase and the injection, which differs most between hospitals, therefore never counts.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from genovox.core.errors import ImageError

INJECTION_LEAD_S = 20.0
"""From the injection to the start of the first post-contrast phase, and to the bolus's arrival, where not recorded."""
LONGEST_PHASE_S = 150.0
LONGEST_EXAM_S = 7200.0
LARGEST_TOLERANCE_S = 45.0


@dataclass(frozen=True)
class TimedPhase:
    """The phase taken for a delay.

    Attributes:
        phase: Its number; 1 is the first after contrast.
        delay_s: Its own delay, which the case's record keeps.
    """

    phase: int
    delay_s: float


def phase_delays_s(times_s: tuple[float, ...], injection_s: float | None = None) -> tuple[float, ...]:
    """Seconds from the injection to the middle of each post-contrast phase, as the module says.

    Args:
        times_s: Start of each phase, pre-contrast first, on any clock.
        injection_s: The injection on the same clock, if recorded.

    Raises:
        ImageError: If there are fewer than two times, if they are not finite and rising, or if the injection is not
            before the middle of the first post-contrast phase.
    """
    listed = ";".join(f"{time:g}" for time in times_s)
    if len(times_s) < 2:
        raise ImageError(f"delays need the times of a pre-contrast and a post-contrast phase, got {listed or 'none'}")
    if not np.isfinite(times_s).all() or any(late <= early for early, late in pairwise(times_s)):
        raise ImageError(
            f"phase_times_s must rise from phase to phase, got {listed}; correct them or the phases' order"
        )
    if times_s[-1] - times_s[0] > LONGEST_EXAM_S:
        raise ImageError(
            f"phase_times_s must be seconds within {LONGEST_EXAM_S / 3600:g} hours, got {listed}; correct their unit"
        )
    lasting = [min(late - early, LONGEST_PHASE_S) for early, late in pairwise(times_s)][1:]
    lasting.append(lasting[-1] if lasting else min(times_s[1] - times_s[0], LONGEST_PHASE_S))
    start_s = times_s[1] - INJECTION_LEAD_S if injection_s is None else injection_s
    delays = tuple(time + length / 2 - start_s for time, length in zip(times_s[1:], lasting, strict=True))
    if not delays[0] > 0:
        raise ImageError(
            f"the injection must come before the first post-contrast phase, got {start_s:g} s and phase_times_s "
            f"{listed}; correct one of them"
        )
    return delays


def find_phase(
    times_s: tuple[float, ...], delay_s: float, *, injection_s: float | None = None, tolerance_s: float | None = None
) -> TimedPhase:
    """The post-contrast phase nearest to a delay after the injection; of two as near, the earlier.

    Args:
        times_s: Start of each phase, pre-contrast first.
        delay_s: The delay wanted.
        injection_s: The injection on the same clock, if recorded.
        tolerance_s: How far off a phase may be; if None, half the longest distance between two phases after contrast
            (so that no delay within the exam is lost), at most ``LARGEST_TOLERANCE_S``.

    Raises:
        ImageError: If the times are unusable, or no phase is near enough.
    """
    delays = phase_delays_s(times_s, injection_s)
    if tolerance_s is None:
        post = times_s[1:] if len(times_s) > 2 else times_s
        tolerance_s = min(max(late - early for early, late in pairwise(post)) / 2, LARGEST_TOLERANCE_S)
    nearest = int(np.argmin(np.abs(np.array(delays) - delay_s)))
    if abs(delays[nearest] - delay_s) > tolerance_s:
        raise ImageError(
            f"a phase must lie within {tolerance_s:g} s of {delay_s:g} s after the injection, the nearest (phase "
            f"{nearest + 1}) lies at {delays[nearest]:g} s; exclude the exam or choose another delay"
        )
    return TimedPhase(nearest + 1, delays[nearest])
