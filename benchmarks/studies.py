"""Verdicts of whole studies through real networks: five cohorts of each kind, described rather than tested.

    python -m benchmarks.defaults crops CROPS                       render lesion crops once (20 minutes)
    python -m benchmarks.studies CROPS OUT [--kinds null …] [--patients 300] [--cohorts 5]

Every cohort draws its patients from the crops and deals their labels anew, then goes the whole way: manifest, folds,
networks, controls, verdict. Cohorts of one kind share some patients, so that they are not quite independent.
A finished cohort stays in OUT, and the same command goes on. Prints a line a cohort, then one JSON object.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmarks.defaults import CHANNEL, PREVALENCE, SITES, TABLE, TRUTH, deal_labels
from genovox.core.artifacts import read_json
from genovox.core.seeds import derive_seed
from genovox.core.volume import Volume, read_volume, write_nifti
from genovox.simulate.sites import open_sites

BY_SCANNER = (1.0, 0.1, 0.1)
"""Share of carriers at each hospital where the scanner tells nearly all."""
STUDY = """[study]
schema = 1
name = "whole"
seed = {seed}

[cohort]
images = "manifest.csv"
labels = "labels.csv"
clinical = "clinical.csv"
unit = "volume"

[cohort.splits]
folds = 3

[preprocess]
spacing_mm = "native"
shape = [32, 32, 32]
foreground = "none"
normalise = "none"
channels = ["pre"]

[augment]
preset = "isotropic"

[train]
models = ["light"]
epochs = {epochs}
"""


@dataclass(frozen=True)
class Kind:
    """What decides the labels of a cohort, and what is planted in it.

    Attributes:
        told_by: What decides them.
        channel: What the networks see; the unenhanced scan shows the scanner, a subtraction hardly does.
        copies: Carriers whose scan stands again under another patient, turned and stored in 8 bits.
        epochs: A copy is found whatever the networks learn.
    """

    told_by: Literal["nothing", "tumour", "scanner"]
    channel: str = CHANNEL
    copies: int = 0
    epochs: int = 40


KINDS = {
    "null": Kind("nothing"),
    "shortcut": Kind("scanner", channel="pre"),
    "effect": Kind("tumour"),
    "copies": Kind("nothing", copies=3, epochs=5),
}


def write_study(crops: Path, out: Path, kind: Kind, patients: int, seed: int) -> Path:
    """Volumes, tables and the study file of one cohort."""
    random = np.random.default_rng(seed)
    truth = pd.read_csv(crops / TRUTH, keep_default_na=False)
    truth = truth[[(crops / f"{name}.npy").exists() for name in truth["patient_id"]]]
    truth = truth.iloc[np.sort(random.choice(len(truth), patients, replace=False))].reset_index(drop=True)
    truth["label"] = _deal(truth, kind, seed)
    (out / "volumes").mkdir(parents=True, exist_ok=True)
    sites = open_sites(SITES)
    rows = []
    for number, patient in truth.iterrows():
        crop = np.load(crops / f"{patient['patient_id']}.npy")[TABLE.channels.index(kind.channel)].astype(np.float32)
        _save(out / "volumes" / f"{patient['patient_id']}.nii", crop)
        site = sites[patient["site"]]
        rows.append(
            {
                "case_id": f"C{number:04d}",
                "patient_id": patient["patient_id"],
                "image": f"volumes/{patient['patient_id']}.nii",
                "site": site.hospital,
                "vendor": site.vendor,
                "model": site.model,
                "field_strength": site.sequence.field_t,
                "phases": site.phases,
            }
        )
    manifest = pd.DataFrame(rows)
    _plant_copies(manifest, truth, kind.copies, out, random)
    manifest.to_csv(out / "manifest.csv", index=False)
    truth[["patient_id", "label"]].to_csv(out / "labels.csv", index=False)
    truth[["patient_id", "age", "subtype", "family_history"]].to_csv(out / "clinical.csv", index=False)
    study = out / "study.toml"
    study.write_text(STUDY.format(seed=seed % 2**31, epochs=kind.epochs), encoding="utf-8")
    return study


def judge_cohort(study: Path) -> dict[str, Any]:
    """The verdict of a whole run, and the figures it rests on."""
    run = study.parent / "runs" / "whole"
    if not (run / "audit" / "audit.json").exists():
        subprocess.run(
            [sys.executable, "-m", "genovox", "run", str(study), "--quiet"], check=True, stdout=subprocess.DEVNULL
        )
    audit = read_json(run / "audit" / "audit.json")
    auc = read_json(run / "evaluate" / "metrics.json")["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    checks = {check["name"]: check for check in audit["checks"]}
    return {
        "verdict": audit["verdict"],
        "headline": audit["headline"],
        "auc": [round(auc[key], 3) for key in ("estimate", "low", "high")],
        "warned": [name for name, check in checks.items() if check["status"] == "warn"],
        "failed": [name for name, check in checks.items() if check["status"] == "fail"],
    }


def _deal(truth: pd.DataFrame, kind: Kind, seed: int) -> np.ndarray:
    if kind.told_by == "tumour":
        return deal_labels(truth, "full", seed)
    share = np.array(BY_SCANNER)[truth["site"]] if kind.told_by == "scanner" else PREVALENCE
    random = np.random.default_rng(derive_seed(seed, "labels"))
    return (random.random(len(truth)) < share).astype(int)


def _plant_copies(
    manifest: pd.DataFrame, truth: pd.DataFrame, copies: int, out: Path, random: np.random.Generator
) -> None:
    """Give patients the scan of another of their class: axes swapped, and rounded to 8 bits."""
    chosen = random.choice(np.flatnonzero(truth["label"] == 1), 2 * copies, replace=False)
    for original, other in chosen.reshape(copies, 2):
        scan = read_volume(out / manifest.loc[original, "image"]).array[0]
        grey = np.round(255 * (scan - scan.min()) / np.ptp(scan)).astype(np.float32)
        _save(out / manifest.loc[other, "image"], np.ascontiguousarray(grey.transpose(1, 0, 2)[::-1]))


def _save(path: Path, volume: np.ndarray) -> None:
    # Isotropic crops without a direction: the file's axes are the array's.
    write_nifti(path, Volume(volume.T[np.newaxis], np.diag([*TABLE.spacing_mm, 1.0])))


def main() -> None:
    """Judge cohorts of each kind and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--cohorts", type=int, default=5)
    options = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {}
    for number in range(options.cohorts):
        for name in options.kinds:
            out = options.out / f"{name}-{number}"
            study = out / "study.toml"
            if not study.exists():
                seed = derive_seed(7, "studies", name, number)
                write_study(options.crops, out, KINDS[name], options.patients, seed)
            row = judge_cohort(study)
            rows.setdefault(name, []).append(row)
            print(f"{name} {number}: {row['verdict']} {row['auc']}", file=sys.stderr, flush=True)
    verdicts = {name: dict(Counter(row["verdict"] for row in found)) for name, found in rows.items()}
    print(json.dumps({"patients": options.patients, "verdicts": verdicts, "cohorts": rows}, indent=2))


if __name__ == "__main__":
    main()
