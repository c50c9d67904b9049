"""Intensity: one linear map a case, shared by its phases, so that kinetics survive."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genovox.core.errors import ImageError
from genovox.core.volume import Array, Mask
from genovox.volumes.kinetics import parse_channel

_BINS = 65_536
_PIECE = 65_536


@dataclass(frozen=True)
class IntensityMap:
    """``(signal - offset) / scale`` for phases, ``difference / scale`` for differences; absolute channels stay.

    Attributes:
        ceiling: Phases are limited to [0, ceiling] afterwards, unless it is None.
        rounded: Whether phases and differences become whole numbers.
        clipped_fraction: Share of the foreground's signal, over all phases, that the limits change.
    """

    offset: float
    scale: float
    ceiling: float | None = None
    rounded: bool = False
    clipped_fraction: float = 0.0

    def apply(self, channels: Array, names: tuple[str, ...]) -> Array:
        """Map channels, shape (channel, z, y, x)."""
        out = np.empty_like(channels)
        for index, name in enumerate(names):
            kind = parse_channel(name).kind
            if kind == "absolute":
                out[index] = channels[index]
                continue
            offset = np.float32(self.offset if kind == "signal" else 0)
            np.subtract(channels[index], offset, out=out[index])
            out[index] /= np.float32(self.scale)
            if self.rounded:
                np.rint(out[index], out=out[index])
            if self.ceiling is not None and kind == "signal":
                np.clip(out[index], 0, np.float32(self.ceiling), out=out[index])
        return out


def fit_intensity(phases: Array, mask: Mask, kind: str) -> IntensityMap:
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
        phases: Shape (phase, z, y, x), pre-contrast first.
        mask: Foreground, shape (z, y, x).
        kind: One of these.

    Raises:
        ImageError: If the mask is empty, or the foreground is not finite or holds one value only.
    """
    if kind in {"none", "nyul"}:
        return IntensityMap(0.0, 1.0)
    inside = gather_foreground(phases[:1] if kind == "pre" else phases, mask)
    low, high = float(inside.min()), float(inside.max())
    if low == high:
        raise ImageError('the foreground holds one value only; convert the scan again or use normalise = "none"')
    if kind == "uint8":
        return IntensityMap(low, (high - low) / 255, ceiling=255.0, rounded=True)
    if kind == "percentile":
        low, high = measure_percentiles(inside, (1, 99))
        if low == high:
            raise ImageError(
                f"98% of the foreground holds one value, {low:g}; convert the scan again or use another normalisation"
            )
        clipped = np.count_nonzero(inside < np.float32(low)) + np.count_nonzero(inside > np.float32(high))
        return IntensityMap(low, high - low, ceiling=1.0, clipped_fraction=clipped / inside.size)
    return IntensityMap(float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64)))


def gather_foreground(phases: Array, mask: Mask) -> Array:
    """The foreground's signal of all phases, one after the other.

    Args:
        phases: Shape (phase, z, y, x).
        mask: Foreground, shape (z, y, x).

    Returns:
        Shape (phase * foreground voxels,).

    Raises:
        ImageError: If the mask is empty or the signal is not finite.
    """
    if not mask.any():
        raise ImageError('the foreground is empty; look at the scan or use foreground = "none"')
    # Phase by phase: one index over all phases takes ten times as long.
    inside = np.concatenate([phase[mask] for phase in phases])
    if not np.isfinite(inside).all():
        raise ImageError("the foreground must be finite, some voxels are not; convert the scan again from its source")
    return inside


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
    """Whether the voxels hold two values only, as a mask does; such a volume is never normalised."""
    low, high = phases.min(), phases.max()
    return bool(((phases == low) | (phases == high)).all())
