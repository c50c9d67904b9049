"""The digital woman is made of whole tissues, has the density asked for, and her organs lie where organs lie."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from genovox.simulate.acquisition import open_grid
from genovox.simulate.anatomy import Anatomy, Grid, build_anatomy, draw_build, grid_noise, smooth_noise
from genovox.simulate.patients import Patient, draw_patients
from genovox.simulate.sites import open_sites

SITES = open_sites(4, matrix=64)
DENSITIES = "abcd"
WOMEN = 2
LIGAMENTS = 0.45  # above it, parenchyma is gland; Cooper's ligaments stay at 0.4


@cache
def _patients() -> dict[str, list[Patient]]:
    drawn = draw_patients(patients=200, effect="half", prevalence=0.5, sites=1, shortcut="none", seed=5)
    return {density: [p for p in drawn if p.density == density][:WOMEN] for density in DENSITIES}


@cache
def _draw(density: str, number: int, site: int = 0) -> tuple[Anatomy, Grid]:
    patient = _patients()[density][number]
    random = np.random.default_rng([number, site])
    grid = open_grid(SITES[site], random)
    return build_anatomy(patient, draw_build(patient, random), grid, random), grid


def _women(site: int = 0) -> list[tuple[str, Anatomy, Grid]]:
    return [(density, *_draw(density, number, site)) for density in DENSITIES for number in range(WOMEN)]


def _halves(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Left and right half of a grid."""
    x = np.broadcast_to(grid.axis(0), grid.shape)
    return x < 0, x > 0


def _share(anatomy: Anatomy) -> float:
    return float(anatomy.tissues["parenchyma"][anatomy.breast].sum() / anatomy.breast.sum())


def _largest_share(mask: np.ndarray) -> float:
    """Of a mask, how much lies in its largest 26-connected part."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return float(np.bincount(parts.ravel())[1:].max() / mask.sum())


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
@pytest.mark.parametrize("density", ["a", "d"])
def test_fractions_add_to_one_on_every_grid(site: int, density: str) -> None:
    anatomy, grid = _draw(density, 0, site)
    for fraction in anatomy.tissues.values():
        assert fraction.shape == grid.shape
        assert fraction.dtype == np.float32
        assert fraction.min() >= 0
        assert fraction.max() <= 1 + 1e-6
    assert np.abs(sum(anatomy.tissues.values()) - 1).max() < 1e-5


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
def test_breasts_fit_every_grid(site: int) -> None:
    anatomy, _ = _draw("c", 0, site)
    assert 0.25 < _share(anatomy) < 0.5
    assert not anatomy.breast[:, -1].any()  # the nipples lie within the grid


def test_density_is_what_was_asked_for() -> None:
    shares: dict[str, list[float]] = {density: [] for density in DENSITIES}
    for density, anatomy, _ in _women():
        shares[density].append(_share(anatomy))
    for lower, upper in pairwise(DENSITIES):
        assert max(shares[lower]) < min(shares[upper])
    # The quarters of the BI-RADS atlas's fourth edition.
    for (low, high), values in zip(((0, 0.25), (0.1, 0.5), (0.25, 0.75), (0.45, 1)), shares.values(), strict=True):
        assert all(low < value < high for value in values)


def test_parenchyma_is_one_tree_a_breast() -> None:
    gland = []
    for density, anatomy, grid in _women():
        for half in _halves(grid):
            tissue = np.where(half & anatomy.breast, anatomy.parenchyma, 0)
            gland.append(_largest_share(tissue > LIGAMENTS))
            # Ligaments hang loose in a fatty breast, where they are much of all parenchyma.
            with_ligaments = _largest_share(tissue > 0.35)
            assert with_ligaments > (0.65 if density == "a" else 0.9), (density, with_ligaments)
    assert min(gland) > 0.85
    assert np.median(gland) > 0.99


def test_two_breasts_of_plausible_volume() -> None:
    for _, anatomy, grid in _women():
        millilitres = [(anatomy.breast & half).sum() * float(np.prod(grid.spacing_mm)) / 1000 for half in _halves(grid)]
        assert all(200 < volume < 1800 for volume in millilitres)
        assert millilitres[0] == pytest.approx(millilitres[1], rel=0.1)
        assert _largest_share(anatomy.breast & _halves(grid)[0]) > 0.99
        assert (anatomy.depth_mm[anatomy.breast] > 0).all()
        assert (anatomy.wall_mm[anatomy.breast] < 9).all()


def test_left_is_left() -> None:
    for _, anatomy, grid in _women():
        x = np.broadcast_to(grid.axis(0), grid.shape)
        assert anatomy.build.centres[0][0] < 0 < anatomy.build.centres[1][0]
        for centre, half in zip(anatomy.build.centres, _halves(grid), strict=True):
            assert x[anatomy.breast & half].mean() == pytest.approx(centre[0], abs=10)
        blood, liver = anatomy.tissues["blood"], anatomy.tissues["liver"]
        assert (blood * x).sum() / blood.sum() < -10
        assert (liver * x).sum() / liver.sum() > 30


def test_breasts_hang_before_the_chest() -> None:
    for _, anatomy, grid in _women():
        y = np.broadcast_to(grid.axis(1), grid.shape)

        def depth(fraction: np.ndarray, y: np.ndarray = y) -> float:
            return float((fraction * y).sum() / fraction.sum())

        tissues = anatomy.tissues
        assert depth(anatomy.breast) > depth(tissues["muscle"]) > depth(tissues["lung"])
        assert tissues["blood"][anatomy.breast].max() == 0
        assert tissues["lung"][anatomy.breast].max() == 0


def test_women_differ_and_a_seed_repeats_one() -> None:
    patient = _patients()["b"][0]
    grid = open_grid(SITES[0], np.random.default_rng(1))

    def build(seed: int) -> Anatomy:
        random = np.random.default_rng(seed)
        return build_anatomy(patient, draw_build(patient, random), grid, random)

    first, again, other = build(1), build(1), build(2)
    assert all(np.array_equal(first.tissues[name], again.tissues[name]) for name in first.tissues)
    assert not np.array_equal(first.breast, other.breast)


def test_displace_keeps_the_sum() -> None:
    anatomy, _ = _draw("d", 0, 3)
    before = {name: fraction.copy() for name, fraction in anatomy.tissues.items()}
    box = (slice(10, 14), slice(20, 25), slice(30, 36))
    share = np.random.default_rng(1).uniform(0, 0.5, (4, 5, 6)).astype(np.float32)
    try:
        anatomy.displace(box, {"one": share, "two": 0.5 * share})
        assert np.array_equal(anatomy.tissues["one"][box], share)
        assert anatomy.tissues["one"].sum() == pytest.approx(share.sum())
        assert np.abs(sum(anatomy.tissues.values()) - 1).max() < 1e-5
        assert anatomy.tissues["fat"][box] == pytest.approx(before["fat"][box] * (1 - 1.5 * share), abs=1e-6)
    finally:
        anatomy.tissues = before


def test_noise_is_centred_and_of_one_strength() -> None:
    """Mean 0 and SD 0.7, whatever the grain and the number of octaves."""
    grid = Grid((40, 64, 64), (4.8, 4.8, 3.0), (-150, -150, -60))
    for grain_mm in (13.0, 30.0):
        fields = np.stack([grid_noise(np.random.default_rng(seed), grid, grain_mm) for seed in range(30)])
        assert fields.mean() == pytest.approx(0, abs=0.05)
        assert np.sqrt((fields**2).mean()) == pytest.approx(0.7, abs=0.07)
    points = tuple(np.random.default_rng(1).uniform(-40, 80, (3, 20_000)))
    for octaves in (1, 2, 3):
        fields = np.stack(
            [smooth_noise(np.random.default_rng(seed), points, octaves=octaves) for seed in range(8)],
        )
        assert fields.mean() == pytest.approx(0, abs=0.05)
        assert fields.std() == pytest.approx(0.73, abs=0.05)


def test_noise_is_smooth_over_a_grain() -> None:
    grid = Grid((60, 60, 60), (2.0, 2.0, 2.0), (0, 0, 0))
    noise = np.stack([grid_noise(np.random.default_rng(seed), grid, 20.0) for seed in range(10)])

    def correlate(voxels: int) -> float:
        return float(np.corrcoef(noise[..., :-voxels].ravel(), noise[..., voxels:].ravel())[0, 1])

    assert correlate(1) > 0.98
    assert abs(correlate(30)) < 0.15


def test_smooth_noise_repeats_after_its_period() -> None:
    points = tuple(np.random.default_rng(2).uniform(0, 32, (3, 500)))
    shifted = (points[0] + 32, points[1], points[2] - 64)
    first, second = (smooth_noise(np.random.default_rng(3), place, octaves=2) for place in (points, shifted))
    assert first == pytest.approx(second, abs=1e-4)
