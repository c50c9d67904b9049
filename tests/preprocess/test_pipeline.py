import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Volume, read_volume, reorient_to_ras, write_nifti
from genovox.preprocess.figures import figures_as_row
from genovox.preprocess.pipeline import Preprocessed, Subject, preprocess_images, preprocess_volume

AFFINE = np.array([[1.5, 0, 0, -20], [0, 2, 0, 5], [0, 0, 2.5, 9], [0, 0, 0, 1.0]])


def _body(phases: int = 2, seed: int = 0) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (24, 28, 32)), indexing="ij")
    body = (x / 0.8) ** 2 + ((y - 0.1) / 0.7) ** 2 + (z / 0.8) ** 2 < 1
    random = np.random.default_rng(seed)
    noise = np.abs(random.normal(0, 8, (phases, *body.shape)))
    gradient = (300 + 40 * x) * body * np.arange(1, phases + 1).reshape(-1, 1, 1, 1)
    return np.round(gradient + noise).astype(np.float32)


def _write(folder: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> list[Path]:
    paths = [folder / f"phase{number}.nii" for number in range(len(array))]
    for path, phase in zip(paths, array, strict=True):
        write_nifti(path, Volume(phase[np.newaxis], affine))
    return paths


def _run(folder: Path, array: np.ndarray, **settings: Any) -> Preprocessed:
    return preprocess_images(_write(folder, array), PreprocessTable(**settings))


def test_every_orientation_gives_the_same_input(tmp_path: Path) -> None:
    table = PreprocessTable(spacing_mm=(3, 3, 3), shape=(20, 16, 24), channels=("pre", "post1", "subtraction1"))
    first = preprocess_images(_write(tmp_path, _body()), table)
    images = [sitk.ReadImage(str(tmp_path / f"phase{number}.nii")) for number in range(2)]
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        paths = []
        for number, image in enumerate(images):
            paths.append(tmp_path / f"turned{number}.nii")
            turned = sitk.PermuteAxes(image, order)[:: signs[0], :: signs[1], :: signs[2]]
            sitk.WriteImage(turned, str(paths[-1]))
        made = preprocess_images(paths, table)
        np.testing.assert_allclose(made.volume.array, first.volume.array, atol=1e-5)
        np.testing.assert_allclose(made.volume.affine, first.volume.affine, atol=1e-4)
        np.testing.assert_array_equal(made.mask, first.mask)


def test_the_mask_the_fill_and_the_map(tmp_path: Path) -> None:
    made = _run(tmp_path, _body(), spacing_mm=(2, 2, 2), shape=(40, 40, 40), channels=("pre", "post1", "subtraction1"))
    assert made.volume.array.shape == (3, 40, 40, 40)
    assert made.volume.array.dtype == np.float32
    assert made.volume.spacing_mm == pytest.approx((2, 2, 2))
    assert made.volume.orientation == "RAS"
    inside = made.volume.array[:2, made.mask]
    assert inside.mean() == pytest.approx(0, abs=1e-3)
    assert inside.std() == pytest.approx(1, abs=1e-3)
    nothing = np.float32(-made.figures.offset / made.figures.scale)
    np.testing.assert_allclose(made.volume.array[:2, ~made.mask], nothing, rtol=1e-5)
    assert (made.volume.array[2, ~made.mask] == 0).all()
    assert made.figures.outside_fraction == 0
    assert made.warnings == ()
    volume_ml = made.mask.sum() * 8 / 1000
    assert made.figures.foreground_ml == pytest.approx(volume_ml)
    row = figures_as_row(made.figures, made.volume.affine)
    assert row["source_shape"] == "32;28;24"
    assert row["source_orientation"] == "RAS"
    assert len(row["affine"].split(";")) == 16


def test_foreground_outside_the_crop_is_warned_of(tmp_path: Path) -> None:
    made = _run(tmp_path, _body(), spacing_mm=(2, 2, 2), shape=(12, 12, 12))
    assert made.figures.outside_fraction > 0.5
    assert made.warnings[0].endswith("of the foreground lies outside the crop; enlarge preprocess.shape")
    assert _run(tmp_path, _body(), shape=(12, 12, 12), foreground="none").warnings == ()


@pytest.mark.parametrize("normalise", ["joint-z", "percentile", "none"])
@pytest.mark.parametrize("foreground", ["body", "none"])
def test_a_two_valued_volume_passes_untouched(tmp_path: Path, normalise: str, foreground: str) -> None:
    mask = (_body(1) > 150).astype(np.float32)
    made = _run(tmp_path, mask, spacing_mm="native", shape=(32, 28, 24), normalise=normalise, foreground=foreground)
    np.testing.assert_array_equal(made.volume.array, mask)
    assert made.figures.two_valued
    finer = _run(tmp_path, mask, spacing_mm=(1, 1, 1), shape=(48, 56, 60), normalise=normalise, foreground=foreground)
    assert set(np.unique(finer.volume.array)) == {0, 1}


def test_a_case_that_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="channel post3 needs 4 phases"):
        _run(tmp_path, _body(), channels=("post3",))
    with pytest.raises(ImageError, match="foreground is empty"):
        _run(tmp_path, np.stack([_body(1)[0], -_body(1)[0]]), normalise="none")
    assert _run(tmp_path, _body(1), shape=(4, 4, 4)).volume.array.shape == (1, 4, 4, 4)


CROP = (8, 9, 10)  # x, y, z: even and odd


@st.composite
def _scans(draw: st.DrawFn) -> Volume:
    """Noise on a grid of any orientation, a little oblique, with any spacing and origin, larger than the crop."""
    spacing = np.array(draw(st.tuples(*[st.floats(1.0, 4.0)] * 3)))
    size = [draw(st.integers(max(30, int(44 / step)), 50)) for step in spacing]
    axes = np.eye(3)[:, list(draw(st.permutations(range(3))))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    angle = np.radians(draw(st.floats(-12, 12)))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    return Volume(random.uniform(50, 60, (1, *size[::-1])).astype(np.float32), affine)


def _place(volume: Volume, share: tuple[float, float, float]) -> tuple[np.ndarray, tuple[float, ...]]:
    """Voxel and RAS mm of a point given as shares of the field of view along the scan's own axes."""
    size = np.array(volume.array.shape[:0:-1])
    voxel = np.array(share) * size - 0.5
    x, y, z = (volume.affine @ [*voxel, 1])[:3]
    return voxel, (float(x), float(y), float(z))


def _crop(volume: Volume, point: tuple[float, ...], spacing_mm: Any) -> tuple[Preprocessed, np.ndarray]:
    """The crop around a point, and the point's voxel (x, y, z) in it."""
    table = PreprocessTable(spacing_mm=spacing_mm, shape=CROP, foreground="none", normalise="none")
    made = preprocess_volume(volume, table, Subject(point))
    return made, np.linalg.solve(made.volume.affine, [*point, 1.0])[:3]


@settings(max_examples=60, deadline=None)
@given(scan=_scans(), share=st.tuples(*[st.floats(0.35, 0.65)] * 3), native=st.booleans())
def test_the_marked_voxel_is_in_the_middle_of_the_crop(
    scan: Volume, share: tuple[float, float, float], native: bool
) -> None:
    voxel, point = _place(scan, share)
    x, y, z = np.floor(voxel + 0.5).astype(int)
    scan.array[0, z, y, x] = 9000
    made, at = _crop(scan, point, "native" if native else (2.0, 2.0, 2.0))
    assert made.volume.array.shape == (1, *CROP[::-1])
    middle = (np.array(CROP) - 1) / 2
    assert (abs(at - middle) <= 0.5 + 1e-6).all()
    brightest = np.array(np.unravel_index(made.volume.array[0].argmax(), CROP[::-1]))[::-1]
    half_voxel = np.array(made.figures.source_spacing_mm) / made.volume.spacing_mm / 2
    assert (abs(brightest - at) <= half_voxel + 0.5 + 1e-6).all()
    assert made.warnings == ()


@settings(max_examples=60, deadline=None)
@given(scan=_scans(), share=st.tuples(*[st.floats(0.0, 1.0)] * 3))
def test_a_mark_anywhere_in_the_scan_is_in_the_crop(scan: Volume, share: tuple[float, float, float]) -> None:
    _, point = _place(scan, tuple(np.clip(share, 1e-6, 1 - 1e-6)))
    _, at = _crop(scan, point, (2.0, 2.0, 2.0))
    # The resampled grid ends up to a quarter of its voxel before the scan does.
    assert (at >= -0.75 - 1e-6).all()
    assert (at <= np.array(CROP) - 0.25 + 1e-6).all()


@settings(max_examples=30, deadline=None)
@given(scan=_scans(), axis=st.integers(0, 2), beyond=st.floats(0.01, 3), native=st.booleans())
def test_a_mark_outside_the_scan_is_refused(scan: Volume, axis: int, beyond: float, native: bool) -> None:
    share = [0.5, 0.5, 0.5]
    share[axis] = -beyond if native else 1 + beyond
    _, point = _place(scan, (share[0], share[1], share[2]))
    with pytest.raises(ImageError, match=r"a mark must lie inside the scan, .* mm \(right, anterior, superior\) does"):
        _crop(scan, point, "native" if native else (2.0, 2.0, 2.0))


def test_a_crop_around_a_mark_is_meant_to_leave_the_rest_out(tmp_path: Path) -> None:
    table = PreprocessTable(spacing_mm=(2, 2, 2), shape=(12, 12, 12))
    middle = preprocess_images(_write(tmp_path, _body()), table, Subject((0.0, 30.0, 35.0)))
    assert middle.figures.outside_fraction > 0.5
    assert middle.warnings == ()
    aside = preprocess_images(_write(tmp_path, _body()), table, Subject((8.0, 30.0, 35.0)))
    assert aside.figures.crop_start != middle.figures.crop_start
    assert aside.figures.offset == middle.figures.offset  # intensities are the whole scan's
    np.testing.assert_allclose(aside.volume.affine[:3, 3] - middle.volume.affine[:3, 3], [8, 0, 0])
    np.testing.assert_array_equal(aside.volume.array[..., :8], middle.volume.array[..., 4:])


@pytest.mark.real_data
@pytest.mark.parametrize("side", ["left", "right"])
def test_subtraction_of_real_phases_is_exact(real_data: Path, side: str) -> None:
    folder = real_data / "tcga-ao-a03m"
    paths = [folder / f"{side}_{name}.nii.gz" for name in ("pre", "post1", "post2")]
    table = PreprocessTable(
        spacing_mm="native",
        shape=(30, 200, 120),
        normalise="none",
        foreground="none",
        channels=("subtraction1", "washout"),
    )
    made = preprocess_images(paths, table)
    pre, post1, post2 = (reorient_to_ras(read_volume(path)) for path in paths)
    x, y, z = made.figures.crop_start
    crop = np.s_[0, z : z + 120, y : y + 200, x : x + 30]
    np.testing.assert_array_equal(made.volume.array[0], (post1.array - pre.array)[crop])
    np.testing.assert_array_equal(made.volume.array[1], (post1.array - post2.array)[crop])
    np.testing.assert_allclose(made.volume.affine[:3, 3], (pre.affine @ (x, y, z, 1))[:3])


@pytest.mark.real_data
def test_the_left_breast_stays_left(real_data: Path) -> None:
    folder = real_data / "tcga-ao-a03m"
    made = {
        side: preprocess_images([folder / f"{side}_pre.nii.gz"], PreprocessTable(shape=(80, 112, 112)))
        for side in ("left", "right")
    }
    centres = {side: (one.volume.affine @ (40, 56, 56, 1))[0] for side, one in made.items()}
    assert centres["left"] < centres["right"]  # x runs to the patient's right
    for one in made.values():
        assert one.figures.source_orientation == "PIR"
        assert one.volume.orientation == "RAS"
        assert one.volume.spacing_mm == pytest.approx((2, 2, 2))
        extent = np.array(one.figures.source_shape) * one.figures.source_spacing_mm
        assert 0.2 < one.figures.foreground_ml * 1000 / extent.prod() < 0.8
