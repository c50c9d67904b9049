"""Embeddings: what the heads of a fold's networks read of the patients that the fold tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.core.artifacts import read_json
from genovox.core.names import model_folder
from genovox.core.study import Study
from genovox.dataset.cases import read_prepared_cases
from genovox.learning.probe import cache_features
from genovox.train.fitted import load_map
from genovox.train.fold import load_networks
from genovox.train.plan import RECORD


def read_embeddings(study: Study, run: Path, tested: pd.DataFrame, folder: Path, *, device: str) -> list[pd.DataFrame]:
    """Pooled features of the test patients of the first repeat, by the networks of their folds.

    Nobody's embedding is of a network that was trained on her. The features of members and snapshots stand side by
    side. Features of two folds are not comparable.

    Args:
        study: The study.
        run: Its run, trained.
        tested: Test rows of one network: ``model, case_id, repeat, fold``.
        folder: Where they are kept, a file a network; files of other trainings are removed.
        device: ``cpu`` or ``cuda``.

    Returns:
        A table a fold: index ``case_id``, a column a feature.
    """
    first, prepared = tested[tested["repeat"] == tested["repeat"].min()], read_prepared_cases(run)
    tables, kept = [], set()
    for (model, repeat, fold), rows in first.groupby(["model", "repeat", "fold"]):
        place = run / "train" / model_folder(model) / f"repeat-{repeat}" / f"fold-{fold}"
        mapped, key = load_map(place, study.preprocess), read_json(place / RECORD)["key"]
        cases = [replace(prepared[case_id], fitted=mapped) for case_id in rows["case_id"]]
        features = []
        for number, network in enumerate(load_networks(place)):
            path = folder / f"{key[:16]}-{number}.npz"
            read = cache_features(path, network, cases, device, study.train.batch_size)
            features.append(np.stack([read[case.key] for case in cases]))
            kept.add(path)
        whole = np.concatenate(features, axis=1).astype(np.float64)
        tables.append(pd.DataFrame(whole, index=pd.Index(rows["case_id"], name="case_id")).rename(columns=str))
    for path in set(folder.glob("*.npz")) - kept:
        path.unlink()
    return tables
