"""Stencils: a padded phase as one row of numbers, in which each neighbour lies a fixed step away.

A filter then is a handful of passes over short contiguous pieces that stay in the processor's cache. Between the lines
of the volume lie the padding's places, which are computed along with the others and thrown away.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genovox.core.volume import Array

PIECE_VOXELS = 32_768
"""A few dozen pieces of this size, for passes of numpy, fit into a core's share of the caches."""
WIDE_PIECE_VOXELS = 131_072
"""For passes of torch, which cost more to start and need fewer pieces at once."""

Radius = tuple[int, int, int]
"""Voxels to each side, z, y, x."""


@dataclass(frozen=True)
class Row:
    """A volume with its edges repeated outwards, as one row.

    Attributes:
        values: Shape (voxels of the padded volume,).
        steps: How far the next voxel along z, y and x lies.
        first: Place of the volume's first voxel.
        last: One past the place of its last voxel; any neighbour within the radius of a place between is in the row.
    """

    values: Array
    steps: tuple[int, int, int]
    first: int
    last: int
    padded_shape: tuple[int, int, int]
    radius: Radius

    def pieces(self, size: int, *, early: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of places that together cover the volume, beginning ``early`` places before it."""
        for begin in range(self.first - early, self.last, size):
            yield begin, min(begin + size, self.last)

    def crop(self, values: Array) -> Array:
        """The volume (z, y, x) in a row like this one."""
        inner = tuple(slice(r, size - r) for r, size in zip(self.radius, self.padded_shape, strict=True))
        return np.ascontiguousarray(values.reshape(self.padded_shape)[inner])


def lay_out(array: Array, radius: Radius) -> Row:
    """Pad a volume (z, y, x) by the radius, repeating its edges, and lay it out as a row."""
    padded = np.pad(array, [(r, r) for r in radius], mode="edge")
    _, height, width = padded.shape
    steps = (height * width, width, 1)
    first = sum(r * step for r, step in zip(radius, steps, strict=True))
    return Row(padded.ravel(), steps, first, padded.size - first, padded.shape, radius)


def radius_voxels(radius_mm: float, spacing_mm: tuple[float, float, float]) -> Radius:
    """Nearest whole number of voxels to each side, at least one along the finest axis.

    Args:
        radius_mm: Half the window.
        spacing_mm: Spacing along x, y, z.
    """
    reach_mm = max(radius_mm, min(spacing_mm))
    x, y, z = (int(reach_mm / spacing + 0.5) for spacing in spacing_mm)
    return z, y, x


def ball_offsets(radius_mm: float, spacing_mm: tuple[float, float, float]) -> list[tuple[Radius, float]]:
    """Half of the voxels within a distance, none of them the opposite of another, each with its distance in mm.

    The centre is left out. At least the next voxel along the finest axis is in.

    Args:
        radius_mm: Largest distance.
        spacing_mm: Spacing along x, y, z.

    Returns:
        Offsets (z, y, x) whose first number other than 0 is above 0.
    """
    reach_mm = max(radius_mm, min(spacing_mm)) * (1 + 1e-6)
    sides = [range(-int(reach_mm / spacing), int(reach_mm / spacing) + 1) for spacing in spacing_mm[::-1]]
    found = []
    for offset in itertools.product(*sides):
        distance_mm = float(np.linalg.norm(np.multiply(offset, spacing_mm[::-1])))
        if offset > (0, 0, 0) and distance_mm <= reach_mm:
            found.append(((offset[0], offset[1], offset[2]), distance_mm))
    return found
