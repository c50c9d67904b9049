import numpy as np
import pytest

from genovox.anatomy.foreground import find_body, find_foreground
from genovox.core.errors import ImageError
from genovox.core.volume import Volume


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
    assert 2 * (mask & body).sum() / (mask.sum() + body.sum()) > 0.96
    middle = tuple(size // 2 for size in body.shape)
    assert mask[middle]
    assert not mask[0, 0, 0]


def test_everything() -> None:
    scan, _ = _scan((4.0, 4.0, 4.0))
    assert find_foreground(scan, "none").all()
    np.testing.assert_array_equal(find_foreground(scan, "body"), find_body(scan))


def test_nothing() -> None:
    with pytest.raises(ImageError, match=r'the foreground is empty; .* or use foreground = "none"'):
        find_foreground(Volume(np.ones((1, 8, 8, 8), np.float32), np.eye(4)), "body")
