"""Shape agrees with published values and with bodies whose measures are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.volume import Mask
from genovox.radiomics.shape import NAMES, measure_shape
from tests.radiomics.phantom import MASK, SPACING_MM


def _ellipsoid(shape: tuple[int, int, int], half_mm: tuple[float, float, float], spacing: tuple[float, ...]) -> Mask:
    """All in array order z, y, x."""
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray((z / half_mm[0]) ** 2 + (y / half_mm[1]) ** 2 + (x / half_mm[2]) ** 2 <= 1)


def test_phantom_has_the_published_values() -> None:
    found = measure_shape(MASK, SPACING_MM)
    published = {
        "volume_ml": 0.592,
        "diameter_mm": 13.1,
        "major_axis_mm": 11.4,
        "minor_axis_mm": 9.31,
        "least_axis_mm": 8.54,
        "elongation": 0.816,
        "flatness": 0.749,
    }
    for name, value in published.items():
        assert found[name] == pytest.approx(value, rel=5e-3), name
    # Ours is no mesh: 388 mm2 on the published one.
    assert found["surface_mm2"] == pytest.approx(388, rel=0.06)


def test_a_ball_is_round() -> None:
    found = measure_shape(_ellipsoid((35, 35, 35), (15, 15, 15), (1, 1, 1)), (1.0, 1.0, 1.0))
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * 15**3 / 1000, rel=0.01)
    assert found["surface_mm2"] == pytest.approx(4 * np.pi * 15**2, rel=0.01)
    assert found["sphericity"] == pytest.approx(1, abs=0.01)
    assert found["diameter_mm"] == pytest.approx(31, abs=0.5)
    assert found["equivalent_diameter_mm"] == pytest.approx(30, rel=0.01)
    assert found["elongation"] == found["flatness"] == pytest.approx(1)
    # Against the corners of its voxels, which stand out of a ball by up to half a voxel.
    assert 0.85 < found["solidity"] < 1


def test_anisotropic_voxels_measure_the_same_body() -> None:
    fine = measure_shape(_ellipsoid((30, 40, 60), (10, 15, 25), (1, 1, 1)), (1.0, 1.0, 1.0))
    flat = measure_shape(_ellipsoid((10, 80, 60), (10, 15, 25), (3, 0.5, 1)), (1.0, 0.5, 3.0))
    # Four standard deviations of a solid ellipsoid are 4 / sqrt(5) of its half axis.
    for name, half in (("major_axis_mm", 25), ("minor_axis_mm", 15), ("least_axis_mm", 10)):
        assert fine[name] == pytest.approx(4 * half / np.sqrt(5), rel=0.02)
        assert flat[name] == pytest.approx(fine[name], rel=0.05)
    for name in ("volume_ml", "diameter_mm"):
        assert flat[name] == pytest.approx(fine[name], rel=0.06), name
    # Thomsen's formula, good to 1%, for half axes 25, 15 and 10 mm: 3,370 mm2. Steps of 3 mm look rougher.
    assert fine["surface_mm2"] == pytest.approx(3370, rel=0.01)
    assert flat["surface_mm2"] == pytest.approx(3370, rel=0.15)


@given(seed=st.integers(0, 2**16), axes=st.permutations((0, 1, 2)), flips=st.sets(st.integers(0, 2)))
@settings(max_examples=25, deadline=None)
def test_turning_and_mirroring_change_nothing(seed: int, axes: list[int], flips: set[int]) -> None:
    mask = np.random.default_rng(seed).random((4, 5, 6)) < 0.5
    mask[1, 2, 3] = True
    spacing = (1.0, 1.5, 2.5)  # z, y, x
    turned = np.flip(mask.transpose(axes), tuple(flips))
    one = measure_shape(mask, spacing[::-1])
    z, y, x = (spacing[axis] for axis in axes)
    other = measure_shape(turned, (x, y, z))
    assert other == pytest.approx(one, rel=1e-6, nan_ok=True)


def test_a_cube_is_as_convex_as_can_be() -> None:
    cube = measure_shape(np.ones((4, 4, 4), bool), (1.0, 1.0, 1.0))
    assert cube["solidity"] == pytest.approx(1)
    angle = np.ones((4, 4, 4), bool)
    angle[1:, 1:] = False
    assert measure_shape(angle, (1.0, 1.0, 1.0))["solidity"] < 0.8


def test_one_voxel() -> None:
    found = measure_shape(np.ones((1, 1, 1), bool), (1.0, 1.0, 3.0))
    assert found["volume_ml"] == pytest.approx(0.003)
    assert found["diameter_mm"] == pytest.approx(3)
    assert found["major_axis_mm"] == 0
    assert np.isnan(found["elongation"])
    assert np.isnan(found["flatness"])
    assert found["solidity"] == pytest.approx(1)
    assert found["surface_mm2"] > 0


def test_an_empty_mask_means_nothing() -> None:
    found = measure_shape(np.zeros((3, 3, 3), bool), (1.0, 1.0, 1.0))
    assert tuple(found) == NAMES
    assert np.isnan(list(found.values())).all()
