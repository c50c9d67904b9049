import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.volume import Volume, reorient_to_ras
from genovox.volumes.geometry import crop_or_pad, crop_start, interpolation_weights, resample_volume

SPACINGS = st.tuples(*[st.floats(0.5, 4)] * 3)
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)


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
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    spacing=SPACINGS,
    shrink=st.tuples(*[st.floats(0.3, 1)] * 3),
    turn=st.sampled_from(
        list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
    ),
)
@settings(max_examples=120, deadline=None)
def test_linear_resampling_is_that_of_simpleitk(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    shrink: tuple[float, float, float],
    turn: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    scan = _scan(shape, spacing)
    permutation, signs = turn
    affine = scan.affine.copy()
    affine[:3, :3] = np.eye(3)[:, permutation] * signs * spacing
    scan = Volume(scan.array, affine)
    x, y, z = (old * factor for old, factor in zip(spacing, shrink, strict=True))
    made = resample_volume(scan, (x, y, z), nearest=False)
    reference = sitk.Resample(_to_itk(scan), _to_itk(made), sitk.Transform(), sitk.sitkLinear, -1e6)
    expected = sitk.GetArrayFromImage(reference)
    inside = expected > -1e5  # SimpleITK knows no value half a voxel outside the centres' box
    assert inside.any()
    error = np.abs(made.array[0] - expected)[inside].max()
    assert error <= 1e-3 * (np.ptp(scan.array) + 1)
    centre = (np.array(scan.array.shape[:0:-1]) - 1) / 2
    new_centre = (np.array(made.array.shape[:0:-1]) - 1) / 2
    np.testing.assert_allclose(scan.affine @ (*centre, 1), made.affine @ (*new_centre, 1), atol=1e-6)


@given(shape=SHAPES, old=SPACINGS, new=SPACINGS, nearest=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_constant_stays_one(
    shape: tuple[int, int, int],
    old: tuple[float, float, float],
    new: tuple[float, float, float],
    nearest: bool,
) -> None:
    made = resample_volume(Volume(np.full((2, *shape), 7.5, np.float32), np.diag([*old, 1.0])), new, nearest=nearest)
    np.testing.assert_allclose(made.array, 7.5, rtol=1e-6)


@given(size=st.integers(1, 60), ratio=st.floats(0.2, 5), nearest=st.booleans())
@settings(deadline=None)
def test_weights_sum_to_one(size: int, ratio: float, nearest: bool) -> None:
    new = max(1, round(size / ratio))
    weights = interpolation_weights(size, new, (size - 1) / 2 - ratio * (new - 1) / 2, ratio, nearest=nearest)
    assert weights.shape == (new, size)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert (weights >= 0).all()


def test_a_fine_checkerboard_becomes_flat() -> None:
    z, y, x = np.indices((24, 24, 24))
    board = ((x + y + z) % 2).astype(np.float32)[np.newaxis] * 100
    made = resample_volume(Volume(board, np.eye(4)), (4.0, 4.0, 4.0), nearest=False)
    assert made.array.shape == (1, 6, 6, 6)
    np.testing.assert_allclose(made.array, 50, atol=1)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_is_that_of_an_independent_antialias(factor: int) -> None:
    row = np.random.default_rng(factor).normal(size=60).astype(np.float32)
    scan = Volume(row.reshape(1, 1, 1, 60), np.eye(4))
    made = resample_volume(scan, (float(factor), 1.0, 1.0), nearest=False).array.ravel()
    image = torch.from_numpy(row).reshape(1, 1, 1, 60)
    reference = torch.nn.functional.interpolate(
        image, size=(1, 60 // factor), mode="bilinear", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(made, reference.numpy().ravel(), atol=1e-5)


def test_nearest_makes_no_new_value() -> None:
    mask = Volume((_scan((7, 8, 9), (1, 1, 1)).array > 100).astype(np.float32) * 3, np.eye(4))
    for spacing in ((0.6, 0.7, 0.8), (1.7, 2.3, 1.1)):
        assert set(np.unique(resample_volume(mask, spacing, nearest=True).array)) <= {0, 3}
    doubled = resample_volume(mask, (0.5, 0.5, 0.5), nearest=True)
    np.testing.assert_array_equal(doubled.array[0], mask.array[0].repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_same_spacing_is_bit_exact() -> None:
    scan = _scan((5, 6, 7), (0.859, 0.859, 3.0))
    for spacing in (None, scan.spacing_mm, (0.85904, 0.859, 3.0)):
        made = resample_volume(scan, spacing, nearest=False)
        np.testing.assert_array_equal(made.array, scan.array)
        np.testing.assert_array_equal(made.affine, scan.affine)


def test_a_mirrored_view_can_be_resampled() -> None:
    scan = _scan((5, 6, 7), (1, 1, 1))
    turned = reorient_to_ras(Volume(scan.array, scan.affine @ np.diag([-1.0, -1, 1, 1])))
    made = resample_volume(turned, (0.5, 0.7, 0.9), nearest=False)
    direct = resample_volume(Volume(np.ascontiguousarray(turned.array), turned.affine), (0.5, 0.7, 0.9), nearest=False)
    np.testing.assert_array_equal(made.array, direct.array)


@given(shape=SHAPES, target=SHAPES, centre=st.tuples(*[st.floats(-3, 12)] * 3), spacing=SPACINGS)
@settings(max_examples=120, deadline=None)
def test_a_crop_moves_no_voxel_and_never_zooms(
    shape: tuple[int, int, int],
    target: tuple[int, int, int],
    centre: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    scan = Volume(np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(1, *shape[::-1]), np.diag([*spacing, 1.0]))
    start = crop_start(shape, target, np.array(centre))
    made = crop_or_pad(scan, start, target, np.zeros(1, np.float32))
    assert made.array.shape == (1, *target[::-1])
    assert made.spacing_mm == pytest.approx(scan.spacing_mm)
    kept = np.argwhere(made.array[0] > 0)[:, ::-1]
    assert len(kept) == np.prod(np.minimum(shape, target))  # as much as fits, no more
    for index in kept:
        x, y, z = (np.linalg.inv(scan.affine) @ made.affine @ (*index, 1))[:3].round().astype(int)
        assert scan.array[0, z, y, x] == made.array[0, index[2], index[1], index[0]]


def test_outside_the_scan_each_channel_has_its_fill() -> None:
    scan = Volume(np.ones((2, 1, 1, 1), np.float32), np.eye(4))
    made = crop_or_pad(scan, (-1, -1, -1), (3, 3, 3), np.array([-5, 0], np.float32))
    assert made.array[0].sum() == 1 - 5 * 26
    assert made.array[1].sum() == 1
