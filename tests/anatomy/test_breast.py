from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.io

from genovox.anatomy.breast import find_breasts
from genovox.core.errors import ImageError
from genovox.core.volume import Volume, read_volume, reorient_to_ras

if TYPE_CHECKING:
    from tests.anatomy.conftest import Woman


def test_simulated_women(woman: "Woman") -> None:
    found = find_breasts(woman.scan)
    mask, truth = found.mask, woman.breasts
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) >= 0.90
    assert not (found.left & found.right).any()
    place = woman.scan.affine[0, 0] * np.arange(mask.shape[2]) + woman.scan.affine[0, 3]
    beside = np.abs(place) > 15
    assert not found.left[:, :, beside & (place > 0)].any()
    assert not found.right[:, :, beside & (place < 0)].any()
    assert 0.8 < found.left.sum() / found.right.sum() < 1.25


def test_half_a_scan_holds_one_breast(woman: "Woman") -> None:
    place = woman.scan.affine[0, 0] * np.arange(woman.scan.array.shape[3]) + woman.scan.affine[0, 3]
    first = int((place > -10).argmax())
    shift = np.eye(4)
    shift[0, 3] = first
    # Moved, so that nothing but the chest tells the side.
    moved = np.eye(4)
    moved[0, 3] = -500
    half = Volume(woman.scan.array[..., first:], moved @ woman.scan.affine @ shift)
    found = find_breasts(half)
    truth = woman.breasts[..., first:]
    assert not found.left.any()
    assert 2 * (found.right & truth).sum() / (found.right.sum() + truth.sum()) >= 0.90


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((1, 1, 40), 3.0), ((1, 8, 40), 3.0), ((1, 40, 1), 3.0), ((9, 9, 9), 1.0)]
)
def test_what_is_too_small_is_refused(shape: tuple[int, int, int], spacing_mm: float) -> None:
    array = np.random.default_rng(0).random((1, *shape), np.float32)
    with pytest.raises(ImageError, match="at least 60 mm from back to front"):
        find_breasts(Volume(array, np.diag([spacing_mm] * 3 + [1.0])))


def test_nothing_in_front_and_nothing_that_hangs() -> None:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    with pytest.raises(ImageError, match="air lies in front"):
        find_breasts(Volume(np.full((1, 30, 30, 30), 7, np.float32), affine))
    flat = np.zeros((1, 30, 40, 40), np.float32)
    flat[:, :, :25] = 100
    with pytest.raises(ImageError, match="no breast was found"):
        find_breasts(Volume(flat, affine))


@pytest.mark.real_data
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_real_breast(real_data: Path, side: str) -> None:
    scan = reorient_to_ras(read_volume(real_data / "tcga-ao-a03m" / f"{side}_pre.nii.gz"))
    found = find_breasts(scan)
    mask = getattr(found, side)
    np.testing.assert_array_equal(mask, found.mask)
    millilitres = mask.sum() * np.prod(scan.spacing_mm) / 1000
    assert 250 < millilitres < 700
    # Read off the picture: gland and nipple, then heart or lung, pectoral muscle, and air, (x, y, z).
    inside, outside = {
        "left": ([(27, 150, 110), (32, 190, 110)], [(32, 80, 50), (27, 60, 150), (27, 240, 110)]),
        "right": ([(17, 180, 110), (22, 150, 120)], [(17, 80, 110), (22, 95, 190), (17, 240, 110)]),
    }[side]
    assert all(mask[z, y, x] for x, y, z in inside)
    assert not any(mask[z, y, x] for x, y, z in outside)


@pytest.mark.real_data
def test_one_real_slice(real_data: Path) -> None:
    phases = scipy.io.loadmat(real_data / "misc" / "dce_slice_invivo.mat")["DCEdata"][[0, 10, 20]].astype(np.float32)
    # Rows run from head to feet, columns from front to back.
    scan = Volume(np.ascontiguousarray(phases[:, ::-1, ::-1, np.newaxis]), np.diag([4.0, 1.0, 1.0, 1.0]))
    mask = find_breasts(scan).mask[:, :, 0][::-1, ::-1]
    assert mask[75, 60]
    assert mask[108, 98]  # the mass
    assert not mask[60:160, 150:].any()  # chest and heart
    assert not mask[:, :10].any()
