"""The epochs of a fold are those of all its trainings, and its count is gone once it is trained."""

from pathlib import Path

import pytest

from genovox.core.sections import SearchTable, TrainTable
from genovox.learning.journal import EpochRecord
from genovox.train.progress import EpochCount, count_done, plan_epochs

RECORD = EpochRecord(1, 1e-3, 0.7, 0.7, best=True)
GRID = SearchTable(learning_rate=(1e-4, 1e-3), epochs=(4, 10), folds=3)


@pytest.mark.parametrize(
    ("table", "epochs"),
    [
        (TrainTable(epochs=10), 10),
        (TrainTable(epochs=10, members=3, snapshots=2), 30),
        (TrainTable(epochs=10, search=SearchTable(learning_rate=(1e-4, 1e-3), folds=3)), 10 * 2 * 3 + 10),
        (TrainTable(epochs=7, members=2, snapshots=2, search=GRID), 3 * (4 + 10 + 4 + 10) + 2 * 10),
        (TrainTable(epochs=7, search=SearchTable(epochs=(4,))), 4),  # one setting is taken without a trial
    ],
)
def test_every_training_of_a_fold_is_planned(table: TrainTable, epochs: int) -> None:
    assert plan_epochs(table, "light") == epochs


def test_a_frozen_encoder_has_no_epochs() -> None:
    assert plan_epochs(TrainTable(epochs=10, transfer="frozen"), "light@old.pth") == 0


def test_a_training_that_ends_early_counts_whole_at_its_end(tmp_path: Path) -> None:
    assert count_done(tmp_path) == 0
    with EpochCount(tmp_path / "fold") as count:
        with count.follow(5) as follow:
            follow(RECORD)
            follow(RECORD)
            assert count_done(tmp_path / "fold") == 2
        assert count_done(tmp_path / "fold") == 5
        with count.follow(0) as follow:
            follow(RECORD)
        assert count_done(tmp_path / "fold") == 5
    assert not list((tmp_path / "fold").iterdir())


def test_a_count_starts_anew_and_vanishes_after_a_fault_too(tmp_path: Path) -> None:
    def train() -> None:
        with EpochCount(tmp_path) as count, count.follow(5) as follow:
            follow(RECORD)
            with EpochCount(tmp_path):
                assert count_done(tmp_path) == 0
            raise ValueError("fault")

    with pytest.raises(ValueError, match="fault"):
        train()
    assert not list(tmp_path.iterdir())
