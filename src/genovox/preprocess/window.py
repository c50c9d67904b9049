"""The window of the output grid that holds the foreground, and each phase interpolated onto it, one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from genovox.anatomy.working import enlarge_mask
from genovox.core.volume import Array, Mask, Volume
from genovox.preprocess.crop import bounding_box, crop_or_pad
from genovox.preprocess.survey import Survey
from genovox.volumes.geometry import Grid, Interpolation, sample_grid
from genovox.volumes.motion import sample_moved


@dataclass(frozen=True)
class Window:
    """The part of the output grid that holds the foreground.

    Attributes:
        grid: Its grid.
        start: Its first voxel (x, y, z) on the whole output grid.
        mask: Foreground, shape (z, y, x).
    """

    grid: Grid
    start: tuple[int, int, int]
    mask: Mask

    @property
    def middle(self) -> np.ndarray:
        """Voxel (x, y, z) of the whole output grid in the middle of the foreground's bounding box."""
        start, size = bounding_box(self.mask)
        return np.asarray(np.add(self.start, start) + (np.array(size) - 1) / 2)

    def crop(self, array: Array, start: tuple[int, int, int], shape: tuple[int, int, int], fill: float) -> Array:
        """A crop (z, y, x), from ``start`` on the whole output grid, of what the window holds."""
        within = tuple(int(first - own) for first, own in zip(start, self.start, strict=True))
        volume = Volume(array[np.newaxis], self.grid.affine)
        cut = crop_or_pad(volume, (within[0], within[1], within[2]), shape, np.array([fill], np.float32))
        return np.asarray(cut.array[0])


def open_window(survey: Survey, grid: Grid, side: str) -> Window:
    """The window of the output grid around the foreground, a working voxel wider than its box.

    Args:
        survey: Of the scan.
        grid: The whole output grid, along the axes of the survey's.
        side: ``left`` or ``right`` for that of both breasts, anything else for the whole foreground.
    """
    mask = survey.side(side)
    first, size = bounding_box(mask)
    corners = np.array([np.array(first) - 1, np.array(first) + size], float)
    to_grid = np.linalg.solve(grid.affine, survey.grid.affine)
    low, high = corners @ to_grid[:3, :3].T + to_grid[:3, 3]
    begin = [int(np.clip(np.floor(value), 0, n - 1)) for value, n in zip(low, grid.shape, strict=True)]
    end = [int(np.clip(np.ceil(value) + 1, b + 1, n)) for value, b, n in zip(high, begin, grid.shape, strict=True)]
    start = (begin[0], begin[1], begin[2])
    cut = grid.cut(start, (end[0] - begin[0], end[1] - begin[1], end[2] - begin[2]))
    return Window(cut, start, enlarge_mask(mask, survey.grid, cut))


def sample_phases(
    source: Volume, survey: Survey, grid: Grid, interpolation: Interpolation, device: torch.device
) -> Iterator[Array]:
    """Each phase on a grid: moved back, interpolated once, corrected for bias.

    The bias field is applied after the interpolation, on far fewer voxels: it is so smooth that the order makes no
    difference that a float32 of the signal shows.

    Args:
        source: Phases, array (phase, z, y, x), in any orientation.
        survey: Of this scan.
        grid: Along the axes of the survey's grid.
        interpolation: As ``axis_weights`` takes it; a phase that was moved back is interpolated linearly.
        device: Where voxels are computed.

    Yields:
        Shape (z, y, x) of the grid.
    """
    own = Grid.of(source)
    kept = None
    if survey.bias is not None:
        kept = torch.exp(-survey.bias.evaluate(grid.affine, grid.shape[::-1], device))
    for index, phase in enumerate(source.array):
        signal = torch.from_numpy(phase).to(device)
        motion = survey.motions[index] if survey.motions else None
        if motion is None or motion.is_identity:
            sampled = sample_grid(signal, own, grid, interpolation)
        else:
            sampled = sample_moved(signal, own, grid, motion)
        if kept is not None:
            # Where nothing had to be interpolated, what was sampled is the scan's own memory.
            is_scan = sampled.data_ptr() == signal.data_ptr()
            sampled = sampled * kept if is_scan else sampled.mul_(kept)
        yield sampled.cpu().numpy()
        # The next phase would be sampled beside it.
        del sampled
