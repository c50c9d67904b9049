import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genovox.cohort import stage as cohort_stage
from genovox.core.artifacts import Stage, read_table
from genovox.core.errors import DataError, UsageError
from genovox.core.sections import PreprocessTable
from genovox.core.study import Study
from genovox.core.volume import Volume
from genovox.preprocess import stage as preprocess
from genovox.preprocess.survey import Survey, survey_scan

MakeStudy = Callable[..., Path]


def _build(path: Path, run: str = "run", *assignments: str) -> Stage:
    study = Study.load(path, assignments)
    folder = path.parent / run
    cohort = cohort_stage.open_stage(study, folder, "cpu")
    cohort.bring_up_to_date(lambda: cohort_stage.build_stage(study, cohort, 1))
    stage = preprocess.open_stage(study, folder, "cpu")
    stage.bring_up_to_date(lambda: preprocess.build_stage(study, stage, 1))
    return stage


def test_the_cache_is_shared_by_hard_links(shapes_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shapes_study(patients=4)
    first = _build(path)
    assert sorted(file.name for file in (first.folder / "volumes").iterdir()) == [f"C00{i}.npy" for i in range(1, 5)]
    assert np.load(first.folder / "volumes" / "C001.npy").shape == (1, 16, 16, 16)
    changed = _build(path, "changed", "preprocess.normalise=percentile")
    with monkeypatch.context() as patch:
        patch.setattr(preprocess, "_preprocess_case", lambda task: pytest.fail(f"{task} was done again"))
        second = _build(path, "second", "train.epochs=3")
    one, two, three = (stage.folder / "volumes" / "C001.npy" for stage in (first, second, changed))
    assert one.samefile(two)
    assert not one.samefile(three)
    assert one.read_bytes() != three.read_bytes()


def test_a_file_system_without_hard_links(shapes_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    stage = _build(shapes_study(patients=4))
    assert np.load(stage.folder / "volumes" / "C001.npy").shape == (1, 16, 16, 16)


def test_a_failed_case_has_its_row(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    manifest = path.parent / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(";scans/P001_post1.nii.gz;scans/P001_post2.nii.gz", ""))
    _build(path)
    stage = _build(path, "run", 'preprocess.channels=["post1"]')
    excluded = read_table(stage.folder / "exclusions.csv")
    assert excluded["case_id"].tolist() == ["C001"]
    assert "channel post1 needs 2 phases, the case has 1" in excluded["reason"][0]
    assert excluded["stage"].tolist() == ["preprocess"]
    assert read_table(stage.folder / "cases.csv")["case_id"].tolist() == ["C002", "C003", "C004"]
    assert not (stage.folder / "volumes" / "C001.npy").exists()
    with pytest.raises(DataError, match="no case of 4 could be preprocessed: channel post9 needs"):
        _build(path, "run", 'preprocess.channels=["post9"]')
    assert len(read_table(stage.folder / "exclusions.csv")) == 4


def test_warnings_are_told(shapes_study: MakeStudy, caplog: pytest.LogCaptureFixture) -> None:
    _build(shapes_study(patients=4), "run", "preprocess.spacing_mm=[3, 3, 3]")
    assert "4 of 4 cases have warnings, such as C001: " in caplog.text


def test_a_lost_file_of_the_cache_is_made_again(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    _build(path)
    for picture in (path.parent / ".genovox" / "cache" / "preprocess").glob("*/qc.png"):
        picture.unlink()
    assert (_build(path, "again").folder / "qc" / "C001.png").exists()


def test_a_cohort_comes_first(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    with pytest.raises(UsageError, match="has no finished stage cohort"):
        preprocess.open_stage(Study.load(path), path.parent / "run", "cpu")


def test_two_marks_of_one_scan_are_two_crops(shapes_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shapes_study(patients=4)
    manifest = path.parent / "manifest.csv"
    rows = ["case_id,patient_id,image,point"]
    rows += [
        f"C{n}{side},P00{n},scans/P00{n}_pre.nii.gz,{x};40;40"
        for n in range(1, 5)
        for side, x in (("a", 36), ("b", 45))
    ]
    manifest.write_text("\n".join(rows) + "\n")
    options = ('cohort.unit="lesion"', "preprocess.spacing_mm=[3, 3, 3]", "preprocess.shape=[16, 16, 16]")
    stage = _build(path, "run", *options)
    table = read_table(stage.folder / "cases.csv").set_index("case_id")
    assert table["key"].nunique() == 8
    one, other = (np.load(stage.folder / "volumes" / f"C1{side}.npy") for side in "ab")
    np.testing.assert_array_equal(one[..., 3:], other[..., :-3])  # 9 mm are 3 voxels
    assert not np.array_equal(one, other)
    assert (table["warnings"] == "").all()

    done: list[str] = []
    work = preprocess._preprocess_case

    def record(task: preprocess._Task) -> bool:
        done.append(task.case_id)
        return work(task)

    monkeypatch.setattr(preprocess, "_preprocess_case", record)
    manifest.write_text(
        manifest.read_text().replace(
            "C3b,P003,scans/P003_pre.nii.gz,45;40;40", "C3b,P003,scans/P003_pre.nii.gz,42;40;40"
        )
    )
    _build(path, "run", *options)
    assert done == ["C3b"]


def test_a_mark_outside_its_scan_has_its_row(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    manifest = path.parent / "manifest.csv"
    rows = [f"C{n},P00{n},scans/P00{n}_pre.nii.gz,{999 if n == 2 else 0};0;0" for n in range(1, 5)]
    manifest.write_text("\n".join(["case_id,patient_id,image,point", *rows]) + "\n")
    stage = _build(path, "run", 'cohort.unit="lesion"')
    excluded = read_table(stage.folder / "exclusions.csv")
    assert excluded["case_id"].tolist() == ["C2"]
    assert excluded["reason"][0].startswith("a mark must lie inside the scan, 999, 0, 0 mm")


def _count_surveys(patch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    made: list[tuple[str, ...]] = []
    work = survey_scan

    def count(source: Volume, table: PreprocessTable) -> Survey:
        made.append(table.channels)
        return work(source, table)

    patch.setattr(preprocess, "survey_scan", count)
    return made


def test_a_change_makes_only_what_depends_on_it(shapes_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shapes_study(patients=4)
    made = _count_surveys(monkeypatch)
    _build(path)
    assert len(made) == 4
    for number, change in enumerate(
        (
            "spacing_mm=[5, 5, 5]",
            "shape=[18, 18, 18]",
            "normalise=pre",
            'channels=["pre", "washout"]',
            "denoise=gaussian",
        )
    ):
        _build(path, f"run-{number}", f"preprocess.{change}")
    assert len(made) == 4
    _build(path, "bias", "preprocess.bias=n4")
    assert len(made) == 8
    _build(path, "bias", "preprocess.bias=n4", "preprocess.foreground=none")
    assert len(made) == 12


@pytest.mark.parametrize("name", ["volume.npy", "mask.npy", "qc.png"])
def test_a_damaged_file_of_the_cache_is_made_again(shapes_study: MakeStudy, name: str) -> None:
    path = shapes_study(patients=4)
    first = _build(path)
    sound = (first.folder / "volumes" / "C002.npy").read_bytes()
    key = read_table(first.folder / "cases.csv").set_index("case_id")["key"]["C002"]
    damaged = path.parent / ".genovox" / "cache" / "preprocess" / key / name
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    again = _build(path, "again")
    assert (again.folder / "volumes" / "C002.npy").read_bytes() == sound


def test_landmarks_stand_beside_the_cases(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    stage = _build(path, "run", "preprocess.normalise=nyul")
    table = read_table(stage.folder / "landmarks.csv").set_index("case_id").astype(float)
    assert list(table.index) == ["C001", "C002", "C003", "C004"]
    assert (table.diff(axis=1).iloc[:, 1:] >= 0).all().all()
    assert "landmarks" not in read_table(stage.folder / "cases.csv")
    _build(path, "run")
    assert not (stage.folder / "landmarks.csv").exists()


def test_figures_and_outliers_are_columns(shapes_study: MakeStudy) -> None:
    table = read_table(_build(shapes_study(patients=12)).folder / "cases.csv")
    assert (table["snr"].astype(float) > 3).all()
    assert (table["left_right_ratio"] == "").all()  # the synthetic scans are of one breast
    assert {"bias_strength", "motion_mm", "clipped_fraction", "outlier", "warnings"} <= set(table.columns)


def test_volumes_written_as_las_are_the_mirror_image(shapes_study: MakeStudy) -> None:
    path = shapes_study(patients=4)
    plain, mirrored = _build(path), _build(path, "las", "preprocess.orientation=LAS")
    one, other = (np.load(stage.folder / "volumes" / "C001.npy") for stage in (plain, mirrored))
    np.testing.assert_array_equal(one[..., ::-1], other)
    affines = [
        np.array(read_table(stage.folder / "cases.csv")["affine"][0].split(";"), float).reshape(4, 4)
        for stage in (plain, mirrored)
    ]
    np.testing.assert_allclose(affines[0] @ (15, 3, 4, 1), affines[1] @ (0, 3, 4, 1))
    assert (plain.folder / "qc" / "C001.png").read_bytes() == (mirrored.folder / "qc" / "C001.png").read_bytes()
