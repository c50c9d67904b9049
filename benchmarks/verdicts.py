"""Verdicts over simulated cohorts: how often is chance called signal, and a scanner biology?

Each cohort is drawn as tables: tumours and hospitals of ``genovox simulate``, and for an image a vector of features
that mixes what the scan shows with noise and with the hospital's own look. A ridge logistic regression in repeated
cross-validation stands for the network; what follows is ``evaluate`` and ``audit`` as a study has them.

    python benchmarks/verdicts.py --cohorts 200 --out verdicts.json
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from genovox.audit.confounding import weigh_metadata
from genovox.audit.controls import permute_labels, permute_pipeline
from genovox.audit.leakage import check_duplicates, check_folds
from genovox.audit.verdict import reach_verdict
from genovox.baselines.ridge import balance_classes, fit_ridges
from genovox.cohort.splits import split_groups
from genovox.core.seeds import derive_seed
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.scoring import estimate_within_fold_auc
from genovox.simulate.patients import Patient, Shortcut, draw_patients
from genovox.simulate.phenotype import Effect
from genovox.simulate.sites import open_sites

PATIENTS, SITES = 300, 4
HONEST = (0.1, 0.2, 0.3, 0.4)
LOPSIDED = (0.7, 0.7, 0.1, 0.1)
FEATURES, NOISE, LOOK = 16, 1.5, 1.0
"""Features an image gives, SD of their noise, and SD of what a hospital's scanner adds to each."""
STRENGTH = 0.1
LATENTS = ("round_shape", "sharp_margin", "rim", "necrosis", "prepectoral", "density", "bpe", "diameter_mm")
RESAMPLES, MINIMUM_AUC = 400, 0.6
FOLDS, REPEATS = 5, 2


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        words: What the cohorts are.
        bar: The verdict that is counted against the bar, and the least and the most of 200.
    """

    words: str
    effect: Effect
    prevalences: tuple[float, ...]
    shortcut: Shortcut
    bars: tuple[tuple[str, float, float], ...]


ROWS = {
    "null": Row("no effect, no shortcut", "none", (), "none", (("signal", 0, 0.05),)),
    "null-honest": Row("no effect, sites of 10-40%", "none", HONEST, "none", (("signal", 0, 0.05),)),
    "shortcut": Row("no effect, scanner tells all", "none", (), "scanner", (("confounded", 0.95, 1),)),
    "lopsided": Row("no effect, sites of 10% and 70%", "none", LOPSIDED, "none", (("confounded", 0.95, 1),)),
    "effect": Row("full effect, no shortcut", "full", (), "none", (("signal", 0.90, 1), ("confounded", 0, 0.05))),
    "effect-honest": Row(
        "full effect, sites of 10-40%", "full", HONEST, "none", (("signal", 0.90, 1), ("confounded", 0, 0.05))
    ),
    "half-honest": Row("half effect, sites of 10-40%", "half", HONEST, "none", ()),
    "effect-lopsided": Row("full effect, sites of 10% and 70%", "full", LOPSIDED, "none", ()),
    "effect-shortcut": Row("full effect, scanner tells all", "full", (), "scanner", ()),
}


@dataclass(frozen=True)
class Cohort:
    """One simulated study: its tables, and what stands for its images."""

    cases: pd.DataFrame
    folds: pd.DataFrame
    predictions: pd.DataFrame
    features: pd.DataFrame


def draw_cohort(row: Row, seed: int, *, patients: int = PATIENTS) -> Cohort:
    """Draw patients, hospitals, image features and scores."""
    drawn = draw_patients(
        patients=patients,
        effect=row.effect,
        prevalence=0.4,
        sites=SITES,
        shortcut=row.shortcut,
        site_prevalences=row.prevalences,
        seed=seed,
    )
    random = np.random.default_rng(derive_seed(seed, "verdicts"))
    label = np.array([int(patient.gene != "") for patient in drawn])
    cases = _describe_scans(drawn, label, random)
    features = pd.DataFrame(_draw_features(drawn, random), index=pd.Index(cases["case_id"])).rename(columns=str)
    folds = _plan_folds(cases, random)
    return Cohort(cases, folds, _score(features, cases, folds), features)


def judge_cohort(cohort: Cohort, seed: int) -> dict[str, Any]:
    """The checks that decide a verdict, as the audit makes them, and the verdict."""
    table = validate_predictions(cohort.predictions, label_unit="patient")
    units = gather_units(table[table["part"] == "test"], label_unit="patient")
    auc = estimate_within_fold_auc(units, resamples=RESAMPLES, seed=seed)
    finding = weigh_metadata(
        cohort.cases,
        cohort.folds,
        units,
        label_unit="patient",
        useful_auc=MINIMUM_AUC,
        resamples=RESAMPLES,
        seed=seed,
    )
    permutation = permute_labels(units, permutations=400, seed=seed)
    first = reach_verdict([], finding, auc, permutation.p_value, MINIMUM_AUC).verdict
    if first == "signal":
        # Only here can the pipeline's own p, the slower one, still decide.
        permutation = permute_pipeline(
            cohort.features, cohort.cases, cohort.folds, label_unit="patient", permutations=200, seed=seed
        )
    verdict = reach_verdict([], finding, auc, permutation.p_value, MINIMUM_AUC)
    within = finding.within.low if finding.within else None
    return {
        "verdict": verdict.verdict,
        "confounding": verdict.confounding,
        "auc": [auc.estimate, auc.low, auc.high],
        "metadata": [finding.auc.estimate, finding.auc.low] if finding.auc else [],
        "within_low": within,
        "adds": [finding.addition.log_odds.low, finding.addition.p_value] if finding.addition else [],
        "p": permutation.p_value,
    }


def plant_duplicate(cohort: Cohort, random: np.random.Generator) -> Cohort:
    """One scan under a second patient."""
    first, second = random.choice(len(cohort.cases), 2, replace=False)
    cases = cohort.cases.copy()
    cases.loc[second, "fingerprint"] = cases.loc[first, "fingerprint"]
    return Cohort(cases, cohort.folds, cohort.predictions, cohort.features)


def plant_two_ids(cohort: Cohort, random: np.random.Generator) -> Cohort:
    """A patient who came twice, the second time under a new id, with the same scan among hers."""
    number = int(random.integers(len(cohort.cases)))
    again = cohort.cases.iloc[[number]].assign(case_id="again", patient_id="NEW-1")
    cases = pd.concat([cohort.cases, again], ignore_index=True)
    return Cohort(cases, cohort.folds, cohort.predictions, cohort.features)


def plant_split_family(cohort: Cohort, random: np.random.Generator) -> Cohort:
    """Two sisters in two parts of a fold."""
    folds = cohort.folds.copy()
    fold = folds[(folds["repeat"] == 0) & (folds["fold"] == "0")]
    ids = [random.choice(fold.loc[fold["part"] == part, "patient_id"]) for part in ("train", "test")]
    folds.loc[folds["patient_id"].isin(ids), "family_id"] = "F1"
    return Cohort(cohort.cases, folds, cohort.predictions, cohort.features)


PLANTS: dict[str, Callable[[Cohort, np.random.Generator], Cohort]] = {
    "duplicate": plant_duplicate,
    "two-ids": plant_two_ids,
    "split-family": plant_split_family,
}


def _describe_scans(drawn: list[Patient], label: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    """What files say of each scan: the hospital's own, and what varies within one."""
    sites = open_sites(SITES)
    count = len(drawn)
    there = [sites[patient.site] for patient in drawn]
    slices = np.array([site.matrix[2] for site in there]) + 2 * random.integers(-1, 2, count)
    return pd.DataFrame(
        {
            "case_id": [f"C{patient.patient_id}" for patient in drawn],
            "patient_id": [patient.patient_id for patient in drawn],
            "family_id": "",
            "site": [site.hospital for site in there],
            "label": label,
            "fingerprint": [f"v{number}" for number in range(count)],
            "scan_vendor": [site.vendor for site in there],
            "scan_model": [site.model for site in there],
            "scan_field_strength": [str(site.sequence.field_t) for site in there],
            "scan_slices": slices.astype(str),
            "scan_phases": [str(site.phases) for site in there],
            "scan_year": random.integers(2012, 2025, count).astype(str),
            "scan_series": [site.names[0] for site in there],
        }
    )


def _plan_folds(cases: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Folds stratified by label and site, as a study plans them."""
    strata = (cases["label"].astype(str) + cases["site"]).to_numpy(str)
    who = cases[["case_id", "patient_id", "family_id"]]
    plans = []
    for repeat in range(REPEATS):
        outer = split_groups(strata, np.arange(len(cases)), FOLDS, int(random.integers(2**32)))
        for fold, (rest, test) in enumerate(outer):
            part = np.full(len(cases), "train", dtype=object)
            part[test] = "test"
            _, chosen = next(split_groups(strata[rest], rest, FOLDS, int(random.integers(2**32))))
            part[rest[chosen]] = "val"
            plans.append(who.assign(repeat=repeat, fold=str(fold), part=part))
    return pd.concat(plans, ignore_index=True)


def _draw_features(drawn: list[Patient], random: np.random.Generator) -> np.ndarray:
    latents = np.array(
        [
            [
                float("abcd".index(value)) if isinstance(value := getattr(patient, name), str) else float(value)
                for name in LATENTS
            ]
            for patient in drawn
        ]
    )
    latents[:, -1] = np.log(latents[:, -1])
    latents = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    mix = random.normal(size=(len(LATENTS), FEATURES)) / np.sqrt(len(LATENTS))
    look = random.normal(scale=LOOK, size=(SITES, FEATURES))
    site = np.array([patient.site for patient in drawn])
    return np.asarray(latents @ mix + look[site] + random.normal(scale=NOISE, size=(len(drawn), FEATURES)))


def _score(features: pd.DataFrame, cases: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    label = cases.set_index("case_id")["label"]
    tables = []
    for _, plan in folds.groupby(["repeat", "fold"]):
        part = {name: plan.loc[plan["part"] == name, "case_id"].tolist() for name in ("train", "val", "test")}
        known = features.loc[part["train"]]
        mean, scale = known.mean().to_numpy(), known.std().to_numpy()
        truth = label[part["train"]].to_numpy()
        fits = fit_ridges((known.to_numpy() - mean) / scale, truth, balance_classes(truth), strength=STRENGTH)
        for name in ("val", "test"):
            asked = (features.loc[part[name]].to_numpy() - mean) / scale
            rows = plan[plan["part"] == name].assign(
                score=expit(fits.predict(asked)[0]), label=label[part[name]].tolist()
            )
            tables.append(rows)
    return pd.concat(tables, ignore_index=True).assign(model="features", seed=0)


def count_row(name: str, cohorts: int, seed: int, out: Path | None) -> dict[str, Any]:
    """Judge a row's cohorts; what an interrupted run finished is kept in ``out``."""
    path = out / f"{name}.jsonl" if out else None
    known = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    for number in range(len(known), cohorts):
        drawn = derive_seed(seed, name, number)
        kept = judge_cohort(draw_cohort(ROWS[name], drawn), drawn)
        known.append(kept)
        if path:
            with path.open("a") as file:
                file.write(json.dumps(kept) + "\n")
    known = known[:cohorts]
    verdicts = Counter(entry["verdict"] for entry in known)
    shares = {word: verdicts[word] / len(known) for word, _, _ in ROWS[name].bars}
    return {
        "row": name,
        "cohorts": len(known),
        "verdicts": dict(verdicts),
        "confounding": dict(Counter(entry["confounding"] for entry in known)),
        "auc": round(float(np.mean([entry["auc"][0] for entry in known])), 3),
        "kept": all(low <= shares[word] <= high for word, low, high in ROWS[name].bars),
    }


def count_plants(cohorts: int, seed: int) -> dict[str, Any]:
    """How many planted leaks the audit's checks find, or refuse to read."""
    found: Counter[str] = Counter()
    cohort = draw_cohort(ROWS["null"], seed)
    for number in range(cohorts):
        for name, plant in PLANTS.items():
            random = np.random.default_rng(derive_seed(seed, name, number))
            planted = plant(cohort, random)
            checks = [check_folds(planted.folds, planted.predictions), check_duplicates(planted.cases, "")]
            found[name] += any(check.status == "fail" for check in checks)
    return {"row": "planted leaks", "cohorts": cohorts, "found": dict(found)}


def draw_table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for the documentation."""
    words = ("signal", "confounded", "no-signal", "underpowered")
    lines = [f"| Cohorts | Mean AUC | {' | '.join(words)} | Bar |", "|---|---|" + "---|" * (len(words) + 1)]
    for row in rows:
        spec = ROWS[row["row"]]
        counts = " | ".join(str(row["verdicts"].get(word, 0)) for word in words)
        bars = "; ".join(
            f"{word} {'at most' if low == 0 else 'at least'} {100 * (high if low == 0 else low):.0f}%"
            for word, low, high in spec.bars
        )
        state = f"{bars}: {'kept' if row['kept'] else 'missed'}" if bars else "none"
        lines.append(f"| {spec.words} | {row['auc']:.2f} | {counts} | {state} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200, help="a row")
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), default=list(ROWS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="folder of what is finished; the same command goes on from there")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    rows = [count_row(name, options.cohorts, options.seed, options.out) for name in options.rows]
    plants = count_plants(options.cohorts, options.seed)
    print(json.dumps({"rows": rows, "planted": plants, "wall_s": round(time.monotonic() - started, 1)}, indent=2))
    print(draw_table(rows))


if __name__ == "__main__":
    main()
