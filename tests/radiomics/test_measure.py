"""A case's features: named, finite where they mean something, the same however the patient lies."""

import numpy as np
import pytest

from genovox.core.volume import Array, Mask
from genovox.radiomics.measure import measure_features

NAMES = ("pre", "subtraction1", "washout")
CUBE = (1.0, 1.0, 1.0)


def _case(seed: int = 1) -> tuple[Array, Mask, Mask]:
    """Channels, foreground and the lesion, whose rim takes up most and whose core washes out."""
    places = np.moveaxis(np.indices((24, 24, 24)), 0, -1) - 11.5
    distance = np.sqrt((places**2).sum(-1))
    lesion = distance <= 7
    random = np.random.default_rng(seed)
    pre = random.normal(1, 0.05, lesion.shape)
    uptake = lesion * (2 + distance / 7) + random.normal(0, 0.05, lesion.shape)
    washout = lesion * (1 - distance / 7) - 0.2 + random.normal(0, 0.05, lesion.shape)
    return np.stack([pre, uptake, washout]).astype(np.float32), np.ones(lesion.shape, bool), lesion


def test_about_a_hundred_named_features() -> None:
    channels, foreground, _ = _case()
    found = measure_features(channels, NAMES, foreground, CUBE, guide=1)
    assert 60 <= len(found) <= 125
    assert np.isfinite(list(found.values())).all()
    assert next(iter(found)) == "shape.diameter_mm"
    families = {name.split(".")[1] for name in found if name.startswith("washout.") and name.count(".") == 2}
    assert families == {"glcm", "glszm", "ngtdm"}


def test_features_say_what_was_drawn() -> None:
    channels, foreground, lesion = _case()
    found = measure_features(channels, NAMES, foreground, CUBE, guide=1)
    assert found["shape.volume_ml"] == pytest.approx(lesion.sum() / 1000)
    assert found["subtraction1.mean"] == pytest.approx(channels[1][lesion].mean(), rel=1e-5)
    assert found["subtraction1.rim_less_core"] > 0.3
    assert found["washout.rim_less_core"] < -0.3
    assert found["subtraction1.lesion_less_around"] > 2
    assert abs(found["pre.lesion_less_around"]) < 0.02
    assert found["subtraction1.hot_spot"] == pytest.approx(3, abs=0.1)
    assert found["washout.share_above_zero"] == pytest.approx((channels[2][lesion] > 0).mean())
    assert found["subtraction1~washout.correlation"] < -0.9
    assert abs(found["pre~washout.correlation"]) < 0.1


@pytest.mark.parametrize(("axes", "flip"), [((0, 1, 2), 0), ((2, 0, 1), 1), ((1, 0, 2), 2)])
def test_turning_and_mirroring_change_nothing(axes: tuple[int, int, int], flip: int) -> None:
    channels, foreground, _ = _case(2)
    turned = np.flip(channels.transpose(0, *(axis + 1 for axis in axes)), flip + 1)
    one = measure_features(channels, NAMES, foreground, CUBE, guide=1)
    other = measure_features(turned, NAMES, foreground, CUBE, guide=1)
    assert other == pytest.approx(one, rel=1e-6, abs=1e-9)


def test_a_mask_has_a_shape_and_nothing_else() -> None:
    _, foreground, lesion = _case()
    found = measure_features(lesion[np.newaxis].astype(np.float32), ("pre",), foreground, CUBE, guide=0)
    assert found["shape.volume_ml"] == pytest.approx(lesion.sum() / 1000)
    assert found["pre.mean"] == found["pre.hot_spot"] == 1
    assert np.isnan(found["pre.skewness"])


def test_no_foreground_has_the_same_names_and_no_values() -> None:
    channels, foreground, _ = _case()
    whole = measure_features(channels, NAMES, foreground, CUBE, guide=1)
    empty = measure_features(channels, NAMES, np.zeros_like(foreground), CUBE, guide=1)
    assert list(empty) == list(whole)
    assert np.isnan(list(empty.values())).all()


def test_one_voxel_is_measured() -> None:
    channels, foreground, _ = _case()
    foreground[:] = False
    foreground[12, 12, 12] = True
    found = measure_features(channels, NAMES, foreground, CUBE, guide=1)
    assert found["shape.volume_ml"] == pytest.approx(0.001)
    assert found["pre.hot_spot"] == pytest.approx(channels[0, 12, 12, 12])
    assert np.isnan(found["pre~washout.correlation"])
