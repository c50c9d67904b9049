"""Radiomics: seconds a case, and the cross-validated AUC on the LIDC nodule masks beside the diameter alone.

The folds are those of ``benchmarks/lidc.py``. A mask has a shape and nothing else, so this weighs the shape features,
their selection and the regularised regression.

Usage: python benchmarks/radiomics.py REAL_DATA/lidc [REPEATS]
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.lidc import MINIMUM_READERS
from genovox.baselines.tabular import fit_tabular
from genovox.cohort.splits import plan_folds
from genovox.core.case import Case
from genovox.core.sections import SplitsTable
from genovox.dataset.cases import PreparedCase
from genovox.radiomics.measure import measure_features

SEED = 7
CUBE = (1.0, 1.0, 1.0)


def time_case(channels: int, side: int) -> tuple[float, int]:
    """Seconds for a lesion half as wide as the crop, and the number of features."""
    random = np.random.default_rng(1)
    places = np.moveaxis(np.indices((side, side, side)), 0, -1) - (side - 1) / 2
    lesion = np.sqrt((places**2).sum(-1)) < side / 4
    volume = (random.normal(0, 0.2, (channels, side, side, side)) + lesion).astype(np.float32)
    names = [f"subtraction{number + 1}" for number in range(channels)]
    foreground = np.ones(lesion.shape, bool)
    started = time.perf_counter()
    found = measure_features(volume, names, foreground, CUBE, guide=0)
    return time.perf_counter() - started, len(found)


def read_nodules(source: Path) -> tuple[list[Case], pd.DataFrame, dict[str, float]]:
    """Cases with a label and at least three readers, their features, and the diameter by case."""
    volumes = np.load(source / "lidc_nodule_masks_32.npz", allow_pickle=False)
    nodules = pd.read_csv(source / "lidc_nodules.csv").set_index("nodule")
    cases, rows, diameters = [], {}, {}
    everywhere = np.ones((32, 32, 32), bool)
    for mask, number in zip(volumes["volumes"], volumes["nodule"], strict=True):
        nodule = nodules.loc[number]
        if nodule["n_readers"] < MINIMUM_READERS or nodule["label"] < 0:
            continue
        case_id = f"nodule-{number:04d}"
        cases.append(Case(case_id, str(nodule["patient_id"]), ("i",), label=int(nodule["label"])))
        rows[case_id] = measure_features(mask[np.newaxis].astype(np.float32), ("pre",), everywhere, CUBE, guide=0)
        diameters[case_id] = float(nodule["diam_mm"])
    return cases, pd.DataFrame.from_dict(rows, orient="index"), diameters


def main(source: Path, repeats: int) -> None:
    for channels, side in ((3, 48), (1, 96)):
        seconds, count = time_case(channels, side)
        print(f"{channels}x{side}^3: {seconds:.2f} s, {count} features")
    started = time.perf_counter()
    cases, features, diameters = read_nodules(source)
    print(f"{len(cases)} nodules measured in {time.perf_counter() - started:.0f} s")
    plan = plan_folds(cases, SplitsTable(folds=5, repeats=repeats), SEED)
    prepared = {
        case.case_id: PreparedCase(case.case_id, case.patient_id, "", "", int(case.label or 0), "", Path())
        for case in cases
    }
    aucs = []
    for repeat, fold in plan.folds:
        train, held, test = (
            [prepared[case_id] for case_id in plan.select_cases(repeat, fold, part)]
            for part in ("train", "val", "test")
        )
        started = time.perf_counter()
        fit = fit_tabular("radiomics", features, training=train, validation=held, test=test, seed=SEED + repeat)
        seconds = time.perf_counter() - started
        labels = [case.label for case in test]
        ours = roc_auc_score(labels, [fit.scores[case.case_id] for case in test])
        alone = roc_auc_score(labels, [diameters[case.case_id] for case in test])
        aucs.append((ours, alone))
        names = ", ".join(name for name, _ in fit.model.chosen[:4])
        figures = f"radiomics {ours:.3f}, diameter {alone:.3f}"
        print(f"{repeat}/{fold}: {figures} ({seconds:.1f} s, C {fit.model.strength}: {names})")
    ours, alone = np.mean(aucs, axis=0)
    print(f"mean within-fold AUC: radiomics {ours:.3f}, diameter {alone:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
