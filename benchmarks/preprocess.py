"""One bilateral DCE exam (6 phases of 256 x 256 x 96) from files to cached network input, beside the usual tools.

Both sides do the same steps: read, orient, body mask, one N4 field, resample to 1 mm, correct, joint z-score in the
mask, subtraction and washout, crop, write. The peer is MONAI with SimpleITK's N4 and morphology, one thread as here.
Without N4, MONAI and TorchIO follow. Prints one JSON object; equality is measured on the channels in both masks.

Usage: python benchmarks/preprocess.py [--quick] (beside the dev set: torchio==1.2.1)
"""

import functools
import importlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import binary_erosion
from threadpoolctl import threadpool_limits

from genovox.anatomy.foreground import find_foreground
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Volume, read_volume, reorient_to_ras, write_nifti
from genovox.preprocess.cache import fetch_step, save_array, save_mask
from genovox.preprocess.crop import crop_or_pad
from genovox.preprocess.pipeline import preprocess_images
from genovox.preprocess.survey import BIAS_LEVELS
from genovox.scans.inspection import read_phases
from genovox.simulate.hospital import Plan, render_patient
from genovox.simulate.sites import open_sites
from genovox.volumes.geometry import Grid, sample_grid

SHAPE = (288, 160, 176)
CROP_START = [(0, 0, 0)]
CHANNELS = ("pre", "subtraction1", "washout")
PHASES = 6


def write_exam(folder: Path) -> list[Path]:
    """A simulated exam as six compressed NIfTI files."""
    plan = Plan(2, "full", 0.5, 1, "none", (), 7, matrix=256)
    site = replace(open_sites(1, matrix=256)[0], matrix=(256, 256, 96), pixel_mm=1.2, slice_mm=2.0, phases=PHASES)
    exam, grid, _ = render_patient(plan.draw()[0], site, np.random.default_rng(7))
    paths = []
    for number, phase in enumerate(exam.phases):
        paths.append(folder / f"phase{number}.nii.gz")
        write_as_scanner(paths[-1], phase, grid.affine)
    return paths


def write_as_scanner(path: Path, phase: np.ndarray, affine: np.ndarray) -> None:
    """Rounded to 12 bits and stored as int16, with the axes of an axial series (x to the left, y to the back)."""
    scaled = np.round(phase / phase.max() * 3000).astype(np.int16)[:, ::-1, ::-1]
    _, y, x = scaled.shape
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = (x - 1, y - 1)
    write_nifti(path, Volume(scaled.astype(np.float32)[np.newaxis], affine @ flip))
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkInt16)
    sitk.WriteImage(image, str(path), True, 6)


def run_ours(paths: list[Path], folder: Path, bias: str) -> np.ndarray:
    table = PreprocessTable(spacing_mm=(1, 1, 1), shape=SHAPE, bias=bias, channels=CHANNELS)

    def make(step: Path) -> dict[str, Any]:
        done = preprocess_images(paths, table)
        save_array(step / "volume.npy", done.volume.array)
        save_mask(step / "mask.npy", done.mask)
        CROP_START[:] = [done.figures.crop_start]
        return {"warnings": done.warnings}

    cached = folder / f"{time.monotonic_ns()}"
    fetch_step(cached, make)
    return np.asarray(np.load(cached / "volume.npy", mmap_mode="r"))


def run_monai(paths: list[Path], folder: Path, bias: str) -> np.ndarray:
    # Here, so that the processes whose memory is measured hold genovox alone.
    monai: Any = importlib.import_module("monai.transforms")
    load, orient = monai.LoadImage(ensure_channel_first=True), monai.Orientation("RAS", labels=None)
    target = find_target(paths)
    move = monai.SpatialResample(mode="bilinear", padding_mode="border", align_corners=True)
    phases = [orient(load(path)) for path in paths]
    mean = sum(phase[0] for phase in phases) / len(phases)
    find_body_itk(np.asarray(mean).T)  # timed; what is compared uses one mask
    mask = find_mask(paths)
    if bias == "n4":
        spacing = [float(step) for step in phases[0].pixdim]
        gain = torch.from_numpy(np.exp(fit_n4_itk(np.asarray(mean).T, mask, spacing)).T.copy())
        phases = [phase / gain for phase in phases]
    place = {"dst_affine": target.affine, "spatial_size": target.shape}
    sampled = [move(phase, **place) for phase in phases]
    like = phases[0].clone()
    like[0] = torch.from_numpy(mask.T.astype(np.float32).copy())
    inside = move(like, **place, mode="nearest")[0] > 0
    values = torch.stack([phase[0][inside] for phase in sampled])
    offset, scale = values.mean(), values.std()
    normal = [(torch.where(inside, phase[0], 0) - offset) / scale for phase in sampled]
    made = torch.stack([normal[0], normal[1] - normal[0], normal[1] - normal[-1]])
    out = cut_like_ours(np.asarray(made).transpose(0, 3, 2, 1), target)
    np.save(folder / f"monai-{time.monotonic_ns()}.npy", out)
    return out


def run_torchio(paths: list[Path], folder: Path, bias: str) -> np.ndarray:
    torchio: Any = importlib.import_module("torchio")
    assert bias == "none"
    loaded = [torchio.ScalarImage(path) for path in paths]
    images = [torchio.ScalarImage(tensor=image.data.float(), affine=image.affine) for image in loaded]
    subject = torchio.Subject({f"phase{k}": image for k, image in enumerate(images)})
    oriented = torchio.ToCanonical()(subject)
    images = oriented.get_images()
    mean = sum(image.data[0] for image in images) / len(images)
    find_body_itk(mean.numpy().T)
    mask = find_mask(paths)
    oriented.add_image(
        torchio.LabelMap(tensor=torch.from_numpy(mask.T[np.newaxis].copy()).byte(), affine=images[0].affine), "body"
    )
    target = find_target(paths)
    sampled = torchio.Resample((target.shape, target.affine))(oriented)
    inside = sampled["body"].data[0] > 0
    phases = [sampled[f"phase{k}"].data[0] for k in range(len(paths))]
    values = torch.stack([phase[inside] for phase in phases])
    offset, scale = values.mean(), values.std()
    normal = [(torch.where(inside, phase, 0) - offset) / scale for phase in phases]
    made = torch.stack([normal[0], normal[1] - normal[0], normal[1] - normal[-1]])
    out = cut_like_ours(made.numpy().transpose(0, 3, 2, 1), target)
    np.save(folder / f"torchio-{time.monotonic_ns()}.npy", out)
    return out


def find_target(paths: list[Path]) -> Grid:
    """The output grid of both sides, 1 mm over the field of view."""
    return Grid.of(reorient_to_ras(read_volume(paths[0]))).rescale((1.0, 1.0, 1.0))


def cut_like_ours(channels: np.ndarray, target: Grid) -> np.ndarray:
    """The peers crop where genovox did, so that voxels can be compared."""
    return crop_or_pad(Volume(channels, target.affine), CROP_START[0], SHAPE, channels[:, 0, 0, 0]).array


@functools.cache
def read_exam(paths: tuple[Path, ...]) -> Volume:
    """The exam in RAS order."""
    return reorient_to_ras(read_phases(list(paths)))


@functools.cache
def find_mask_once(paths: tuple[Path, ...]) -> np.ndarray:
    """The body on the scan's own voxels; found before anything is timed."""
    return find_foreground(read_exam(paths), "body")


def find_mask(paths: list[Path]) -> np.ndarray:
    """The mask that all sides normalise in, so that their outputs can be compared."""
    return find_mask_once(tuple(paths))


def find_body_itk(signal: np.ndarray) -> np.ndarray:
    """Otsu on the square root, closed by 9 mm, largest part, holes filled: (z, y, x) to bool."""
    image = sitk.GetImageFromArray(np.sqrt(np.clip(signal, 0, np.percentile(signal, 99.5))).astype(np.float32))
    body = sitk.BinaryMorphologicalClosing(sitk.OtsuThreshold(image, 0, 1, 256), [4, 4, 2])
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(body), sortByObjectSize=True) == 1
    slices = [sitk.GetArrayFromImage(sitk.BinaryFillhole(parts[:, :, z])) for z in range(parts.GetSize()[2])]
    return np.stack(slices) > 0


def fit_n4_itk(signal: np.ndarray, mask: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The log field on the whole grid, fitted at about 3 mm with N4's usual settings."""
    image, inside = sitk.GetImageFromArray(signal.astype(np.float32)), sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing)
    inside.SetSpacing(spacing)
    factors = [max(1, round(3 / step)) for step in spacing]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * BIAS_LEVELS)
    n4.SetConvergenceThreshold(1e-3)
    # Means, as on our coarse grid: a single voxel's noise would sharpen another histogram.
    n4.Execute(sitk.BinShrink(image, factors), sitk.Shrink(inside, factors))
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
    return np.asarray(field - field[mask].mean())


def compare(ours: np.ndarray, other: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """In the foreground, a voxel from its edge: correlation and RMS difference in units of the z-score."""
    a, b = ours[:, mask].ravel(), other[:, mask].ravel()
    return {
        "correlation": round(float(np.corrcoef(a, b)[0, 1]), 5),
        "rms_difference_z": round(float(np.sqrt(np.mean((a - b) ** 2))), 4),
    }


def find_inner(paths: list[Path]) -> np.ndarray:
    """Voxels of the crop well inside the mask: its edge lies half a voxel elsewhere on each side."""
    mask, target = find_mask(paths), find_target(paths)
    fine = sample_grid(torch.from_numpy(mask.astype(np.float32)), Grid.of(read_exam(tuple(paths))), target, "nearest")
    eroded = binary_erosion(fine.numpy() > 0, iterations=3)
    cut = crop_or_pad(
        Volume(eroded[np.newaxis].astype(np.float32), target.affine), CROP_START[0], SHAPE, np.zeros(1, np.float32)
    )
    return np.asarray(cut.array[0] > 0)


def time_s(function: Callable[[], np.ndarray], repeats: int, warm_up: bool = True) -> tuple[float, np.ndarray]:
    """Median wall time, after one call that is not counted where that matters."""
    if warm_up:
        function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        made = function()
        times.append(time.perf_counter() - started)
    return statistics.median(times), made


def measure_process(
    paths: list[Path], folder: Path, count: int, queue: "multiprocessing.Queue[tuple[float, int]]"
) -> None:
    """Cases a second of one process, and its peak memory in MB."""
    run_ours(paths, folder, "n4")
    started = time.perf_counter()
    for _ in range(count):
        run_ours(paths, folder, "n4")
    elapsed = time.perf_counter() - started
    queue.put((count / elapsed, read_peak_mb()))


def read_peak_mb() -> int:
    """Peak memory of this process alone; ``getrusage`` would count what its parent held when it was started."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def measure_scaling(paths: list[Path], folder: Path, count: int) -> dict[str, Any]:
    """Throughput of one process, and of two at once."""
    context = multiprocessing.get_context("spawn")
    rates: dict[int, list[tuple[float, int]]] = {}
    for processes in (1, 2):
        queue: multiprocessing.Queue[tuple[float, int]] = context.Queue()
        running = [
            context.Process(target=measure_process, args=(paths, folder, count, queue)) for _ in range(processes)
        ]
        for process in running:
            process.start()
        rates[processes] = [queue.get() for _ in running]
        for process in running:
            process.join()
    one, two = rates[1][0][0], sum(rate for rate, _ in rates[2])
    return {
        "cases_per_s_one_process": round(one, 3),
        "cases_per_s_two_processes": round(two, 3),
        "scaling": round(two / one, 2),
        "peak_memory_mb": max(memory for _, memory in rates[1] + rates[2]),
    }


def main() -> None:
    """Print the figures as JSON."""
    repeats = 1 if "--quick" in sys.argv else 3
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    result: dict[str, Any] = {"packages": {n: metadata.version(n) for n in ("monai", "torchio", "simpleitk", "torch")}}
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        paths = write_exam(folder)
        find_mask(paths)
        sides: list[tuple[str, str, Callable[[list[Path], Path, str], np.ndarray]]] = [
            ("none", "monai", run_monai),
            ("none", "torchio", run_torchio),
            ("n4", "monai", run_monai),
        ]
        for bias, peer, run in sides:
            ours_s, ours = time_s(lambda b=bias: run_ours(paths, folder, b), 2 * repeats + 1)  # type: ignore[misc]
            # MONAI is warm from the first side, and its call with N4 takes minutes: one is enough.
            counted = 1 if bias == "n4" else repeats
            peer_s, other = time_s(lambda b=bias, r=run: r(paths, folder, b), counted, bias == "none")  # type: ignore[misc]
            result[f"{peer}, bias {bias}"] = {
                "ours_s": round(ours_s, 3),
                "peer_s": round(peer_s, 3),
                "ratio": round(peer_s / ours_s, 1),
            } | compare(ours, other, find_inner(paths))
            print(f"{peer}, bias {bias}: {peer_s / ours_s:.1f}", file=sys.stderr)
        result["processes"] = measure_scaling(paths, folder, 3 * repeats)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
