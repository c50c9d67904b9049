"""Make a study of the LIDC nodule masks: real 3D volumes, real patients, a known answer.

The diameter alone scores AUC 0.905 on the nodules with at least three readers; a network that sees the masks should
come near it, and one that does much worse is broken.

    python benchmarks/lidc.py REAL_DATA/lidc OUT            write the study; then: genovox run OUT/study.toml
    python benchmarks/lidc.py REAL_DATA/lidc OUT compare    its network and the diameter on the same test folds
"""

import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd

from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import Resampling
from genovox.evaluate.scoring import within_fold_auc

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


def compare_with_diameter(source: Path, run: Path) -> dict[str, dict[str, list[float | None]]]:
    """AUC of the network and of the diameter, and their difference: the estimate, then a 95% interval.

    Within test folds, as the headline is, and over all nodules at once. Patients are resampled, and intervals widened
    as those of every figure over folds.
    """
    nodules = pd.read_csv(source / "lidc_nodules.csv").set_index("nodule")
    scores = pd.read_csv(run / "train" / "predictions.csv", dtype={"fold": str, "patient_id": str})
    test = scores[scores["part"] == "test"].reset_index(drop=True)
    test = test.assign(unit=test["case_id"], cluster=pd.factorize(test["patient_id"])[0])
    diameter = nodules.loc[test["case_id"].str.removeprefix("nodule-").astype(int), "diam_mm"].to_numpy()
    resampling = Resampling.of(test, resamples=2000, seed=0)
    weights = resampling.drawn[:, resampling.clusters.locate(test["cluster"])]
    rows = {}
    for name, measure in (("within folds", within_fold_auc), ("pooled", _pool)):
        network, alone = (measure(test.assign(score=values), weights) for values in (test["score"], diameter))
        figures = {"network": network, "diameter": alone, "difference": network - alone}
        metrics = {key: resampling.summarise(values, limits=(-1.0, 1.0)) for key, values in figures.items()}
        rows[name] = {key: [one.estimate, one.low, one.high] for key, one in metrics.items()}
    return rows


def _pool(test: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    return roc_auc(test["label"].to_numpy(), test["score"].to_numpy(), weights)


if __name__ == "__main__":
    if sys.argv[3:] == ["compare"]:
        print(json.dumps(compare_with_diameter(Path(sys.argv[1]), Path(sys.argv[2]) / "runs" / "lidc"), indent=2))
    else:
        print(write_study(Path(sys.argv[1]), Path(sys.argv[2])))
