"""Intensity: one linear map a case, shared by its phases, so that kinetics survive."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genovox.core.errors import ImageError
from genovox.core.volume import Array
from genovox.volumes.kinetics import parse_channel

LARGEST_SAMPLE = 500_000
_BINS = 65_536
_PIECE = 65_536


@dataclass(frozen=True)
class IntensityMap:
    """``(signal - offset) / scale`` for phases, ``difference / scale`` for differences.

    A channel in a unit of its own is divided by the largest value it may take, whatever the case, unless nothing is
    normalised: to a network 300% of enhancement must not weigh a hundred times what 3 SDs of signal do.

    Attributes:
        ceiling: Phases are limited to [0, ceiling] afterwards, unless it is None.
        rounded: Whether phases and differences become whole numbers.
        scales_absolute: Whether channels in units of their own are brought to the range of 1.
        clipped_fraction: Share of the foreground's signal, over all phases, that the limits change.
    """

    offset: float
    scale: float
    ceiling: float | None = None
    rounded: bool = False
    clipped_fraction: float = 0.0
    scales_absolute: bool = True

    def apply(self, channels: Array, names: tuple[str, ...], out: Array | None = None) -> Array:
        """Map channels.

        Args:
            channels: Shape (channel, z, y, x).
            names: Of each.
            out: Where to write, if not into new memory; the channels themselves are allowed.
        """
        out = np.empty_like(channels) if out is None else out
        for index, name in enumerate(names):
            channel = parse_channel(name)
            kind = channel.kind
            if kind == "absolute":
                largest = max(abs(limit) for limit in channel.limits or (1.0,))
                np.divide(channels[index], np.float32(largest if self.scales_absolute else 1), out=out[index])
                continue
            offset = np.float32(self.offset if kind == "signal" else 0)
            np.subtract(channels[index], offset, out=out[index])
            out[index] /= np.float32(self.scale)
            if self.rounded:
                np.rint(out[index], out=out[index])
            if self.ceiling is not None and kind == "signal":
                np.clip(out[index], 0, np.float32(self.ceiling), out=out[index])
        return out


@dataclass(frozen=True)
class PhaseSignal:
    """The foreground's signal in one phase, as far as maps and records need it.

    Attributes:
        mean, sd: Over all voxels.
        low, high: Least and largest.
        sample: Every so many voxels, at most half a million, for percentiles.
    """

    mean: float
    sd: float
    low: float
    high: float
    sample: Array


def measure_phase(phase: Array, voxels: npt.NDArray[np.int32]) -> PhaseSignal:
    """Measure one phase, without a copy of its foreground.

    Args:
        phase: Shape (z, y, x).
        voxels: Flat index of each voxel of the foreground, rising.

    Raises:
        ImageError: If there is no foreground, or it is not finite.
    """
    if not len(voxels):
        raise ImageError('the foreground is empty; look at the scan or use foreground = "none"')
    flat = phase.ravel()
    low, high, total, square = math.inf, -math.inf, 0.0, 0.0
    # Near the mean, so that the square's mean is no small difference of large numbers.
    centre = np.float32(flat.take(voxels[:: max(1, len(voxels) // 1000)]).mean())
    for begin in range(0, len(voxels), _PIECE):
        piece = flat.take(voxels[begin : begin + _PIECE])
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        piece -= centre
        total += float(piece.sum())
        square += float(np.dot(piece, piece))
    if not math.isfinite(total):
        raise ImageError("the foreground must be finite, some voxels are not; convert the scan again from its source")
    apart = total / len(voxels)
    sd = math.sqrt(max(square / len(voxels) - apart**2, 0.0))
    sample = flat.take(voxels[:: -(-len(voxels) // LARGEST_SAMPLE)])
    return PhaseSignal(float(centre) + apart, sd if high > low else 0.0, low, high, sample)


def fit_intensity(signals: Sequence[PhaseSignal], kind: str) -> IntensityMap:
    """The map of one case.

    ``joint-z``
        Mean 0, SD 1 over all phases in the foreground.
    ``pre``
        Mean 0, SD 1 of the first phase in the foreground, for all phases.
    ``percentile``
        1st and 99th percentile over all phases in the foreground become 0 and 1; phases are clipped.
    ``uint8``
        Lowest and highest signal over all phases in the foreground become 0 and 255; phases are clipped, everything
        is rounded.
    ``nyul`` and ``none``
        The signal stays: what maps it is learnt from the training patients.

    Args:
        signals: Of each phase, pre-contrast first.
        kind: One of these.

    Raises:
        ImageError: If the foreground holds one value only.
    """
    if kind in {"none", "nyul"}:
        return IntensityMap(0.0, 1.0, scales_absolute=kind != "none")
    counted = signals[:1] if kind == "pre" else signals
    low, high = min(one.low for one in counted), max(one.high for one in counted)
    if low == high:
        raise ImageError('the foreground holds one value only; convert the scan again or use normalise = "none"')
    if kind == "uint8":
        return IntensityMap(low, (high - low) / 255, ceiling=255.0, rounded=True)
    if kind == "percentile":
        sample = join_samples(counted)
        low, high = measure_percentiles(sample, (1, 99))
        if low == high:
            raise ImageError(
                f"98% of the foreground holds one value, {low:g}; convert the scan again or use another normalisation"
            )
        clipped = np.count_nonzero(sample < np.float32(low)) + np.count_nonzero(sample > np.float32(high))
        return IntensityMap(low, high - low, ceiling=1.0, clipped_fraction=clipped / sample.size)
    mean = sum(one.mean for one in counted) / len(counted)
    variance = sum(one.sd**2 + (one.mean - mean) ** 2 for one in counted) / len(counted)
    return IntensityMap(mean, math.sqrt(variance))


def join_samples(signals: Sequence[PhaseSignal]) -> Array:
    """The samples of all phases, one after the other."""
    return np.concatenate([one.sample for one in signals])


def measure_percentiles(values: Array, percents: Sequence[float]) -> list[float]:
    """Percentiles from a histogram of 65,536 bins, without a sort.

    Args:
        values: Any shape, finite, at least one value.
        percents: In [0, 100].

    Returns:
        As numpy's, linear between neighbours in rank, to within 1/65,536 of the range.
    """
    flat = values.ravel()
    low, high = float(flat.min()), float(flat.max())
    if low == high:
        return [low] * len(percents)
    counts = np.zeros(_BINS, np.int64)
    # Subtraction and product stay in double precision: a far offset must not move a value into another bin.
    factor = (_BINS - 1) / (high - low)
    for begin in range(0, flat.size, _PIECE):
        bins = ((flat[begin : begin + _PIECE].astype(np.float64) - low) * factor + 0.5).astype(np.int64)
        counts += np.bincount(bins, minlength=_BINS)
    below = counts.cumsum()
    places = np.asarray(percents, np.float64) / 100 * (flat.size - 1)
    first = np.floor(places)
    ends = [low + np.searchsorted(below, rank, side="right") / factor for rank in (first, np.ceil(places))]
    found: npt.NDArray[np.float64] = ends[0] + (places - first) * (ends[1] - ends[0])
    return [float(value) for value in found]


def is_two_valued(phases: Array) -> bool:
    """Whether the voxels hold exactly two values, as a mask does; such a volume is never normalised."""
    if len(np.unique(phases.ravel()[:: max(1, phases.size // 1000)])) > 2:
        return False
    low, high = phases.min(), phases.max()
    return bool(low < high and ((phases == low) | (phases == high)).all())
