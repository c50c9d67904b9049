"""Defaults by experiment: one setting of ``[train]`` or ``[augment]`` changed at a time, on patients dealt anew.

    python -m benchmarks.defaults crops OUT [--patients 1000] [--seed 11]        render lesion crops once (20 minutes)
    python -m benchmarks.defaults try OUT --learnt 60 --rows ROWS [--effect half] [--repeats 3] [--only epochs=20 …]
    python -m benchmarks.defaults try REAL_DATA/lidc --learnt 200 --rows ROWS [--repeats 3]

A simulated lesion is rendered once, since scans do not depend on the label once what the tumour is like is known;
labels are dealt by each patient's true risk, at full or half effect. Every repeat deals patients to learn from, to
watch (a quarter as many, at least eight) and to test (300); every setting trains the same network on the same deal.
The scores of each network are kept in ROWS, so that the same command goes on where it was stopped.
Beside them stand ``radiomics`` of the same channel on the same patients, and its blend with the defaults (each in units
of its test scores, the only ones kept; a study takes validation patients').
Prints a line a run, then one JSON object: the mean AUC of each setting, the share of the excess over 0.5 that a
logistic regression on the true features, fitted on the same patients, reaches, and the difference from the defaults
with a 95% interval (patients of all repeats resampled, the same for both).
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from benchmarks.pretrain import write_cases
from genovox.baselines.blend import EDGE
from genovox.baselines.tabular import fit_tabular
from genovox.core.sections import AugmentTable, PreprocessTable, TrainTable
from genovox.core.seeds import derive_seed
from genovox.core.volume import Volume
from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import score_cases, train_network
from genovox.learning.resolution import Resolution
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.models.light import LightNet
from genovox.preprocess.pipeline import Subject, preprocess_volume
from genovox.radiomics.measure import measure_features
from genovox.simulate.hospital import Plan, render_patient
from genovox.simulate.sites import open_sites

TESTED = 300
SITES = 3
PREVALENCE = 0.4
TRUTH = "truth.csv"
FEATURES = ("round_shape", "sharp_margin", "rim", "necrosis", "prepectoral")
SPACING_MM = (1.5, 1.5, 1.5)
TABLE = PreprocessTable(
    spacing_mm=SPACING_MM, shape=(32, 32, 32), foreground="body", channels=("pre", "subtraction1", "washout")
)
CHANNEL = "subtraction1"
RADIOMICS, BLEND = "radiomics", "defaults+radiomics"
RESAMPLES = 500
BASE: dict[str, Any] = {"model": "light", "preset": "isotropic", "mix": "none", "channels": (CHANNEL,)}
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "epochs=20": {"epochs": 20},
    "epochs=80": {"epochs": 80},
    "keep=best": {"keep": "best"},
    "learning_rate=3e-4": {"learning_rate": 3e-4},
    "learning_rate=3e-3": {"learning_rate": 3e-3},
    "width=half": {"model": (8, 16, 32)},
    "width=double": {"model": (32, 64, 128)},
    "norm=batch": {"model": "light-batchnorm"},
    "model=light-separable": {"model": "light-separable"},
    "augment=none": {"preset": "none"},
    "augment=breast-dce": {"preset": "breast-dce"},
    "augment=strong": {"preset": "strong"},
    "average=0.99": {"average": 0.99},
    "test_flips": {"test_flips": True},
    "members=3": {"members": 3},
    "mix=mixup": {"mix": "mixup"},
    "weight_decay=0.1": {"weight_decay": 0.1},
    "channels=3": {"channels": TABLE.channels},
}


def render_crop(folder: Path, plan: Plan, numbered: tuple[int, Any]) -> None:
    """Write the crop around one patient's first lesion; finished ones stay."""
    number, patient = numbered
    path = folder / f"{patient.patient_id}.npy"
    if path.exists():
        return
    site = open_sites(SITES, matrix=plan.matrix)[patient.site]
    random = np.random.default_rng(derive_seed(plan.seed, "simulate", "scan", number))
    exam, grid, lesions = render_patient(patient, site, random)
    scan = Volume(np.stack(exam.phases).astype(np.float32), grid.affine)
    made = preprocess_volume(scan, TABLE, Subject(lesions[0].centre_mm))
    np.save(path, made.volume.array.astype(np.float16))


def render_cohort(folder: Path, patients: int, seed: int) -> None:
    """Crops and ``truth.csv`` of a cohort at full effect."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(patients, "full", PREVALENCE, SITES, "none", (), seed, matrix=128)
    drawn = plan.draw()
    pd.DataFrame([asdict(patient) for patient in drawn]).to_csv(folder / TRUTH, index=False)
    with ProcessPoolExecutor(2) as pool:
        for number, _ in enumerate(pool.map(partial(render_crop, folder, plan), enumerate(drawn), chunksize=8)):
            if number % 50 == 0:
                print(f"{number} of {patients}", file=sys.stderr, flush=True)


def read_cohort(folder: Path, scratch: Path, channels: tuple[str, ...]) -> tuple[list[PreparedCase], pd.DataFrame]:
    """Cases of some channels, and the truth of the same rows; nodules have one."""
    scratch.mkdir()
    if (folder / "lidc_nodules.csv").exists():
        cases, _ = write_cases(folder, scratch)
        return cases, pd.DataFrame(index=range(len(cases)))
    truth = pd.read_csv(folder / TRUTH, keep_default_na=False)
    truth = truth[[(folder / f"{name}.npy").exists() for name in truth["patient_id"]]].reset_index(drop=True)
    cases = []
    for name in truth["patient_id"]:
        path = scratch / f"{name}.npy"
        crop = np.load(folder / f"{name}.npy").astype(np.float32)
        np.save(path, crop[[TABLE.channels.index(channel) for channel in channels]])
        cases.append(PreparedCase(name, name, "", "", 0, name, path))
    return cases, truth


def deal_labels(truth: pd.DataFrame, effect: str, seed: int) -> np.ndarray:
    """Labels by each patient's risk: the published odds ratios, or half of each on the log scale."""
    prior = np.log(PREVALENCE / (1 - PREVALENCE))
    risk = truth["oracle"].to_numpy()
    logit = prior + (0.5 if effect == "half" else 1.0) * (np.log(risk / (1 - risk)) - prior)
    labels: np.ndarray = (np.random.default_rng(seed).random(len(truth)) < 1 / (1 + np.exp(-logit))).astype(int)
    return labels


def measure_truth(truth: pd.DataFrame, labels: np.ndarray, learnt: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of a logistic regression on the true features, fitted on the patients the networks learn from."""
    features = OneHotEncoder(drop="if_binary").fit_transform(truth[list(FEATURES)].astype(str)).toarray()
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(features[learnt], labels[learnt])
    return np.asarray(fitted.predict_proba(features[test])[:, 1])


def measure_radiomics(cases: list[PreparedCase], spacing_mm: tuple[float, float, float], path: Path) -> pd.DataFrame:
    """Features of the lesion in each case's one channel; measured once."""
    if not path.exists():
        rows = {}
        for case in cases:
            volume = np.load(case.volume)
            everywhere = np.ones(volume.shape[1:], bool)
            rows[case.case_id] = measure_features(volume, (CHANNEL,), everywhere, spacing_mm, guide=0)
        pd.DataFrame.from_dict(rows, orient="index").to_csv(path, index_label="case_id")
    return pd.read_csv(path, dtype={"case_id": str}).set_index("case_id")


def score_radiomics(features: pd.DataFrame, chosen: dict[str, list[PreparedCase]], seed: int) -> np.ndarray:
    """Scores of the test cases."""
    parts = {"training": chosen["learnt"], "validation": chosen["watched"], "test": chosen["test"]}
    fit = fit_tabular("radiomics", features, **parts, seed=seed)
    return np.array([fit.scores[case.case_id] for case in chosen["test"]])


def blend_two(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The mean of two models' log odds, each scaled to SD 1."""
    log_odds = [logit(scores.clip(EDGE, 1 - EDGE)) for scores in (one, other)]
    return np.asarray(sum((values - values.mean()) / values.std() for values in log_odds) / 2)


def open_network(model: str | tuple[int, int, int], channels: int, seed: int) -> Network:
    """A fresh network by name, or a light one of the given widths."""
    torch.manual_seed(seed)
    return build_network(model, channels) if isinstance(model, str) else LightNet(channels, widths=model)


def run_setting(changes: dict[str, Any], chosen: dict[str, list[PreparedCase]], seed: int, rows: Path) -> np.ndarray:
    """Scores of the test cases, the mean over the networks trained under one setting; scores in ``rows`` are taken."""
    own = BASE | changes
    members, flips = own.pop("members", 1), own.pop("test_flips", False)
    trained_as = (
        "defaults" if own == BASE else "-".join(f"{key}={own[key]}" for key in own if own[key] != BASE.get(key))
    )
    scores = []
    for member in range(members):
        plain, mirrored = (rows / f"{trained_as} {seed} {member} {kind}.npy" for kind in ("plain", "mirrored"))
        if not mirrored.exists():
            network = train_setting(own, chosen, seed + 1000 * member)
            for path, is_mirrored in ((plain, False), (mirrored, True)):
                np.save(path, score_cases(network, chosen["test"], "cpu", 32, flips=is_mirrored))
        scores.append(np.load(mirrored if flips else plain))
    return np.asarray(np.mean(scores, axis=0))


def train_setting(own: dict[str, Any], chosen: dict[str, list[PreparedCase]], seed: int) -> Network:
    """One network on one deal."""
    keys = {key: value for key, value in own.items() if key not in BASE}
    return train_network(
        open_network(own["model"], len(own["channels"]), seed),
        training=chosen["learnt"],
        validation=chosen["watched"],
        table=TrainTable(**keys),
        augment=AugmentTable(preset=own["preset"], mix=own["mix"]),
        resolution=Resolution("cpu", "32-true", 1, False, torch.__version__),
        seed=seed,
        channels=own["channels"],
    ).network


def deal_parts(cases: list[PreparedCase], labels: np.ndarray, learnt: int, seed: int) -> dict[str, np.ndarray]:
    """Rows to learn from, to watch and to test; patients whole, carriers in each by their share."""
    random = np.random.default_rng(seed)
    patients = np.array([case.patient_id for case in cases])
    names, first = np.unique(patients, return_index=True)
    order = random.permutation(len(names))
    # Carriers evenly along the order, so that every part holds its share of them.
    positive = labels[first][order] == 1
    place = np.empty(len(order))
    for side in (positive, ~positive):
        place[side] = (np.arange(side.sum()) + random.random()) / max(1, side.sum())
    order = order[np.argsort(place, kind="stable")]
    watched = max(8, learnt // 4)
    bounds = np.cumsum([learnt, watched, TESTED])
    chosen = np.split(order, bounds)[:3]
    return {
        name: np.flatnonzero(np.isin(patients, names[part]))
        for name, part in zip(("learnt", "watched", "test"), chosen, strict=True)
    }


def resample_differences(runs: list[dict[str, Any]], name: str, base: str) -> tuple[float, float]:
    """A 95% interval of the mean AUC difference; a patient weighs the same in every repeat and arm."""
    random = np.random.default_rng(0)
    patients = sorted({patient for run in runs for patient in run["patients"]})
    draws = []
    for _ in range(RESAMPLES):
        counts = dict(
            zip(patients, random.multinomial(len(patients), [1 / len(patients)] * len(patients)), strict=True)
        )
        gains = []
        for run in runs:
            weights = np.array([counts[patient] for patient in run["patients"]])
            drawn = weights > 0
            if len(set(run["labels"][drawn])) == 2:
                both = [
                    roc_auc_score(run["labels"][drawn], run["scores"][arm][drawn], sample_weight=weights[drawn])
                    for arm in (name, base)
                ]
                gains.append(both[0] - both[1])
        draws.append(np.mean(gains))
    low, high = np.quantile(draws, (0.025, 0.975))
    return round(float(low), 3), round(float(high), 3)


def try_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """All settings on the same deals."""
    runs: list[dict[str, Any]] = []
    is_simulated = not (arguments.cohort / "lidc_nodules.csv").exists()
    asked = arguments.only or [name for name in SETTINGS if is_simulated or "channels" not in SETTINGS[name]]
    names = ["defaults", *(name for name in asked if name != "defaults")]
    study = f"{arguments.effect} {arguments.learnt}" if is_simulated else f"lidc {arguments.learnt}"
    rows = arguments.rows / study
    rows.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wanted = {(BASE | SETTINGS[name])["channels"] for name in names}
        cohorts = {
            channels: read_cohort(arguments.cohort, Path(scratch) / "-".join(channels), channels) for channels in wanted
        }
        cases, truth = cohorts[BASE["channels"]]
        spacing_mm = SPACING_MM if is_simulated else (1.0, 1.0, 1.0)
        features = measure_radiomics(cases, spacing_mm, arguments.rows / f"features {arguments.cohort.name}.csv")
        for repeat in range(arguments.repeats):
            labels = (
                deal_labels(truth, arguments.effect, repeat)
                if is_simulated
                else np.array([case.label for case in cases])
            )
            parts = deal_parts(cases, labels, arguments.learnt, repeat)
            run: dict[str, Any] = {
                "labels": labels[parts["test"]],
                "patients": [cases[row].patient_id for row in parts["test"]],
                "scores": {},
            }
            if is_simulated:
                run["scores"]["truth"] = measure_truth(truth, labels, parts["learnt"], parts["test"])
            runs.append(run)
            for name in names:
                seen, _ = cohorts[(BASE | SETTINGS[name])["channels"]]
                chosen = {
                    part: [replace(seen[row], label=int(labels[row])) for row in found.tolist()]
                    for part, found in parts.items()
                }
                run["scores"][name] = run_setting(SETTINGS[name], chosen, repeat, rows)
                if name == "defaults":
                    run["scores"][RADIOMICS] = score_radiomics(features, chosen, repeat)
                    run["scores"][BLEND] = blend_two(run["scores"]["defaults"], run["scores"][RADIOMICS])
            for name in (*names, RADIOMICS, BLEND):
                auc = roc_auc_score(run["labels"], run["scores"][name])
                print(f"repeat {repeat} {name}: {auc:.3f}", file=sys.stderr, flush=True)
    names = [*(["truth"] if is_simulated else []), *names, RADIOMICS, BLEND]
    return {name: _summarise(runs, name) for name in names}


def _summarise(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    aucs = {
        arm: float(np.mean([roc_auc_score(run["labels"], run["scores"][arm]) for run in runs]))
        for arm in {name, "defaults", *(["truth"] if "truth" in runs[0]["scores"] else [])}
    }
    row: dict[str, Any] = {"auc": round(aucs[name], 3)}
    if "truth" in aucs:
        row["share_of_excess"] = round((aucs[name] - 0.5) / (aucs["truth"] - 0.5), 2)
    if name != "defaults":
        row["difference"] = round(aucs[name] - aucs["defaults"], 3)
        row["interval"] = resample_differences(runs, name, "defaults")
    return row


def main() -> None:
    """Render crops, or try settings and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True, dest="verb")
    crops = verbs.add_parser("crops")
    crops.add_argument("cohort", type=Path)
    crops.add_argument("--patients", type=int, default=1000)
    crops.add_argument("--seed", type=int, default=11)
    trial = verbs.add_parser("try")
    trial.add_argument("cohort", type=Path)
    trial.add_argument("--rows", type=Path, required=True)
    trial.add_argument("--learnt", type=int, default=60)
    trial.add_argument("--effect", choices=("full", "half"), default="half")
    trial.add_argument("--repeats", type=int, default=3)
    trial.add_argument("--only", nargs="*", choices=sorted(SETTINGS), default=None)
    arguments = parser.parse_args()
    if arguments.verb == "crops":
        render_cohort(arguments.cohort, arguments.patients, arguments.seed)
        return
    described = {"learnt": arguments.learnt, "effect": arguments.effect, "repeats": arguments.repeats}
    print(json.dumps(described | {"settings": try_settings(arguments)}, indent=2))


if __name__ == "__main__":
    main()
