"""Prepared cases and their tensors."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genovox.core.errors import DataError
from genovox.dataset.cases import PreparedCase, load_batch, read_prepared_cases
from genovox.volumes.nyul import LANDMARK_NAMES
from tests.conftest import FinishedRun


def test_every_included_case_is_there(finished_run: FinishedRun) -> None:
    cases = read_prepared_cases(finished_run.run)
    assert len(cases) == 24
    assert sum(case.label for case in cases.values()) == 12
    assert all(case.volume.exists() and case.key for case in cases.values())


def test_batch_holds_the_volumes_in_order(finished_run: FinishedRun) -> None:
    cases = list(read_prepared_cases(finished_run.run).values())[:3]
    batch = load_batch(cases)
    assert batch.shape == (3, 3, 24, 24, 24)
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch[1].numpy(), np.load(cases[1].volume))


def test_landmarks_are_read_where_there_are_any(finished_run: FinishedRun, tmp_path: Path) -> None:
    for name in ("cohort", "preprocess"):
        (tmp_path / name).mkdir()
        shutil.copy(finished_run.run / name / "cases.csv", tmp_path / name)
    assert all(case.landmarks == () for case in read_prepared_cases(tmp_path).values())
    table = pd.DataFrame([range(11)], columns=list(LANDMARK_NAMES)).assign(case_id="P002")
    table.to_csv(tmp_path / "preprocess" / "landmarks.csv", index=False)
    cases = read_prepared_cases(tmp_path)
    assert cases["P002"].landmarks == tuple(float(number) for number in range(11))
    assert cases["P001"].landmarks == ()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00 nonsense"])
def test_damaged_volume_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    case = PreparedCase("x", "P", "", "", 1, "key", path)
    with pytest.raises(DataError, match=r"volume of x .*run again"):
        load_batch([case])
