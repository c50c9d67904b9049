"""Make a folder of small synthetic scans to try genovox on: NIfTI files and a table of labels.

Each patient has three phases of a body with one lesion. Carriers' lesions enhance at the rim, the others' as a whole;
everything else is drawn alike. The shapes resemble no anatomy and prove nothing but that the road works.

Usage: python examples/shapes.py OUT [--patients 60] [--seed 7]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.core.volume import Volume, write_nifti

SHAPE_ZYX = (28, 40, 36)
SPACING_MM = (3.0, 3.0, 4.0)
PHASES = ("pre", "post1", "post2")


def write_scans(out: Path, *, patients: int, seed: int) -> Path:
    """Write ``scans/<patient>_<phase>.nii.gz`` and ``labels.csv``; every second patient is a carrier.

    Args:
        out: Folder to write in.
        patients: How many.
        seed: Decides everything.

    Returns:
        The folder of the scans.
    """
    random = np.random.default_rng(seed)
    scans = out / "scans"
    labels = []
    for number in range(patients):
        label = number % 2
        patient_id = f"P{number + 1:03d}"
        for phase, array in zip(PHASES, draw_phases(random, carrier=label == 1), strict=True):
            write_nifti(scans / f"{patient_id}_{phase}.nii.gz", Volume(array[np.newaxis], _affine(number)))
        labels.append((patient_id, label))
    pd.DataFrame(labels, columns=["patient_id", "label"]).to_csv(out / "labels.csv", index=False)
    return scans


def draw_phases(
    random: np.random.Generator, *, carrier: bool, enhancement: tuple[float, ...] = (0.0, 1.0, 0.75)
) -> list[np.ndarray]:
    """The phases of one patient, pre-contrast first, each (z, y, x)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE_ZYX), indexing="ij")
    body = (x / 0.85) ** 2 + (y / 0.85) ** 2 + (z / 0.9) ** 2 < 1
    centre = random.uniform(-0.35, 0.35, 3)
    radius = random.uniform(0.28, 0.4)
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / radius
    rim = np.exp(-(((distance - 0.85) / 0.25) ** 2))
    solid = 1 / (1 + np.exp((distance - 0.9) / 0.08))
    uptake = (rim if carrier else solid) * body
    gain = random.uniform(0.8, 1.25)
    phases = []
    for level in enhancement:
        tissue = 300 * body * (1 + 0.1 * (level > 0)) + 350 * level * uptake
        noisy = np.hypot(gain * tissue + random.normal(0, 12, SHAPE_ZYX), random.normal(0, 12, SHAPE_ZYX))
        phases.append(np.round(noisy).astype(np.float32))
    return phases


def _affine(number: int) -> np.ndarray:
    """Every second scan is stored from left to right, so that orientation has something to do."""
    affine = np.diag([*SPACING_MM, 1.0])
    if number % 2 == (number // 2) % 2:
        affine[0, 0], affine[0, 3] = -SPACING_MM[0], SPACING_MM[0] * (SHAPE_ZYX[2] - 1)
    return affine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a folder of small synthetic scans to try genovox on.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    print(write_scans(arguments.out, patients=arguments.patients, seed=arguments.seed))
