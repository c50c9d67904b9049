"""Texture agrees with published values, with plain loops and with itself turned round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from genovox.core.volume import Mask
from genovox.radiomics.texture import (
    COARSEST,
    COOCCURRENCE,
    TONES,
    ZONES,
    Levels,
    discretise,
    find_pairs,
    measure_cooccurrence,
    measure_tones,
    measure_zones,
)
from tests.radiomics.phantom import MASK, PHANTOM

MEASURES = (measure_cooccurrence, measure_zones, measure_tones)
LEVELS = PHANTOM[MASK].astype(np.int64)


def test_cooccurrence_has_the_published_values() -> None:
    """3D, merged."""
    found = measure_cooccurrence(LEVELS, find_pairs(MASK))
    assert found["correlation"] == pytest.approx(0.183, abs=5e-4)
    assert found["cluster_shade"] == pytest.approx(17.4, abs=0.05)
    # Autocorrelation 5.19 and cluster tendency 7.41 fix the contrast: E[(i-j)^2] + E[(i+j)^2] = 2 E[i^2] + 2 E[j^2].
    joint = _matrix(PHANTOM.astype(np.int64))
    rows, columns = np.indices(joint.shape) + 1
    assert (rows * columns * joint).sum() == pytest.approx(5.19, abs=5e-3)
    assert ((rows + columns - 2 * (rows * joint).sum()) ** 2 * joint).sum() == pytest.approx(7.41, abs=5e-3)


def test_zones_have_the_published_values() -> None:
    found = measure_zones(LEVELS, find_pairs(MASK))
    published = {
        "small_zone_emphasis": (0.255, 5e-4),
        "large_zone_emphasis": (550, 0.5),
        "grey_level_nonuniformity": (0.28, 5e-3),
        "zone_size_nonuniformity": (0.2, 5e-2),
        "zone_percentage": (0.0676, 5e-5),
        "zone_size_entropy": (2.32, 5e-3),
    }
    for name, (value, tolerance) in published.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


def test_tones_have_the_published_values() -> None:
    found = measure_tones(LEVELS, find_pairs(MASK))
    for name, value in {"contrast": 0.584, "busyness": 6.54, "complexity": 13.5, "strength": 0.763}.items():
        assert found[name] == pytest.approx(value, rel=5e-3), name


def _matrix(levels: Levels) -> np.ndarray:
    """The merged, symmetric co-occurrence matrix by plain loops; 0 is outside."""
    size = int(levels.max())
    counts = np.zeros((size, size))
    inside = {tuple(place.tolist()): int(levels[tuple(place)]) for place in np.argwhere(levels)}
    for (z, y, x), level in inside.items():
        for offset in np.ndindex(3, 3, 3):
            other = (z + offset[0] - 1, y + offset[1] - 1, x + offset[2] - 1)
            if other != (z, y, x) and other in inside:
                counts[level - 1, inside[other] - 1] += 1
    return np.asarray(counts / counts.sum())


def _coarseness(levels: Levels) -> float:
    share: dict[int, float] = {}
    apart: dict[int, float] = {}
    inside = {tuple(place.tolist()): int(levels[tuple(place)]) for place in np.argwhere(levels)}
    for (z, y, x), level in inside.items():
        around = [
            inside[other]
            for a, b, c in np.ndindex(3, 3, 3)
            if (other := (z + a - 1, y + b - 1, x + c - 1)) != (z, y, x) and other in inside
        ]
        if around:
            share[level] = share.get(level, 0) + 1
            apart[level] = apart.get(level, 0) + abs(level - sum(around) / len(around))
    return sum(share.values()) / sum(share[level] * apart[level] for level in share)


def test_features_agree_with_plain_loops() -> None:
    random = np.random.default_rng(1)
    levels = random.integers(0, 6, (5, 6, 4))
    mask = levels > 0
    pairs = find_pairs(mask)
    joint = _matrix(levels)
    found = measure_cooccurrence(levels[mask], pairs)
    filled = joint[joint > 0]
    assert found["joint_entropy"] == pytest.approx(-(filled * np.log2(filled)).sum())
    assert found["angular_second_moment"] == pytest.approx((joint**2).sum())
    rows, columns = np.indices(joint.shape)
    assert found["contrast"] == pytest.approx(((rows - columns) ** 2 * joint).sum())
    assert found["inverse_difference"] == pytest.approx((joint / (1 + abs(rows - columns))).sum())
    apart = np.outer(joint.sum(0), joint.sum(1))
    independent = -(apart * np.log2(apart)).sum()
    assert found["information_correlation2"] == pytest.approx(
        np.sqrt(1 - np.exp(-2 * (independent - found["joint_entropy"])))
    )
    assert measure_tones(levels[mask], pairs)["coarseness"] == pytest.approx(_coarseness(levels))


def test_zones_agree_with_labelling_level_by_level() -> None:
    levels = np.random.default_rng(2).integers(0, 4, (6, 7, 8))
    mask = levels > 0
    sizes = np.concatenate(
        [np.bincount(ndimage.label(levels == level, np.ones((3, 3, 3)))[0].ravel())[1:] for level in (1, 2, 3)]
    )
    found = measure_zones(levels[mask], find_pairs(mask))
    assert found["zone_percentage"] == pytest.approx(len(sizes) / mask.sum())
    assert found["large_zone_emphasis"] == pytest.approx((sizes.astype(float) ** 2).mean())
    assert found["small_zone_emphasis"] == pytest.approx((1.0 / sizes**2).mean())


@given(seed=st.integers(0, 2**16), axes=st.permutations((0, 1, 2)), flips=st.sets(st.integers(0, 2)))
@settings(max_examples=25, deadline=None)
def test_turning_and_mirroring_change_nothing(seed: int, axes: list[int], flips: set[int]) -> None:
    levels = np.random.default_rng(seed).integers(0, 5, (4, 5, 6))
    turned = np.flip(levels.transpose(axes), tuple(flips))
    for measure in MEASURES:
        one = measure(levels[levels > 0], find_pairs(levels > 0))
        other = measure(turned[turned > 0], find_pairs(turned > 0))
        assert other == pytest.approx(one, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("levels", [2, 16])
def test_levels_run_from_the_least_to_the_largest_value(levels: int) -> None:
    found = discretise(np.linspace(-3, 7, 1000, dtype=np.float32), levels)
    assert np.unique(found).tolist() == list(range(1, levels + 1))
    assert np.bincount(found)[1:].max() - np.bincount(found)[1:].min() <= 1


def test_levels_ignore_scale_and_shift() -> None:
    values = np.random.default_rng(3).integers(0, 64, 500).astype(np.float32)
    assert (discretise(values) == discretise(4 * values - 32)).all()


def _single(shape: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[0, 0, 0] = True
    return mask


def test_one_voxel_has_zones_and_no_neighbours() -> None:
    pairs, level = find_pairs(_single((2, 2, 2))), np.ones(1, np.int64)
    assert measure_zones(level, pairs)["zone_percentage"] == 1
    assert all(np.isnan(value) for value in measure_cooccurrence(level, pairs).values())
    assert all(np.isnan(value) for value in measure_tones(level, pairs).values())


def test_no_voxel_means_nothing() -> None:
    pairs, none = find_pairs(np.zeros((2, 2, 2), bool)), discretise(np.zeros(0, np.float32))
    for measure, names in zip(MEASURES, (COOCCURRENCE, ZONES, TONES), strict=True):
        found = measure(none, pairs)
        assert tuple(found) == names
        assert np.isnan(list(found.values())).all()


def test_one_level_is_smooth() -> None:
    mask = np.ones((3, 3, 3), bool)
    levels = discretise(np.full(27, 5.0, np.float32))
    found = measure_cooccurrence(levels, find_pairs(mask))
    assert found["contrast"] == 0
    assert found["angular_second_moment"] == 1
    assert np.isnan(found["correlation"])
    assert measure_zones(levels, find_pairs(mask))["zone_percentage"] == pytest.approx(1 / 27)
    tones = measure_tones(levels, find_pairs(mask))
    assert tones["coarseness"] == COARSEST
    assert tones["busyness"] == tones["strength"] == tones["contrast"] == 0
