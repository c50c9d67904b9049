import itertools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import SimpleITK as sitk

from genovox.core.errors import ImageError, UsageError
from genovox.filters import denoise as filters
from genovox.filters import neighbours
from genovox.filters.denoise import KINDS, denoise, estimate_noise_sd
from genovox.filters.stencils import ball_offsets, radius_voxels

FILTERS = KINDS[1:]
ISOTROPIC = (1.0, 1.0, 1.0)
THICK = (0.8, 0.9, 1.7)


def _noise(shape: tuple[int, ...], seed: int = 0, sd: float = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, sd, shape).astype(np.float32)


def _two_tissues(sd: float = 10) -> tuple[np.ndarray, np.ndarray]:
    """A plane edge between 100 and 200, with noise; and without."""
    clean = np.full((24, 32, 32), 100, np.float32)
    clean[..., 16:] = 200
    return (clean + np.random.default_rng(1).normal(0, sd, clean.shape)).astype(np.float32), clean


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, THICK])
def test_gaussian_is_scipys(spacing_mm: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    phase = _noise((9, 14, 17))
    sds = [filters.GAUSSIAN_SD_MM / mm for mm in spacing_mm[::-1]]
    expected = scipy.ndimage.gaussian_filter(phase.astype(np.float64), sds, mode="nearest")
    for size in (50, 131_072):
        monkeypatch.setattr(filters, "WIDE_PIECE_VOXELS", size)
        np.testing.assert_allclose(denoise(phase, spacing_mm, "gaussian"), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("spacing_mm", "size"), [(ISOTROPIC, (3, 3, 3)), (THICK, (3, 3, 3)), ((0.8, 0.8, 3), (1, 3, 3))]
)
def test_median_is_scipys(spacing_mm: tuple[float, float, float], size: tuple[int, int, int]) -> None:
    phase = _noise((9, 14, 17))
    expected = scipy.ndimage.median_filter(phase, size=size, mode="nearest")
    np.testing.assert_array_equal(denoise(phase, spacing_mm, "median"), expected)


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, THICK])
def test_curvature_flow_is_simpleitks(spacing_mm: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    phase = scipy.ndimage.gaussian_filter(_noise((9, 14, 17)), 1).astype(np.float32)
    image = sitk.GetImageFromArray(phase)
    image.SetSpacing(spacing_mm)
    count = int(np.ceil(filters.FLOW_MM2 / (0.125 * min(spacing_mm) ** 2)))
    expected = sitk.GetArrayFromImage(sitk.CurvatureFlow(image, filters.FLOW_MM2 / count, count))
    for size in (50, 32_768):
        monkeypatch.setattr(filters, "PIECE_VOXELS", size)
        np.testing.assert_allclose(denoise(phase, spacing_mm, "curvature-flow"), expected, atol=5e-3)


def test_curvature_flow_shrinks_a_ball_as_geometry_says() -> None:
    """A sphere of radius r becomes one of sqrt(r^2 - 4 t)."""
    grid = np.stack(np.meshgrid(*[np.arange(40) - 19.5] * 3, indexing="ij"))
    ball = (8 - np.sqrt((grid**2).sum(0))).clip(-4, 4).astype(np.float32)
    shrunk = filters._flow(ball, ISOTROPIC, 6.0)
    radius = (3 * (shrunk > 0).sum() / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(np.sqrt(8**2 - 4 * 6), abs=0.1)


def _by_definition(
    phases: np.ndarray, sizes: list[tuple[int, ...]], patch: tuple[int, ...], weigh: Callable[..., float]
) -> np.ndarray:
    """A weighted mean of neighbours, voxel by voxel."""
    far = np.array([4, 4, 4])
    padded = np.pad(phases.astype(np.float64), [(0, 0), *[(f, f) for f in far]], mode="edge")
    out = np.empty(phases.shape)
    for index in np.ndindex(phases.shape[1:]):
        total, weights = np.zeros(len(phases)), 0.0
        for offset in sizes:
            here, there = far + index, far + index + np.array(offset)
            windows = [
                padded[(slice(None), *[slice(c - p, c + p + 1) for c, p in zip(centre, patch, strict=True)])]
                for centre in (here, there)
            ]
            weight = weigh(((windows[0] - windows[1]) ** 2).mean(), offset)
            total += weight * padded[(slice(None), *there)]
            weights += weight
        out[(slice(None), *index)] = total / weights
    return out


@pytest.mark.parametrize("phases", [1, 2])
def test_bilateral_is_its_definition(phases: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case, sd = _noise((phases, 3, 5, 6)), 15.0
    reach = [range(-2, 3)] * 3
    near = [o for o in itertools.product(*reach) if np.linalg.norm(np.multiply(o, THICK[::-1])) <= 2 + 1e-9]

    def weigh(difference: float, offset: tuple[int, ...]) -> float:
        squared_mm = float((np.multiply(offset, THICK[::-1]) ** 2).sum())
        return float(np.exp(-squared_mm / 2 - difference / (2 * (2 * sd) ** 2)))

    expected = _by_definition(case, near, (0, 0, 0), weigh)
    for size in (50, 131_072):
        monkeypatch.setattr(neighbours, "WIDE_PIECE_VOXELS", size)
        np.testing.assert_allclose(denoise(case, THICK, "bilateral", noise_sd=sd), expected, rtol=1e-5)


@pytest.mark.parametrize(("spacing_mm", "patch"), [(THICK, (1, 1, 1)), ((1.2, 1.2, 3.0), (0, 1, 1))])
def test_nonlocal_means_is_its_definition(
    spacing_mm: tuple[float, float, float], patch: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, sd = _noise((2, 2, 5, 5)), 15.0
    reach = [range(-3, 4)] * 3
    near = [o for o in itertools.product(*reach) if np.linalg.norm(np.multiply(o, spacing_mm[::-1])) <= 3 + 1e-9]

    def weigh(difference: float, offset: tuple[int, ...]) -> float:
        return float(np.exp(-max(difference - 2 * sd**2, 0) / (0.8 * sd) ** 2))

    expected = _by_definition(case, near, patch, weigh)
    for size in (50, 131_072):
        monkeypatch.setattr(neighbours, "WIDE_PIECE_VOXELS", size)
        np.testing.assert_allclose(denoise(case, spacing_mm, "non-local-means", noise_sd=sd), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", FILTERS)
def test_a_constant_stays(kind: str) -> None:
    phase = np.full((5, 6, 7), 42.5, np.float32)
    np.testing.assert_allclose(denoise(phase, THICK, kind), phase, rtol=1e-6)


@pytest.mark.parametrize("kind", FILTERS)
def test_noise_falls_and_the_edge_stays(kind: str) -> None:
    noisy, clean = _two_tissues()
    filtered = denoise(noisy, ISOTROPIC, kind)
    flat = (slice(4, -4), slice(4, -4), slice(4, 11))
    assert (filtered - clean)[flat].std() < 0.8 * (noisy - clean)[flat].std()
    profile = filtered.mean((0, 1))
    rise = profile[16] - profile[15]
    if kind == "gaussian":
        assert rise < 60  # blurs, as it must
    else:
        assert rise > 80
    assert abs(filtered.mean() - noisy.mean()) < 0.5


def test_edge_keepers_beat_the_gaussian_where_there_are_edges() -> None:
    noisy, clean = _two_tissues()
    error = {kind: np.sqrt(((denoise(noisy, ISOTROPIC, kind) - clean) ** 2).mean()) for kind in FILTERS}
    assert error["non-local-means"] < error["bilateral"] < error["gaussian"]
    assert error["non-local-means"] < 5  # half of the noise


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("turn", [(2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_axes_are_treated_alike(kind: str, turn: tuple[int, int, int]) -> None:
    phase, back = _noise((7, 8, 9)), np.argsort(turn)
    x, y, z = THICK
    spacing = np.array([z, y, x])[list(turn)]
    turned = denoise(
        np.ascontiguousarray(phase.transpose(turn)), (spacing[2], spacing[1], spacing[0]), kind, noise_sd=15
    )
    np.testing.assert_allclose(turned.transpose(back), denoise(phase, THICK, kind, noise_sd=15), rtol=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "bilateral", "non-local-means"])
def test_a_filtered_difference_is_the_difference_of_the_filtered(kind: str) -> None:
    pre, post = _noise((6, 8, 9), 0), _noise((6, 8, 9), 1) + 50
    filtered = denoise(np.stack([pre, post, post - pre]), THICK, kind, noise_sd=15)
    np.testing.assert_allclose(filtered[1] - filtered[0], filtered[2], atol=1e-3)


@pytest.mark.parametrize("kind", ["gaussian", "median", "curvature-flow"])
def test_each_phase_is_filtered_as_if_alone(kind: str) -> None:
    phases = _noise((3, 6, 8, 9))
    together = denoise(phases, THICK, kind)
    np.testing.assert_array_equal(together, np.stack([denoise(phase, THICK, kind) for phase in phases]))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 5), (3, 1, 4), (2, 2, 2)])
@pytest.mark.parametrize("kind", FILTERS)
def test_thin_volumes(kind: str, shape: tuple[int, int, int]) -> None:
    phase = _noise(shape)
    filtered = denoise(phase, THICK, kind)
    assert filtered.shape == shape
    assert phase.min() - 1e-3 <= filtered.min() <= filtered.max() <= phase.max() + 1e-3


@pytest.mark.parametrize("sd", [2.0, 25.0])
def test_noise_is_measured_beside_edges(sd: float) -> None:
    noisy, _ = _two_tissues(sd)
    assert estimate_noise_sd(noisy) == pytest.approx(sd, rel=0.05)
    assert estimate_noise_sd(noisy[:, :2]) == 0
    assert estimate_noise_sd(np.zeros((2, 5, 5), np.float32)) == 0


def test_noise_is_that_of_all_phases() -> None:
    phases = np.stack([_two_tissues(sd)[0] for sd in (5.0, 15.0)])
    measured = denoise(phases, ISOTROPIC, "bilateral")
    told = denoise(phases, ISOTROPIC, "bilateral", noise_sd=float(np.sqrt((5.0**2 + 15.0**2) / 2)))
    assert np.abs(measured - told).mean() < 0.05 * np.abs(phases - told).mean()


def test_windows_in_mm() -> None:
    assert radius_voxels(1.0, (0.7, 0.7, 1.5)) == (1, 1, 1)
    assert radius_voxels(1.0, (0.7, 0.7, 3.0)) == (0, 1, 1)
    assert radius_voxels(1.0, (2.5, 2.5, 5.0)) == (1, 1, 1)
    assert radius_voxels(1.0, (2.5, 2.5, 6.0)) == (0, 1, 1)
    assert len(ball_offsets(1.0, ISOTROPIC)) == 3
    assert len(ball_offsets(2.0, ISOTROPIC)) == 16
    assert {offset for offset, _ in ball_offsets(1.0, (0.8, 2.0, 3.0))} == {(0, 0, 1)}
    assert ball_offsets(0.1, (2.0, 3.0, 3.0)) == [((0, 0, 1), 2.0)]


def test_none_and_bad_input() -> None:
    phase = _noise((3, 4, 5))
    assert denoise(phase, THICK, "none") is phase
    with pytest.raises(UsageError, match="one of none, gaussian"):
        denoise(phase, THICK, "wavelet")
    phase[1, 1, 1] = np.nan
    with pytest.raises(ImageError, match="must be finite"):
        denoise(phase, THICK, "median")
