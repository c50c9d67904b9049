"""Damaged files and hostile archives: a reason or one clear error, and no harm to the others."""

from pathlib import Path

import pytest

from .damage import try_tree


@pytest.mark.filterwarnings("ignore")  # of pydicom, about the damage
def test_damaged_trees(tmp_path: Path) -> None:
    fates = set()
    for seed in range(40):
        fates.add(try_tree(tmp_path / str(seed), seed))
    assert fates >= {"read", "left out whole", "refused when read"}
