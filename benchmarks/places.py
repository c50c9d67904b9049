"""Embeddings of trained networks and the hospital: how often is it told where they carry it, and where they do not?

Each cohort is drawn as embeddings: 16 latent features of a scan, one of which carries the label and all of which a
hospital shifts, seen by five networks that each mix them into 128 of their own. The rest is the audit's check.

    python benchmarks/places.py --cohorts 60 --out places.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.audit.associations import check_feature_place

SIZES, SHIFTS = (50, 100, 200, 300), (0.0, 1.0, 2.0)
FOLDS, SITES, LATENT, FEATURES, NOISE = 5, 3, 16, 128, 0.3


def draw_embeddings(
    patients: int, shift: float, random: np.random.Generator
) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """A table a fold, and the cases; ``shift`` is how far a hospital moves its scans, in SD of a latent feature."""
    label = (np.arange(patients) % 5 < 2).astype(int)
    site = random.integers(SITES, size=patients)
    ids = np.array([f"c{number:03d}" for number in range(patients)])
    towards = random.normal(size=(SITES, LATENT))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    latent = random.normal(size=(patients, LATENT)) + shift * towards[site]
    latent[:, 0] += label
    spaces = []
    for fold in range(FOLDS):
        rows = np.flatnonzero(np.arange(patients) // 5 % FOLDS == fold)
        mixed = latent[rows] @ random.normal(size=(LATENT, FEATURES)) / np.sqrt(LATENT)
        seen = np.maximum(mixed + NOISE * random.normal(size=mixed.shape), 0)
        spaces.append(pd.DataFrame(seen, index=ids[rows]).rename(columns=str))
    cases = pd.DataFrame({"case_id": ids, "cluster": np.arange(patients), "label": label, "site": site.astype(str)})
    return spaces, cases


def main() -> None:
    """Draw cohorts of every size and shift, and count warnings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("places.json"))
    options = parser.parse_args()
    rows = []
    for patients in SIZES:
        for shift in SHIFTS:
            started = time.monotonic()
            checks = [
                check_feature_place(
                    *draw_embeddings(patients, shift, np.random.default_rng(seed)), "site", resamples=20, seed=seed
                )
                for seed in range(options.cohorts)
            ]
            figures = [check.figure for check in checks if check.figure is not None]
            rows.append(
                {
                    "patients": patients,
                    "shift": shift,
                    "cohorts": len(figures),
                    "mean_auc": round(float(np.mean(figures)), 3),
                    "warned": sum(check.status == "warn" for check in checks),
                    "seconds_each": round((time.monotonic() - started) / options.cohorts, 2),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
