"""Time filters, contrast and percentiles beside scipy's, SimpleITK's, MONAI's and scikit-image's, in one run.

Usage: python benchmarks/filters.py [NAME ...], of: gaussian, median, bilateral, curvature-flow, non-local-means,
equalise, clahe, percentiles; all without a name (some five minutes).
Needs, beyond the development set: scikit-image. Every side has one thread. SimpleITK's bilateral filter and both slow
non-local means see a part of the volume; their times are scaled by its voxels. Prints one JSON object.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.ndimage
import SimpleITK as sitk
import torch
from threadpoolctl import threadpool_limits

from genovox.filters.contrast import enhance_contrast
from genovox.filters.denoise import FLOW_MM2, GAUSSIAN_SD_MM, denoise
from genovox.volumes.intensity import measure_percentiles
from genovox.volumes.nyul import PERCENTS

SHAPE = (96, 256, 256)
PART = (24, 64, 64)
ISOTROPIC = (1.0, 1.0, 1.0)
NOISE_SD = 20.0
PEERS = (
    "numpy",
    "scipy",
    "monai",
    "simpleitk",
    "simpleitk_scaled",
    "simpleitk_patch_based_scaled",
    "scikit_image",
    "scikit_image_3d",
    "scikit_image_fast_mode_scaled",
)


def time_ms(function: Callable[[], object], repeats: int = 3) -> float:
    """Median processor time of several calls after one that is not counted; of one call where one is asked for."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append((time.process_time() - started) * 1000)
    return round(statistics.median(times), 1)


def draw_volume() -> np.ndarray:
    """Tissues with soft edges and noise."""
    random = np.random.default_rng(0)
    tissue = scipy.ndimage.gaussian_filter(random.normal(size=SHAPE), 4)
    clean = 300 + 200 * np.tanh(tissue / tissue.std())
    return np.asarray(clean + random.normal(0, NOISE_SD, SHAPE), np.float32)


def compare_gaussian(volume: np.ndarray) -> dict[str, Any]:
    from monai.transforms.intensity.array import GaussianSmooth  # noqa: PLC0415 - slow to import

    image = sitk.GetImageFromArray(volume)
    smooth = GaussianSmooth(sigma=GAUSSIAN_SD_MM)
    tensor = torch.from_numpy(volume)[None]
    reference = scipy.ndimage.gaussian_filter(volume.astype(np.float64), GAUSSIAN_SD_MM, mode="nearest")
    return {
        "genovox": time_ms(lambda: denoise(volume, ISOTROPIC, "gaussian")),
        "scipy": time_ms(lambda: scipy.ndimage.gaussian_filter(volume, GAUSSIAN_SD_MM, mode="nearest")),
        "monai": time_ms(lambda: smooth(tensor)),
        "simpleitk": time_ms(lambda: sitk.DiscreteGaussian(image, [GAUSSIAN_SD_MM**2] * 3)),
        "largest_difference_from_scipy_in_noise_sds": float(
            np.abs(denoise(volume, ISOTROPIC, "gaussian") - reference).max() / NOISE_SD
        ),
    }


def compare_median(volume: np.ndarray) -> dict[str, Any]:
    from monai.transforms.intensity.array import MedianSmooth  # noqa: PLC0415 - slow to import

    image = sitk.GetImageFromArray(volume)
    smooth, tensor = MedianSmooth(radius=1), torch.from_numpy(volume)[None]
    reference = sitk.GetArrayFromImage(sitk.Median(image, (1, 1, 1)))
    return {
        "genovox": time_ms(lambda: denoise(volume, ISOTROPIC, "median")),
        "scipy": time_ms(lambda: scipy.ndimage.median_filter(volume, 3), 1),
        "monai": time_ms(lambda: smooth(tensor), 1),
        "simpleitk": time_ms(lambda: sitk.Median(image, (1, 1, 1)), 1),
        "equal_to_simpleitk": bool((denoise(volume, ISOTROPIC, "median") == reference).all()),
    }


def compare_bilateral(volume: np.ndarray) -> dict[str, Any]:
    part = volume[tuple(slice(size) for size in PART)]
    image, share = sitk.GetImageFromArray(part), part.size / volume.size
    ours = denoise(part, ISOTROPIC, "bilateral", noise_sd=NOISE_SD)
    theirs = sitk.GetArrayFromImage(sitk.Bilateral(image, 1.0, 2 * NOISE_SD))
    return {
        "genovox": time_ms(lambda: denoise(volume, ISOTROPIC, "bilateral", noise_sd=NOISE_SD)),
        "simpleitk_scaled": round(time_ms(lambda: sitk.Bilateral(image, 1.0, 2 * NOISE_SD), 1) / share, 1),
        "rms_difference_from_simpleitk_in_noise_sds": float(np.sqrt(((ours - theirs) ** 2).mean()) / NOISE_SD),
    }


def compare_flow(volume: np.ndarray) -> dict[str, Any]:
    image, count = sitk.GetImageFromArray(volume), round(FLOW_MM2 / 0.125)
    reference = sitk.GetArrayFromImage(sitk.CurvatureFlow(image, 0.125, count))
    return {
        "genovox": time_ms(lambda: denoise(volume, ISOTROPIC, "curvature-flow")),
        "simpleitk": time_ms(lambda: sitk.CurvatureFlow(image, 0.125, count), 1),
        "largest_difference_in_noise_sds": float(
            np.abs(denoise(volume, ISOTROPIC, "curvature-flow") - reference).max() / NOISE_SD
        ),
    }


def compare_nonlocal(volume: np.ndarray) -> dict[str, Any]:
    denoise_nl_means = import_module("skimage.restoration").denoise_nl_means

    part = volume[tuple(slice(size) for size in PART)]
    share = part.size / volume.size

    def others() -> np.ndarray:
        found: np.ndarray = denoise_nl_means(
            part, patch_size=3, patch_distance=2, h=0.8 * NOISE_SD, sigma=NOISE_SD, fast_mode=True
        )
        return found

    image = sitk.GetImageFromArray(part[:8, :24, :24])
    # Bandwidth, patch radius, iterations.
    itk_ms = time_ms(lambda: sitk.PatchBasedDenoising(image, NOISE_SD, 1, 1), 1)
    ours = denoise(part, ISOTROPIC, "non-local-means", noise_sd=NOISE_SD)
    clean = draw_clean()[tuple(slice(size) for size in PART)]
    return {
        "genovox": time_ms(lambda: denoise(volume, ISOTROPIC, "non-local-means", noise_sd=NOISE_SD)),
        "scikit_image_fast_mode_scaled": round(time_ms(others, 1) / share, 1),
        "simpleitk_patch_based_scaled": round(itk_ms * volume.size / (8 * 24 * 24), 1),
        "places_compared": {"genovox": 123, "scikit_image": 125},
        "rms_error_in_noise_sds": {
            "genovox": float(np.sqrt(((ours - clean) ** 2).mean()) / NOISE_SD),
            "scikit_image": float(np.sqrt(((others() - clean) ** 2).mean()) / NOISE_SD),
        },
    }


def draw_clean() -> np.ndarray:
    """The volume before noise."""
    tissue = scipy.ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 4)
    return np.asarray(300 + 200 * np.tanh(tissue / tissue.std()))


def compare_equalise(volume: np.ndarray) -> dict[str, Any]:
    equalize_hist = import_module("skimage.exposure").equalize_hist

    mask = np.ones(volume.shape, bool)
    return {
        "genovox": time_ms(lambda: enhance_contrast(volume, mask, "equalise", spacing_mm=ISOTROPIC)),
        "scikit_image": time_ms(lambda: equalize_hist(volume, nbins=65_536, mask=mask)),
    }


def compare_clahe(volume: np.ndarray) -> dict[str, Any]:
    equalize_adapthist = import_module("skimage.exposure").equalize_adapthist

    mask = np.ones(volume.shape, bool)
    scaled = (volume - volume.min()) / np.ptp(volume)
    return {
        "genovox": time_ms(lambda: enhance_contrast(volume, mask, "clahe", spacing_mm=ISOTROPIC)),
        "scikit_image_3d": time_ms(lambda: equalize_adapthist(scaled, kernel_size=(48, 43, 43)), 1),
    }


def compare_percentiles(volume: np.ndarray) -> dict[str, Any]:
    exact, found = np.percentile(volume, PERCENTS), measure_percentiles(volume, PERCENTS)
    return {
        "genovox": time_ms(lambda: measure_percentiles(volume, PERCENTS)),
        "numpy": time_ms(lambda: np.percentile(volume, PERCENTS)),
        "largest_error_of_range": float(np.abs(exact - found).max() / np.ptp(volume)),
    }


COMPARISONS = {
    "gaussian": compare_gaussian,
    "median": compare_median,
    "bilateral": compare_bilateral,
    "curvature-flow": compare_flow,
    "non-local-means": compare_nonlocal,
    "equalise": compare_equalise,
    "clahe": compare_clahe,
    "percentiles": compare_percentiles,
}


def main() -> None:
    """Print milliseconds of one thread on 256 x 256 x 96 voxels of 1 mm, and how nearly results agree."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    volume = draw_volume()
    names = sys.argv[1:] or list(COMPARISONS)
    with threadpool_limits(1):
        found: dict[str, Any] = {name: COMPARISONS[name](volume) for name in names}
    for times in found.values():
        times["times_faster"] = {name: round(times[name] / times["genovox"], 1) for name in PEERS if name in times}
    packages = ("numpy", "scipy", "SimpleITK", "torch", "monai", "scikit-image")
    print(json.dumps(found | {"versions": {name: version(name) for name in packages}}, indent=1))


if __name__ == "__main__":
    main()
