"""A new scan: the score, the spread and honest warnings."""

import json
from pathlib import Path

import numpy as np
import pytest

from examples.shapes import draw_phases
from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.core.errors import ImageError, TableError, UsageError
from genovox.core.volume import Volume, read_volume, write_nifti
from genovox.predict.inference import predict_scan
from tests.conftest import FinishedRun


def _scan_paths(run: FinishedRun, patient: str = "P001") -> list[Path]:
    return [run.study.parent / "scans" / f"{patient}_{phase}.nii.gz" for phase in ("pre", "post1", "post2")]


def test_a_test_case_gets_its_own_fold_s_score_back(finished_run: FinishedRun) -> None:
    prediction = predict_scan(finished_run.run, _scan_paths(finished_run))
    table = read_table(finished_run.run / "train" / "predictions.csv")
    own = table[(table["case_id"] == "P001") & (table["part"] == "test")]["score"].astype(float).iloc[0]
    assert prediction.networks == 3
    assert prediction.lowest - 1e-6 <= own <= prediction.highest + 1e-6
    assert prediction.lowest <= prediction.probability <= prediction.highest
    assert prediction.warnings == []
    assert "Research use only" in prediction.notice


def test_foreign_spacing_and_intensity_are_warned_of(finished_run: FinishedRun, tmp_path: Path) -> None:
    paths = []
    for number, path in enumerate(_scan_paths(finished_run)):
        volume = read_volume(path)
        affine = volume.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
        paths.append(tmp_path / f"{number}.nii.gz")
        write_nifti(paths[-1], Volume(volume.array * 50, affine))
    warnings = " ".join(predict_scan(finished_run.run, paths).warnings)
    for words in ("spacing, left to right", "spacing, feet to head", "median intensity", "foreground volume"):
        assert words in warnings


def test_phases_out_of_order_are_refused(finished_run: FinishedRun) -> None:
    """As a shell's ``P001_*`` gives them: post1, post2, pre."""
    with pytest.raises(TableError, match="put them in order"):
        predict_scan(finished_run.run, sorted(_scan_paths(finished_run)))


def test_more_phases_than_training_ever_had_are_warned_of(finished_run: FinishedRun, tmp_path: Path) -> None:
    volumes = [read_volume(path) for path in _scan_paths(finished_run)]
    phases = np.concatenate([volume.array for volume in (*volumes, volumes[-1])])
    write_nifti(tmp_path / "four.nii", Volume(phases, volumes[0].affine))
    warnings = predict_scan(finished_run.run, [tmp_path / "four.nii"]).warnings
    assert "more phases: the scan has 4, no training case had over 3" in warnings


def test_fewer_phases_than_a_channel_needs_is_an_error(finished_run: FinishedRun) -> None:
    with pytest.raises(ImageError, match="washout needs 3 phases, the case has 2"):
        predict_scan(finished_run.run, _scan_paths(finished_run)[:2])


def test_one_4d_file_is_as_good_as_three(finished_run: FinishedRun, tmp_path: Path) -> None:
    paths = _scan_paths(finished_run)
    volumes = [read_volume(path) for path in paths]
    write_nifti(tmp_path / "all.nii", Volume(np.concatenate([v.array for v in volumes]), volumes[0].affine))
    assert predict_scan(finished_run.run, [tmp_path / "all.nii"]) == predict_scan(finished_run.run, paths)


def test_unknown_model_is_named(finished_run: FinishedRun) -> None:
    with pytest.raises(UsageError, match="--model must be one of light"):
        predict_scan(finished_run.run, _scan_paths(finished_run), model="resnet18")


def test_command_prints_json(finished_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    images = ";".join(str(path) for path in _scan_paths(finished_run))
    assert run_command(["predict", str(finished_run.run), images, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= {"probability", "spread_sd", "warnings", "networks", "notice"}
    assert 0 <= answer["probability"] <= 1


def test_command_reads_for_people(finished_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["predict", str(finished_run.run), *map(str, _scan_paths(finished_run))]) == 0
    out = capsys.readouterr().out
    assert "light: 0." in out
    assert "Research use only" in out


def test_missing_last_phase_is_warned_of_where_channels_allow(finished_run: FinishedRun, tmp_path: Path) -> None:
    """A run whose channels need two phases of three still says that one is missing."""
    from tests.conftest import write_study

    study = write_study(tmp_path, patients=12)
    options = ["--set", 'preprocess.channels=["pre","subtraction1"]', "--set", "train.epochs=1", "--quiet"]
    for verb in ("cohort", "preprocess", "train"):
        assert run_command([verb, str(study), *options]) == 0
    warnings = predict_scan(tmp_path / "runs" / "small", _scan_paths(finished_run)[:2]).warnings
    assert any("missing phase: the scan has 2 phases" in warning for warning in warnings)


@pytest.mark.real_data
def test_real_breasts_get_a_score_and_a_warning(finished_run: FinishedRun, real_data: Path) -> None:
    for side in ("left", "right"):
        folder = real_data / "tcga-ao-a03m"
        paths = [folder / f"{side}_{phase}.nii.gz" for phase in ("pre", *(f"post{k}" for k in range(1, 6)))]
        prediction = predict_scan(finished_run.run, paths)
        assert 0 <= prediction.probability <= 1
        assert any("spacing" in warning for warning in prediction.warnings)


def test_phases_of_the_example_differ() -> None:
    pre, post1, _ = draw_phases(np.random.default_rng(0), carrier=True)
    assert (post1 - pre).max() > 200
