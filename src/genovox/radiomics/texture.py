"""Texture: which grey levels lie beside which, in what zones, and how far each stands out of its surroundings.

All three matrices are made from one list of pairs of neighbours, which depends on the region alone: the channels of a
case share it. A neighbour touches by a face, an edge or a corner (26 of them); voxels should be cubes.
"""

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from genovox.core.volume import Array, Mask

Levels = npt.NDArray[np.int64]
Pairs = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]

LEVELS = 16
"""Grey levels from the least to the largest value of a region; more would leave the matrices of small lesions empty."""
COOCCURRENCE = (
    "joint_entropy",
    "angular_second_moment",
    "contrast",
    "inverse_difference",
    "correlation",
    "cluster_shade",
    "information_correlation2",
)
ZONES = (
    "small_zone_emphasis",
    "large_zone_emphasis",
    "grey_level_nonuniformity",
    "zone_size_nonuniformity",
    "zone_percentage",
    "zone_size_entropy",
)
TONES = ("coarseness", "contrast", "busyness", "complexity", "strength")
COARSEST = 1e6
"""Coarseness of a region of one level, as the reference has it."""
_OFFSETS = [offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0)]


def discretise(values: Array, levels: int = LEVELS) -> Levels:
    """Grey levels 1 to ``levels`` in equal steps from the least to the largest value; 1 where all are the same.

    Args:
        values: Shape (n,).
        levels: How many.
    """
    numbers = values.astype(np.float64)
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    if low == high:
        return np.ones(numbers.shape, np.int64)
    return np.asarray(np.clip(np.floor(levels * (numbers - low) / (high - low)), 0, levels - 1) + 1, np.int64)


def find_pairs(mask: Mask) -> Pairs:
    """Every pair of neighbours in a region, each once.

    Args:
        mask: Shape (z, y, x).

    Returns:
        Two arrays of voxel numbers, in the order of ``array[mask]``.
    """
    number = np.full(mask.shape, -1, np.int32)
    number[mask] = np.arange(int(mask.sum()), dtype=np.int32)
    first, second = [], []
    for offset in _OFFSETS:
        one = number[
            tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(offset, mask.shape, strict=True))
        ]
        other = number[
            tuple(slice(max(0, step), size - max(0, -step)) for step, size in zip(offset, mask.shape, strict=True))
        ]
        both = (one >= 0) & (other >= 0)
        first.append(one[both])
        second.append(other[both])
    return np.concatenate(first), np.concatenate(second)


def measure_cooccurrence(levels: Levels, pairs: Pairs) -> dict[str, float]:
    """Features of the grey level co-occurrence matrix, its 13 directions merged.

    Args:
        levels: Grey level of each voxel from 1, shape (n,).
        pairs: From ``find_pairs``.

    Returns:
        ``COOCCURRENCE``, entropy in bits; NaN without neighbours, the correlations NaN where there is one level.

    References:
        Haralick et al. (1973), doi:10.1109/TSMC.1973.4309314; Zwanenburg et al. (2020),
        doi:10.1148/radiol.2020191145 (3D, merged).
    """
    if not len(pairs[0]):
        return dict.fromkeys(COOCCURRENCE, float("nan"))
    size = int(levels.max())
    counts = np.bincount((levels[pairs[0]] - 1) * size + levels[pairs[1]] - 1, minlength=size**2).reshape(size, size)
    joint = (counts + counts.T) / (2 * len(pairs[0]))
    rows, columns = np.indices(joint.shape) + 1
    margin = joint.sum(axis=1)
    mean = float((rows * joint).sum())
    variance = float(((rows - mean) ** 2 * joint).sum())
    entropy, apart = _entropy(joint), 2 * _entropy(margin)
    one_level = np.count_nonzero(margin) < 2
    return {
        "joint_entropy": entropy,
        "angular_second_moment": float((joint**2).sum()),
        "contrast": float(((rows - columns) ** 2 * joint).sum()),
        "inverse_difference": float((joint / (1 + np.abs(rows - columns))).sum()),
        "correlation": float("nan")
        if one_level
        else float(((rows - mean) * (columns - mean) * joint).sum()) / variance,
        "cluster_shade": float(((rows + columns - 2 * mean) ** 3 * joint).sum()),
        "information_correlation2": float("nan")
        if one_level
        else float(np.sqrt(max(0.0, 1 - np.exp(-2 * (apart - entropy))))),
    }


def measure_zones(levels: Levels, pairs: Pairs) -> dict[str, float]:
    """Features of the grey level size zone matrix: connected voxels of one level are a zone.

    Args:
        levels: Grey level of each voxel from 1, shape (n,).
        pairs: From ``find_pairs``.

    Returns:
        ``ZONES``, both nonuniformities as shares of the zones, entropy in bits; NaN without voxels.

    References:
        Thibault et al. (2014), doi:10.1109/TBME.2013.2284600; Zwanenburg et al. (2020), doi:10.1148/radiol.2020191145.
    """
    if not len(levels):
        return dict.fromkeys(ZONES, float("nan"))
    alike = levels[pairs[0]] == levels[pairs[1]]
    ends = pairs[0][alike], pairs[1][alike]
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(len(levels), len(levels)))
    count, zone = connected_components(graph, directed=False)
    sizes = np.bincount(zone, minlength=count).astype(np.float64)
    level = np.zeros(count, np.int64)
    level[zone] = levels
    by_level, by_size = np.bincount(level), np.unique(sizes, return_counts=True)[1]
    _, kinds = np.unique(np.stack([level, sizes]), axis=1, return_counts=True)
    return {
        "small_zone_emphasis": float((1 / sizes**2).mean()),
        "large_zone_emphasis": float((sizes**2).mean()),
        "grey_level_nonuniformity": float((by_level**2).sum() / count**2),
        "zone_size_nonuniformity": float((by_size**2).sum() / count**2),
        "zone_percentage": count / len(levels),
        "zone_size_entropy": _entropy(kinds / count),
    }


def measure_tones(levels: Levels, pairs: Pairs) -> dict[str, float]:
    """Features of the neighbourhood grey tone difference matrix.

    Args:
        levels: Grey level of each voxel from 1, shape (n,).
        pairs: From ``find_pairs``.

    Returns:
        ``TONES``; NaN where no voxel has a neighbour.

    References:
        Amadasun & King (1989), doi:10.1109/21.44046; Zwanenburg et al. (2020), doi:10.1148/radiol.2020191145.
    """
    if not len(pairs[0]):
        return dict.fromkeys(TONES, float("nan"))
    count = sum(np.bincount(end, minlength=len(levels)) for end in pairs)
    ends = ((pairs[0], pairs[1]), (pairs[1], pairs[0]))
    total = sum(np.bincount(one, weights=levels[other], minlength=len(levels)) for one, other in ends)
    seen = np.asarray(count > 0)
    own = levels[seen]
    apart = np.abs(own - np.asarray(total)[seen] / np.asarray(count)[seen])
    share = np.bincount(own) / len(own)
    away = np.bincount(own, weights=apart)
    grey = np.flatnonzero(share)
    p, s = share[grey], away[grey]
    step = np.abs(grey[:, np.newaxis] - grey)
    either, heavier = p[:, np.newaxis] + p, (p * s)[:, np.newaxis] + p * s
    kinds = len(grey)
    weighted, differences = float((p * s).sum()), float(s.sum())
    busy = float(np.abs((grey * p)[:, np.newaxis] - grey * p).sum())
    spread = float((np.outer(p, p) * step**2).sum()) / max(1, kinds * (kinds - 1))
    return {
        "coarseness": min(COARSEST, 1 / weighted) if weighted > 0 else COARSEST,
        "contrast": spread * differences / len(own),
        "busyness": weighted / busy if kinds > 1 and busy > 0 else 0.0,
        "complexity": float((step * heavier / either).sum()) / len(own),
        "strength": float((either * step**2).sum()) / differences if differences > 0 else 0.0,
    }


def _entropy(shares: np.ndarray) -> float:
    filled = shares[shares > 0]
    return float(-(filled * np.log2(filled)).sum())
