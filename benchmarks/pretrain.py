"""What pretraining without labels adds on real volumes: LIDC nodule masks, 60 patients with labels.

    python -m benchmarks.pretrain REAL_DATA/lidc [--repeats 10] [--patients 60] [--network light] [--epochs 40]

Each repeat deals the patients anew: 300 are tested, 60 are learnt from with labels, and 600 scans of the others are
learnt from without labels (also those that readers could not judge). The same network, labels and seed are trained
from scratch and from what pretraining made, the last epoch is kept, and both score the same test patients. Prints one
JSON object: the AUC over nodules of each arm, and the paired difference with its interval over repeats (Student's t,
also corrected for patients that repeats share after Nadeau & Bengio 2003, doi:10.1023/A:1024068626366).
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from benchmarks.lidc import MINIMUM_READERS
from genovox.core.sections import AugmentTable, PretrainTable, TrainTable
from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import score_cases, train_network
from genovox.learning.resolution import Resolution
from genovox.models.build import build_network
from genovox.pretrain.masked import pretrain_network

TESTED = 300
VALIDATED = 15
AUGMENT = AugmentTable(preset="isotropic")


def write_cases(source: Path, folder: Path) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Nodules with a label, and those without."""
    volumes = np.load(source / "lidc_nodule_masks_32.npz", allow_pickle=False)
    nodules = pd.read_csv(source / "lidc_nodules.csv").set_index("nodule")
    labelled: list[PreparedCase] = []
    unlabelled: list[PreparedCase] = []
    for mask, number in zip(volumes["volumes"], volumes["nodule"], strict=True):
        row = nodules.loc[number]
        path = folder / f"{number}.npy"
        np.save(path, mask[np.newaxis].astype(np.float32))
        has_label = row["n_readers"] >= MINIMUM_READERS and row["label"] >= 0
        case = PreparedCase(str(number), str(row["patient_id"]), "", "", max(0, int(row["label"])), str(number), path)
        (labelled if has_label else unlabelled).append(case)
    return labelled, unlabelled


def run_repeat(
    labelled: list[PreparedCase], unlabelled: list[PreparedCase], arguments: argparse.Namespace, repeat: int
) -> dict[str, Any]:
    """Both arms on one deal of the patients."""
    random = np.random.default_rng(repeat)
    patients = random.permutation(sorted({case.patient_id for case in labelled}))
    tested, rest = set(patients[:TESTED]), patients[TESTED:]
    learnt = set(rest[: arguments.patients])
    watched = set(rest[arguments.patients : arguments.patients + VALIDATED])
    training = [case for case in labelled if case.patient_id in learnt]
    validation = [case for case in labelled if case.patient_id in watched]
    test = [case for case in labelled if case.patient_id in tested]
    kept = tested | learnt | watched
    others = [case for case in (*labelled, *unlabelled) if case.patient_id not in kept]
    scans = [others[index] for index in random.permutation(len(others))[: arguments.scans]]
    resolution = Resolution("cpu", "32-true", arguments.threads, False, torch.__version__)
    torch.manual_seed(repeat)
    fresh = build_network(arguments.network, 1)
    started = time.perf_counter()
    filled = pretrain_network(
        copy.deepcopy(fresh),
        training=scans[len(scans) // 10 :],
        validation=scans[: len(scans) // 10],
        table=PretrainTable(epochs=arguments.pretrain_epochs),
        augment=AUGMENT,
        resolution=resolution,
        seed=repeat,
    )
    result: dict[str, Any] = {
        "scans": len(scans),
        "nodules": len(training),
        "tested": len(test),
        "filling_loss": round(filled.best.validation_loss, 3),
        "pretrain_s": round(time.perf_counter() - started),
    }
    labels = [case.label for case in test]
    for name, network in (("scratch", fresh), ("pretrained", filled.network)):
        trained = train_network(
            network,
            training=training,
            validation=validation,
            table=TrainTable(epochs=arguments.epochs),
            augment=AUGMENT,
            resolution=resolution,
            seed=repeat,
        )
        result[name] = float(roc_auc_score(labels, score_cases(trained.network, test, "cpu", 32)))
    return result


def summarise(rows: list[dict[str, Any]], share: float) -> dict[str, Any]:
    """Mean of each arm, and the paired difference; ``share`` is tested over learnt-from patients."""
    gain = np.array([row["pretrained"] - row["scratch"] for row in rows])
    error = np.sqrt(gain.var(ddof=1) * (1 / len(gain) + share))
    width = student.ppf(0.975, len(gain) - 1) * error
    plain = student.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    return {
        "scratch": round(float(np.mean([row["scratch"] for row in rows])), 4),
        "pretrained": round(float(np.mean([row["pretrained"] for row in rows])), 4),
        "difference": round(float(gain.mean()), 4),
        "interval_for_other_patients": [round(float(gain.mean() + side * width), 4) for side in (-1, 1)],
        "interval_over_repeats": [round(float(gain.mean() + side * plain), 4) for side in (-1, 1)],
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--scans", type=int, default=600)
    parser.add_argument("--network", default="light")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--pretrain-epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        labelled, unlabelled = write_cases(arguments.source, Path(name))
        for repeat in range(arguments.repeats):
            rows.append(run_repeat(labelled, unlabelled, arguments, repeat))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {key: value for key, value in vars(arguments).items() if key != "source"}
    print(json.dumps(result | summarise(rows, TESTED / arguments.patients) | {"repeats_run": rows}, indent=2))


if __name__ == "__main__":
    main()
