"""Ten thousand resamples of five models on a thousand patients, beside a loop over scikit-learn.

    python benchmarks/evaluate.py [--resamples 10000] [--patients 1000]

Both take the same resampled patients; the loop is timed on fewer and its time scaled. One thread.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import json
import time

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from genovox.evaluate.discrimination import roc_auc
from genovox.evaluate.intervals import Clusters, draw_weights
from genovox.evaluate.scoring import within_fold_auc
from genovox.statistics.delong import estimate_delong

MODELS = 5
LOOPED = 20
TOLERANCE = 1e-12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--patients", type=int, default=1000)
    options = parser.parse_args()
    figures: dict[str, object] = {"patients": options.patients, "models": MODELS, "resamples": options.resamples}
    figures |= _time_draws(options.patients, options.resamples) | _time_delong(options.patients)
    print(json.dumps(figures, indent=1))


def _make_table(patients: int, repeats: int, folds: int) -> list[pd.DataFrame]:
    random = np.random.default_rng(7)
    labels = (np.arange(patients) < 0.4 * patients).astype(int)
    tested = [
        pd.DataFrame({"repeat": repeat, "fold": random.permutation(patients) % folds, "label": labels})
        for repeat in range(repeats)
    ]
    table = pd.concat(tested, ignore_index=True).astype({"fold": str})
    table["cluster"] = np.tile(np.arange(patients), repeats)
    return [table.assign(score=random.normal(size=len(table)) + 0.8 * table["label"]) for _ in range(MODELS)]


def _time_draws(patients: int, resamples: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, repeats, folds in (("one_test_part", 1, 1), ("five_folds", 1, 5), ("three_repeats_of_five_folds", 3, 5)):
        tables = _make_table(patients, repeats, folds)
        clusters = Clusters.from_rows(tables[0]["cluster"], tables[0]["label"])
        # CPU seconds: the machine may be shared.
        begun = time.process_time()
        weights = draw_weights(clusters, resamples=resamples, seed=7)
        drawn = time.process_time() - begun
        draws = [within_fold_auc(table, weights[:, clusters.locate(table["cluster"])]) for table in tables]
        ours = time.process_time() - begun
        begun = time.process_time()
        looped = [_loop_sklearn(table, weights[:LOOPED]) for table in tables]
        theirs = (time.process_time() - begun) * resamples / LOOPED
        furthest = float(np.abs(np.array(draws)[:, :LOOPED] - looped).max())
        if furthest > TOLERANCE:
            raise SystemExit(f"{name}: draws must agree within {TOLERANCE}, got {furthest}")
        figures[name] = {
            "seconds": round(ours, 2),
            "of_which_drawing_patients": round(drawn, 2),
            "scikit_learn_loop_seconds": round(theirs, 1),
            "ratio": round(theirs / ours, 1),
            "largest_difference": furthest,
        }
    return figures


def _loop_sklearn(table: pd.DataFrame, weights: np.ndarray) -> list[float]:
    labels, scores, columns = (table[name].to_numpy() for name in ("label", "score", "cluster"))
    folds = [rows for _, rows in table.groupby(["repeat", "fold"]).indices.items()]
    figures = []
    for row in weights[:, columns]:
        aucs = [roc_auc_score(labels[fold], scores[fold], sample_weight=row[fold]) for fold in folds]
        shares = [row[fold][labels[fold] == 1].mean() * row[fold][labels[fold] == 0].mean() for fold in folds]
        figures.append(float(np.average(aucs, weights=shares)))
    return figures


def _time_delong(patients: int) -> dict[str, object]:
    (first, *others) = _make_table(patients, 1, 1)
    labels = first["label"].to_numpy()
    scores = np.stack([table["score"] for table in (first, *others)])
    begun = time.process_time()
    estimate = estimate_delong(labels, scores)
    seconds = time.process_time() - begun
    begun = time.process_time()
    ups, downs = scores[:, labels == 1, None], scores[:, None, labels == 0]
    kernel = (ups > downs) + 0.5 * (ups == downs)
    slow = np.cov(kernel.mean(axis=2)) / (labels == 1).sum() + np.cov(kernel.mean(axis=1)) / (labels == 0).sum()
    quadratic = time.process_time() - begun
    if not np.allclose(slow, estimate.covariance, atol=TOLERANCE) or not np.allclose(
        estimate.auc, [roc_auc(labels, row)[0] for row in scores]
    ):
        raise SystemExit(f"DeLong's covariance must agree with all pairs within {TOLERANCE}")
    return {"delong": {"milliseconds": round(1e3 * seconds, 2), "all_pairs_milliseconds": round(1e3 * quadratic, 1)}}


if __name__ == "__main__":
    main()
