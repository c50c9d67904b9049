from typing import TYPE_CHECKING

import numpy as np
import pytest

from genovox.anatomy.body import find_air_limit, find_body
from genovox.core.volume import Volume

if TYPE_CHECKING:
    from tests.anatomy.conftest import Woman


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _scan(spacing_mm: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """A body of 200 x 150 x 180 mm with an air pocket and Rician noise."""
    sizes = [round(240 / spacing) for spacing in spacing_mm[::-1]]
    z, y, x = np.meshgrid(*(np.linspace(-120, 120, size) for size in sizes), indexing="ij")
    body = (x / 100) ** 2 + (y / 75) ** 2 + (z / 90) ** 2 < 1
    signal = body * 400.0
    signal[(x**2 + y**2 + z**2) < 20**2] = 0
    random = np.random.default_rng(1)
    noisy = np.hypot(signal + random.normal(0, 20, body.shape), random.normal(0, 20, body.shape))
    return Volume(noisy[np.newaxis].astype(np.float32), np.diag([*spacing_mm, 1.0])), body


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 3.0), (4.0, 3.0, 5.0)])
def test_the_body_is_found_with_the_air_it_encloses(spacing_mm: tuple[float, float, float]) -> None:
    scan, body = _scan(spacing_mm)
    mask = find_body(scan)
    assert mask.shape == body.shape
    assert _dice(mask, body) > 0.97
    assert mask[tuple(size // 2 for size in body.shape)]
    assert not mask[0, 0, 0]


def test_simulated_women(woman: "Woman") -> None:
    assert _dice(find_body(woman.scan), woman.body) >= 0.98


def test_a_lung_that_the_back_of_the_scan_cuts_open_is_body() -> None:
    array = np.zeros((1, 30, 40, 40), np.float32)
    array[..., :28, 2:38] = 100
    array[:, 5:25, :20, 10:30] = 0
    mask = find_body(Volume(array, np.diag([3.0, 3.0, 3.0, 1.0])))
    assert mask[15, 10, 20]
    assert not mask[15, 35, 20]


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_shows_no_body(value: float) -> None:
    assert not find_body(Volume(np.full((2, 8, 8, 8), value, np.float32), np.eye(4))).any()


def test_air_without_noise_and_faint_air() -> None:
    silent = np.array([0.0] * 50 + [100.0] * 50, np.float32)
    assert 0 <= find_air_limit(silent) < 100
    random = np.random.default_rng(2)
    faint = np.concatenate(
        [np.abs(random.normal(16, 2.5, 4000)), random.normal(60, 8, 3000), random.normal(500, 60, 3000)]
    )
    assert 22 < find_air_limit(faint.astype(np.float32)) < 40
