"""Subsamples are nested, keep families together and the prevalence, and never touch a test patient."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import DataError
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.dataset.features import open_features
from genovox.learning.resolution import resolve
from genovox.plan.subsamples import SHARES, pick_training, plan_subsamples
from genovox.train.plan import FoldTask, plan_tasks


def _case(number: int, label: int, family: str = "") -> PreparedCase:
    return PreparedCase(f"c{number}", f"p{number // 2}", family, "", label, "k", Path("none.npy"))


@given(st.integers(0, 10_000), st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_smaller_share_lies_within_a_larger_one(seed: int, one: float, other: float) -> None:
    cases = [_case(number, int(number < 24), "f" if 8 <= number < 12 else "") for number in range(80)]
    small, large = ({case.case_id for case in pick_training(cases, share, seed)} for share in sorted((one, other)))
    assert small <= large
    for chosen in (small, large):
        assert all((f"c{number}" in chosen) == (f"c{number + 1}" in chosen) for number in range(0, 80, 2))
        assert ("c8" in chosen) == ("c10" in chosen)
        assert {case.label for case in cases if case.case_id in chosen} == {0, 1}


def test_the_whole_is_the_whole_and_shares_keep_the_prevalence() -> None:
    cases = [_case(2 * number, int(number < 30)) for number in range(100)]
    assert pick_training(cases, 1.0, 3) == tuple(cases)
    half = pick_training(cases, 0.5, 3)
    assert (len(half), sum(case.label for case in half)) == (50, 15)
    assert half != pick_training(cases, 0.5, 4)


@pytest.fixture(scope="module")
def tasks(tables_run: Path) -> list[FoldTask]:
    study = Study.load_snapshot(tables_run)
    cases = list(read_prepared_cases(tables_run).values())
    columns = {"clinical": open_features("clinical", study, tables_run, cases)}
    return plan_tasks(study, tables_run, resolve(tables_run / "train", "cpu", study.train), columns)


def test_every_share_of_every_fold_has_a_key_of_its_own(tasks: list[FoldTask], tmp_path: Path) -> None:
    planned = plan_subsamples(tasks, tmp_path, draws=2, seed=5)
    shares = sorted({subsample.share for subsample in planned})
    assert shares == [share for share in SHARES if share >= shares[0]]
    assert len(planned) == len(tasks) * (2 * (len(shares) - 1) + 1)
    assert len({subsample.task.key for subsample in planned}) == len(planned)
    assert len({subsample.task.folder for subsample in planned}) == len(planned)
    for subsample in planned:
        tested = {case.patient_id for case in (*subsample.task.test, *subsample.task.validation)}
        assert not tested & {case.patient_id for case in subsample.task.training}
        whole = subsample.share == 1
        assert subsample.task.is_finished() is whole  # the run's own folds serve for the whole
        assert subsample.task.folder.is_relative_to(tmp_path) is not whole
    again = plan_subsamples(tasks, tmp_path, draws=2, seed=5)
    assert [subsample.task.key for subsample in again] == [subsample.task.key for subsample in planned]


def test_a_whole_that_is_not_trained_yet_gets_a_place(tasks: list[FoldTask], tmp_path: Path) -> None:
    open_task = replace(tasks[0], folder=tmp_path / "nothing")
    whole = plan_subsamples([open_task], tmp_path, draws=1, seed=5)[-1]
    assert whole.share == 1
    assert whole.task.training == tasks[0].training
    assert whole.task.folder == tmp_path / "clinical" / "repeat-0" / "fold-0" / "share-1.00-draw-0"
    assert whole.patients == len(tasks[0].training)


def test_folds_that_are_too_small_are_refused(tasks: list[FoldTask], tmp_path: Path) -> None:
    small = replace(tasks[0], training=pick_training(tasks[0].training, 0.3, 0))
    with pytest.raises(DataError, match=r"needs folds of 10 or more training patients of each class, the smallest has"):
        plan_subsamples([tasks[1], small], tmp_path, draws=1, seed=5)
