"""Time the resample beside SimpleITK's and scipy's, and the QC picture of a case, in one run.

Usage: python benchmarks/preprocess.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import zoom
from threadpoolctl import threadpool_limits

from genovox.core.volume import Volume
from genovox.preprocess.quality import draw_quality_picture
from genovox.volumes.geometry import resample_volume

REPEATS = 7


def time_ms(function: Callable[[], object]) -> float:
    """Median processor time of several calls after one that is not counted."""
    function()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function()
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    """Print one line a measurement, each on one thread."""
    random = np.random.default_rng(0)
    volume = Volume(random.random((1, 120, 256, 256), dtype=np.float32), np.diag([0.8, 0.8, 1.5, 1.0]))
    image = sitk.GetImageFromArray(volume.array[0])
    image.SetSpacing((0.8, 0.8, 1.5))
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize((205, 205, 180))
    resampler.SetOutputSpacing((1.0, 1.0, 1.0))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with threadpool_limits(1):
        ours = time_ms(lambda: resample_volume(volume, (1.0, 1.0, 1.0), nearest=False))
        itk = time_ms(lambda: resampler.Execute(image))
        scipy = time_ms(lambda: zoom(volume.array[0], (1.5, 0.8, 0.8), order=1))
        print(f"resample 256x256x120 to 1 mm: {ours:.0f} ms; SimpleITK {itk:.0f} ms, scipy {scipy:.0f} ms")
        for count in (1, 3, 12):
            names = tuple(f"channel {number}" for number in range(count))
            case = Volume(random.random((count, 96, 96, 96), dtype=np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
            mask = case.array[0] > 0.2
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "qc.png"
                picture = time_ms(lambda p=path, c=case, m=mask, n=names: draw_quality_picture(p, "case", c, m, n))  # type: ignore[misc]
            print(f"QC picture, {count} channels of 96^3: {picture:.0f} ms")


if __name__ == "__main__":
    main()
