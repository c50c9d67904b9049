"""What a run knows."""

from pathlib import Path

import pytest

from genovox.core.errors import UsageError
from genovox.predict.bundle import load_bundle
from tests.conftest import FinishedRun


def test_holds_every_fold_and_the_ranges_of_the_cohort(finished_run: FinishedRun) -> None:
    bundle = load_bundle(finished_run.run)
    assert bundle.model == "light"
    assert len(bundle.networks) == 3
    assert bundle.phases == 3
    assert bundle.ranges["spacing_z_mm"] == (4.0, 4.0)
    assert bundle.ranges["intensity_p50"][0] < bundle.ranges["intensity_p50"][1]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        load_bundle(tmp_path)
