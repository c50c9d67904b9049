"""All features of one case: shape, and of every channel its values, its texture and what it does from rim to core."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import ndimage

from genovox.core.volume import Array, Mask
from genovox.radiomics.intensity import measure_intensity
from genovox.radiomics.region import Region, enclose, find_region
from genovox.radiomics.shape import measure_shape
from genovox.radiomics.texture import discretise, find_pairs, measure_cooccurrence, measure_tones, measure_zones

Box = tuple[slice, slice, slice]

FORMAT = 1
"""Raised by one whenever the same voxels give other features, or a feature is new."""


def measure_features(
    channels: Array, names: Sequence[str], foreground: Mask, spacing_mm: tuple[float, float, float], *, guide: int
) -> dict[str, float]:
    """Measure a case.

    Args:
        channels: Shape (channel, z, y, x).
        names: Of the channels.
        foreground: Shape (z, y, x).
        spacing_mm: Voxel size along x, y, z; texture takes the voxels for cubes.
        guide: Number of the channel in which a lesion is bright.

    Returns:
        Features by name, such as ``subtraction1.glcm.contrast`` or ``shape.volume_ml``, the ones a person reads most
        easily first; NaN where a feature means nothing, as in a crop without foreground.
    """
    region = find_region(channels[guide], foreground, spacing_mm)
    box = enclose(region.lesion)
    features = {f"shape.{name}": value for name, value in measure_shape(region.lesion, spacing_mm).items()}
    for name, channel in zip(names, channels, strict=True):
        found = measure_intensity(channel[region.lesion]) | _compare_places(channel, region, channels[guide], box)
        features |= {f"{name}.{feature}": value for feature, value in found.items()}
    features |= _relate(channels[:, region.lesion], names)
    pairs = find_pairs(region.lesion[box])
    for name, channel in zip(names, channels, strict=True):
        levels = discretise(channel[region.lesion])
        for family, found in (
            ("glcm", measure_cooccurrence(levels, pairs)),
            ("glszm", measure_zones(levels, pairs)),
            ("ngtdm", measure_tones(levels, pairs)),
        ):
            features |= {f"{name}.{family}.{feature}": value for feature, value in found.items()}
    return features


def _compare_places(channel: Array, region: Region, guide: Array, box: Box) -> dict[str, float]:
    """What one channel does in the lesion's brightest spot, and from its core to its rim to the tissue around."""
    values = channel[region.lesion]
    core, rim, around = (_mean(channel[part]) for part in (region.core, region.rim, region.around))
    return {
        "hot_spot": _hot_spot(channel[box], region.lesion[box], guide[box]),
        "rim_less_core": rim - core,
        "lesion_less_around": _mean(values) - around,
        "share_above_zero": _mean(values > 0),
    }


def _hot_spot(channel: Array, lesion: Mask, guide: Array) -> float:
    """Mean over the 3 x 3 x 3 voxels, as far as they are lesion, around which the guiding channel is highest."""
    if not lesion.any():
        return float("nan")
    weight = _sum_around(lesion.astype(np.float64))
    bright = np.where(lesion, _sum_around(guide * lesion) / np.maximum(weight, 1), -np.inf)
    # Of several that are equally high, as in a mask, the mean: the order of voxels must not count.
    highest = bright >= bright.max() - 1e-6 * max(1e-30, float(np.abs(guide[lesion]).max()))
    return float((_sum_around(channel * lesion) / np.maximum(weight, 1))[highest & lesion].mean())


def _sum_around(values: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(values.astype(np.float64), 3, mode="constant") * 27)


def _relate(values: Array, names: Sequence[str]) -> dict[str, float]:
    """Correlation of each two channels over the lesion's voxels; NaN where one of them is flat."""
    found = {}
    for one, other in combinations(range(len(names)), 2):
        first, second = (values[number].astype(np.float64) for number in (one, other))
        flat = values.shape[1] < 3 or np.ptp(first) == 0 or np.ptp(second) == 0
        found[f"{names[one]}~{names[other]}.correlation"] = (
            float("nan") if flat else float(np.corrcoef(first, second)[0, 1])
        )
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")
