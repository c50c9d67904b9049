"""Damaged files and hostile archives, at length."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import on_one_core
from tests.scans.damage import try_tree


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pydicom, about the damage
def test_four_hundred_damaged_trees(tmp_path: Path) -> None:
    fates: Counter[str] = Counter()
    with on_one_core():
        for seed in range(1000, 1400):
            start = time.monotonic()
            fates[try_tree(tmp_path / str(seed), seed)] += 1
            assert time.monotonic() - start < 30, seed  # nothing hangs
    assert min(fates[fate] for fate in ("read", "left out whole", "refused when read")) > 20, fates
