import itertools

import numpy as np
import pytest
import scipy.stats

from genovox.core.errors import ImageError, UsageError
from genovox.filters.contrast import enhance_contrast

SPACING = (1.0, 1.0, 2.0)
MASK = np.zeros((12, 20, 24), bool)
MASK[1:11, 3:18, 2:22] = True


def _signal(seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3, 80, (channels, 12, 20, 24)).astype(np.float32)


def test_equalised_signal_is_its_rank() -> None:
    channel = _signal()[0]
    done = enhance_contrast(channel, MASK, "equalise", spacing_mm=SPACING)
    inside = channel[MASK]
    ranks = (scipy.stats.rankdata(inside) - 0.5) / inside.size
    expected = inside.min() + np.ptp(inside) * ranks
    # Values of one of the 65,536 levels share a rank; no more than a few of 3,000 do.
    np.testing.assert_allclose(done[MASK], expected, atol=5 / inside.size * np.ptp(inside))
    spread = (done[MASK] - inside.min()) / np.ptp(inside)
    assert scipy.stats.kstest(spread, "uniform").pvalue > 0.999
    np.testing.assert_array_equal(done[~MASK], channel[~MASK])


def test_one_tile_without_a_limit_is_equalisation() -> None:
    channel = _signal()[0]
    whole = enhance_contrast(channel, MASK, "equalise", spacing_mm=SPACING)
    tiled = enhance_contrast(channel, MASK, "clahe", spacing_mm=SPACING, tile_mm=500, contrast_limit=1e6)
    # 256 bins instead of 65,536: off by what a bin holds at most.
    largest = np.histogram(channel[MASK], bins=256)[0].max()
    assert np.abs(tiled - whole).max() <= 2 * largest / MASK.sum() * np.ptp(channel[MASK])


def _clahe_by_definition(
    channel: np.ndarray, mask: np.ndarray, tiles: tuple[int, int, int], limit: float
) -> np.ndarray:
    """Voxel by voxel, with the map of each tile as a table."""
    low, high = float(channel[mask].min()), float(channel[mask].max())
    bins = np.floor((channel.astype(np.float64) - low) / (high - low) * 1023 + 0.5).astype(int).clip(0, 1023)
    maps = {}
    for tile in itertools.product(*[range(t) for t in tiles]):
        owners = [np.arange(size) * t // size == n for size, t, n in zip(mask.shape, tiles, tile, strict=True)]
        inside = mask & owners[0][:, None, None] & owners[1][:, None] & owners[2]
        owned = inside if inside.any() else mask
        share = np.bincount(bins[owned] // 4, minlength=256) / owned.sum()
        while share.max() > limit / 256 + 1e-12:  # what stands out goes to those with room, until nothing does
            excess = (share - limit / 256).clip(0).sum()
            share = np.minimum(share, limit / 256)
            has_room = share < limit / 256 - 1e-15
            share = share + has_room * excess / has_room.sum()
        share = np.repeat(share / 4, 4)
        maps[tile] = share.cumsum() - share / 2
    out = channel.copy()
    for index in np.argwhere(mask):
        position = [(i + 0.5) * t / size - 0.5 for i, t, size in zip(index, tiles, mask.shape, strict=True)]
        total = 0.0
        for corner in itertools.product((0, 1), repeat=3):
            weight, around = 1.0, []
            for p, c, t in zip(position, corner, tiles, strict=True):
                before = int(np.floor(p))
                weight *= p - before if c else 1 - (p - before)
                around.append(min(max(before + c, 0), t - 1))
            total += weight * maps[tuple(around)][bins[tuple(index)]]
        out[tuple(index)] = low + (high - low) * total
    return out


@pytest.mark.parametrize("limit", [1.5, 4.0, 1e6])
@pytest.mark.parametrize(("tile_mm", "tiles"), [(8.0, (3, 2, 3)), (12.0, (2, 2, 2)), (24.0, (1, 1, 1))])
def test_clahe_is_its_definition(tile_mm: float, tiles: tuple[int, int, int], limit: float) -> None:
    channel = _signal()[0] + np.linspace(0, 500, 24, dtype=np.float32)
    mask = MASK.copy()
    mask[:, :, 16:] = False  # the last tile along x is empty
    done = enhance_contrast(channel, mask, "clahe", spacing_mm=SPACING, tile_mm=tile_mm, contrast_limit=limit)
    expected = _clahe_by_definition(channel, mask, tiles, limit)
    np.testing.assert_allclose(done, expected, atol=2e-4 * np.ptp(channel[mask]))


def test_clahe_lifts_local_contrast_under_a_slope() -> None:
    random = np.random.default_rng(3)
    slope = np.linspace(0, 1000, 96) + random.uniform(-6, 6, (16, 32, 96))
    pattern = np.where(random.random((16, 32, 96)) < 0.5, -10, 10).astype(np.float32)
    mask = np.ones(slope.shape, bool)

    def contrast(array: np.ndarray) -> float:
        return float((array[pattern > 0].mean() - array[pattern < 0].mean()) / np.ptp(array))

    channel = (slope + pattern).astype(np.float32)
    done = enhance_contrast(channel, mask, "clahe", spacing_mm=(1.0, 1.0, 1.0), tile_mm=16, contrast_limit=10)
    assert contrast(done) > 2 * contrast(channel)


def test_a_limit_of_one_changes_nothing_but_levels() -> None:
    channel = _signal()[0]
    done = enhance_contrast(channel, MASK, "clahe", spacing_mm=SPACING, tile_mm=10, contrast_limit=1)
    np.testing.assert_allclose(done, channel, atol=np.ptp(channel[MASK]) / 1000)


@pytest.mark.parametrize("kind", ["equalise", "clahe"])
def test_channels_are_on_their_own_and_outside_stays(kind: str) -> None:
    channels = _signal(channels=3)
    channels[:, ~MASK] = np.nan
    done = enhance_contrast(channels, MASK, kind, spacing_mm=SPACING, tile_mm=8)
    alone = [enhance_contrast(channel, MASK, kind, spacing_mm=SPACING, tile_mm=8) for channel in channels]
    np.testing.assert_array_equal(done, np.stack(alone))
    assert np.isnan(done[:, ~MASK]).all()
    for before, after in zip(channels, done, strict=True):
        assert before[MASK].min() <= after[MASK].min() <= after[MASK].max() <= before[MASK].max()


@pytest.mark.parametrize("turn", [(2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_axes_are_treated_alike(turn: tuple[int, int, int]) -> None:
    channel, back = _signal()[0], np.argsort(turn)
    spacing = np.array(SPACING[::-1])[list(turn)]
    turned = enhance_contrast(
        np.ascontiguousarray(channel.transpose(turn)),
        np.ascontiguousarray(MASK.transpose(turn)),
        "clahe",
        spacing_mm=(spacing[2], spacing[1], spacing[0]),
        tile_mm=8,
    )
    straight = enhance_contrast(channel, MASK, "clahe", spacing_mm=SPACING, tile_mm=8)
    np.testing.assert_allclose(turned.transpose(back), straight, rtol=1e-4, atol=1e-2)


def test_none_and_bad_input() -> None:
    channel = _signal()[0]
    assert enhance_contrast(channel, MASK, "none", spacing_mm=SPACING) is channel
    with pytest.raises(UsageError, match="one of none, equalise, clahe"):
        enhance_contrast(channel, MASK, "retinex", spacing_mm=SPACING)
    with pytest.raises(UsageError, match=r"at least 1, got 0\.5"):
        enhance_contrast(channel, MASK, "clahe", spacing_mm=SPACING, contrast_limit=0.5)
    with pytest.raises(ImageError, match="mask is empty"):
        enhance_contrast(channel, MASK & False, "equalise", spacing_mm=SPACING)
    with pytest.raises(ImageError, match="holds one value only"):
        enhance_contrast(np.ones_like(channel), MASK, "equalise", spacing_mm=SPACING)
    channel[5, 5, 5] = np.inf
    with pytest.raises(ImageError, match="must be finite"):
        enhance_contrast(channel, MASK, "equalise", spacing_mm=SPACING)
