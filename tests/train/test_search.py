"""Settings are chosen on a fold's own patients, in whole families, and by the lowest mean loss."""

from pathlib import Path

import pytest

from genovox.core.errors import SingleClassError
from genovox.core.sections import SearchTable, TrainTable
from genovox.dataset.cases import PreparedCase
from genovox.train.search import Cases, choose_settings, list_settings

TABLE = TrainTable(search=SearchTable(learning_rate=(1e-4, 1e-3), epochs=(5, 10), folds=3))


def _cases(count: int) -> Cases:
    """Two breasts a patient, a sister for every third."""
    return tuple(
        PreparedCase(f"c{n}{side}", f"p{n}", f"f{n // 6}" if n % 6 < 4 else "", "", n % 2, "k", Path("none"))
        for n in range(count)
        for side in "lr"
    )


def test_the_grid_is_every_combination() -> None:
    assert list_settings(TABLE) == [
        {"learning_rate": 1e-4, "epochs": 5},
        {"learning_rate": 1e-4, "epochs": 10},
        {"learning_rate": 1e-3, "epochs": 5},
        {"learning_rate": 1e-3, "epochs": 10},
    ]
    assert list_settings(TrainTable()) == []


def test_the_lowest_mean_loss_wins_and_no_patient_or_family_is_split() -> None:
    cases = _cases(24)

    def measure(table: TrainTable, rest: Cases, held_out: Cases) -> float:
        for key in ("patient_id", "family_id"):
            shared = {getattr(case, key) for case in rest} & {getattr(case, key) for case in held_out} - {""}
            assert not shared
        assert len(rest) + len(held_out) == len(cases)
        return abs(table.learning_rate - 1e-3) + abs(table.epochs - 5) + len(held_out) / 1000

    table, trials = choose_settings(TABLE, cases, 1, measure)
    assert (table.learning_rate, table.epochs) == (1e-3, 5)
    assert [len(trial.losses) for trial in trials] == [3] * 4
    assert min(trials, key=lambda trial: trial.loss).settings == {"learning_rate": 1e-3, "epochs": 5}


def test_one_combination_needs_no_trial() -> None:
    def measure(*_: object) -> float:
        raise AssertionError

    only = TrainTable(search=SearchTable(learning_rate=(3e-4,)))
    table, trials = choose_settings(only, _cases(4), 1, measure)
    assert (table.learning_rate, trials) == (3e-4, [])
    assert choose_settings(TrainTable(), _cases(4), 1, measure) == (TrainTable(), [])


def test_too_few_patients_of_a_class_are_refused() -> None:
    cases = tuple(case for case in _cases(24) if case.label == 0 or case.patient_id in {"p1", "p3"})
    with pytest.raises(SingleClassError, match="use fewer inner folds"):
        choose_settings(TABLE, cases, 1, lambda *_: 0.0)
