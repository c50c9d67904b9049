"""Maps come back to where they belong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.volume import Volume, reorient_to_ras
from genovox.explain.localisation import foreground_share, map_to_scan
from genovox.preprocess.crop import crop_or_pad, crop_start
from genovox.volumes.geometry import resample_volume


def test_share_is_the_part_inside() -> None:
    activation, mask = np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    activation[0, 0, :2] = 1
    mask[0, 0, 0] = True
    assert foreground_share(activation, mask) == pytest.approx(0.5)
    assert foreground_share(np.zeros((4, 4, 4)), mask) is None


def test_no_more_than_all_of_a_map_lies_inside() -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[4:20, 3:21, 5:19] = True
    for seed in range(40):
        activation = np.random.default_rng(seed).random(mask.shape, dtype=np.float32) * mask
        assert foreground_share(activation, mask) == 1


@settings(max_examples=25, deadline=None)
@given(axes=st.permutations([0, 1, 2]), flips=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), seed=st.integers(0, 9))
def test_a_blob_returns_to_its_place_in_any_orientation(axes: list[int], flips: tuple[float, ...], seed: int) -> None:
    """Scan -> network grid -> scan: the centre of a smooth blob stays where it was, in millimetres."""
    random = np.random.default_rng(seed)
    shape = (20, 26, 24)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(flips)[axes] * np.array([1.5, 2.0, 1.0])
    affine[:3, 3] = random.uniform(-50, 50, 3)
    centre = np.array([random.uniform(0.35, 0.65) * size for size in shape])
    z, y, x = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    blob = np.exp(-((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / 12).astype(np.float32)
    scan = Volume(blob[np.newaxis], affine)
    there = resample_volume(reorient_to_ras(scan), (1.7, 1.7, 1.7))
    size = there.array.shape[:0:-1]
    start = crop_start((size[0], size[1], size[2]), (24, 24, 24), (np.array(size) - 1) / 2)
    crop = crop_or_pad(there, start, (24, 24, 24), np.zeros(1, np.float32))
    back = map_to_scan(crop.array[0], crop.affine, scan)
    assert back.array.shape == scan.array.shape
    np.testing.assert_array_equal(back.affine, scan.affine)
    assert np.linalg.norm(_centre_mm(back) - _centre_mm(scan)) < 0.5


def _centre_mm(volume: Volume) -> np.ndarray:
    weights = volume.array[0] / volume.array[0].sum()
    z, y, x = (np.arange(size) for size in weights.shape)
    index = [weights.sum((0, 1)) @ x, weights.sum((0, 2)) @ y, weights.sum((1, 2)) @ z, 1.0]
    return np.asarray((volume.affine @ index)[:3])
