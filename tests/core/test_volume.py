import gzip
import itertools
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.core.volume import (
    Volume,
    affine_orientation,
    affine_spacing_mm,
    check_affine,
    is_image_path,
    read_stored_type,
    read_volume,
    reorient_to_ras,
    write_nifti,
)

ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _oblique_affine(spacing_mm: tuple[float, float, float] = (0.8, 1.5, 3.0)) -> np.ndarray:
    a, b, c = np.deg2rad([7, -11, 5])
    rotation_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    rotation_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rotation_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation_x @ rotation_y @ rotation_z @ np.diag(spacing_mm)
    affine[:3, 3] = (-31.5, 12.25, 7.0)
    return affine


def _numbered(shape_zyx: tuple[int, int, int] = (3, 4, 5)) -> Volume:
    """Every voxel holds a number of its own."""
    array = np.arange(np.prod(shape_zyx), dtype=np.float32).reshape(1, *shape_zyx)
    return Volume(array, _oblique_affine())


def _store_as(volume: Volume, permutation: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same scan with its axes stored in another order and direction."""
    xyz = np.transpose(volume.array[0])
    index = np.zeros((4, 4))
    index[3, 3] = 1
    for new, (old, sign) in enumerate(zip(permutation, signs, strict=True)):
        index[old, new] = sign
        index[old, 3] = xyz.shape[old] - 1 if sign < 0 else 0
    flips = tuple(slice(None, None, sign) for sign in signs)
    return Volume(np.transpose(np.transpose(xyz, permutation)[flips])[np.newaxis], volume.affine @ index)


def _positions(volume: Volume) -> np.ndarray:
    """World position of each voxel, in the order of the voxels' values."""
    z, y, x = np.meshgrid(*(np.arange(size) for size in volume.array.shape[1:]), indexing="ij")
    index = np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
    return (volume.affine @ index)[:3, np.argsort(volume.array[0].ravel())].T


def _write(path: Path, array_xyz: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(array_xyz, np.eye(4) if affine is None else affine), path)
    return path


def _small_nifti() -> bytes:
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), _oblique_affine())
    return bytes(image.to_bytes())


@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_orientation_moves_no_voxel(permutation: tuple[int, ...], signs: tuple[int, ...]) -> None:
    scan = _numbered()
    stored = _store_as(scan, permutation, signs)
    np.testing.assert_allclose(_positions(stored), _positions(scan), atol=1e-9)
    oriented = reorient_to_ras(stored)
    assert oriented.orientation == "RAS"
    np.testing.assert_allclose(_positions(oriented), _positions(scan), atol=1e-9)
    np.testing.assert_array_equal(oriented.array, scan.array)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 9)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_orientation_keeps_world_positions(
    shape: tuple[int, int, int],
    orientation: tuple[tuple[int, ...], tuple[int, ...]],
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    rotation = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(angles)).GetMatrix()
    affine = np.eye(4)
    affine[:3, :3] = np.array(rotation).reshape(3, 3) @ np.diag(spacing)
    scan = Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape), affine)
    oriented = reorient_to_ras(_store_as(scan, *orientation))
    np.testing.assert_allclose(_positions(oriented), _positions(scan), atol=1e-6)
    assert (np.diag(oriented.affine)[:3] > -1e-9).all() or oriented.orientation == "RAS"


def test_left_and_right_are_never_swapped() -> None:
    array = np.zeros((1, 4, 4, 8), np.float32)
    array[..., :2] = 1  # the patient's left: x of RAS is small
    scan = Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]))
    for permutation, signs in ORIENTATIONS:
        oriented = reorient_to_ras(_store_as(scan, permutation, signs))
        bright = np.argwhere(oriented.array[0] == 1)[:, ::-1]
        assert (oriented.affine[0, :3] @ bright.T + oriented.affine[0, 3]).max() <= 2


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_written_nifti_is_where_others_see_it(tmp_path: Path, suffix: str) -> None:
    volume = _numbered()
    path = tmp_path / f"scan{suffix}"
    write_nifti(path, volume)
    by_nibabel: Any = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(by_nibabel.dataobj), volume.array[0].T)
    np.testing.assert_allclose(by_nibabel.affine, volume.affine, atol=1e-5)
    by_itk = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk), volume.array[0])
    lps = np.array(by_itk.TransformIndexToPhysicalPoint((4, 2, 1)))
    np.testing.assert_allclose(lps * (-1, -1, 1), (volume.affine @ (4, 2, 1, 1))[:3], atol=1e-4)
    again = read_volume(path)
    np.testing.assert_array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.spacing_mm, (0.8, 1.5, 3.0), atol=1e-5)


def test_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", _numbered())
    write_nifti(tmp_path / "b.nii.gz", _numbered())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_phases_are_the_fourth_axis_of_nifti(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32)
    write_nifti(tmp_path / "phases.nii", Volume(array, np.eye(4)))
    image: Any = nibabel.load(tmp_path / "phases.nii")
    assert image.shape == (5, 4, 2, 3)
    np.testing.assert_array_equal(read_volume(tmp_path / "phases.nii").array, array)
    vector = array.transpose(3, 2, 1, 0)[:, :, :, np.newaxis]
    np.testing.assert_array_equal(read_volume(_write(tmp_path / "vector.nii", vector)).array, array)


@pytest.mark.parametrize("suffix", [".nrrd", ".NRRD"])
def test_nrrd_lies_where_simpleitk_puts_it(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((10, -20, 30))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image))
    for index in itertools.product((0, 4), (0, 3), (0, 2)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((volume.affine @ (*index, 1))[:3], lps * (-1, -1, 1), atol=1e-9)
    assert read_stored_type(path) == "short"


@pytest.mark.real_data
def test_real_nrrd(real_data: Path) -> None:
    path = real_data / "misc" / "breast1_image.nrrd"
    volume, image = read_volume(path), sitk.ReadImage(str(path))
    assert volume.array.shape == (1, 21, 120, 45)
    np.testing.assert_allclose(volume.spacing_mm, (0.664, 0.664, 2.1), atol=1e-3)
    assert volume.orientation == "LPS"
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image).astype(np.float32))


@pytest.mark.real_data
def test_real_nifti_cut_anywhere_is_refused(real_data: Path, tmp_path: Path) -> None:
    whole = (real_data / "tcga-ao-a03m" / "left_pre.nii.gz").read_bytes()
    path = tmp_path / "cut.nii.gz"
    for length in [0, 1, 2, 10, 30, 400, *np.linspace(500, len(whole) - 1, 12).astype(int), len(whole) - 4]:
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"cut\.nii\.gz"):
            read_volume(path)


def test_flipped_bit_in_compressed_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(_small_nifti() * 3, 0, mtime=0))
    content[370] ^= 4  # stored, not compressed: only the checksum can tell
    (tmp_path / "flipped.nii.gz").write_bytes(content)
    with pytest.raises(ImageError, match=r"flipped\.nii\.gz cannot be read"):
        read_volume(tmp_path / "flipped.nii.gz")


def test_names_do_not_decide_on_compression(tmp_path: Path) -> None:
    (tmp_path / "plain.nii.gz").write_bytes(_small_nifti())
    (tmp_path / "packed.NII").write_bytes(gzip.compress(_small_nifti()))
    for name in ("plain.nii.gz", "packed.NII"):
        assert read_volume(tmp_path / name).array.shape == (1, 4, 3, 2)
        assert read_stored_type(tmp_path / name) == "int16"


def test_nifti_2_and_big_endian(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    (tmp_path / "two.nii").write_bytes(nibabel.Nifti2Image(data, _oblique_affine()).to_bytes())
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    (tmp_path / "big.nii").write_bytes(nibabel.Nifti1Image(data.astype(">i2"), _oblique_affine(), header).to_bytes())
    for name in ("two.nii", "big.nii"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array[0], data.T)
        assert read_stored_type(tmp_path / name) == "int16"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.nii", None, "no such image"),
        ("x" * 300 + ".nii", None, "no such image"),
        ("scan.dcm", b"DICM", "convert it first"),
        ("empty.nii", b"", "cannot be read"),
        ("empty.nrrd", b"", "cannot be read"),
        ("empty.nii.gz", b"", "cannot be read"),
        ("garbage.nii", bytes(range(256)) * 4, "cannot be read"),
        ("garbage.nii.gz", bytes(range(256)) * 4, "cannot be read"),
        ("garbage.nrrd", bytes(range(256)) * 4, "cannot be read"),
        ("short.nii", _small_nifti()[:-1], "truncated"),
        (
            "bomb.nii.gz",
            gzip.compress(_small_nifti()[:42] + b"\xff\x7f" * 3 + _small_nifti()[48:], mtime=0),
            "truncated",
        ),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        read_volume(path)
    assert name in str(caught.value)


def test_folder_named_like_an_image(tmp_path: Path) -> None:
    for name in ("folder.nii", "folder.nrrd"):
        (tmp_path / name).mkdir()
        with pytest.raises(ImageError):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["bad.nii", "bad.nrrd"])
def test_voxels_must_be_finite(tmp_path: Path, value: float, name: str) -> None:
    data = np.ones((3, 4, 5))
    data[1, 2, 3] = value
    if name.endswith("nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(data), str(tmp_path / name))
    else:
        _write(tmp_path / name, data)
    with pytest.raises(ImageError, match=f"{name} has 1 that are NaN or infinite"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5, 6)])
def test_two_and_five_dimensions_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=rf"must be 3D, or 4D with phases last, got {len(shape)}D"):
        read_volume(_write(tmp_path / "scan.nii", np.ones(shape, np.int16)))


def test_image_of_no_voxels(tmp_path: Path) -> None:
    header = bytearray(_small_nifti())
    header[42:44] = b"\0\0"
    (tmp_path / "none.nii").write_bytes(header)
    with pytest.raises(ImageError, match=r"none\.nii"):
        read_volume(tmp_path / "none.nii")
    with pytest.raises(ImageError, match="hold voxels"):
        Volume(np.ones((1, 0, 2, 2), np.float32), np.eye(4))
    header[42:44] = b"\xff\xff"
    (tmp_path / "less.nii").write_bytes(header)
    with pytest.raises(ImageError, match=r"less\.nii"):
        read_volume(tmp_path / "less.nii")


def test_colours_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    colour = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name, data in (("colour.nii", colour), ("complex.nii", np.ones((3, 4, 5), np.complex64))):
        with pytest.raises(ImageError, match="one real number"):
            read_volume(_write(tmp_path / name, data))
    vector = sitk.GetImageFromArray(np.zeros((3, 4, 5, 2), np.float32), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "vector.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.complex64)), str(tmp_path / "complex.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4), np.float32)), str(tmp_path / "flat.nrrd"))
    for name in ("vector.nrrd", "complex.nrrd", "flat.nrrd"):
        with pytest.raises(ImageError, match="one value a voxel"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([0.0, 1, 1, 1]), "spacing must be above 0 mm, got 0 x 1 x 1"),
        (np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]) + np.diag([0, 0, 0, 0]), "singular"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4 x 4"),
        (np.diag([1e300, 1, 1, 1]), "singular"),
    ],
)
def test_affine_must_place_the_volume(affine: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        check_affine(affine)


def test_bad_affine_of_a_file_names_the_file(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4))
    content = bytearray(image.to_bytes())
    content[280:296] = bytes(16)  # srow_x
    (tmp_path / "flat.nii").write_bytes(content)
    with pytest.raises(ImageError, match=r"flat\.nii: voxel spacing must be above 0 mm"):
        read_volume(tmp_path / "flat.nii")


def test_volume_must_have_phases() -> None:
    with pytest.raises(ImageError, match=re.escape("got shape (2, 3, 4)")):
        Volume(np.ones((2, 3, 4), np.float32), np.eye(4))


def test_words_for_geometry() -> None:
    assert affine_spacing_mm(_oblique_affine()) == pytest.approx((0.8, 1.5, 3.0))
    assert affine_orientation(np.diag([-1.0, -1, 1, 1])) == "LPS"
    assert is_image_path(Path("a.NII.gz"))
    assert not is_image_path(Path("a.nii.txt"))


@given(
    edits=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=8), packed=st.booleans()
)
@FUZZ
def test_any_nifti_header_is_a_volume_or_an_image_error(
    tmp_path: Path, edits: list[tuple[int, int]], packed: bool
) -> None:
    content = bytearray(_small_nifti())
    for place, value in edits:
        content[place] = value
    path = tmp_path / ("fuzz.nii.gz" if packed else "fuzz.nii")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    _read_or_refuse(path)


@given(
    field=st.sampled_from([40, 42, 44, 46, 48, 70, 72, 108, 112, 116, 76, 80, 252, 254, 280]),
    value=st.binary(min_size=4, max_size=4),
)
@FUZZ
def test_any_nifti_field_is_a_volume_or_an_image_error(tmp_path: Path, field: int, value: bytes) -> None:
    content = bytearray(_small_nifti())
    content[field : field + 4] = value
    (tmp_path / "fuzz.nii").write_bytes(content)
    _read_or_refuse(tmp_path / "fuzz.nii")


_NRRD_LINES = [
    "type: {}",
    "dimension: {}",
    "space: {}",
    "sizes: {}",
    "space directions: {}",
    "kinds: {}",
    "endian: {}",
    "encoding: {}",
    "space origin: {}",
]
_NRRD_VALUES = ["short", "3", "left-posterior-superior", "2 3 4", "(1,0,0) (0,1,0) (0,0,1)", "domain domain domain"]
_NRRD_VALUES += ["little", "raw", "(0,0,0)"]
_NRRD_ODD = st.one_of(
    st.sampled_from(["", "-1", "0", "99999", "1e400", "nan", "(nan,0,0) (0,1,0) (0,0,1)", "(0,0,0) (0,1,0) (0,0,1)"]),
    st.sampled_from(["(1e300,0,0) (0,1,0) (0,0,1)", "4 3 2 1", "gzip", "ascii", "block", "right-anterior-superior"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)


@given(edits=st.dictionaries(st.integers(0, 8), _NRRD_ODD, min_size=1, max_size=3))
@FUZZ
def test_any_nrrd_header_is_a_volume_or_an_image_error(tmp_path: Path, edits: dict[int, str]) -> None:
    values = [edits.get(place, value) for place, value in enumerate(_NRRD_VALUES)]
    lines = [line.format(value) for line, value in zip(_NRRD_LINES, values, strict=True)]
    path = tmp_path / "fuzz.nrrd"
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + np.arange(24, dtype="<i2").tobytes())
    _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    try:
        volume = read_volume(path)
    except ImageError as error:
        if path.name not in str(error):
            pytest.fail(f"which file? {error}")
        return
    assert volume.array.dtype == np.float32
    assert np.isfinite(volume.array).all()
    check_affine(volume.affine)
    assert reorient_to_ras(volume).array.size == volume.array.size
    assert read_stored_type(path)
