"""A new scan: the score, the spread and honest warnings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.shapes import draw_phases
from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.core.case import read_cases
from genovox.core.errors import DataError, ImageError, TableError, UsageError
from genovox.core.volume import Volume, read_volume, write_nifti
from genovox.predict.bundle import load_bundle
from genovox.predict.engine import EAGER, open_engine
from genovox.predict.inference import Predictor, open_predictor, predict_scan
from genovox.preprocess.pipeline import Subject, preprocess_images
from genovox.train.fitted import FittedMap
from genovox.volumes.nyul import learn_scale
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


def test_a_run_opened_once_scores_many_scans_as_one_by_one(finished_run: FinishedRun) -> None:
    predictor = open_predictor(finished_run.run, device="cpu")
    assert predictor.engine.shape == (3, 24, 24, 24)
    for patient in ("P001", "P002", "P003"):
        alone = predict_scan(finished_run.run, _scan_paths(finished_run, patient), device="cpu")
        found = predictor.predict(_scan_paths(finished_run, patient))
        assert found.probability == pytest.approx(alone.probability, abs=0.01)
        assert replace(found, probability=0, spread_sd=0, lowest=0, highest=0) == replace(
            alone, probability=0, spread_sd=0, lowest=0, highest=0
        )
        assert predictor.predict(_scan_paths(finished_run, patient)) == found
    assert open_predictor(finished_run.run, scans=1).engine.way == EAGER


def test_each_network_reads_the_scan_through_its_own_fold_s_map(finished_run: FinishedRun) -> None:
    bundle = load_bundle(finished_run.run)
    table = bundle.preprocess.model_copy(update={"normalise": "nyul"})
    done = [preprocess_images(_scan_paths(finished_run, f"P00{number}"), table) for number in (1, 2, 3)]
    maps = [FittedMap(learn_scale([one.landmarks]), table.channels) for one in done]
    engine = open_engine(bundle.networks, (3, 24, 24, 24), precision="float32")
    prediction = Predictor(replace(bundle, preprocess=table, maps=list(maps)), engine).predict(
        _scan_paths(finished_run)
    )
    faced = done[0].face(table.orientation)
    inputs = [torch.from_numpy(fitted(faced.volume.array, faced.landmarks))[None] for fitted in maps]
    with torch.inference_mode():
        expected = [network(volume).sigmoid().item() for network, volume in zip(bundle.networks, inputs, strict=True)]
    assert prediction.probability == pytest.approx(np.mean(expected), abs=1e-4)
    assert prediction.spread_sd == pytest.approx(np.std(expected, ddof=1), abs=1e-4)
    assert not torch.equal(inputs[0], inputs[1])


def test_unknown_model_is_named(finished_run: FinishedRun) -> None:
    with pytest.raises(UsageError, match="--model must be a network, as only they score a scan: light"):
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
    options = [
        "--set",
        'preprocess.channels=["pre","subtraction1"]',
        "--set",
        "train.epochs=1",
        "--quiet",
        "--workers=1",
    ]
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


def _lesion(run: FinishedRun, patient: str) -> tuple[str, Path, tuple[float, ...]]:
    """Case, DICOM folder and mark of a patient of the simulated hospital."""
    case = next(case for case in read_cases(run.run / "cohort" / "cases.csv") if case.patient_id == patient)
    return case.case_id, run.study.parent / "dicom" / patient, case.point_mm


@pytest.mark.parametrize("patient", ["SIM-0001", "SIM-0003", "SIM-0008"])  # of each hospital one
def test_a_dicom_folder_scores_as_the_stored_volume_does(finished_archive_run: FinishedRun, patient: str) -> None:
    case_id, folder, point = _lesion(finished_archive_run, patient)
    prediction = predict_scan(finished_archive_run.run, [folder], Subject(point))
    volume = np.load(finished_archive_run.run / "preprocess" / "volumes" / f"{case_id}.npy")
    networks = load_bundle(finished_archive_run.run).networks
    with torch.inference_mode():
        logits = [network(torch.from_numpy(volume)[None]).double().item() for network in networks]
    scores = 1 / (1 + np.exp(-np.array(logits)))
    assert prediction.networks == len(networks) == 2
    assert prediction.probability == pytest.approx(scores.mean(), abs=1e-9)
    assert (prediction.lowest, prediction.highest) == pytest.approx((scores.min(), scores.max()), abs=1e-9)
    assert prediction.warnings == []


def test_another_place_is_another_score(finished_archive_run: FinishedRun) -> None:
    _, folder, (x, y, z) = _lesion(finished_archive_run, "SIM-0001")
    here, there = (
        predict_scan(finished_archive_run.run, [folder], Subject(place)) for place in ((x, y, z), (-x, y, z))
    )
    assert here.probability != there.probability


def test_a_folder_must_hold_one_exam(finished_archive_run: FinishedRun) -> None:
    _, folder, point = _lesion(finished_archive_run, "SIM-0001")
    with pytest.raises(
        DataError, match=r"must hold one dynamic exam, .*dicom holds 8 in \d+ DICOM files; give the fold"
    ):
        predict_scan(finished_archive_run.run, [folder.parent], Subject(point))


def test_lesions_need_a_place_and_other_cases_take_none(
    finished_archive_run: FinishedRun, finished_run: FinishedRun
) -> None:
    _, folder, point = _lesion(finished_archive_run, "SIM-0001")
    with pytest.raises(UsageError, match="the cases of this run are lesions; give the place: --point=X,Y,Z in mm"):
        predict_scan(finished_archive_run.run, [folder])
    with pytest.raises(UsageError, match="not lesions, so there is nothing to crop around; leave --point out"):
        predict_scan(finished_run.run, _scan_paths(finished_run), Subject(point))
    with pytest.raises(UsageError, match="a lesion's place says its side; leave --side out"):
        predict_scan(finished_archive_run.run, [folder], Subject(point, "left"))
    with pytest.raises(ImageError, match="a mark must lie inside the scan, 0, 900, 0 mm"):
        predict_scan(finished_archive_run.run, [folder], Subject((0, 900, 0)))


def test_a_breast_is_cropped_as_the_run_crops_that_side(finished_run: FinishedRun) -> None:
    bundle = replace(load_bundle(finished_run.run), unit="breast")
    predictor = Predictor(bundle, open_engine(bundle.networks, (3, 24, 24, 24), precision="float32"))
    paths = _scan_paths(finished_run)
    for side in ("left", "right"):
        done = preprocess_images(paths, bundle.preprocess, Subject(side=side)).face(bundle.preprocess.orientation)
        found = predictor.predict(paths, Subject(side=side)).probability
        assert found == pytest.approx(predictor.score_volume(done.volume.array).mean(), abs=1e-6)
    with pytest.raises(UsageError, match="say which one to score: --side left or --side right"):
        predictor.predict(paths)


def test_the_oracle_is_no_network(finished_archive_run: FinishedRun) -> None:
    _, folder, point = _lesion(finished_archive_run, "SIM-0001")
    with pytest.raises(UsageError, match="--model must be a network, as only they score a scan: light, got 'oracle'"):
        predict_scan(finished_archive_run.run, [folder], Subject(point), model="oracle")


def test_command_takes_a_point(finished_archive_run: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    _, folder, (x, y, z) = _lesion(finished_archive_run, "SIM-0001")
    assert run_command(["predict", str(finished_archive_run.run), str(folder), f"--point={x},{y},{z}", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["model"] == "light"
    assert run_command(["predict", str(finished_archive_run.run), str(folder), "--json"]) == 2
    assert "--point=X,Y,Z" in capfd.readouterr().err


@pytest.mark.parametrize("point", ["1,2", "1,2,far", "1,2,3,4", "1,2,nan"])
def test_a_wrong_point_is_wrong_usage(
    finished_archive_run: FinishedRun, point: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, folder, _ = _lesion(finished_archive_run, "SIM-0001")
    assert run_command(["predict", str(finished_archive_run.run), str(folder), f"--point={point}"]) == 2
    assert f"--point takes X,Y,Z in mm (right, anterior, superior), got '{point}'" in capfd.readouterr().err
