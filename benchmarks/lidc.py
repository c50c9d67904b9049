"""Make a study of the LIDC nodule masks: real 3D volumes, real patients, a known answer.

The diameter alone scores AUC 0.905 on the nodules with at least three readers; a network that sees the masks should
come near it, and one that does much worse is broken.

Usage: python benchmarks/lidc.py REAL_DATA/lidc OUT
"""

import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

MINIMUM_READERS = 3
STUDY = """[study]
schema = 1
name = "lidc"
seed = 7

[cohort]
images = "manifest.csv"
labels = "labels.csv"
unit = "volume"

[cohort.splits]
folds = 5
repeats = 1

[preprocess]
spacing_mm = [1.0, 1.0, 1.0]
shape = [32, 32, 32]
bias = "none"
foreground = "none"
normalise = "none"
channels = ["pre"]

[augment]
preset = "isotropic"

[train]
models = ["light"]
epochs = 20
"""


def write_study(source: Path, out: Path) -> Path:
    """Write volumes, ``manifest.csv``, ``labels.csv`` and ``study.toml``; returns the study file.

    A nodule without a majority (label -1) or with fewer than three readers has an empty label and the reason.
    """
    volumes = np.load(source / "lidc_nodule_masks_32.npz", allow_pickle=False)
    nodules = pd.read_csv(source / "lidc_nodules.csv").set_index("nodule")
    (out / "volumes").mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    manifest, labels = [], []
    for mask, number in zip(volumes["volumes"], volumes["nodule"], strict=True):
        nodule = nodules.loc[number]
        case_id = f"nodule-{number:04d}"
        path = out / "volumes" / f"{case_id}.nii"
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.T), affine), path)
        manifest.append((case_id, nodule["patient_id"], f"volumes/{case_id}.nii"))
        labels.append((case_id, *_read_label(int(nodule["label"]), int(nodule["n_readers"]))))
    pd.DataFrame(manifest, columns=["case_id", "patient_id", "image"]).to_csv(out / "manifest.csv", index=False)
    pd.DataFrame(labels, columns=["case_id", "label", "reason"]).to_csv(out / "labels.csv", index=False)
    study = out / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    return study


def _read_label(label: int, readers: int) -> tuple[str, str]:
    if readers < MINIMUM_READERS:
        return "", f"fewer than {MINIMUM_READERS} readers"
    if label < 0:
        return "", "the readers' vote is equal (label -1)"
    return str(label), ""


if __name__ == "__main__":
    print(write_study(Path(sys.argv[1]), Path(sys.argv[2])))
