import numpy as np
import pytest
from scipy import ndimage

from genovox.anatomy.working import enlarge_mask, shrink_scan, surface_distance_mm
from genovox.core.volume import Volume
from genovox.volumes.geometry import Grid


def _ball(spacing_mm: float, size: int) -> np.ndarray:
    axis = (np.arange(size) - (size - 1) / 2) * spacing_mm
    return np.asarray(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2 < 30**2)


def test_the_distance_is_that_of_scipy_outside_and_that_of_a_ball_inside() -> None:
    mask = _ball(3.0, 25)
    made = surface_distance_mm(mask, (3.0, 3.0, 3.0))
    np.testing.assert_array_equal(made > 0, mask)
    outside = 1.5 - ndimage.distance_transform_edt(~mask, 3.0)
    np.testing.assert_allclose(made[~mask], outside[~mask], atol=1e-4)
    axis = 3.0 * np.arange(-12, 13)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2)
    # Within the diagonal of a voxel: inside, ITK measures from the centres of the outermost voxels.
    assert np.abs(made - (30 - radius)).max() < 3 * np.sqrt(3)


def test_an_enlarged_ball_is_round() -> None:
    fine = Volume(np.zeros((1, 75, 75, 75), np.float32), np.eye(4))
    coarse = shrink_scan(fine)
    assert coarse.spacing_mm == pytest.approx((3.0, 3.0, 3.0))
    made = enlarge_mask(_ball(3.0, 25), Grid.of(coarse), Grid.of(fine))
    truth = _ball(1.0, 75)
    assert 2 * (made & truth).sum() / (made.sum() + truth.sum()) > 0.97
    blocks = _ball(3.0, 25).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert (made ^ truth).sum() < 0.75 * (blocks ^ truth).sum()


@pytest.mark.parametrize("full", [True, False])
def test_a_mask_without_surface(full: bool) -> None:
    fine = Volume(np.zeros((1, 9, 9, 9), np.float32), np.eye(4))
    coarse = shrink_scan(fine)
    mask = np.full(coarse.array.shape[1:], full)
    np.testing.assert_array_equal(enlarge_mask(mask, Grid.of(coarse), Grid.of(fine)), full)
    assert np.isinf(surface_distance_mm(mask, coarse.spacing_mm)).all()
