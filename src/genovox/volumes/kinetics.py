"""Channels: what the network sees of the phases."""

import re

import numpy as np

from genovox.core.errors import ImageError
from genovox.core.volume import Array

_NUMBERED = re.compile(r"(post|subtraction)([1-9]\d*)")


def phases_needed(channels: tuple[str, ...]) -> int:
    """How many phases a case must have for these channels."""
    return max(_last_phase(channel) for channel in channels) + 1


def make_channels(phases: Array, channels: tuple[str, ...]) -> Array:
    """Compute channels from phases.

    ``pre`` is phase 0, ``postK`` phase K, ``subtractionK`` = phase K - phase 0, and ``washout`` = phase 1 - last
    phase, positive where signal is lost after the first post-contrast phase.

    Args:
        phases: Shape (phase, z, y, x), pre-contrast first.
        channels: Channel names.

    Returns:
        Shape (channel, z, y, x).

    Raises:
        ImageError: If a channel needs a phase the case does not have.
    """
    for channel in channels:
        if _last_phase(channel) >= len(phases):
            raise ImageError(
                f"channel {channel} needs {_last_phase(channel) + 1} phases, the case has {len(phases)}; "
                "give every phase, or choose other preprocess.channels"
            )
    return np.stack([_make_channel(phases, channel) for channel in channels])


def is_difference(channel: str) -> bool:
    """Whether a channel is a difference of phases, where 0 means no change."""
    return channel.startswith("subtraction") or channel == "washout"


def _last_phase(channel: str) -> int:
    if channel == "pre":
        return 0
    if channel == "washout":
        return 2
    match = _NUMBERED.fullmatch(channel)
    if match is None:
        raise ValueError(channel)
    return int(match[2])


def _make_channel(phases: Array, channel: str) -> Array:
    if channel == "washout":
        return np.asarray(phases[1] - phases[-1])
    phase: Array = phases[_last_phase(channel)]
    return np.asarray(phase - phases[0]) if is_difference(channel) else phase
