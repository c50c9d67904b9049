"""Many exams: what is kept, what fails alone, what a person drew."""

from pathlib import Path

import numpy as np
import pytest

from genovox.core.errors import DataError, StudyError
from genovox.core.study import Study
from genovox.core.volume import Volume, write_nifti
from genovox.lesions import catalogue
from genovox.lesions.catalogue import list_exams, propose_all

from .conftest import SimulatedExam


@pytest.fixture
def study(simulated_exam: SimulatedExam, tmp_path: Path) -> Study:
    """A lesion, a scan of nothing, a scan that is not there, and a breast without uptake."""
    volume = simulated_exam.volume
    write_nifti(tmp_path / "a.nii.gz", volume)
    write_nifti(tmp_path / "b.nii.gz", Volume(np.ones((2, 30, 30, 30), np.float32), np.diag([3.0, 3, 3, 1])))
    write_nifti(tmp_path / "d.nii.gz", Volume(volume.array[[0, 0]], volume.affine))
    rows = [f"{case},P{case},{case}.nii.gz,left" for case in "abcd"]
    (tmp_path / "manifest.csv").write_text("\n".join(["case_id,patient_id,image,laterality", *rows]) + "\n")
    (tmp_path / "study.toml").write_text('[cohort]\nimages = "manifest.csv"\n')
    return Study.load(tmp_path / "study.toml")


def test_what_was_done_is_kept(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    exams = list_exams(study)
    rows, failures = propose_all(exams, study.root, 1)
    assert [row["case_id"] for row in rows if row.get("rank", "1") == "1"] == ["a", "b", "c", "d"]
    assert "b" in failures
    assert failures["c"] == "no such image: c.nii.gz; check the path"
    by_case = {row["case_id"]: row for row in reversed(rows)}
    assert by_case["b"]["evidence"] == failures["b"]
    assert by_case["d"]["evidence"] == "nothing in the breasts stands out"
    assert (by_case["b"]["use"], by_case["b"]["laterality"], by_case["a"]["exam"]) == ("no", "left", "")
    drawn = study.root / "lesions" / "a-1.nii.gz"
    made = drawn.read_bytes()
    drawn.write_bytes(b"drawn by a person")
    monkeypatch.setattr(catalogue, "write_proposals", None)
    exams = [exam for exam in list_exams(study) if exam.case.case_id in "ad"]
    again, none_failed = propose_all(exams, study.root, 1)
    assert again == [row for row in rows if row["case_id"] in "ad"]
    assert none_failed == {}
    assert drawn.read_bytes() == made
    assert (study.root / "lesions" / "a.png").exists()


def test_the_machine_is_no_reason(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(catalogue, "write_proposals", fail)
    with pytest.raises(DataError, match="the machine failed 2 exams, such as a: not enough memory"):
        propose_all([exam for exam in list_exams(study) if exam.case.case_id in "ad"], study.root, 1)


def test_a_study_without_images(study: Study) -> None:
    with pytest.raises(DataError, match="no dynamic exam was found among the images"):
        propose_all([], study.root, 1)
    (study.root / "manifest.csv").unlink()
    with pytest.raises(StudyError, match=r'cohort.images = "manifest.csv": there is no such file or folder; give a'):
        list_exams(study)
