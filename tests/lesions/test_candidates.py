"""Blobs, and the masks that grow from them, on shapes whose size is known."""

import numpy as np
import pytest

from genovox.core.volume import Array
from genovox.lesions.candidates import Candidate, Seed, find_candidates, find_seeds, grow_candidate, measure_blobness
from genovox.lesions.enhancement import Uptake

SPACING_MM = (2.0, 2.0, 3.0)
SHAPE = (34, 48, 48)


def place(at_mm: tuple[float, float, float]) -> list[Array]:
    """Distances from a point (x, y, z) in mm, along z, y and x."""
    return [
        (np.arange(size) * step - at).reshape([-1 if axis == other else 1 for other in range(3)])
        for axis, (size, step, at) in enumerate(zip(SHAPE, SPACING_MM[::-1], at_mm[::-1], strict=True))
    ]


def ball(at_mm: tuple[float, float, float], radius_mm: float) -> Array:
    z, y, x = place(at_mm)
    return np.asarray(np.sqrt(x**2 + y**2 + z**2) <= radius_mm, np.float32)


def tube(at_mm: tuple[float, float, float], radius_mm: float) -> Array:
    _, y, x = place(at_mm)
    return np.broadcast_to(np.sqrt(x**2 + y**2) <= radius_mm, SHAPE).astype(np.float32)


def make_uptake(early: Array, *, noise: float = 0.03) -> Uptake:
    """A block of tissue; the left half is the left breast."""
    random = np.random.default_rng(3)
    noisy = (early + 0.1 + random.normal(0, noise, SHAPE)).astype(np.float32)
    everywhere = np.ones(SHAPE, bool)
    on_left = everywhere.copy()
    on_left[..., SHAPE[2] // 2 :] = False
    phases = np.stack([np.full(SHAPE, 100.0), 100 * (1 + noisy), 100 * (1 + 0.9 * noisy)]).astype(np.float32)
    depth_mm = np.full(SHAPE, 20, np.float32)
    affine = np.diag([*SPACING_MM, 1.0])
    return Uptake(phases, affine, noisy, 10.0, everywhere, depth_mm, on_left, everywhere.copy(), 0.1, noise)


@pytest.mark.parametrize("radius_mm", [5.0, 8.0, 14.0])
def test_a_ball_is_found_at_its_place_and_size(radius_mm: float) -> None:
    truth = ball((50, 44, 51), radius_mm)
    first = find_candidates(make_uptake(truth))[0]
    assert first.seed.voxel == pytest.approx((17, 22, 25), abs=1)
    assert first.seed.radius_mm == pytest.approx(radius_mm, rel=0.5)
    mask = first.on_grid(SHAPE)
    overlap = 2 * (mask & (truth > 0)).sum() / (mask.sum() + (truth > 0).sum())
    assert overlap > 0.9


def test_a_ball_beats_a_vessel_that_enhances_twice_as_much() -> None:
    early = np.maximum(ball((30, 44, 51), 7), 2 * tube((70, 44, 0), 3))
    first = find_candidates(make_uptake(early))[0]
    assert first.seed.voxel[2] == pytest.approx(15, abs=1)


def test_a_rim_is_filled() -> None:
    whole = ball((50, 44, 51), 14)
    early = whole - 0.95 * ball((50, 44, 51), 9)
    mask = find_candidates(make_uptake(early))[0].on_grid(SHAPE)
    assert mask[17, 22, 25]
    assert 2 * (mask & (whole > 0)).sum() / (mask.sum() + whole.sum()) > 0.85


def test_tissue_is_proposed_once_and_nothing_beyond_it() -> None:
    uptake = make_uptake(np.maximum(ball((30, 30, 40), 8), ball((66, 60, 60), 6)))
    uptake.tissue[:, :, 30:] = False
    found = find_candidates(uptake)
    total = np.sum([one.on_grid(SHAPE) for one in found], axis=0)
    assert found[0].seed.voxel[2] == pytest.approx(15, abs=1)
    assert not total[:, :, 30:].any()
    shared = [(total[one.box][one.mask] > 1).mean() for one in found[:1]]
    assert max(shared) <= 0.5
    assert [one.seed.response for one in found] == sorted((one.seed.response for one in found), reverse=True)


def test_where_nothing_enhances_there_is_nothing() -> None:
    uptake = make_uptake(np.zeros(SHAPE, np.float32), noise=0.0)
    assert find_seeds(uptake) == []
    assert find_candidates(uptake) == []
    assert grow_candidate(uptake, Seed((17, 22, 25), 5.0, 1.0)) is None
    uptake.tissue[:] = False
    assert grow_candidate(uptake, Seed((17, 22, 25), 5.0, 1.0)) is None


def test_a_speck_is_none() -> None:
    early = np.zeros(SHAPE, np.float32)
    early[17, 22, 25] = 5
    uptake = make_uptake(early, noise=0.0)
    assert grow_candidate(uptake, Seed((17, 22, 25), 3.5, 1.0)) is None  # one voxel of 12 mm3
    assert grow_candidate(uptake, Seed((3, 3, 3), 3.5, 1.0)) is None  # bright nowhere near


def test_blobness_is_the_least_curvature_of_a_gaussian() -> None:
    """A Gaussian of variances s^2 smoothed by t^2 curves by its height over s^2 + t^2 along each axis."""
    widths_mm, scale_mm = (6.0, 8.0, 12.0), 4.0  # x, y, z
    z, y, x = place((48, 48, 51))
    signal = np.exp(-0.5 * ((x / 6) ** 2 + (y / 8) ** 2 + (z / 12) ** 2)).astype(np.float32)
    found = measure_blobness(signal, scale_mm, SPACING_MM)[17, 24, 24]
    wide = np.array(widths_mm) ** 2 + scale_mm**2
    expected = scale_mm**2 * np.prod(np.array(widths_mm) / np.sqrt(wide)) / wide.max()
    assert found == pytest.approx(expected, rel=0.08)
    assert measure_blobness(-signal, scale_mm, SPACING_MM)[17, 24, 24] == 0


def test_blobness_takes_the_least_eigenvalue() -> None:
    random = np.random.default_rng(1)
    from genovox.lesions.candidates import _least_eigenvalue

    matrix = random.normal(size=(500, 3, 3)).astype(np.float32)
    matrix = matrix + matrix.transpose(0, 2, 1)
    matrix[0] = 2 * np.eye(3)  # three equal ones
    assert _least_eigenvalue(matrix) == pytest.approx(np.linalg.eigvalsh(matrix)[:, 0], abs=2e-3)


def test_one_slice_holds_no_blob() -> None:
    assert measure_blobness(np.ones((1, 8, 8), np.float32), 3.0, SPACING_MM).max() == 0


def test_a_candidate_knows_its_place() -> None:
    candidate = Candidate(
        Seed((2, 2, 2), 3.0, 1.0), (slice(1, 3), slice(2, 4), slice(0, 2)), np.ones((2, 2, 2), bool), 0.5
    )
    whole = candidate.on_grid((5, 5, 5))
    assert whole.sum() == 8
    assert whole[1:3, 2:4, 0:2].all()
