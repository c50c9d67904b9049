"""Channels: what the network sees of the phases."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from genovox.core.errors import ImageError
from genovox.core.volume import Array, Mask
from genovox.volumes.delays import INJECTION_LEAD_S, TimedPhase, find_phase, phase_delays_s
from genovox.volumes.pharmacokinetics import Protocol, TissueMaps, find_concentration, fit_tofts

Kind = Literal["signal", "difference", "absolute"]
Limits = tuple[float, float]

INITIAL_AREA_S = 90
FLOOR_SHARE, FLOOR_PERCENTILE = 0.15, 99
ENHANCING = 0.2
"""Relative enhancement from which a curve has a shape: several times what noise gives."""
ENHANCEMENT_LIMITS = (-100.0, 500.0)
_FLOOR_SAMPLE, _SLAB_VOXELS = 200_000, 65_000
_TINY = 1e-30


@dataclass(frozen=True)
class Channel:
    """One channel of the network's input.

    Attributes:
        name: As the study writes it.
        measure: What is computed, the name without its number.
        kind: ``signal`` (scaled and shifted by normalisation), ``difference`` of signals (scaled; 0 is no change) or
            ``absolute`` (in a unit of its own, never touched by normalisation).
        phases: How many phases a case must have.
        needs_times: Whether the phases' times must be known.
        unit: Of an absolute channel.
        limits: Least and largest value of an absolute channel, to which it is clipped; for display too.
        number: Phase (``post2``) or seconds (``post@90s``); 0 if neither.
    """

    name: str
    measure: str
    kind: Kind
    phases: int
    needs_times: bool = False
    unit: str = ""
    limits: Limits | None = None
    number: int = 0


_DELAY = r"@(?P<number>[1-9]\d{0,3})s"
_COUNT = r"(?P<number>[1-9]\d{0,3})"
# Name pattern, measure, kind, phases (None: as the number says), times, unit, limits.
_CHANNELS: tuple[tuple[re.Pattern[str], str, Kind, int | None, bool, str, Limits | None], ...] = tuple(
    (re.compile(pattern), *rest)
    for pattern, *rest in (
        ("pre", "pre", "signal", 1, False, "", None),
        ("post" + _COUNT, "post", "signal", None, False, "", None),
        ("post" + _DELAY, "post@", "signal", 2, True, "", None),
        ("subtraction" + _COUNT, "subtraction", "difference", None, False, "", None),
        ("subtraction" + _DELAY, "subtraction@", "difference", 2, True, "", None),
        ("washout", "washout", "difference", 3, False, "", None),
        ("enhancement", "peak", "absolute", 2, False, "%", ENHANCEMENT_LIMITS),
        ("enhancement" + _COUNT, "enhancement", "absolute", None, False, "%", ENHANCEMENT_LIMITS),
        ("washin", "washin", "absolute", 2, True, "%/min", (-100.0, 1000.0)),
        ("ser", "ser", "absolute", 3, False, "", (0.0, 3.0)),
        ("time-to-peak", "time-to-peak", "absolute", 3, True, "s", (0.0, 900.0)),
        ("initial-area(?:" + _DELAY + ")?", "initial-area", "absolute", 2, True, "% min", ENHANCEMENT_LIMITS),
        ("ktrans", "ktrans", "absolute", 4, True, "1/min", (0.0, 2.0)),
        ("ve", "ve", "absolute", 4, True, "", (0.0, 1.0)),
        ("vp", "vp", "absolute", 4, True, "", (0.0, 1.0)),
    )
)


def parse_channel(name: str) -> Channel:
    """What a channel's name says.

    Raises:
        ValueError: If there is no such channel.
    """
    for pattern, measure, kind, phases, timed, unit, limits in _CHANNELS:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        number = int(match.groupdict().get("number") or 0)
        needed = number + 1 if phases is None else phases
        if measure != "initial-area" or limits is None:
            return Channel(name, measure, kind, needed, timed, unit, limits, number)
        seconds = number or INITIAL_AREA_S
        within = limits[0] * seconds / 60, limits[1] * seconds / 60
        return Channel(name, measure, kind, needed, timed, unit, within, seconds)
    raise ValueError(f"{name} is no channel")


def is_difference(channel: str) -> bool:
    """Whether a channel is a difference of phases, where 0 means no change."""
    return parse_channel(channel).kind == "difference"


def phases_needed(channels: tuple[str, ...]) -> int:
    """How many phases a case must have for these channels."""
    return max(parse_channel(channel).phases for channel in channels)


def needs_times(channels: tuple[str, ...]) -> bool:
    """Whether any of these channels needs the phases' times."""
    return any(parse_channel(channel).needs_times for channel in channels)


def find_timed_phases(
    channels: tuple[str, ...], times_s: tuple[float, ...], *, injection_s: float | None = None
) -> dict[str, TimedPhase]:
    """The phase behind each channel that names a delay (``post@90s``), for the case's record.

    Raises:
        ImageError: As ``find_phase``.
    """
    timed = (parse_channel(name) for name in channels)
    return {
        channel.name: find_phase(times_s, channel.number, injection_s=injection_s)
        for channel in timed
        if channel.measure.endswith("@")
    }


def signal_floor(pre: Array) -> float:
    """The least pre-contrast signal that enhancement is divided by: 15% of the volume's 99th percentile.

    Below it lie air, lung and noise, whose relative enhancement means nothing and would be without bound.

    Args:
        pre: Pre-contrast phase, shape (z, y, x).
    """
    stride = max(1, pre.size // _FLOOR_SAMPLE)
    return FLOOR_SHARE * float(np.percentile(pre.ravel()[::stride], FLOOR_PERCENTILE))


def phases_used(channels: tuple[str, ...], count: int, times_s: tuple[float, ...] = ()) -> set[int]:
    """Which phases of a case these channels look at.

    Args:
        channels: Channel names.
        count: How many phases the case has.
        times_s: Start of each phase in seconds; empty if unknown.

    Raises:
        ImageError: As ``make_channels``.
    """
    _require_phases(channels, count, times_s)
    timed = find_timed_phases(channels, times_s)
    used: set[int] = set()
    for channel in (parse_channel(name) for name in channels):
        if channel.kind == "absolute":
            return set(range(count))
        if channel.measure == "washout":
            used |= {1, count - 1}
        elif channel.measure != "pre":
            used.add(timed[channel.name].phase if channel.name in timed else channel.phases - 1)
        if channel.kind == "difference" or channel.measure == "pre":
            used.add(0)
    return used


def make_channels(
    phases: Array | Sequence[Array],
    channels: tuple[str, ...],
    times_s: tuple[float, ...] = (),
    *,
    injection_s: float | None = None,
    floor: float | None = None,
    protocol: Protocol | None = None,
) -> Array:
    """Compute channels from phases.

    | Channel | Value |
    |---|---|
    | ``pre``, ``postK`` | phase 0, phase K |
    | ``subtractionK`` | phase K - phase 0, exactly |
    | ``post@Ns``, ``subtraction@Ns`` | the same of the phase nearest to N s after the injection (``find_phase``) |
    | ``washout`` | phase 1 - last phase: positive where signal is lost |
    | ``enhancementK`` | 100 (phase K - phase 0) / max(phase 0, floor), in % |
    | ``enhancement`` | the largest of them |
    | ``washin`` | enhancement at the first peak over its delay, %/min; the first peak is the phase that the next one \
does not exceed |
    | ``ser`` | (phase 1 - phase 0) / (last phase - phase 0): above 1 is washout |
    | ``time-to-peak`` | delay of the largest enhancement, s |
    | ``initial-area``, ``initial-area@Ns`` | area under the enhancement in the first 90 (N) s after the injection, \
% min |
    | ``ktrans``, ``ve``, ``vp`` | extended Tofts model with the population's arterial input, 1/min and fractions |

    ``ser``, ``time-to-peak`` and the Tofts parameters are 0 where nothing enhances by 20%. The Tofts parameters are
    relative, not absolute, unless ``protocol`` was measured: they rank voxels, and exams of one protocol.

    Args:
        phases: Each of shape (z, y, x), pre-contrast first; those not in ``phases_used`` may hold anything.
        channels: Channel names.
        times_s: Start of each phase in seconds; empty if unknown.
        injection_s: The injection on the same clock, if recorded.
        floor: Least pre-contrast signal enhancement is divided by; from the phases if None (``signal_floor``).
        protocol: For the Tofts parameters; a usual one at 3 T if None (``assume_protocol`` for other fields).

    Returns:
        Shape (channel, z, y, x).

    Raises:
        ImageError: If a channel needs a phase or times the case does not have, or the times are unusable.

    References:
        Enhancement and washout: Kuhl et al. (1999), doi:10.1148/radiology.211.1.r99ap38101; signal enhancement ratio:
        Hylton et al. (2012), doi:10.1148/radiol.12110748; initial area: Evelhoch (1999),
        doi:10.1002/(SICI)1522-2586(199909)10:3<254::AID-JMRI5>3.0.CO;2-9; Tofts: ``pharmacokinetics.fit_tofts``.
    """
    parsed = _require_phases(channels, len(phases), times_s)
    if needs_times(channels):
        phase_delays_s(times_s, injection_s)
    if floor is None:
        floor = signal_floor(phases[0]) if any(channel.kind == "absolute" for channel in parsed) else 0.0
    out = np.empty((len(parsed), *phases[0].shape), np.float32)
    # Some slices at a time, so that what channels share stays in the processor's cache.
    step = max(1, _SLAB_VOXELS // phases[0][0].size)
    for start in range(0, len(phases[0]), step):
        slab = slice(start, start + step)
        exam = _Exam([phase[slab] for phase in phases], times_s, injection_s, floor, protocol or Protocol())
        for made, channel in zip(out[:, slab], parsed, strict=True):
            made[...] = _MEASURES[channel.measure](exam, channel)
            if channel.limits is not None:
                np.clip(made, *channel.limits, out=made)
    return out


def _require_phases(channels: tuple[str, ...], count: int, times_s: tuple[float, ...]) -> list[Channel]:
    """The channels, if the case has the phases and times that they need."""
    parsed = [parse_channel(name) for name in channels]
    for channel in parsed:
        if channel.phases > count:
            raise ImageError(
                f"channel {channel.name} needs {channel.phases} phases, the case has {count}; "
                "give every phase, or choose other preprocess.channels"
            )
        if channel.needs_times and len(times_s) != count:
            got = f"{len(times_s)} for {count} phases" if times_s else "none"
            raise ImageError(
                f"channel {channel.name} needs the time of each phase, got {got}; give phase_times_s, or choose other "
                "preprocess.channels"
            )
    return parsed


@dataclass(frozen=True)
class _Exam:
    """The phases, and what several channels need of them, computed once."""

    phases: Sequence[Array]
    times_s: tuple[float, ...]
    injection_s: float | None
    floor: float
    protocol: Protocol

    @cached_property
    def delays_s(self) -> tuple[float, ...]:
        return phase_delays_s(self.times_s, self.injection_s)

    @cached_property
    def divisor(self) -> Array:
        return np.asarray(np.maximum(self.phases[0], max(self.floor, _TINY)), np.float32)

    @cached_property
    def relative(self) -> Array:
        """Relative enhancement of each post-contrast phase, shape (phase - 1, z, y, x), within its limits."""
        relative: Array = np.stack(self.phases[1:])
        relative -= self.phases[0]
        relative /= self.divisor
        np.clip(relative, ENHANCEMENT_LIMITS[0] / 100, ENHANCEMENT_LIMITS[1] / 100, out=relative)
        return relative

    @cached_property
    def largest(self) -> Array:
        return np.asarray(self.relative.max(axis=0))

    @cached_property
    def enhances(self) -> Mask:
        return np.asarray(self.largest >= ENHANCING)

    @cached_property
    def tofts(self) -> TissueMaps:
        """Fitted where the tissue enhances; one value for each such voxel."""
        minutes = (np.array(self.delays_s) - INJECTION_LEAD_S) / 60
        curves = torch.from_numpy(self.relative[:, self.enhances])
        return fit_tofts(find_concentration(curves, self.protocol), minutes)


def _subtract(exam: _Exam, phase: int) -> Array:
    return np.asarray(exam.phases[phase] - exam.phases[0])


def _find_phase(exam: _Exam, channel: Channel) -> int:
    return find_phase(exam.times_s, channel.number, injection_s=exam.injection_s).phase


def _find_washin(exam: _Exam, _: Channel) -> Array:
    rising, peak = np.ones(exam.largest.shape, bool), np.zeros(exam.largest.shape, np.uint16)
    for before, after in pairwise(exam.relative):
        rising &= after > before
        peak += rising
    height = np.take_along_axis(exam.relative, peak[np.newaxis].astype(np.intp), axis=0)[0]
    return np.asarray(height * (6000 / np.array(exam.delays_s, np.float32))[peak])


def _find_ratio(exam: _Exam, channel: Channel) -> Array:
    early, late = _subtract(exam, 1).clip(min=0), _subtract(exam, -1)
    _, largest = channel.limits or (0.0, 0.0)
    # The divisor that the largest ratio allows; where it counts, the curve washes out to or below its start.
    np.maximum(late, early / np.float32(largest), out=late)
    np.maximum(late, _TINY, out=late)
    return np.asarray(early / late * exam.enhances)


def _find_peak_time(exam: _Exam, _: Channel) -> Array:
    # Counted from the end, so that of equal phases the first wins; 0 is a curve that does not enhance.
    left = np.zeros(exam.largest.shape, np.uint16)
    for number, enhancement in enumerate(exam.relative[::-1], start=1):
        np.maximum(left, (enhancement == exam.largest) * np.uint16(number), out=left)
    left *= exam.enhances
    return np.asarray(np.array((0.0, *exam.delays_s[::-1]), np.float32)[left])


def _find_area(exam: _Exam, channel: Channel) -> Array:
    end_s, delays = channel.number, np.array((0.0, *exam.delays_s))
    if end_s > delays[-1]:
        raise ImageError(
            f"channel {channel.name} needs a phase {end_s} s after the injection or later, the last lies at "
            f"{delays[-1]:g} s; choose other preprocess.channels"
        )
    # The area is linear in the enhancement, so each phase has a weight: the area under its share of the broken line.
    nodes = np.append(delays[delays < end_s], end_s)
    shares = [np.interp(nodes, delays, share) for share in np.eye(len(delays))[1:]]
    weights = (np.trapezoid(shares, nodes, axis=1) * 100 / 60).astype(np.float32)
    return np.asarray(weights @ exam.relative.reshape(len(weights), -1)).reshape(exam.relative.shape[1:])


def _spread(exam: _Exam, channel: Channel) -> Array:
    """A Tofts parameter, 0 where nothing enhances."""
    out = np.zeros(exam.largest.shape, np.float32)
    if exam.enhances.any():
        fitted: torch.Tensor = getattr(exam.tofts, channel.measure)
        out[exam.enhances] = fitted.numpy()
    return out


_MEASURES: dict[str, Callable[[_Exam, Channel], Array]] = {
    "pre": lambda exam, _: exam.phases[0],
    "post": lambda exam, channel: exam.phases[channel.phases - 1],
    "post@": lambda exam, channel: exam.phases[_find_phase(exam, channel)],
    "subtraction": lambda exam, channel: _subtract(exam, channel.phases - 1),
    "subtraction@": lambda exam, channel: _subtract(exam, _find_phase(exam, channel)),
    "washout": lambda exam, _: np.asarray(exam.phases[1] - exam.phases[-1]),
    "peak": lambda exam, _: np.float32(100) * exam.largest,
    "enhancement": lambda exam, channel: np.float32(100) * exam.relative[channel.phases - 2],
    "washin": _find_washin,
    "ser": _find_ratio,
    "time-to-peak": _find_peak_time,
    "initial-area": _find_area,
    "ktrans": _spread,
    "ve": _spread,
    "vp": _spread,
}
