"""Fit the bias field of breast scans beside SimpleITK's N4 filter: processor time, ratio, largest difference.

    python benchmarks/bias.py

Both sides get the same mask (Otsu), shrink factors (4 in the slice, 1 across), 4 levels of at most 50 iterations,
tolerance 1e-3, and one thread each. Scans are those of ``GENOVOX_REAL_DATA`` (one breast exam, a file a breast and
phase); without them, one drawn breast. Needs no package beyond the dev set. A few minutes, nearly all of them
SimpleITK's.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from genovox.core.volume import Array, Mask
from genovox.volumes.bias import BiasField, fit_bias_field

EXAM = "tcga-ao-a03m"
SCANS = ("left_pre", "left_post1", "right_pre")
SHRINK_XYZ = (4, 4, 1)
LEVELS, ITERATIONS, TOLERANCE = 4, 50, 1e-3
REPEATS = 5
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Comparison:
    """Both sides on one scan.

    Attributes:
        difference: Largest absolute difference of the log fields in the mask.
        range: Largest minus smallest log field in the mask.
        ratio: Processor time of SimpleITK over ours.
    """

    scan: str
    shape: tuple[int, ...]
    mask_voxels: int
    genovox_s: float
    simpleitk_s: float
    ratio: float
    difference: float
    range: float


def real_data_folder() -> Path:
    """Where the real scans lie, if they are there."""
    return Path(os.environ.get("GENOVOX_REAL_DATA") or REPOSITORY.parent / "shared" / "data") / EXAM


def read_scan(path: Path) -> tuple[Array, Mask]:
    """A scan and its mask, shrunk, both (z, y, x)."""
    scan = sitk.ReadImage(str(path), sitk.sitkFloat32)
    tissue = sitk.Shrink(sitk.OtsuThreshold(scan, 0, 1, 200), SHRINK_XYZ)
    image = sitk.GetArrayFromImage(sitk.Shrink(scan, SHRINK_XYZ))
    return image, (sitk.GetArrayFromImage(tissue) > 0) & (image > 0)


def draw_scan() -> tuple[Array, Mask]:
    """A ball of fat and gland under a smooth gain, as large as a shrunk scan."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (50, 64, 64)), indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.7
    gland = np.sin(9 * x) + np.sin(8 * y) + np.sin(7 * z) > 0.8
    signal = np.where(gland, 150, 400) * np.exp(0.4 * x - 0.3 * y**2 + 0.2 * x * z)
    noise = np.random.default_rng(0).normal(0, 6, mask.shape)
    return np.maximum(np.where(mask, signal, 0) + noise, 1).astype(np.float32), mask


def fit_with_simpleitk(image: Array, mask: Mask) -> tuple[Array, float]:
    """Log field, shape (z, y, x), and seconds of processor time to fit it."""
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([ITERATIONS] * LEVELS)
    n4.SetConvergenceThreshold(TOLERANCE)
    scan, tissue = sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))
    begun = time.process_time()
    n4.Execute(scan, tissue)
    seconds = time.process_time() - begun
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)), seconds


def fit(image: Array, mask: Mask) -> BiasField:
    return fit_bias_field(
        torch.from_numpy(image),
        torch.from_numpy(mask),
        np.eye(4),
        levels=LEVELS,
        iterations=ITERATIONS,
        tolerance=TOLERANCE,
    )


def time_s(work: Callable[[], object]) -> float:
    """Median processor time of several calls after one that is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def compare(name: str, image: Array, mask: Mask) -> Comparison:
    """Both sides on one scan; ours is timed before and after SimpleITK, during which the load may change."""
    before = time_s(lambda: fit(image, mask))
    expected, theirs = fit_with_simpleitk(image, mask)
    ours = (before + time_s(lambda: fit(image, mask))) / 2
    field = fit(image, mask)
    found = field.evaluate(field.affine, field.shape).numpy()
    return Comparison(
        scan=name,
        shape=image.shape,
        mask_voxels=int(mask.sum()),
        genovox_s=round(ours, 3),
        simpleitk_s=round(theirs, 2),
        ratio=round(theirs / ours, 1),
        difference=float(np.abs(found - expected)[mask].max()),
        range=round(float(np.ptp(expected[mask])), 3),
    )


def time_evaluation_ms() -> float:
    """Processor time to evaluate a field on 96 slices of 256 x 256."""
    field = BiasField(torch.randn(11, 11, 11), np.eye(4), (70, 117, 117), 0.0, 1.0)
    finer = np.diag([0.4, 0.4, 0.7, 1.0])
    return round(1000 * time_s(lambda: field.evaluate(finer, (96, 256, 256))), 1)


def main() -> None:
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    folder = real_data_folder()
    scans = {name: read_scan(folder / f"{name}.nii.gz") for name in SCANS} if folder.is_dir() else {}
    comparisons = [compare(name, *scan) for name, scan in (scans or {"drawn": draw_scan()}).items()]
    summary = {
        "scans": [vars(comparison) for comparison in comparisons],
        "smallest_ratio": min(comparison.ratio for comparison in comparisons),
        "largest_difference": max(comparison.difference for comparison in comparisons),
        "evaluate_256x256x96_ms": time_evaluation_ms(),
        "versions": {
            "torch": torch.__version__,
            "SimpleITK": sitk.Version_VersionString(),
            "numpy": np.__version__,
        },
    }
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
