import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from genovox.core.volume import Volume
from genovox.volumes.geometry import Grid, sample_grid
from genovox.volumes.motion import Motion, sample_moved

LPS = np.diag([-1.0, -1.0, 1.0])


def _affine(spacing: tuple[float, ...], origin: tuple[float, ...], degrees: float = 0.0) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (degrees, degrees / 2, -degrees), degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def _motion(seed: int, *, bent: bool) -> Motion:
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(random.normal(0, 0.08, 3)).as_matrix()
    matrix[:3, 3] = random.normal(0, 4, 3)
    field = random.normal(0, 2, (3, 9, 10, 11)).astype(np.float32)
    # The field covers every target below, so that both sides know the displacement everywhere.
    return Motion(matrix, Volume(field, _affine((9, 9, 9), (-30, -40, -35))) if bent else None)


def _to_itk(array: np.ndarray, affine: np.ndarray, *, vector: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=vector)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((LPS @ affine[:3, 3]).tolist())
    image.SetDirection((LPS @ (affine[:3, :3] / spacing)).ravel().tolist())
    return image


def _itk_transform(motion: Motion) -> sitk.Transform:
    rigid = sitk.AffineTransform(3)
    rigid.SetMatrix((LPS @ motion.matrix[:3, :3] @ LPS).ravel().tolist())
    rigid.SetTranslation((LPS @ motion.matrix[:3, 3]).tolist())
    if motion.displacement is None:
        return rigid
    field = np.moveaxis(motion.displacement.array, 0, -1).astype(np.float64) @ LPS
    bend = sitk.DisplacementFieldTransform(_to_itk(field, motion.displacement.affine, vector=True))
    return sitk.CompositeTransform([rigid, bend])  # the last one is applied first


@given(seed=st.integers(0, 999), bent=st.booleans(), degrees=st.sampled_from([0.0, 12.0]))
@settings(max_examples=30, deadline=None)
def test_sampling_is_that_of_simpleitk(seed: int, bent: bool, degrees: float) -> None:
    array = np.random.default_rng(seed).normal(100, 40, (13, 15, 17)).astype(np.float32)
    source = Grid(_affine((2.1, 2.2, 3.0), (-18, -16, -19), degrees), (17, 15, 13))
    target = Grid(_affine((1.3, 1.2, 1.9), (-17, -15, -18)), (25, 24, 20))
    motion = _motion(seed, bent=bent)
    made = sample_moved(torch.from_numpy(array), source, target, motion).numpy()
    reference = _to_itk(np.zeros(made.shape, np.float32), target.affine)
    transform = _itk_transform(motion)
    image = _to_itk(array, source.affine)
    expected = sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, sitk.sitkLinear, 0.0))
    # Rounding decides what lies on the very edge of the scan; there both must be one or the other.
    ones = sitk.Resample(_to_itk(np.ones_like(array), source.affine), reference, transform, sitk.sitkLinear, 0.0)
    known = sitk.GetArrayFromImage(ones) > 0.5
    inside = ((made != 0) == known).mean()
    assert inside > 0.999
    assert known.mean() > 0.2
    both = (made != 0) & known
    assert np.abs(made - expected)[both].max() <= 1e-3 * np.ptp(array)


@pytest.mark.parametrize("factor", [1.3, 2.0, 2.6, 3.4])
def test_larger_voxels_do_not_alias(factor: float) -> None:
    """Fine texture looks in a moved phase as it does in one that lies still."""
    noise = np.random.default_rng(1).normal(0, 1, (40, 40, 40)).astype(np.float32)
    image = torch.from_numpy(noise)
    source = Grid(np.eye(4), (40, 40, 40))
    target = source.rescale((factor, factor, factor)).cut((3, 3, 3), (5, 5, 5))
    spread = {"still": [], "moved": []}  # type: dict[str, list[np.ndarray]]
    for number in range(60):
        offset = np.random.default_rng(number).uniform(-2, 2, 3)
        place = np.eye(4)
        place[:3, 3] = offset
        spread["moved"].append(sample_moved(image, source, target, Motion(place)).numpy())
        still = Grid(place @ target.affine, target.shape)
        spread["still"].append(sample_grid(image, source, still).numpy())
    still_sd, moved_sd = (float(np.std(spread[name])) for name in ("still", "moved"))
    assert moved_sd == pytest.approx(still_sd, rel=0.2)
    together = np.corrcoef(np.ravel(spread["still"]), np.ravel(spread["moved"]))[0, 1]
    assert together > 0.95


def test_smoothing_keeps_a_constant_and_a_slope() -> None:
    ramp = torch.arange(40.0).expand(30, 30, 40).contiguous() + 100
    source = Grid(np.eye(4), (40, 30, 30))
    target = source.rescale((2.3, 2.3, 2.3)).cut((2, 2, 2), (12, 8, 8))
    shift = np.eye(4)
    shift[:3, 3] = (1.25, 0.5, -0.5)
    made = sample_moved(ramp, source, target, Motion(shift))
    expected = 100 + target.affine[0, 3] + 2.3 * np.arange(12) + 1.25
    np.testing.assert_allclose(made.numpy(), np.broadcast_to(expected, made.shape), atol=1e-3)


def test_outside_the_scan_is_nothing() -> None:
    source = Grid(np.eye(4), (6, 6, 6))
    shift = np.eye(4)
    shift[0, 3] = 3.25
    made = sample_moved(torch.ones(6, 6, 6), source, source, Motion(shift)).numpy()
    np.testing.assert_array_equal(made[0, 0], [1, 1, 1, 0, 0, 0])


def test_points_move_as_voxels_do() -> None:
    motion = _motion(4, bent=True)
    points = np.random.default_rng(0).uniform(-15, 15, (4, 5, 3))
    transform = _itk_transform(motion)
    for point, moved in zip(points.reshape(-1, 3), motion.move(points).reshape(-1, 3), strict=True):
        expected = LPS @ transform.TransformPoint((LPS @ point).tolist())
        np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_only_the_identity_is_one() -> None:
    assert Motion(np.eye(4)).is_identity
    assert not _motion(0, bent=False).is_identity
    assert not Motion(np.eye(4), _motion(0, bent=True).displacement).is_identity


def test_long_volumes_are_sampled_slab_by_slab() -> None:
    array = np.random.default_rng(0).normal(size=(6, 600, 600)).astype(np.float32)
    source = Grid(np.eye(4), (600, 600, 6))
    shift = np.eye(4)
    shift[:3, 3] = (0.25, -0.5, 0.75)
    made = sample_moved(torch.from_numpy(array), source, source, Motion(shift)).numpy()
    expected = ndimage.shift(array, (-0.75, 0.5, -0.25), order=1)
    np.testing.assert_allclose(made[:4, 1:, :-1], expected[:4, 1:, :-1], atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("bent", [False, True])
def test_a_gpu_gives_the_same(bent: bool) -> None:
    array = torch.from_numpy(np.random.default_rng(0).normal(size=(13, 15, 17)).astype(np.float32))
    source = Grid(_affine((2.1, 2.2, 3.0), (-18, -16, -19)), (17, 15, 13))
    motion = _motion(1, bent=bent)
    on_gpu = sample_moved(array.cuda(), source, source, motion)
    np.testing.assert_allclose(on_gpu.cpu().numpy(), sample_moved(array, source, source, motion).numpy(), atol=1e-4)
