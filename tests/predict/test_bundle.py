"""What a run knows."""

import shutil
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.errors import UsageError
from genovox.predict.bundle import load_bundle
from tests.conftest import FinishedRun


def test_holds_every_fold_and_the_ranges_of_the_cohort(finished_run: FinishedRun) -> None:
    bundle = load_bundle(finished_run.run)
    assert bundle.model == "light"
    assert len(bundle.networks) == 3
    assert bundle.ranges.phases == 3
    assert bundle.ranges.figures["spacing_z_mm"] == (4.0, 4.0)
    assert bundle.unit == "volume"
    assert bundle.ranges.figures["intensity_p50"][0] < bundle.ranges.figures["intensity_p50"][1]


def test_a_run_of_lesions_crops_around_points(finished_archive_run: FinishedRun) -> None:
    bundle = load_bundle(finished_archive_run.run)
    assert bundle.unit == "lesion"
    assert bundle.model == "light"
    assert (bundle.ranges.phases, bundle.ranges.most_phases) == (4, 5)  # the hospitals differ
    with pytest.raises(UsageError, match="--model must be a network, as only they score a scan: light, got 'oracle'"):
        load_bundle(finished_archive_run.run, "oracle")


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        load_bundle(tmp_path)


@pytest.fixture
def copied(finished_run: FinishedRun, tmp_path: Path) -> FinishedRun:
    shutil.copytree(finished_run.study.parent, tmp_path / "study")
    return FinishedRun(tmp_path / "study" / "study.toml", tmp_path / "study" / "runs" / "small")


def test_settings_tried_later_do_not_change_what_networks_get(copied: FinishedRun) -> None:
    """A refused command leaves the run as it was; half a rebuild is refused, never scored."""
    before = load_bundle(copied.run)
    for verb in ("evaluate", "train", "report"):
        assert run_command([verb, str(copied.run), "--set", "preprocess.normalise=none", "--quiet"]) == 2
    assert load_bundle(copied.run).preprocess == before.preprocess
    assert (
        run_command(["preprocess", str(copied.run), "--set", "preprocess.normalise=none", "--quiet", "--workers=1"])
        == 0
    )
    with pytest.raises(UsageError, match="its preprocess was made anew after its networks were trained"):
        load_bundle(copied.run)


def test_networks_of_an_earlier_plan_are_left_alone(copied: FinishedRun) -> None:
    options = ["--set", "cohort.splits.folds=2", "--set", "train.epochs=1", "--quiet", "--workers=1"]
    assert run_command(["run", str(copied.study), *options]) == 0
    assert (copied.run / "train" / "light" / "repeat-0" / "fold-2").exists()
    assert len(load_bundle(copied.run).networks) == 2
