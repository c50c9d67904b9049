"""Random changes of what contrast agent does: its dose, its timing, and a phase that was not acquired.

Each is a linear map of the phases. A network sees channels, which are sums and differences of phases; where the
channels hold enough of the phases, the map becomes one of channels, and post-contrast, subtraction and wash-out
channels go on saying the same. Where they do not (a post-contrast phase alone says nothing of the signal before), the
transform is not possible and is left out.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from genovox.augment.draws import (
    check_range,
    check_sample,
    draw_chosen,
    draw_factor,
    draw_integer,
    draw_number,
    widen,
)
from genovox.core.errors import UsageError
from genovox.volumes.kinetics import parse_channel

# Measures in a unit of their own that grow with the dose, and those that it does not touch.
_SCALED = frozenset({"peak", "washin", "initial-area"})
_FIXED = frozenset({"ser", "time-to-peak"})


@dataclass(frozen=True, kw_only=True)
class ContrastDose:
    """Scale all enhancement by one factor a sample, as a larger dose does: post = pre + f (post - pre).

    Signal is taken as linear in concentration, which holds for the low concentrations of tissue.

    Args:
        channels: Name of each channel.
        factor: Log-uniform multiplier in [1 / factor, factor], 1 or more.
        probability: Chance a sample, 0 to 1.
    """

    channels: tuple[str, ...]
    factor: float = 1.25
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("contrast dose factor", self.factor, 1)
        check_range("contrast dose probability", self.probability, 0, 1)

    def is_possible(self) -> bool:
        """Whether the channels can follow a change of dose."""
        phases = read_phases(self.channels)
        return phases is not None and phases.follow(phases.change_dose(2.0)) is not None

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong, or the channels cannot follow.
        """
        check_sample(sample)
        factor = draw_factor(generator, self.factor)
        if not draw_chosen(generator, self.probability) or self.factor == 1:
            return sample
        phases = require_phases(self.channels, sample)
        return mix_channels(sample, phases.follow(phases.change_dose(factor)), self.channels)


@dataclass(frozen=True, kw_only=True)
class ContrastTiming:
    """Let the agent arrive earlier or later: every post-contrast phase moves towards the phase after or before it.

    The curve is taken as straight between phases; after the last one it stays.

    Args:
        channels: Name of each channel.
        interval_fraction: Largest shift as a share of the interval between the phases that the channels show, 0 to 1.
        probability: Chance a sample, 0 to 1.
    """

    channels: tuple[str, ...]
    interval_fraction: float = 0.15
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("contrast timing interval_fraction", self.interval_fraction, 0, 1)
        check_range("contrast timing probability", self.probability, 0, 1)

    def is_possible(self) -> bool:
        """Whether the channels can follow a change of timing."""
        phases = read_phases(self.channels)
        return (
            phases is not None
            and phases.is_ordered
            and all(phases.follow(phases.shift_time(fraction)) is not None for fraction in (-0.5, 0.5))
        )

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong, or the channels cannot follow.
        """
        check_sample(sample)
        fraction = draw_number(generator, -self.interval_fraction, self.interval_fraction)
        if not draw_chosen(generator, self.probability) or self.interval_fraction == 0:
            return sample
        phases = require_phases(self.channels, sample)
        mixing = phases.follow(phases.shift_time(fraction)) if self.is_possible() else None
        return mix_channels(sample, mixing, self.channels)


@dataclass(frozen=True, kw_only=True)
class PhaseDropout:
    """Show a sample as if one post-contrast phase were missing and the phase before it were used in its place.

    Args:
        channels: Name of each channel.
        probability: Chance a sample, 0 to 1.
    """

    channels: tuple[str, ...]
    probability: float = 0.1

    def __post_init__(self) -> None:
        check_range("phase dropout probability", self.probability, 0, 1)

    def is_possible(self) -> bool:
        """Whether the channels can do without at least one post-contrast phase."""
        phases = read_phases(self.channels)
        return phases is not None and bool(phases.spare())

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong, or no phase can be spared.
        """
        check_sample(sample)
        phases = require_phases(self.channels, sample)
        spare = phases.spare()
        if not spare:
            raise UsageError(_refusal(self.channels))
        dropped = spare[draw_integer(generator, len(spare))]
        if not draw_chosen(generator, self.probability):
            return sample
        return mix_channels(sample, phases.follow(phases.drop(dropped)), self.channels)


@dataclass(frozen=True)
class PhaseWeights:
    """Which sum of phases each channel is.

    Attributes:
        weights: Shape (channel, phase), float64; phase 0 is the pre-contrast one.
        fixed: Whether a phase stays what it is at any dose; a measure that is no sum of phases counts as one.
        is_ordered: Whether the phases stand in order of time: those named by number and by second cannot be told
            apart in time, and a measure of a whole curve has none.
    """

    weights: Tensor
    fixed: tuple[bool, ...]
    is_ordered: bool

    def change_dose(self, factor: float) -> Tensor:
        """Map of phases, shape (phase, phase): enhancement times ``factor``."""
        change = torch.eye(self.weights.shape[1], dtype=torch.float64)
        for phase, fixed in enumerate(self.fixed):
            if not fixed:
                change[phase, phase] = factor
                change[phase, 0] = 1 - factor
        return change

    def shift_time(self, fraction: float) -> Tensor:
        """Map of phases: each read ``fraction`` of an interval later (below 0: earlier)."""
        count = self.weights.shape[1]
        change = torch.eye(count, dtype=torch.float64)
        for phase in range(1, count):
            neighbour = min(phase + 1, count - 1) if fraction > 0 else phase - 1
            change[phase, phase] -= abs(fraction)
            change[phase, neighbour] += abs(fraction)
        return change

    def drop(self, phase: int) -> Tensor:
        """Map of phases: the one before ``phase`` takes its place."""
        change = torch.eye(self.weights.shape[1], dtype=torch.float64)
        change[phase] = change[phase - 1].clone()
        return change

    def spare(self) -> list[int]:
        """Post-contrast phases the channels can do without; never the only one."""
        if not self.is_ordered or self.weights.shape[1] < 3:
            return []
        return [phase for phase in range(1, self.weights.shape[1]) if self.follow(self.drop(phase)) is not None]

    def follow(self, change: Tensor) -> Tensor | None:
        """The map of channels that a map of phases amounts to, shape (channel, channel); None if there is none."""
        wanted = self.weights @ change
        found: Tensor = wanted @ torch.linalg.pinv(self.weights)
        return found if torch.allclose(found @ self.weights, wanted, atol=1e-9) else None


def read_phases(channels: tuple[str, ...]) -> PhaseWeights | None:
    """Weights of the phases in each channel; None if a channel is no sum of phases.

    Enhancement relative to the pre-contrast phase is a difference too, and counts as one to a phase of its own.

    Raises:
        ValueError: If there is no such channel.
    """
    terms = [_read_terms(channel) for channel in channels]
    if not channels or None in terms:
        return None
    labels = [_PRE, *sorted({label for found in terms if found for label in found} - {_PRE})]
    weights = torch.zeros(len(channels), len(labels), dtype=torch.float64)
    for row, found in enumerate(terms):
        for label, weight in (found or {}).items():
            weights[row, labels.index(label)] += weight
    scales = {scale for scale, _ in labels[1:]}
    return PhaseWeights(
        weights,
        fixed=tuple(label == _PRE or label[0] in _FIXED for label in labels),
        is_ordered=len(scales) <= 1 and not scales & (_SCALED | _FIXED),
    )


def require_phases(channels: tuple[str, ...], sample: Tensor) -> PhaseWeights:
    """Weights of the phases in each channel of a sample (C, D, H, W).

    Raises:
        UsageError: If the names do not fit the sample or are no sums of phases.
    """
    if len(channels) != len(sample):
        raise UsageError(f"a sample must hold the channels {', '.join(channels)}, got {len(sample)}; name each channel")
    phases = read_phases(channels)
    if phases is None:
        raise UsageError(_refusal(channels))
    return phases


def mix_channels(sample: Tensor, mixing: Tensor | None, channels: tuple[str, ...]) -> Tensor:
    """Each channel as a weighted sum of all: shape (C, D, H, W) of a sample of that shape.

    Raises:
        UsageError: If there is no mixing that does it.
    """
    if mixing is None:
        raise UsageError(_refusal(channels))
    values = widen(sample)
    return torch.matmul(mixing.to(values), values.flatten(1)).view(values.shape).to(sample.dtype)


_Label = tuple[str, float]
_PRE: _Label = ("", 0.0)
_LAST = float("inf")


def _read_terms(name: str) -> dict[_Label, float] | None:
    """Weight of each phase in a channel; a phase is a scale (number, second) and a place on it."""
    channel = parse_channel(name)
    measure = channel.measure
    if measure == "pre":
        return {_PRE: 1.0}
    if measure == "washout":
        return {("number", 1.0): 1.0, ("number", _LAST): -1.0}
    if measure in _FIXED:
        return {(measure, 0.0): 1.0}
    if measure in _SCALED or measure == "enhancement":
        return {(measure, float(channel.number)): 1.0, _PRE: -1.0}
    scale = {"post": "number", "subtraction": "number", "post@": "second", "subtraction@": "second"}.get(measure)
    if scale is None:
        return None
    return {(scale, float(channel.number)): 1.0} | ({_PRE: -1.0} if channel.kind == "difference" else {})


def _refusal(channels: tuple[str, ...]) -> str:
    return (
        f"contrast transforms need channels that tell the signal before and after contrast, got {', '.join(channels)}; "
        "add pre or subtractions to preprocess.channels, or leave the transform out"
    )
