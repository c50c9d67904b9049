from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from genovox.cli.discovery import discover_images, propose_grid
from genovox.core.errors import DataError
from genovox.core.volume import Volume, write_nifti


def _touch(folder: Path, *names: str, affine: np.ndarray | None = None) -> None:
    for name in names:
        volume = Volume(np.zeros((1, 4, 5, 6), np.float32), np.eye(4) if affine is None else affine)
        write_nifti(folder / name, volume)


def _labels(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text)
    return folder / "labels.csv"


@pytest.mark.real_data
def test_real_folder(real_data: Path, tmp_path: Path) -> None:
    found = discover_images(real_data / "tcga-ao-a03m", None, tmp_path)
    assert found.manifest["case_id"].tolist() == ["left", "right"]
    assert found.manifest["laterality"].tolist() == ["left", "right"]
    assert [len(images.split(";")) for images in found.manifest["image"]] == [6, 6]
    assert found.manifest["image"][0].split(";")[0].endswith("left_pre.nii.gz")
    assert set(found.phases.values()) == {6}
    assert found.shape == (48, 256, 256)  # right, anterior, superior: the scan itself is sagittal
    spacing, shape = propose_grid(found)
    extent = np.array(found.shape) * found.spacing_mm
    assert (np.array(shape) * spacing >= extent - 8).all()
    assert np.prod(shape) < 1.3 * 96**3


def test_patients_are_matched_without_mixing_up(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    _touch(scans, "P1_pre.nii", "P1_post1.nii", "P10_pre.nii", "P10_post1.nii", "P1_pre_mask.nii", "deep/P2/scan.nii")
    labels = _labels(tmp_path, "patient_id,label\nP1,1\nP10,0\nP2,1\n")
    found = discover_images(scans, labels, tmp_path)
    rows = dict(zip(found.manifest["case_id"], found.manifest["patient_id"], strict=True))
    assert rows == {"P1": "P1", "P10": "P10", "deep-P2-scan": "P2"}
    assert found.manifest["image"].tolist()[0] == "scans/P1_pre.nii;scans/P1_post1.nii"
    assert found.skipped == ["P1_pre_mask.nii"]
    assert found.guessed_patients == []


def test_patients_by_case_id_and_by_folder(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    _touch(scans, "a_l.nii", "patient7/b_right.nii", "unknown.nii")
    labels = _labels(tmp_path, "patient_id,case_id,label\nX9,a_l,1\n,,0\n")
    found = discover_images(scans, labels, tmp_path)
    rows = found.manifest.set_index("case_id")
    assert rows["patient_id"].to_dict() == {"a_l": "X9", "patient7-b_right": "patient7", "unknown": "unknown"}
    assert rows["laterality"].to_dict() == {"a_l": "left", "patient7-b_right": "right", "unknown": ""}
    assert found.guessed_patients == ["unknown"]


def test_no_file_disappears(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nii", "a_pre.nii")
    with pytest.raises(DataError, match=r"a phase is one file, a.nii and a_pre.nii in .* look like the same; rename"):
        discover_images(tmp_path, None, tmp_path)


def test_the_grid_follows_the_patient_not_the_file(tmp_path: Path) -> None:
    sagittal = np.array([[0, 0, 3.0, 0], [-1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1]])
    _touch(tmp_path, "a.nii", affine=sagittal)
    found = discover_images(tmp_path, None, tmp_path)
    assert found.spacing_mm == pytest.approx((3, 1, 2))
    assert found.shape == (4, 6, 5)
    assert propose_grid(found) == ((1.0, 1.0, 1.0), (16, 16, 16))


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        discover_images(tmp_path / "gone", None, tmp_path)
    with pytest.raises(DataError, match="no NIfTI or NRRD file"):
        discover_images(tmp_path, None, tmp_path)
    (tmp_path / "a.nii").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"none of 1 images can be read, such as a.nii"):
        discover_images(tmp_path, None, tmp_path)


def test_left_and_right_of_one_woman_are_one_guessed_patient(tmp_path: Path, shapes: ModuleType) -> None:
    scans = shapes.write_scans(tmp_path, patients=2, seed=1)
    for path in sorted(scans.iterdir()):
        side = "left" if path.name.startswith("P001") else "right"
        path.rename(scans / path.name.replace("P001", f"X00_{side}").replace("P002", f"X00_{side}"))
    (tmp_path / "labels.csv").write_text("case_id,label\nX00_left,1\nX00_right,0\n")
    found = discover_images(scans, tmp_path / "labels.csv", tmp_path)
    assert found.manifest["patient_id"].tolist() == ["X00", "X00"]
    assert found.manifest["laterality"].tolist() == ["left", "right"]
    assert found.guessed_patients == ["X00_left", "X00_right"]


def test_phases_of_a_4d_file_are_counted_and_gaps_are_left_out(tmp_path: Path, shapes: ModuleType) -> None:
    phases = np.stack(shapes.draw_phases(np.random.default_rng(0), carrier=True))
    write_nifti(tmp_path / "scans" / "whole.nii.gz", Volume(phases, np.eye(4)))
    for name in ("gap_pre", "gap_post2", "late_post1"):
        write_nifti(tmp_path / "scans" / f"{name}.nii", Volume(phases[:1], np.eye(4)))
    found = discover_images(tmp_path / "scans", None, tmp_path)
    assert found.phases == {"whole": 3}
    assert sorted(found.incomplete) == ["gap", "late"]
