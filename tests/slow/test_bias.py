"""The bias field of whole breasts beside SimpleITK's, with the settings of a study."""

from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from benchmarks.bias import EXAM, SCANS, compare, read_scan

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.mark.parametrize("name", SCANS)
def test_the_field_of_a_breast_is_that_of_simpleitk_in_a_fraction_of_its_time(real_data: Path, name: str) -> None:
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), torch.get_num_threads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    try:
        comparison = compare(name, *read_scan(real_data / EXAM / f"{name}.nii.gz"))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads[0])
        torch.set_num_threads(threads[1])
    assert comparison.range > 0.5
    assert comparison.difference <= 1e-3
    assert comparison.ratio >= 25
