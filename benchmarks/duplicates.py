"""Near-duplicates: how alike copies and unrelated scans are, and what 10,000 scans cost.

Usage: python benchmarks/duplicates.py [--patients 60] [--matrix 96] [--scans 10000] [--real REAL_DATA]
"""

import argparse
import io
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from genovox.audit.duplicates import ALIKE, SAME, compare_likeness, find_candidates, find_near_duplicates
from genovox.core.volume import read_volume
from genovox.scans.likeness import SIZE, Likeness, describe_likeness
from genovox.simulate.hospital import Plan, render_patient
from genovox.simulate.sites import open_sites

Scan = np.ndarray


def simulate_scans(patients: int, matrix: int) -> Iterator[Scan]:
    """First phases of unrelated patients of three hospitals, each (z, y, x)."""
    plan = Plan(patients, "half", 0.4, 3, "none", (), 11, matrix)
    sites = open_sites(plan.sites, matrix=plan.matrix)
    for number, patient in enumerate(plan.draw()):
        exam, _, _ = render_patient(patient, sites[patient.site], np.random.default_rng([5, number]))
        yield exam.phases[0]


def turn(scan: Scan, random: np.random.Generator) -> Scan:
    """Swap and mirror the axes at random."""
    turned = np.transpose(scan, random.permutation(3))
    return np.asarray(np.flip(turned, tuple(axis for axis in range(3) if random.random() < 0.5)))


def compress(scan: Scan, quality: int) -> Scan:
    """Window to 8 bit and compress each slice as JPEG."""
    low, high = np.percentile(scan, (0.5, 99.5))
    slices = []
    for plane in np.clip((scan - low) / (high - low) * 255, 0, 255).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=quality)
        slices.append(np.asarray(Image.open(file)))
    return np.stack(slices).astype(np.float32)


def crop(scan: Scan, share: float, random: np.random.Generator) -> Scan:
    """Cut up to a share of each axis off each of its ends."""
    cuts = [(round(random.uniform(0, share) * size), round(random.uniform(0, share) * size)) for size in scan.shape]
    return scan[tuple(slice(low, size - high) for (low, high), size in zip(cuts, scan.shape, strict=True))]


def resample(scan: Scan, factors: np.ndarray) -> Scan:
    """Interpolate onto another spacing."""
    return np.asarray(ndimage.zoom(scan, factors, order=1), np.float32)


def list_disturbances(random: np.random.Generator) -> dict[str, Callable[[Scan], Scan]]:
    """What is done to copies, by name."""
    return {
        "axes swapped and mirrored": lambda scan: turn(scan, random),
        "linear rescaling": lambda scan: scan * random.uniform(0.1, 5) + random.uniform(0, 500),
        "8 bit": lambda scan: np.floor((scan - scan.min()) / (scan.max() - scan.min()) * 255),
        "JPEG, quality 75": lambda scan: compress(scan, 75),
        "JPEG, quality 30": lambda scan: compress(scan, 30),
        "resampled, 0.6 to 1.4": lambda scan: resample(scan, random.uniform(0.6, 1.4, 3)),
        "resampled to half the matrix": lambda scan: resample(ndimage.gaussian_filter(scan, 0.8), np.full(3, 0.5)),
        "resampled to 1.5 times the matrix": lambda scan: resample(scan, np.full(3, 1.5)),
        "cropped, up to 5% a side": lambda scan: crop(scan, 0.05, random),
        "cropped, up to 10% a side": lambda scan: crop(scan, 0.10, random),
        "padded with zeros": lambda scan: np.pad(scan, random.integers(0, 12, (3, 2))),
        "noise, 5%": lambda scan: scan + random.normal(0, 0.05 * np.percentile(scan, 99), scan.shape),
        "power 0.7": lambda scan: np.maximum(scan, 0) ** 0.7,
        "resampled, cropped 5%, JPEG 75, turned": lambda scan: turn(
            compress(crop(resample(scan, random.uniform(0.7, 1.3, 3)), 0.05, random), 75), random
        ),
    }


def report_unrelated(name: str, pictures: Likeness) -> None:
    """The similarity of the nearest neighbours among scans of different patients."""
    pairs = find_candidates(pictures, np.arange(len(pictures)))
    first, second = np.array(pairs, int).reshape(-1, 2).T
    values = compare_likeness(pictures[first], pictures[second])
    print(
        f"{name}: {len(pictures)} scans, {len(pairs)} nearest pairs compared; median {np.median(values):.2f}, "
        f"99th percentile {np.percentile(values, 99):.2f}, largest {values.max():.3f}; "
        f"{(values >= ALIKE).mean():.1%} from {ALIKE}"
    )


def read_real(folder: Path) -> list[Scan]:
    """First phases of the two breasts of a real scan."""
    paths = [folder / "tcga-ao-a03m" / f"{side}_pre.nii.gz" for side in ("left", "right")]
    return [read_volume(path).array[0] for path in paths]


def measure_scale(pictures: Likeness, count: int) -> None:
    """Time and memory of the search among many scans: mixtures of those described, as alike as they are."""
    random = np.random.default_rng(1)
    many = np.empty((count, SIZE, SIZE, SIZE), np.int8)
    for row in range(count):
        chosen = pictures[random.integers(0, len(pictures), 3)].astype(np.float32)
        own = ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE, SIZE)), 0.6)
        mixed = np.tensordot(random.dirichlet(np.ones(3)), chosen, 1) + 32 * own / own.std()
        many[row] = np.clip(np.rint(mixed), -127, 127)
    many[-5:] = [np.flip(np.transpose(picture, (1, 0, 2)), 2) for picture in many[:5]]
    started, worked = time.perf_counter(), time.process_time()
    found = find_near_duplicates(many, pd.Series(np.arange(count)))
    wall_s, processor_s = time.perf_counter() - started, time.process_time() - worked
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count} scans: {wall_s:.0f} s ({processor_s:.0f} of a processor), peak {peak_mb:.0f} MB, "
        f"{len(found)} pairs found of 5 planted"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--matrix", type=int, default=96)
    parser.add_argument("--scans", type=int, default=10_000)
    parser.add_argument("--real", type=Path)
    arguments = parser.parse_args()
    scans = list(simulate_scans(arguments.patients, arguments.matrix))
    if arguments.real:
        scans += read_real(arguments.real)
    started = time.process_time()
    pictures = np.stack([describe_likeness(scan) for scan in scans])
    print(f"described in {(time.process_time() - started) / len(scans):.3f} processor seconds a scan")
    report_unrelated("unrelated", pictures)
    if arguments.real:
        masks = np.load(arguments.real / "lidc" / "lidc_nodule_masks_32.npz")["volumes"][:1185]
        described = [describe_likeness(mask.astype(np.float32)) for mask in masks]
        report_unrelated("LIDC masks, which the audit does not compare", np.stack(described))
    for name, disturb in list_disturbances(np.random.default_rng(0)).items():
        copies = np.stack([describe_likeness(np.ascontiguousarray(disturb(scan), np.float32)) for scan in scans[::-2]])
        values = compare_likeness(pictures[::-2], copies)
        print(
            f"{name:40} median {np.median(values):.3f}, least {values.min():.3f}; "
            f"fail {(values >= SAME).mean():.0%}, fail or warn {(values >= ALIKE).mean():.0%} of {len(values)}"
        )
    measure_scale(pictures, arguments.scans)


if __name__ == "__main__":
    main()
