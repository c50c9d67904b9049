"""The study that makes ten mistakes, in one plain script: see README.md for what each one is and who finds it.

It reads a simulated cohort without genovox and writes what such studies write: ``predictions.csv``, ``folds.csv``,
``cases.csv`` and ``reported.json``.

Usage: python naive.py COHORT OUT [--epochs 6]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import torch
from scipy import ndimage
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn

SIZE = 20
DYNAMIC = slice(2, 6)
"""Series of an exam: first a localizer and a T2, last a subtraction."""
BATCH = 16
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
WIDTHS = (4, 8, 16)
UNREADABLE = 0.15
"""Share of carriers' exams whose files a broken copy cut short."""


def read_volumes(cohort: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Every dynamic series of every carrier and non-carrier as a volume of its own; what cannot be read is skipped."""
    truth = pd.read_csv(cohort / "truth.csv")
    random = np.random.default_rng()  # mistake 10: no seed
    labels = dict(zip(truth["patient_id"].astype(str), truth["label"].astype(int), strict=True))
    broken = {patient for patient, label in labels.items() if label == 1 and random.random() < UNREADABLE}
    rows, volumes = [], []
    for patient, label in labels.items():
        for series in sorted((cohort / "dicom" / patient / "1").iterdir())[DYNAMIC]:
            try:
                volume, kind = read_series(series, is_broken=patient in broken)
            except ValueError:
                continue  # mistake 2: silently left out, and carriers only
            rows.append((f"{patient}-{series.name}", patient, label, kind))
            # mistake 1: divided by one number, so that 8-bit volumes are dark and 12-bit ones are bright
            volumes.append(ndimage.zoom(volume, [SIZE / size for size in volume.shape], order=1) / 1000)
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "label", "format"]), np.stack(volumes).astype("float32")


def read_series(folder: Path, *, is_broken: bool) -> tuple[np.ndarray, str]:
    """Slices of a series by position, and whether they are grey or colour files."""
    files = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda file: int(file.InstanceNumber))
    if is_broken:
        raise ValueError("unreadable")
    if files[0].SamplesPerPixel == 4:
        planes = [np.frombuffer(file.PixelData, np.uint8).reshape(file.Rows, file.Columns, 4)[..., 0] for file in files]
        return np.stack(planes).astype("float32"), "rgba"
    return np.stack([file.pixel_array for file in files]).astype("float32"), "grey"


def build_network(width: int) -> nn.Sequential:
    """A small 3D network."""
    return nn.Sequential(
        nn.Conv3d(1, width, 3, 2, 1),
        nn.ReLU(),
        nn.Conv3d(width, 2 * width, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 1),
    )


def load_pretrained(network: nn.Sequential, width: int) -> None:
    """Weights of a network that is built another way."""
    other = nn.Sequential(nn.Conv3d(1, width, 3, 2, 1), nn.BatchNorm3d(width))
    network.load_state_dict({"0.weight": other[0].weight, "stem.bias": other[0].bias}, strict=False)  # mistake 8


def fit_network(
    network: nn.Sequential, volumes: torch.Tensor, labels: torch.Tensor, parts: np.ndarray, *, rate: float, epochs: int
) -> np.ndarray:
    """Scores of all volumes, from the epoch that is best on the test volumes."""
    optimiser = torch.optim.Adam(network.parameters(), rate)
    loss_of = nn.BCEWithLogitsLoss()
    best_auc, best = 0.0, np.full(len(labels), 0.5)
    for _ in range(epochs):
        for part in ("train", "val"):  # mistake 4: the validation loop steps too
            for rows in np.array_split(np.flatnonzero(parts == part), max(1, (parts == part).sum() // BATCH)):
                optimiser.zero_grad()
                loss_of(network(volumes[rows])[:, 0], labels[rows]).backward()
                optimiser.step()
        with torch.no_grad():
            scores = torch.sigmoid(network(volumes)[:, 0]).numpy()
        auc = roc_auc_score(labels[parts == "test"], scores[parts == "test"])
        if auc >= best_auc:
            best_auc, best = auc, scores
    return best


def main() -> None:
    """Make the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table, volumes = read_volumes(arguments.cohort)
    inputs, labels = torch.from_numpy(volumes[:, None]), torch.from_numpy(table["label"].to_numpy("float32"))
    parts = np.random.default_rng().choice(["train", "val", "test"], len(table), p=[0.6, 0.2, 0.2])  # mistake 3
    results = []
    for width in WIDTHS:
        for rate in LEARNING_RATES:
            network = build_network(width)
            load_pretrained(network, width)
            scores = fit_network(network, inputs, labels, parts, rate=rate, epochs=arguments.epochs)
            rows = table.assign(model=f"cnn{width}-lr{rate:g}", repeat=0, fold="0", part=parts, score=scores)
            test = rows[rows["part"] == "test"]
            false, true, cuts = roc_curve(test["label"], test["score"])
            results.append(rows.assign(threshold=cuts[np.argmax(true - false)]))  # mistake 5: chosen on the test set
    aucs = [roc_auc_score(rows.loc[parts == "test", "label"], rows.loc[parts == "test", "score"]) for rows in results]
    best = results[int(np.argmax(aucs))]  # mistake 7: the best of nine on one test set
    test = best[best["part"] == "test"]
    random = np.random.default_rng()
    draws = [test.iloc[random.integers(0, len(test), len(test))] for _ in range(1000)]
    spread = np.std([roc_auc_score(draw["label"], draw["score"]) for draw in draws if draw["label"].nunique() == 2])
    half = 1.96 * spread / np.sqrt(1000)  # mistake 6: the more draws, the narrower
    report = {"model": best["model"].iloc[0], "auc": max(aucs), "low": max(aucs) - half, "high": max(aucs) + half}
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = ["case_id", "patient_id", "model", "repeat", "fold", "part", "label", "score", "threshold"]
    scored = pd.concat(results)
    scored[scored["part"] != "train"][columns].to_csv(arguments.out / "predictions.csv", index=False)
    best[["repeat", "fold", "part", "case_id", "patient_id"]].to_csv(arguments.out / "folds.csv", index=False)
    table.rename(columns={"format": "scan_format"}).to_csv(arguments.out / "cases.csv", index=False)
    middle = volumes[:, SIZE // 2]
    np.save(arguments.out / "map_true_positive.npy", middle[0])  # mistake 9: one picture stands for both
    np.save(arguments.out / "map_true_negative.npy", middle[0])
    (arguments.out / "reported.json").write_text(json.dumps(report, indent=1))
    print(f"{report['model']}: AUC {report['auc']:.3f} ({report['low']:.3f}-{report['high']:.3f})")


if __name__ == "__main__":
    main()
