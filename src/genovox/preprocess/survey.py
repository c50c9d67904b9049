"""A look at a scan on a coarse grid: how its phases moved, its bias field, and where the patient is.

All of it is smooth or blunt, so a grid of 3 mm shows it as well as the scan's own, a hundred times faster; the voxels
a network sees are interpolated from the scan itself, once.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genovox.anatomy.breast import find_breasts
from genovox.anatomy.foreground import find_foreground
from genovox.anatomy.working import WORKING_SPACING_MM
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Array, Mask, Volume, reorient_to_ras
from genovox.preprocess.cache import load_mask, save_array, save_mask
from genovox.preprocess.crop import bounding_box
from genovox.preprocess.figures import BILATERAL_MM, compare_sides, estimate_snr
from genovox.volumes.bias import BiasField, fit_bias_field
from genovox.volumes.geometry import Grid, sample_grid
from genovox.volumes.kinetics import signal_floor
from genovox.volumes.motion import Motion, sample_moved
from genovox.volumes.registration import estimate_motion

BIAS_LEVELS = 3
"""Four spans an axis, 50 to 90 mm in a breast scan: as smooth as coils are. One level more follows gland and heart."""
BRAIN_SPACING_MM = 1.5


@dataclass(frozen=True)
class Survey:
    """What a coarse look at a scan tells.

    Attributes:
        grid: The coarse grid.
        mask: Foreground, shape (z, y, x) of the grid.
        left: Which of it is the patient's left, in a scan of both breasts; None in others.
        motions: How each phase lies to the first; empty where motion was not asked for.
        bias: The log bias field with mean 0; None where it was not asked for.
        floor: Least pre-contrast signal that enhancement is divided by, of the corrected signal.
        snr: Of the first phase, NaN where it cannot be told.
        left_right_ratio: Signal of the left side over the right's in the first phase, NaN in a scan of one breast.
    """

    grid: Grid
    mask: Mask
    left: Mask | None = None
    motions: tuple[Motion, ...] = ()
    bias: BiasField | None = None
    floor: float = 0.0
    snr: float = float("nan")
    left_right_ratio: float = float("nan")

    def side(self, name: str) -> Mask:
        """The foreground of one side, ``left`` or ``right``; all of it for another name, or in a scan of one breast."""
        if self.left is None or name not in {"left", "right"}:
            return self.mask
        return self.mask & (self.left if name == "left" else ~self.left)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write what is large as files of a folder and return the rest, as JSON can hold it."""
        save_mask(folder / "mask.npy", self.mask)
        if self.left is not None:
            save_mask(folder / "left.npy", self.left)
        if self.bias is not None:
            save_array(folder / "bias.npy", self.bias.lattice.cpu().numpy())
        for number, motion in enumerate(self.motions):
            if motion.displacement is not None:
                save_array(folder / f"displacement-{number}.npy", motion.displacement.array)
        bias = self.bias and {
            "affine": self.bias.affine.tolist(),
            "shape": self.bias.shape,
            "mean": self.bias.mean,
            "strength": self.bias.strength,
        }
        return {
            "affine": self.grid.affine.tolist(),
            "shape": self.grid.shape,
            "motions": [_describe_motion(motion) for motion in self.motions],
            "bias": bias,
            "floor": self.floor,
            "snr": self.snr,
            "left_right_ratio": self.left_right_ratio,
        }

    @classmethod
    def read(cls, folder: Path, record: dict[str, Any]) -> "Survey":
        """What ``write`` wrote."""
        x, y, z = record["shape"]
        bias = record["bias"] and BiasField(
            torch.from_numpy(np.load(folder / "bias.npy", allow_pickle=False)),
            np.array(record["bias"]["affine"]),
            tuple(record["bias"]["shape"]),
            record["bias"]["mean"],
            record["bias"]["strength"],
        )
        return cls(
            Grid(np.array(record["affine"]), (x, y, z)),
            load_mask(folder / "mask.npy", (z, y, x)),
            load_mask(folder / "left.npy", (z, y, x)) if (folder / "left.npy").exists() else None,
            tuple(_recall_motion(folder, number, entry) for number, entry in enumerate(record["motions"])),
            bias,
            record["floor"],
            record["snr"],
            record["left_right_ratio"],
        )


def _describe_motion(motion: Motion) -> dict[str, Any]:
    entry = {field.name: getattr(motion, field.name) for field in fields(motion)}
    displacement = entry.pop("displacement")
    return entry | {"matrix": motion.matrix.tolist(), "grid": displacement and displacement.affine.tolist()}


def _recall_motion(folder: Path, number: int, entry: dict[str, Any]) -> Motion:
    entry = dict(entry)
    grid = entry.pop("grid")
    displacement = None
    if grid is not None:
        displacement = Volume(np.load(folder / f"displacement-{number}.npy", allow_pickle=False), np.array(grid))
    return Motion(**(entry | {"matrix": np.array(entry["matrix"]), "displacement": displacement}))


def survey_everything(source: Volume) -> Survey:
    """The survey of a volume that is all foreground, such as a mask."""
    grid = _open_grid(source, "none")
    mask = np.ones(grid.shape[::-1], bool)
    return Survey(grid, mask, _split_sides(mask, grid))


def survey_scan(source: Volume, table: PreprocessTable) -> Survey:
    """Look at a scan.

    Args:
        source: Phases, array (phase, z, y, x), in any orientation.
        table: The study's ``[preprocess]``; only ``motion``, ``bias`` and ``foreground`` count.

    Raises:
        ImageError: If there is no foreground, or the bias field cannot be fitted.
    """
    grid, own = _open_grid(source, table.foreground), Grid.of(source)
    coarse = Volume(sample_grid(torch.from_numpy(source.array), own, grid).numpy(), grid.affine)
    # Where the patient is, shows the scan as it was measured: a correction would lift the air beside her too.
    if table.foreground == "breast":
        breasts = find_breasts(coarse)
        mask = breasts.mask
        left = breasts.left if breasts.left.any() and breasts.right.any() else None
    else:
        mask = find_foreground(coarse, table.foreground)
        left = _split_sides(mask, grid)
    first = coarse.array[0]
    motions: tuple[Motion, ...] = ()
    bias = None
    if table.motion != "none" or table.bias != "none":
        body = mask if table.foreground == "body" else find_foreground(coarse, "body")
        if table.motion != "none":
            motions = tuple(estimate_motion(coarse, body, table.motion))
            coarse = _undo_motion(coarse, motions)
        if table.bias != "none":
            mean = torch.from_numpy(coarse.array.mean(axis=0))
            bias = fit_bias_field(mean, torch.from_numpy(body), grid.affine, levels=BIAS_LEVELS).centred()
            field = bias.evaluate(grid.affine, grid.shape[::-1])
            coarse = Volume(coarse.array * torch.exp(-field).numpy(), coarse.affine)
    floor = signal_floor(coarse.array[0])
    if table.foreground == "none":
        return Survey(grid, mask, left, motions, bias, floor)
    ratio = compare_sides(first, mask, grid.spacing_mm[0])
    return Survey(grid, mask, left, motions, bias, floor, _measure_snr(source, grid, mask), ratio)


def _open_grid(source: Volume, foreground: str) -> Grid:
    """The coarse grid of a scan, in RAS order: 3 mm, for the folds of a brain half of it, or the scan's own voxels."""
    own = Grid.of(reorient_to_ras(source))
    coarsest = BRAIN_SPACING_MM if foreground == "brain" else WORKING_SPACING_MM
    x, y, z = (max(coarsest, spacing) for spacing in own.spacing_mm)
    return own.rescale((x, y, z))


def _split_sides(mask: Mask, grid: Grid) -> Mask | None:
    """The half with the smaller x, where the foreground is as wide as both breasts."""
    start, size = bounding_box(mask)
    if size[0] * grid.spacing_mm[0] < BILATERAL_MM:
        return None
    left = np.zeros_like(mask)
    left[..., : start[0] + size[0] // 2] = True
    return left


def _undo_motion(coarse: Volume, motions: tuple[Motion, ...]) -> Volume:
    grid = Grid.of(coarse)
    phases = [
        torch.from_numpy(phase) if motion.is_identity else sample_moved(torch.from_numpy(phase), grid, grid, motion)
        for phase, motion in zip(coarse.array, motions, strict=True)
    ]
    return Volume(torch.stack(phases).numpy(), coarse.affine)


def _measure_snr(source: Volume, grid: Grid, mask: Mask) -> float:
    """Of the first phase, in the middle third of its slices: noise is the same elsewhere."""
    own = Grid.of(source)
    x, y, z = own.shape
    begin, end = z // 3, max(z - z // 3, z // 3 + 2)
    slab = own.cut((0, 0, begin), (x, y, min(end, z) - begin))
    inside = sample_grid(torch.from_numpy(mask.astype(np.float32)), grid, slab, "nearest").numpy() > 0
    phase: Array = source.array[0, begin : min(end, z)]
    return estimate_snr(phase, inside)
