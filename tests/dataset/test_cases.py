"""Prepared cases and their tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.core.errors import DataError
from genovox.dataset.cases import PreparedCase, load_batch, read_prepared_cases
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


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00 nonsense"])
def test_damaged_volume_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    case = PreparedCase("x", "P", "", "", 1, "key", path)
    with pytest.raises(DataError, match=r"volume of x .*run again"):
        load_batch([case])
