"""SimpleITK's filter is the oracle.

In some of its iterations rounding loses the brightest voxel from the histogram, so two right fits differ by a voxel's
share: the smaller the mask, the more.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from genovox.core.errors import ImageError, UsageError
from genovox.core.volume import Affine, Array, Mask
from genovox.volumes.bias import BiasField, _refinement_weights, fit_bias_field

AFFINE = np.array([[-3.0, 0, 0, 40], [0, 0, 2.5, -30], [0, 2.0, 0, 10], [0, 0, 0, 1]])
LARGEST_DIFFERENCE = 1e-3


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On volumes this small threads cost more than they give."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), torch.get_num_threads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before[0])
    torch.set_num_threads(before[1])


def _draw_breast(shape: tuple[int, int, int], seed: int) -> tuple[Array, Mask, Array]:
    """Fat and gland with noise under a smooth gain: signal, mask and the log gain, each (z, y, x)."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape), indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.9
    gland = np.sin(7 * x + seed) + np.sin(6 * y) + np.sin(5 * z) > 0.8
    gain = 0.35 * x - 0.3 * y**2 + 0.25 * z + 0.2 * x * y
    tissue = np.where(gland, 150.0, 400.0) * np.exp(gain)
    signal = np.where(mask, tissue, 0) + random.normal(0, 6, shape)
    return np.abs(signal).astype(np.float32), mask, gain.astype(np.float32)


def _fit(
    image: Array,
    mask: Mask,
    affine: Affine = AFFINE,
    *,
    iterations: int = 50,
    levels: int = 4,
    tolerance: float = 1e-3,
) -> BiasField:
    return fit_bias_field(
        torch.from_numpy(image),
        torch.from_numpy(mask),
        affine,
        iterations=iterations,
        levels=levels,
        tolerance=tolerance,
    )


def _on_own_grid(field: BiasField) -> Array:
    return field.evaluate(field.affine, field.shape).numpy()


def _fit_with_itk(image: Array, mask: Mask, *, iterations: int = 50, levels: int = 4, tolerance: float = 1e-3) -> Array:
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * levels)
    n4.SetConvergenceThreshold(tolerance)
    scan = sitk.GetImageFromArray(image)
    n4.Execute(scan, sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan))


@pytest.mark.parametrize(
    ("shape", "iterations", "levels", "tolerance"),
    [((12, 15, 16), 50, 4, 1e-3), ((9, 16, 13), 8, 3, 0.0), ((20, 12, 13), 30, 1, 1e-3)],
)
def test_the_field_is_that_of_simpleitk(
    shape: tuple[int, int, int], iterations: int, levels: int, tolerance: float
) -> None:
    image, mask, _ = _draw_breast(shape, levels)
    expected = _fit_with_itk(image, mask, iterations=iterations, levels=levels, tolerance=tolerance)
    field = _fit(image, mask, iterations=iterations, levels=levels, tolerance=tolerance)
    assert field.lattice.shape == (2 ** (levels - 1) + 3,) * 3
    assert np.ptp(expected[mask]) > 100 * LARGEST_DIFFERENCE
    np.testing.assert_allclose(_on_own_grid(field)[mask], expected[mask], atol=LARGEST_DIFFERENCE, rtol=0)
    gain = np.exp(expected[mask])
    assert field.mean == pytest.approx(expected[mask].mean(), abs=LARGEST_DIFFERENCE)
    assert field.strength == pytest.approx(np.percentile(gain, 95) / np.percentile(gain, 5), rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_gets_the_field_of_two_dimensions(axis: int) -> None:
    slice_image, slice_mask, _ = _draw_breast((1, 22, 26), 2)
    slice_field = _fit_with_itk(slice_image[0], slice_mask[0], iterations=10, levels=3)[np.newaxis]
    expected, image = np.moveaxis(slice_field, 0, axis), np.moveaxis(slice_image, 0, axis).copy()
    mask = np.moveaxis(slice_mask, 0, axis).copy()
    field = _on_own_grid(_fit(image, mask, iterations=10, levels=3))
    np.testing.assert_allclose(field[mask], expected[mask], atol=LARGEST_DIFFERENCE, rtol=0)


@pytest.mark.real_data
def test_the_field_of_a_real_scan_is_that_of_simpleitk(real_data: Path) -> None:
    scan = sitk.ReadImage(str(real_data / "tcga-ao-a03m" / "left_post1.nii.gz"), sitk.sitkFloat32)
    shrink = (8, 8, 2)
    tissue = sitk.Shrink(sitk.OtsuThreshold(scan, 0, 1, 200), shrink)
    image = sitk.GetArrayFromImage(sitk.Shrink(scan, shrink))
    mask = (sitk.GetArrayFromImage(tissue) > 0) & (image > 0)
    expected = _fit_with_itk(image, mask, iterations=20, levels=2)
    assert np.ptp(expected[mask]) > 100 * LARGEST_DIFFERENCE
    field = _on_own_grid(_fit(image, mask, iterations=20, levels=2))
    np.testing.assert_allclose(field[mask], expected[mask], atol=LARGEST_DIFFERENCE, rtol=0)


def test_the_gain_put_in_is_found_and_taken_out() -> None:
    image, mask, gain = _draw_breast((24, 28, 30), 5)
    field = _fit(image, mask).centred()
    found = _on_own_grid(field)
    assert np.corrcoef(found[mask], gain[mask])[0, 1] > 0.95
    true_strength = math.exp(np.subtract(*np.percentile(gain[mask], [95, 5])))
    assert field.strength == pytest.approx(true_strength, rel=0.15)
    fat = mask & (image / np.exp(gain) > 300)
    corrected = image / np.exp(found)
    assert corrected[fat].std() / corrected[fat].mean() < 0.5 * image[fat].std() / image[fat].mean()


def test_a_centred_field_keeps_the_scale_of_the_signal() -> None:
    image, mask, _ = _draw_breast((14, 16, 18), 1)
    field = _fit(image, mask)
    centred = field.centred()
    assert abs(field.mean) > 1e-3
    assert centred.mean == 0
    np.testing.assert_allclose(_on_own_grid(field) - _on_own_grid(centred), field.mean, atol=1e-6)
    corrected = image[mask] / np.exp(_on_own_grid(centred)[mask])
    assert np.log(corrected).mean() == pytest.approx(np.log(image[mask]).mean(), abs=1e-5)
    assert centred.strength == field.strength


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
@settings(max_examples=8, deadline=None)
def test_the_unit_of_the_signal_does_not_matter(factor: float, seed: int) -> None:
    image, mask, _ = _draw_breast((8, 10, 12), seed)
    field = _on_own_grid(_fit(image, mask, iterations=3, levels=2, tolerance=0))
    scaled = _on_own_grid(_fit(image * np.float32(factor), mask, iterations=3, levels=2, tolerance=0))
    np.testing.assert_allclose(scaled, field, atol=LARGEST_DIFFERENCE)


@given(flips=st.sets(st.integers(0, 2), min_size=1), seed=st.integers(0, 20))
@settings(max_examples=8, deadline=None)
def test_the_field_lies_in_the_patient_however_the_voxels_are_stored(flips: set[int], seed: int) -> None:
    image, mask, _ = _draw_breast((9, 10, 12), seed)
    mirror = np.eye(4)
    for axis in flips:
        mirror[2 - axis, 2 - axis], mirror[2 - axis, 3] = -1, image.shape[axis] - 1
    field = _fit(image, mask, iterations=3, levels=2, tolerance=0)
    turned_image, turned_mask = np.flip(image, tuple(flips)).copy(), np.flip(mask, tuple(flips)).copy()
    turned = _fit(turned_image, turned_mask, AFFINE @ mirror, iterations=3, levels=2, tolerance=0)
    found = turned.evaluate(field.affine, field.shape).numpy()
    np.testing.assert_allclose(found[mask], _on_own_grid(field)[mask], atol=LARGEST_DIFFERENCE)


def _knots(spans: int) -> np.ndarray:
    return np.arange(-3, spans + 4, dtype=float)


@given(
    spans=st.tuples(*[st.integers(1, 5)] * 3),
    fitted=st.tuples(*[st.integers(1, 9)] * 3),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    placing=st.tuples(*[st.tuples(st.floats(0.2, 3), st.floats(-4, 9))] * 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_on_any_grid_along_its_axes_the_field_is_the_spline_of_scipy(
    spans: tuple[int, int, int],
    fitted: tuple[int, int, int],
    shape: tuple[int, int, int],
    placing: tuple[tuple[float, float], ...],
    seed: int,
) -> None:
    step, start = zip(*placing, strict=True)
    lattice = np.random.default_rng(seed).normal(size=[count + 3 for count in spans]).astype(np.float32)
    field = BiasField(torch.from_numpy(lattice), AFFINE, fitted, 0.0, 1.0)
    to_fitted = np.diag([*step[::-1], 1.0])
    to_fitted[:3, 3] = start[::-1]
    expected = lattice.astype(float)
    for axis in range(3):
        voxels = np.clip(start[axis] + step[axis] * np.arange(shape[axis]), 0, fitted[axis] - 1)
        positions = voxels / max(fitted[axis] - 1, 1) * spans[axis]
        basis = BSpline.design_matrix(positions, _knots(spans[axis]), 3).toarray()
        expected = np.moveaxis(np.tensordot(basis, expected, (1, axis)), 0, axis)
    found = field.evaluate(AFFINE @ to_fitted, shape)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@given(spans=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_refined_lattice_is_the_same_spline(spans: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.normal(size=spans + 3)
    fine = _refinement_weights(spans).numpy() @ coarse
    positions = random.uniform(0, spans, 50)
    expected = BSpline(_knots(spans), coarse, 3)(positions)
    np.testing.assert_allclose(BSpline(_knots(2 * spans), fine, 3)(2 * positions), expected, atol=1e-12)


def test_voxels_without_signal_are_left_out() -> None:
    image, mask, _ = _draw_breast((10, 12, 14), 3)
    holes = np.random.default_rng(0).random(image.shape) < 0.1
    expected = _on_own_grid(_fit(image, mask & ~holes))
    image[holes] = np.where(np.arange(holes.sum()) % 2, 0, -7)
    np.testing.assert_array_equal(_on_own_grid(_fit(image, mask)), expected)
    image[~mask] = np.nan
    np.testing.assert_array_equal(_on_own_grid(_fit(image, mask)), expected)


def test_what_is_all_gain_becomes_flat() -> None:
    gain = np.broadcast_to(np.linspace(-0.3, 0.3, 16, dtype=np.float32), (10, 12, 16)).copy()
    field = _on_own_grid(_fit(np.exp(gain), np.ones(gain.shape, bool)).centred())
    assert (gain - field).std() < 0.1 * gain.std()


def test_two_values_that_hardly_differ_have_no_field() -> None:
    image = np.full((4, 5, 6), 100, np.float32)
    image[:2] = np.nextafter(np.float32(100), np.float32(101))
    np.testing.assert_allclose(_on_own_grid(_fit(image, image > 0)), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "finite signal, 1 voxels"),
        (math.inf, "finite signal, 1 voxels"),
        (0.0, "signal above 0 in the mask, got none"),
        (5.0, "different values in the mask, got 5 only"),
    ],
)
def test_a_mask_without_usable_signal_is_refused(value: float, message: str) -> None:
    image = np.full((4, 5, 6), 0 if value == 0 else 5, np.float32)
    image[1, 2, 3] = value
    with pytest.raises(ImageError, match=message):
        _fit(image, np.ones(image.shape, bool))


def test_an_empty_mask_is_refused() -> None:
    image, mask, _ = _draw_breast((4, 5, 6), 0)
    with pytest.raises(ImageError, match="look at the foreground"):
        _fit(image, np.zeros_like(mask))


def test_a_mask_of_another_grid_or_of_labels_is_refused() -> None:
    image, mask, _ = _draw_breast((4, 5, 6), 0)
    with pytest.raises(ImageError, match=r"\(4, 5, 6\) and \(3, 5, 6\)"):
        _fit(image, mask[1:])
    with pytest.raises(ImageError, match="uint8"):
        _fit(image, mask.astype(np.uint8))
    with pytest.raises(ImageError, match="needs an image"):
        _fit(image[0], mask[0])


@pytest.mark.parametrize(("levels", "iterations"), [(0, 1), (1, 0)])
def test_no_level_and_no_iteration_are_refused(levels: int, iterations: int) -> None:
    image, mask, _ = _draw_breast((4, 5, 6), 0)
    with pytest.raises(UsageError, match=f"1 or more, got {levels} and {iterations}"):
        _fit(image, mask, levels=levels, iterations=iterations)


def test_a_turned_grid_is_refused() -> None:
    field = BiasField(torch.zeros(4, 4, 4), AFFINE, (5, 6, 7), 0.0, 1.0)
    turn = np.eye(4)
    turn[:2, :2] = [[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]]
    with pytest.raises(ImageError, match="along the axes"):
        field.evaluate(AFFINE @ turn, (5, 6, 7))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_field() -> None:
    image, mask, _ = _draw_breast((24, 28, 30), 4)
    on_gpu = fit_bias_field(torch.from_numpy(image).cuda(), torch.from_numpy(mask).cuda(), AFFINE)
    assert on_gpu.lattice.is_cuda
    field = _fit(image, mask)
    found = on_gpu.evaluate(AFFINE, field.shape)
    assert found.is_cuda
    np.testing.assert_allclose(found.cpu().numpy()[mask], _on_own_grid(field)[mask], atol=LARGEST_DIFFERENCE)
    torch.testing.assert_close(
        field.evaluate(AFFINE, field.shape, found.device).cpu(), torch.from_numpy(_on_own_grid(field))
    )
