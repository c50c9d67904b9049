import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.volume import Volume
from genovox.preprocess.crop import bounding_box, crop_or_pad, crop_start

SPACINGS = st.tuples(*[st.floats(0.5, 4)] * 3)
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)


@given(shape=SHAPES, target=SHAPES, centre=st.tuples(*[st.floats(-3, 12)] * 3), spacing=SPACINGS)
@settings(max_examples=120, deadline=None)
def test_a_crop_moves_no_voxel_and_never_zooms(
    shape: tuple[int, int, int],
    target: tuple[int, int, int],
    centre: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    scan = Volume(np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(1, *shape[::-1]), np.diag([*spacing, 1.0]))
    start = crop_start(shape, target, np.array(centre))
    made = crop_or_pad(scan, start, target, np.zeros(1, np.float32))
    assert made.array.shape == (1, *target[::-1])
    assert made.spacing_mm == pytest.approx(scan.spacing_mm)
    kept = np.argwhere(made.array[0] > 0)[:, ::-1]
    assert len(kept) == np.prod(np.minimum(shape, target))  # as much as fits, no more
    for index in kept:
        x, y, z = (np.linalg.inv(scan.affine) @ made.affine @ (*index, 1))[:3].round().astype(int)
        assert scan.array[0, z, y, x] == made.array[0, index[2], index[1], index[0]]


def test_outside_the_scan_each_channel_has_its_fill() -> None:
    scan = Volume(np.ones((2, 1, 1, 1), np.float32), np.eye(4))
    made = crop_or_pad(scan, (-1, -1, -1), (3, 3, 3), np.array([-5, 0], np.float32))
    assert made.array[0].sum() == 1 - 5 * 26
    assert made.array[1].sum() == 1


@given(shape=SHAPES, start=st.tuples(*[st.integers(-12, 12)] * 3), target=SHAPES)
def test_a_crop_beside_the_scan_is_all_fill(
    shape: tuple[int, int, int], start: tuple[int, int, int], target: tuple[int, int, int]
) -> None:
    made = crop_or_pad(
        Volume(np.ones((1, *shape[::-1]), np.float32), np.eye(4)), start, target, np.zeros(1, np.float32)
    )
    overlap = [max(0, min(b + t, s) - max(b, 0)) for b, t, s in zip(start, target, shape, strict=True)]
    assert made.array.sum() == np.prod(overlap)


@given(shape=SHAPES, seed=st.integers(0, 99))
def test_the_bounding_box_holds_the_mask_and_no_less_would(shape: tuple[int, int, int], seed: int) -> None:
    mask = np.random.default_rng(seed).random(shape[::-1]) > 0.7
    (x, y, z), (width, height, depth) = bounding_box(mask)
    box = mask[z : z + depth, y : y + height, x : x + width]
    assert box.sum() == mask.sum()
    if mask.any():
        for axis in range(3):
            assert box.take(0, axis).any()
            assert box.take(-1, axis).any()
    else:
        assert (width, height, depth) == shape
