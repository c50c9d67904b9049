"""Intensity: one linear map a case, shared by its phases, so that kinetics survive."""

from dataclasses import dataclass

import numpy as np

from genovox.core.errors import ImageError
from genovox.core.volume import Array, Mask
from genovox.volumes.kinetics import parse_channel


@dataclass(frozen=True)
class IntensityMap:
    """``(signal - offset) / scale`` for phases, ``difference / scale`` for differences; absolute channels stay.

    Attributes:
        clip: Whether phases are limited to [0, 1] afterwards.
    """

    offset: float
    scale: float
    clip: bool = False

    def apply(self, channels: Array, names: tuple[str, ...]) -> Array:
        """Map channels, shape (channel, z, y, x)."""
        out = np.empty_like(channels)
        for index, name in enumerate(names):
            kind = parse_channel(name).kind
            if kind != "signal":
                out[index] = channels[index] if kind == "absolute" else channels[index] / np.float32(self.scale)
                continue
            out[index] = (channels[index] - np.float32(self.offset)) / np.float32(self.scale)
            if self.clip:
                np.clip(out[index], 0, 1, out=out[index])
        return out


def fit_intensity(phases: Array, mask: Mask, kind: str) -> IntensityMap:
    """The map of one case.

    Args:
        phases: Shape (phase, z, y, x).
        mask: Foreground, shape (z, y, x), not empty.
        kind: ``joint-z`` (mean 0, SD 1 over all phases in the foreground), ``percentile`` (1st and 99th percentile over
            all phases in the foreground become 0 and 1, phases are clipped) or ``none``.

    Raises:
        ImageError: If the foreground holds one value only.
    """
    if kind == "none":
        return IntensityMap(0.0, 1.0)
    inside = phases[:, mask]
    if kind == "joint-z":
        offset, scale = float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))
    else:
        low, high = np.percentile(inside, [1, 99])
        offset, scale = float(low), float(high - low)
    if scale <= 0:
        raise ImageError('the foreground holds one value only; convert the scan again or use normalise = "none"')
    return IntensityMap(offset, scale, clip=kind == "percentile")


def is_two_valued(phases: Array) -> bool:
    """Whether the voxels hold two values only, as a mask does; such a volume is never normalised."""
    low, high = phases.min(), phases.max()
    return bool(((phases == low) | (phases == high)).all())
