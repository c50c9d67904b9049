"""The description of a scan's fine structure: what changes it and what does not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.scans.likeness import SIZE, describe_likeness, pack_likeness, unpack_likeness

SCAN = np.random.default_rng(1).gamma(2.0, 100.0, (17, 23, 19)).astype(np.float32)
SCAN[:, :4] = 0


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3))
def test_turning_the_scan_turns_its_description(order: list[int], flips: list[bool]) -> None:
    axes = tuple(axis for axis in range(3) if flips[axis])
    turned = describe_likeness(np.ascontiguousarray(np.flip(np.transpose(SCAN, order), axes)))
    expected = np.flip(np.transpose(describe_likeness(SCAN), order), axes).astype(int)
    assert np.abs(turned - expected).max() <= 1


def test_rescaling_changes_nothing() -> None:
    rescaled = describe_likeness(SCAN * np.float32(0.5) + np.float32(64))
    assert np.abs(rescaled.astype(int) - describe_likeness(SCAN)).max() <= 1


def test_empty_borders_hardly_change_it() -> None:
    padded = describe_likeness(np.pad(SCAN, 4)).astype(float).ravel()
    assert np.corrcoef(padded, describe_likeness(SCAN).ravel())[0, 1] > 0.95


def test_text_and_back() -> None:
    likeness = describe_likeness(SCAN)
    np.testing.assert_array_equal(unpack_likeness(pack_likeness(likeness)), likeness)
    assert not unpack_likeness("").any()


def test_a_scan_that_is_nearly_empty_is_described() -> None:
    speck = np.zeros((9, 9, 9), np.float32)
    speck[4, 4, 4], speck[0, 0, 0] = 5, 1
    assert describe_likeness(speck).shape == (SIZE, SIZE, SIZE)
