import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.core.volume import Volume, reorient_to_ras
from genovox.volumes.geometry import (
    Grid,
    Interpolation,
    axis_weights,
    mirror_volume,
    resample_volume,
    sample_grid,
)

SPACINGS = st.tuples(*[st.floats(0.5, 4)] * 3)
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
KINDS = st.sampled_from(["linear", "cubic", "nearest"])


def _scan(shape: tuple[int, ...], spacing: tuple[float, float, float], seed: int = 0) -> Volume:
    array = np.random.default_rng(seed).normal(100, 40, (1, *shape)).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-11, 22, 5)
    return Volume(array, affine)


def _to_itk(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array[0])
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.affine[:3, 3])
    image.SetDirection((volume.affine[:3, :3] / volume.spacing_mm).ravel())
    return image


@given(
    shape=st.tuples(*[st.integers(4, 9)] * 3),
    spacing=SPACINGS,
    shrink=st.tuples(*[st.floats(0.3, 1)] * 3),
    kind=st.sampled_from([("linear", sitk.sitkLinear), ("cubic", sitk.sitkBSpline)]),
    turn=st.sampled_from(
        list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
    ),
)
@settings(max_examples=80, deadline=None)
def test_resampling_is_that_of_simpleitk(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    shrink: tuple[float, float, float],
    kind: tuple[Interpolation, int],
    turn: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    scan = _scan(shape, spacing)
    permutation, signs = turn
    affine = scan.affine.copy()
    affine[:3, :3] = np.eye(3)[:, permutation] * signs * spacing
    scan = Volume(scan.array, affine)
    x, y, z = (old * factor for old, factor in zip(spacing, shrink, strict=True))
    made = resample_volume(scan, (x, y, z), kind[0])
    reference = sitk.Resample(_to_itk(scan), _to_itk(made), sitk.Transform(), kind[1], -1e6)
    expected = sitk.GetArrayFromImage(reference)
    inside = expected > -1e5  # SimpleITK knows no value half a voxel outside the centres' box
    assert inside.any()
    error = np.abs(made.array[0] - expected)[inside].max()
    assert error <= 1e-3 * (np.ptp(scan.array) + 1)
    centre = (np.array(scan.array.shape[:0:-1]) - 1) / 2
    new_centre = (np.array(made.array.shape[:0:-1]) - 1) / 2
    np.testing.assert_allclose(scan.affine @ (*centre, 1), made.affine @ (*new_centre, 1), atol=1e-6)


@given(shape=SHAPES, old=SPACINGS, new=SPACINGS, interpolation=KINDS)
@settings(max_examples=80, deadline=None)
def test_a_constant_stays_one(
    shape: tuple[int, int, int],
    old: tuple[float, float, float],
    new: tuple[float, float, float],
    interpolation: Interpolation,
) -> None:
    made = resample_volume(Volume(np.full((2, *shape), 7.5, np.float32), np.diag([*old, 1.0])), new, interpolation)
    np.testing.assert_allclose(made.array, 7.5, rtol=1e-5)


@given(size=st.integers(1, 60), ratio=st.floats(0.2, 5), interpolation=KINDS)
@settings(deadline=None)
def test_weights_sum_to_one(size: int, ratio: float, interpolation: Interpolation) -> None:
    new = max(1, round(size / ratio))
    weights = axis_weights(size, new, (size - 1) / 2 - ratio * (new - 1) / 2, ratio, interpolation)
    assert weights.shape == (new, size)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    if interpolation != "cubic":
        assert (weights >= 0).all()


def test_a_fine_checkerboard_becomes_flat() -> None:
    z, y, x = np.indices((24, 24, 24))
    board = ((x + y + z) % 2).astype(np.float32)[np.newaxis] * 100
    made = resample_volume(Volume(board, np.eye(4)), (4.0, 4.0, 4.0))
    assert made.array.shape == (1, 6, 6, 6)
    np.testing.assert_allclose(made.array, 50, atol=1)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_is_that_of_an_independent_antialias(factor: int) -> None:
    row = np.random.default_rng(factor).normal(size=60).astype(np.float32)
    scan = Volume(row.reshape(1, 1, 1, 60), np.eye(4))
    made = resample_volume(
        scan,
        (float(factor), 1.0, 1.0),
    ).array.ravel()
    image = torch.from_numpy(row).reshape(1, 1, 1, 60)
    reference = torch.nn.functional.interpolate(
        image, size=(1, 60 // factor), mode="bilinear", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(made, reference.numpy().ravel(), atol=1e-5)


def test_nearest_makes_no_new_value() -> None:
    mask = Volume((_scan((7, 8, 9), (1, 1, 1)).array > 100).astype(np.float32) * 3, np.eye(4))
    for spacing in ((0.6, 0.7, 0.8), (1.7, 2.3, 1.1)):
        assert set(np.unique(resample_volume(mask, spacing, "nearest").array)) <= {0, 3}
    doubled = resample_volume(mask, (0.5, 0.5, 0.5), "nearest")
    np.testing.assert_array_equal(doubled.array[0], mask.array[0].repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_same_spacing_is_bit_exact() -> None:
    scan = _scan((5, 6, 7), (0.859, 0.859, 3.0))
    for spacing in (None, scan.spacing_mm, (0.85904, 0.859, 3.0)):
        made = resample_volume(scan, spacing)
        np.testing.assert_array_equal(made.array, scan.array)
        np.testing.assert_array_equal(made.affine, scan.affine)


def test_a_mirrored_view_can_be_resampled() -> None:
    scan = _scan((5, 6, 7), (1, 1, 1))
    turned = reorient_to_ras(Volume(scan.array, scan.affine @ np.diag([-1.0, -1, 1, 1])))
    made = resample_volume(turned, (0.5, 0.7, 0.9))
    direct = resample_volume(Volume(np.ascontiguousarray(turned.array), turned.affine), (0.5, 0.7, 0.9))
    np.testing.assert_array_equal(made.array, direct.array)


@given(
    start=st.tuples(*[st.integers(-4, 14)] * 3),
    shape=SHAPES,
    spacing=SPACINGS,
    interpolation=KINDS,
)
@settings(max_examples=60, deadline=None)
def test_a_window_is_the_whole_cut(
    start: tuple[int, int, int],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    interpolation: Interpolation,
) -> None:
    scan = _scan((11, 12, 13), (1.1, 1.2, 1.3))
    grid = Grid.of(scan).rescale(spacing)
    begin = [min(max(first, 0), size - 1) for first, size in zip(start, grid.shape, strict=True)]
    size = [min(wanted, whole - first) for wanted, whole, first in zip(shape, grid.shape, begin, strict=True)]
    window = grid.cut((begin[0], begin[1], begin[2]), (size[0], size[1], size[2]))
    made = sample_grid(torch.from_numpy(scan.array), Grid.of(scan), window, interpolation)
    whole = resample_volume(scan, spacing, interpolation).array
    x, y, z = begin
    cut = whole[:, z : z + size[2], y : y + size[1], x : x + size[0]]
    np.testing.assert_allclose(made.numpy(), cut, atol=2e-4)


@pytest.mark.parametrize("ratio", [1.0, 1.7, 3.0, 4.4])
def test_a_cubic_mean_keeps_waves_that_fit_and_drops_those_that_do_not(ratio: float) -> None:
    new = int(120 // ratio)
    weights = axis_weights(120, new, (119 - ratio * (new - 1)) / 2, ratio, "cubic")
    places = (119 - ratio * (new - 1)) / 2 + ratio * np.arange(new)
    inner = slice(new // 4, -new // 4)
    slow = 2 * np.pi / (12 * ratio)
    np.testing.assert_allclose(
        (weights @ np.cos(slow * np.arange(120)))[inner], np.cos(slow * places)[inner], atol=0.05
    )
    if ratio > 2:
        fast = 2 * np.pi * 0.5 / (ratio / 2)
        assert np.abs((weights @ np.cos(fast * np.arange(120)))[inner]).max() < 0.35


def test_grids_of_other_axes_are_refused() -> None:
    scan = _scan((4, 5, 6), (1, 1, 1))
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(ValueError, match="must lie along the axes of the source"):
        sample_grid(torch.from_numpy(scan.array), Grid.of(scan), Grid(turned, (6, 5, 4)))


def test_a_grid_too_fine_to_hold_is_refused() -> None:
    with pytest.raises(ImageError, match=r"at most 2\^31 voxels, 20000 x 20000 x 20000 does not"):
        resample_volume(_scan((20, 20, 20), (1, 1, 1)), (0.001, 0.001, 0.001))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_the_gpu_gives_what_the_cpu_gives(interpolation: Interpolation) -> None:
    scan = _scan((40, 50, 60), (0.8, 0.9, 1.5))
    target = Grid.of(scan).rescale((1.3, 0.6, 1.0))
    on_cpu = sample_grid(torch.from_numpy(scan.array), Grid.of(scan), target, interpolation)
    on_gpu = sample_grid(torch.from_numpy(scan.array).cuda(), Grid.of(scan), target, interpolation)
    assert on_gpu.is_cuda
    np.testing.assert_allclose(on_gpu.cpu().numpy(), on_cpu.numpy(), atol=1e-3)


ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_any_of_the_48_orientations_is_read_where_it_lies(permutation: tuple[int, ...], signs: tuple[int, ...]) -> None:
    scan = _scan((11, 9, 10), (1.1, 1.4, 2.0))
    target = Grid.of(scan).rescale((0.9, 2.0, 1.5)).cut((1, 0, 2), (7, 5, 6))
    expected = sample_grid(torch.from_numpy(scan.array), Grid.of(scan), target).numpy()
    turned = sitk.PermuteAxes(_to_itk(scan), permutation)[:: signs[0], :: signs[1], :: signs[2]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(turned.GetDirection()).reshape(3, 3) * turned.GetSpacing()
    affine[:3, 3] = turned.GetOrigin()
    array = torch.from_numpy(sitk.GetArrayFromImage(turned)[np.newaxis])
    x, y, z = turned.GetSize()
    made = sample_grid(array, Grid(affine, (x, y, z)), target).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-3)


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "RAI", "LPI"])
def test_a_mirrored_volume_lies_where_it_lay(orientation: str) -> None:
    scan = _scan((4, 5, 6), (1.1, 1.4, 2.0))
    made = mirror_volume(scan, orientation)
    assert made.orientation == orientation
    back = reorient_to_ras(made)
    np.testing.assert_array_equal(back.array, scan.array)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-12)
