"""Landmarks of signal and the standard scale they are mapped to: what makes the same tissue equally bright.

The landmarks of a case are percentiles of its pre-contrast phase. The standard scale is learnt from several cases and
belongs to those who learnt it: training patients of one fold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genovox.core.errors import DataError, ImageError
from genovox.core.volume import Array
from genovox.volumes.intensity import measure_percentiles
from genovox.volumes.kinetics import parse_channel

PERCENTS = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
LANDMARK_NAMES = tuple(f"l{percent:02d}" for percent in PERCENTS)

_PIECE = 32_768


def measure_landmarks(signal: Array) -> tuple[float, ...]:
    """Percentiles 1, 10, 20 to 90 and 99 of the pre-contrast signal in the foreground.

    Args:
        signal: Foreground voxels of the pre-contrast phase, any shape, finite.

    Returns:
        In the order of ``LANDMARK_NAMES``, in the unit of the signal.

    Raises:
        ImageError: If there is no signal, it is not finite, or its 1st and 99th percentile are one.
    """
    if not signal.size or not np.isfinite(signal).all():
        raise ImageError("landmarks need foreground voxels that are finite; look at the scan and its foreground")
    landmarks = tuple(measure_percentiles(signal, PERCENTS))
    if np.float32(landmarks[0]) == np.float32(landmarks[-1]):
        raise ImageError(
            f"98% of the pre-contrast foreground holds one value, {landmarks[0]:g}, so there are no landmarks; "
            "convert the scan again or use another normalisation"
        )
    return landmarks


@dataclass(frozen=True)
class StandardScale:
    """Where the landmarks of every case are mapped to.

    Attributes:
        values: A place a landmark, from 0 to 1, never falling.

    Raises:
        DataError: If they fall, or do not run from 0 to 1.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        steps = np.diff(self.values)
        if len(self.values) < 2 or self.values[0] != 0 or self.values[-1] != 1 or not (steps >= 0).all():
            raise DataError(
                f"a standard scale must rise from 0 to 1, got {', '.join(f'{v:g}' for v in self.values)}; train again"
            )

    def map(self, signal: Array, landmarks: tuple[float, ...]) -> Array:
        """Map signal piece by piece linearly, so that each landmark lands on its place.

        Beyond the outer landmarks the outer pieces go on. Larger signal never becomes smaller, and all phases of a case
        share the map, so the order of its phases survives.

        Args:
            signal: Any shape.
            landmarks: The case's own.

        Returns:
            Shape of ``signal``; 0 at the 1st, 1 at the 99th percentile.

        Raises:
            DataError: If the landmarks do not fit.
        """
        knots, places = self._join_equal(landmarks)
        slopes = np.diff(places) / np.diff(knots)
        # Each piece contributes what it rises by: rounding cannot make a sum of rising parts fall.
        lows, highs = [-np.inf, *knots[1:-1]], [*knots[1:-1], np.inf]
        flat = signal.ravel()
        out = np.full(flat.size, places[0], np.float32)
        for begin in range(0, flat.size, _PIECE):
            values, total = flat[begin : begin + _PIECE], out[begin : begin + _PIECE]
            for low, high, knot, slope in zip(lows, highs, knots[:-1], slopes, strict=True):
                part = np.clip(values, np.float32(low), np.float32(high))
                part -= np.float32(knot)
                part *= np.float32(slope)
                total += part
        return out.reshape(signal.shape)

    def map_channels(self, channels: Array, names: tuple[str, ...], landmarks: tuple[float, ...]) -> Array:
        """Map a case's channels, each as its kind asks for.

        Phases are mapped piece by piece. Differences are divided by the range between the outer landmarks, the mean
        slope of the map: bent, the same uptake would count more in fat than in gland, and ratios of uptake would be
        lost. Absolute channels stay.

        Args:
            channels: Shape (channel, z, y, x).
            names: The channels' names.
            landmarks: The case's own.

        Returns:
            Shape of ``channels``.

        Raises:
            DataError: If the landmarks do not fit.
        """
        knots, _ = self._join_equal(landmarks)
        out = np.empty_like(channels)
        for index, name in enumerate(names):
            kind = parse_channel(name).kind
            if kind == "signal":
                out[index] = self.map(channels[index], landmarks)
            elif kind == "difference":
                np.divide(channels[index], np.float32(knots[-1] - knots[0]), out=out[index])
            else:
                out[index] = channels[index]
        return out

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"percents": list(PERCENTS), "values": list(self.values)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "StandardScale":
        """Read what ``as_dict`` wrote.

        Raises:
            DataError: If it is no standard scale of these landmarks.
        """
        if list(content.get("percents", [])) != list(PERCENTS) or len(content.get("values", [])) != len(PERCENTS):
            raise DataError(f"a standard scale must hold {len(PERCENTS)} values for its percents; train again")
        return cls(tuple(float(value) for value in content["values"]))

    def _join_equal(self, landmarks: tuple[float, ...]) -> tuple[list[float], list[float]]:
        """Knots that rise and their places; landmarks of one value, as in coarse scans, share their mean place."""
        if len(landmarks) != len(self.values):
            raise DataError(f"a case needs {len(self.values)} landmarks, got {len(landmarks)}; preprocess it again")
        check_landmarks(np.array([landmarks]))
        # As the map computes: landmarks that differ by less than a single-precision step are one.
        knots, where = np.unique(np.array(landmarks, np.float32), return_inverse=True)
        places = np.bincount(where, weights=self.values) / np.bincount(where)
        return knots.astype(float).tolist(), places.tolist()


def learn_scale(landmarks: npt.ArrayLike) -> StandardScale:
    """Learn the standard scale: the mean place of each landmark between the outer two.

    Args:
        landmarks: Shape (cases, landmarks), of training patients only.

    Raises:
        DataError: If there is no case, or landmarks are not finite, fall, or hold one value only.

    References:
        Nyúl, Udupa & Zhang (2000), doi:10.1109/42.836373.
    """
    table = np.asarray(landmarks, np.float64)
    if table.ndim != 2 or not len(table):
        raise DataError(f"a standard scale needs cases x landmarks, got shape {table.shape}; give training cases")
    check_landmarks(table)
    places = (table - table[:, :1]) / (table[:, -1:] - table[:, :1])
    return StandardScale((0.0, *places.mean(0)[1:-1].tolist(), 1.0))


def check_landmarks(table: npt.NDArray[np.float64]) -> None:
    """Refuse landmarks, shape (cases, landmarks), that place nothing.

    Raises:
        DataError: If any are not finite, fall, or hold one value only.
    """
    sound = np.isfinite(table).all(1) & (np.diff(table) >= 0).all(1)
    sound &= table[:, -1].astype(np.float32) > table[:, 0].astype(np.float32)
    if not sound.all():
        wrong = ", ".join(f"{value:g}" for value in table[np.flatnonzero(~sound)[0]])
        raise DataError(f"landmarks must be finite and rise, got {wrong}; preprocess the case again")
