"""Embeddings are what the heads read: they give the scores again, and are computed once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.core.artifacts import read_table
from genovox.core.study import Study
from genovox.predict.embeddings import read_embeddings
from genovox.train.fold import load_networks
from tests.conftest import FinishedRun


def test_the_heads_make_the_scores_of_the_embeddings(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run = Study.load(finished_run.study), finished_run.run
    rows = read_table(run / "train" / "predictions.csv")
    tested = rows[(rows["model"] == "light") & (rows["part"] == "test")]
    (tmp_path / "old.npz").touch()
    spaces = read_embeddings(study, run, tested, tmp_path, device="cpu")
    assert len(spaces) == 3
    assert sorted(case_id for space in spaces for case_id in space.index) == sorted(tested["case_id"])
    assert len(list(tmp_path.glob("*.npz"))) == 3
    scores = tested.set_index("case_id")["score"].astype(float)
    for fold, space in enumerate(spaces):
        (network,) = load_networks(run / "train" / "light" / "repeat-0" / f"fold-{fold}")
        with torch.no_grad():
            made = torch.sigmoid(network.fc(torch.tensor(space.to_numpy(), dtype=torch.float32)))[:, 0]
        assert np.allclose(made, scores[space.index], atol=1e-4)

    def refuse(*_: object) -> None:
        raise AssertionError("a second forward pass")

    monkeypatch.setattr("genovox.learning.probe.pool_features", refuse)
    again = read_embeddings(study, run, tested, tmp_path, device="cpu")
    assert all(np.array_equal(one, other) for one, other in zip(spaces, again, strict=True))
