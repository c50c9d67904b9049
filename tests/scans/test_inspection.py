import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from genovox.cohort.archive import open_archive
from genovox.core.errors import ImageError
from genovox.core.volume import Volume, write_nifti
from genovox.scans.inspection import inspect_images, read_image, read_phases
from tests.cohort.conftest import EAST, NORTH, POST1, PRE, Tree, edit_files

AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def _write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    write_nifti(path, Volume(np.asarray(array, np.float32).reshape(-1, *array.shape[-3:]), affine))
    return path


def _scan(seed: int = 0, shape: tuple[int, ...] = (3, 4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, shape).astype(np.float32)


def test_phases_of_several_files_or_of_one(tmp_path: Path) -> None:
    array = _scan(shape=(3, 3, 4, 5))
    one = _write(tmp_path / "all.nii", array)
    several = [_write(tmp_path / f"{i}.nii.gz", phase) for i, phase in enumerate(array)]
    np.testing.assert_array_equal(read_phases([one]).array, array)
    np.testing.assert_array_equal(read_phases(several).array, array)
    assert inspect_images(several).scan["scan_phases"] == "3"


@pytest.mark.parametrize(
    ("second", "affine", "words"),
    [
        (_scan(1, (3, 4, 6)), AFFINE, r"phases must share one grid, phase 2 \(b.nii\) is 6x4x3 and phase 1 is 5x4x3"),
        (_scan(1), AFFINE + np.eye(4, k=3), r"phase 2 \(b.nii\) lies elsewhere than phase 1; resample"),
        (_scan(1, (2, 3, 4, 5)), AFFINE, "b.nii holds 2 phases; give one file a phase, or one 4D file"),
    ],
)
def test_phases_not_on_one_grid(tmp_path: Path, second: np.ndarray, affine: np.ndarray, words: str) -> None:
    paths = [_write(tmp_path / "a.nii", _scan()), _write(tmp_path / "b.nii", second, affine)]
    with pytest.raises(ImageError, match=words):
        inspect_images(paths)


def test_a_volume_of_one_value(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a.nii holds the value 7 only; convert"):
        inspect_images([_write(tmp_path / "a.nii", np.full((3, 4, 5), 7.0))])


def test_what_is_said_of_a_scan(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii.gz", _scan(), np.diag([-1.0, 1.5, 2.0, 1.0]))
    assert inspect_images([path]).scan == {
        "scan_format": "nifti",
        "scan_stored_type": "float32",
        "scan_full_8_bit": "no",
        "scan_phases": "1",
        "scan_matrix": "5x4x3",
        "scan_spacing_mm": "1.000x1.500x2.000",
        "scan_orientation": "LAS",
    }


@pytest.mark.parametrize(("scale", "offset", "word"), [(1, 0, "yes"), (1, -5, "no"), (0.5, 0, "no"), (2, 0, "no")])
def test_full_8_bit(tmp_path: Path, scale: float, offset: float, word: str) -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    array[-1, -1, -1] = 255
    path = _write(tmp_path / "a.nii", array * scale + offset)
    assert inspect_images([path]).scan["scan_full_8_bit"] == word


def test_fingerprint_is_of_the_voxels(tmp_path: Path) -> None:
    array = _scan()
    expected = inspect_images([_write(tmp_path / "a.nii", array)]).fingerprint
    assert inspect_images([_write(tmp_path / "a.nii.gz", array)]).fingerprint == expected
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing((1, 1.5, 2))
    image.SetDirection(np.diag([-1.0, -1, 1]).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), useCompression=True)
    nrrd = inspect_images([tmp_path / "a.nrrd"])
    assert nrrd.fingerprint == expected
    assert (nrrd.scan["scan_format"], nrrd.scan["scan_stored_type"]) == ("nrrd", "short")
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        stored = sitk.PermuteAxes(image, order)[:: signs[0], :: signs[1], :: signs[2]]
        sitk.WriteImage(stored, str(tmp_path / "turned.nii.gz"))
        assert inspect_images([tmp_path / "turned.nii.gz"]).fingerprint == expected
    for copy in (array * 1.5 + 20, np.sqrt(array + 1)):
        assert inspect_images([_write(tmp_path / "b.nii", copy)]).fingerprint == expected
    swapped = array.copy()
    swapped[0, 0, :2] = array[0, 0, 1::-1]
    assert inspect_images([_write(tmp_path / "b.nii", swapped)]).fingerprint != expected
    assert inspect_images([_write(tmp_path / "b.nii", array[:, ::-1])]).fingerprint != expected
    assert inspect_images([_write(tmp_path / "b.nii", array.reshape(3, 5, 4))]).fingerprint != expected


@pytest.mark.parametrize(("voxels", "is_named"), [(99, False), (100, True), (3900, True), (3901, False)])
def test_small_shapes_are_nobodys_own(tmp_path: Path, voxels: int, is_named: bool) -> None:
    mask = np.zeros(4000, np.uint8)
    mask[:voxels] = 1
    found = inspect_images([_write(tmp_path / "mask.nii.gz", mask.reshape(10, 20, 20))])
    assert bool(found.fingerprint) is is_named


def test_a_file_that_states_no_orientation_is_told(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(_scan().T, None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii")
    assert inspect_images([tmp_path / "a.nii"]).scan["scan_orientation"] == "unknown"


def test_what_is_said_of_dicom(tree: Tree, tmp_path: Path) -> None:
    tree.add(NORTH, PRE, POST1)
    (case,) = open_archive(tree.dicom, tree.root).cases
    paths = case.image_paths(tree.root)
    found = inspect_images(paths)
    assert found.scan == {
        "scan_format": "dicom",
        "scan_stored_type": "uint16",
        "scan_full_8_bit": "no",
        "scan_phases": "2",
        "scan_matrix": "64x64x12",
        "scan_spacing_mm": "4.800x4.800x12.000",
        "scan_orientation": "LPS",
    }
    copy = _write(tmp_path / "copy.nii.gz", read_image(paths[0]).array, read_image(paths[0]).affine)
    assert inspect_images([copy]).fingerprint == found.fingerprint  # the same scan in another format is a twin


def test_signed_voxels_are_told(tree: Tree) -> None:
    tree.add(EAST, "3")
    edit_files(tree.files(), PixelRepresentation=1)
    (case,) = open_archive(tree.dicom, tree.root).cases
    assert inspect_images(case.image_paths(tree.root)).scan["scan_stored_type"] == "int16"


def test_a_phase_that_cannot_be_read_names_no_file(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    (case,) = open_archive(tree.dicom, tree.root).cases
    paths = case.image_paths(tree.root)
    tree.files()[3].write_bytes(tree.files()[3].read_bytes()[:-100])
    with pytest.raises(ImageError, match=r"^slice \d+ of 12 cannot be decoded \(truncated: too few bytes"):
        inspect_images(paths)
    tree.files()[3].unlink()
    with pytest.raises(ImageError, match=r"^slice \d+ of 12 cannot be read \(No such file or directory\); export or"):
        inspect_images(paths)
    paths[1].unlink()
    with pytest.raises(ImageError, match="the list of a phase's DICOM files is gone; run the cohort stage again"):
        read_image(paths[1])


def test_an_exam_of_one_value_names_no_file(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PixelData=bytes(64 * 64 * 2))
    (case,) = open_archive(tree.dicom, tree.root).cases
    with pytest.raises(ImageError, match=r"^the exam holds the value 0 only; convert"):
        inspect_images(case.image_paths(tree.root))
