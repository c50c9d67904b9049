"""The columns that tabular models learn from: measured once, asked for by name, clear where there are none."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.core.artifacts import read_table
from genovox.core.case import list_metadata
from genovox.core.errors import DataError, TableError
from genovox.core.study import Study
from genovox.core.volume import Volume
from genovox.dataset import features
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.dataset.features import FEATURES, find_guide, open_features
from genovox.radiomics.measure import measure_features
from tests.conftest import FinishedRun


@pytest.fixture
def run(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """A copy whose train folder may be written."""
    for name in ("cohort", "preprocess"):
        shutil.copytree(finished_run.run / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def study(finished_run: FinishedRun) -> Study:
    return Study.load(finished_run.study)


def _cases(run: Path) -> list[PreparedCase]:
    return list(read_prepared_cases(run).values())


def test_radiomics_are_those_of_the_volume(run: Path, study: Study) -> None:
    cases = _cases(run)[:4]
    table = open_features("radiomics", study, run, cases[::-1])
    assert table.index.tolist() == [case.case_id for case in cases[::-1]]
    assert (table.dtypes == np.float64).all()
    assert (run / "train" / FEATURES).exists()
    channels = np.load(cases[0].volume)
    size = np.prod(channels.shape[1:])
    mask = np.unpackbits(np.load(run / "preprocess" / "masks" / f"{cases[0].case_id}.npy"), count=int(size))
    spacing = (4.0, 4.0, 4.0)
    own = measure_features(
        channels, study.preprocess.channels, mask.reshape(channels.shape[1:]).astype(bool), spacing, guide=1
    )
    assert table.loc[cases[0].case_id].to_dict() == pytest.approx(own, rel=1e-6, nan_ok=True)


def test_only_changed_cases_are_measured_again(run: Path, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = _cases(run)[:3]
    first = open_features("radiomics", study, run, cases)
    measured: list[str] = []
    whole = features._measure_case

    def count(task: features._Task) -> dict[str, float]:
        measured.append(task.case_id)
        return whole(task)

    monkeypatch.setattr(features, "_measure_case", count)
    pd.testing.assert_frame_equal(open_features("radiomics", study, run, cases), first)
    assert measured == []
    changed = [PreparedCase(**{**vars(cases[1]), "digest": "other"})]
    volume = np.load(cases[1].volume)
    cases[1].volume.unlink()  # it is a hard link into the cache
    np.save(cases[1].volume, 2 * volume)
    second = open_features("radiomics", study, run, [cases[0], *changed, cases[2]])
    assert measured == [cases[1].case_id]
    pd.testing.assert_frame_equal(second.iloc[[0, 2]], first.iloc[[0, 2]])
    name = "subtraction1.mean"
    assert second[name].iloc[1] == pytest.approx(2 * first[name].iloc[1], rel=1e-4)


def test_more_workers_measure_the_same(run: Path, study: Study) -> None:
    cases = _cases(run)[:2]
    one = open_features("radiomics", study, run, cases)
    (run / "train" / FEATURES).unlink()
    pd.testing.assert_frame_equal(open_features("radiomics", study, run, cases, workers=2), one)


def test_a_damaged_table_is_made_again(run: Path, study: Study) -> None:
    cases = _cases(run)[:1]
    one = open_features("radiomics", study, run, cases)
    (run / "train" / FEATURES).write_text("nonsense\n")
    pd.testing.assert_frame_equal(open_features("radiomics", study, run, cases), one)


def test_a_damaged_volume_is_named(run: Path, study: Study) -> None:
    case = _cases(run)[0]
    case.volume.unlink()
    case.volume.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=rf"radiomics of 1 of 1 cases failed, such as {case.case_id}: its prepro"):
        open_features("radiomics", study, run, [case])


def test_thick_slices_become_cubes() -> None:
    array = np.zeros((1, 8, 40, 40), np.float32)
    array[0, 2:6, 10:30, 10:30] = 1
    volume, foreground = features._make_cubic(Volume(array, np.diag([0.5, 0.5, 4.0, 1.0])), array[0] > 0)
    assert max(volume.spacing_mm) == pytest.approx(min(volume.spacing_mm))
    assert 0.9 < volume.array[0].size / array[0].size < 1.1
    found = measure_features(volume.array, ("pre",), np.ones_like(foreground), volume.spacing_mm, guide=0)
    assert found["shape.volume_ml"] == pytest.approx(1.6, rel=0.1)
    assert foreground.sum() * np.prod(volume.spacing_mm) == pytest.approx(1600, rel=0.1)


def test_metadata_are_the_scans_columns(run: Path, study: Study) -> None:
    cases = _cases(run)[:3]
    table = open_features("metadata", study, run, cases)
    whole = read_table(run / "cohort" / "cases.csv")
    assert list(table.columns) == list_metadata(whole)
    assert "site" in table.columns
    assert not {"label", "patient_id", "family_id", "laterality"} & {*table.columns}
    assert table.index.tolist() == [case.case_id for case in cases]


def test_without_a_clinical_table_there_is_no_clinical_model(run: Path, study: Study) -> None:
    with pytest.raises(TableError, match=r"the run has none; give cohort.clinical, or leave clinical out"):
        open_features("clinical", study, run, _cases(run))


def test_clinical_columns_come_by_case(finished_archive_run: FinishedRun) -> None:
    study = Study.load_snapshot(finished_archive_run.run)
    cases = _cases(finished_archive_run.run)
    table = open_features("clinical", study, finished_archive_run.run, cases)
    assert table.index.tolist() == [case.case_id for case in cases]
    assert {"age", "family_history"} <= {*table.columns}
    assert "patient_id" not in table.columns


@pytest.mark.parametrize(
    ("channels", "guide"),
    [(("pre",), 0), (("pre", "subtraction1"), 1), (("pre", "washout", "enhancement"), 2), (("post1", "ser"), 0)],
)
def test_the_guide_is_the_first_channel_of_uptake(channels: tuple[str, ...], guide: int) -> None:
    assert find_guide(channels) == guide
