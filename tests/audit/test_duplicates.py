"""Copies under two patients are found however they were converted; unrelated scans are not called copies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from genovox.audit.duplicates import (
    ALIKE,
    SAME,
    check_near_duplicates,
    compare_likeness,
    find_candidates,
    find_near_duplicates,
    read_likeness,
)
from genovox.scans.likeness import SIZE, Likeness, describe_likeness


def draw_scan(seed: int, shape: tuple[int, int, int] = (40, 56, 48)) -> np.ndarray:
    """A body of one shape with structure of its own."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = ((x / 0.8) ** 2 + (y / 0.7) ** 2 + (z / 0.85) ** 2 < 1) & (y < 0.45)
    glands = ndimage.gaussian_filter(random.standard_normal(shape), 2.0)
    scan = 300 * body * (1 + 0.35 * glands / glands.std()) + random.normal(0, 6, shape)
    return np.asarray(np.maximum(scan, 0), np.float32)


DISTURBANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda scan: scan,
    "turned": lambda scan: np.transpose(scan, (2, 0, 1))[::-1, :, ::-1],
    "rescaled": lambda scan: 3.7 * scan + 120,
    "8 bit": lambda scan: np.floor(scan / scan.max() * 255),
    "resampled": lambda scan: ndimage.zoom(scan, (0.8, 1.2, 0.9), order=1),
    "cropped": lambda scan: scan[1:-2, 2:-1, 1:-1],
    "padded": lambda scan: np.pad(scan, ((5, 0), (0, 9), (3, 3))),
    "all": lambda scan: np.floor(ndimage.zoom(scan[1:, 2:, :-1], (0.9, 1.1, 1), order=1).transpose(1, 0, 2)[::-1] / 5),
}


@pytest.fixture(scope="module")
def likeness() -> Likeness:
    return np.stack([describe_likeness(draw_scan(seed)) for seed in range(12)])


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_copy_is_found(likeness: Likeness, name: str) -> None:
    copy = describe_likeness(np.ascontiguousarray(DISTURBANCES[name](draw_scan(4)), np.float32))
    both = np.concatenate([likeness, copy[np.newaxis]])
    pairs = find_near_duplicates(both, pd.Series([f"p{number}" for number in range(len(both))]))
    assert pairs[["first", "second"]].to_numpy().tolist() == [[4, 12]]
    assert pairs["similarity"].iloc[0] >= SAME


def test_unrelated_scans_of_one_body_shape_are_no_copies(likeness: Likeness) -> None:
    pairs = find_candidates(likeness, np.arange(len(likeness)))
    first, second = np.array(pairs, int).reshape(-1, 2).T
    assert compare_likeness(likeness[first], likeness[second]).max(initial=0) < ALIKE - 0.2


def test_candidates_are_those_of_an_exhaustive_search() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(-40, 40, (5, SIZE, SIZE, SIZE)).astype(np.int8)
    turned = np.stack([np.flip(np.transpose(picture, (2, 1, 0)), 1) for picture in pictures])
    found = find_candidates(np.concatenate([pictures, turned]), np.arange(10))
    assert found == [(number, number + 5) for number in range(5)]


def test_each_copy_of_many_is_named(likeness: Likeness) -> None:
    many = np.concatenate([likeness, np.repeat(likeness[:1], 9, axis=0)])
    pairs = find_near_duplicates(many, pd.Series(range(len(many))))
    assert set(pairs["first"]) | set(pairs["second"]) == {0, *range(12, 21)}


def test_copies_beyond_one_block_are_found(monkeypatch: pytest.MonkeyPatch, likeness: Likeness) -> None:
    monkeypatch.setattr("genovox.audit.duplicates._BLOCK", 5)
    many = np.concatenate([likeness, likeness[[2, 9]].transpose(0, 3, 2, 1)])
    pairs = find_near_duplicates(many, pd.Series(range(len(many))))
    assert {tuple(pair) for pair in pairs[["first", "second"]].to_numpy().tolist()} == {(2, 12), (9, 13)}


def test_exams_of_one_patient_are_not_compared(likeness: Likeness) -> None:
    twice = np.concatenate([likeness, likeness])
    names = pd.Series([f"p{number}" for number in range(12)] * 2)
    assert find_near_duplicates(twice, names).empty


def _cases(count: int) -> pd.DataFrame:
    return pd.DataFrame({"case_id": [f"c{n}" for n in range(count)], "patient_id": [f"p{n}" for n in range(count)]})


def test_the_check_names_the_pair_and_the_reason_it_was_accepted(likeness: Likeness) -> None:
    copied = np.concatenate([likeness, likeness[:1]])
    check = check_near_duplicates(_cases(13), copied, "a phantom")
    assert check.status == "fail"
    assert "c0 and c12 (1.00)" in check.finding
    assert "a phantom" in check.finding


def test_a_weak_likeness_only_warns(monkeypatch: pytest.MonkeyPatch, likeness: Likeness) -> None:
    monkeypatch.setattr("genovox.audit.duplicates.SAME", 1.1)
    assert check_near_duplicates(_cases(13), np.concatenate([likeness, likeness[:1]])).status == "warn"


def test_what_cannot_be_compared_is_not_assessed(likeness: Likeness) -> None:
    assert check_near_duplicates(_cases(3), None).status == "not-assessed"
    assert check_near_duplicates(_cases(3), np.zeros((3, SIZE, SIZE, SIZE), np.int8)).status == "not-assessed"
    mixed = likeness.copy()
    mixed[0] = 0
    check = check_near_duplicates(_cases(12), mixed)
    assert check.status == "pass"
    assert "1 mask not compared" in check.finding


def test_a_flat_picture_is_like_nothing() -> None:
    flat = np.ones((1, SIZE, SIZE, SIZE), np.int8)
    assert compare_likeness(flat, flat) == -1


def test_a_run_without_descriptions(tmp_path: Path) -> None:
    assert read_likeness(tmp_path) is None
