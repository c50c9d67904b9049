import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from genovox.core.volume import Volume
from genovox.preprocess.quality import TILE, draw_quality_picture, slice_view, view_size_mm

CHANNELS = ("pre", "subtraction1")


def _volume(shape: tuple[int, int, int] = (96, 96, 96)) -> Volume:
    return Volume(np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32), np.diag([2.0, 2, 2, 1]))


def test_the_picture(tmp_path: Path) -> None:
    mask = np.zeros((96, 96, 96), bool)
    mask[20:80, 30:70, 10:90] = True
    times = []
    for _ in range(5):
        start = time.perf_counter()
        draw_quality_picture(tmp_path / "qc.png", "C001", _volume(), mask, CHANNELS)
        times.append(time.perf_counter() - start)
    print(f"QC picture: {median(times) * 1000:.0f} ms")
    assert median(times) < 0.5
    with Image.open(tmp_path / "qc.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 3 * TILE
        assert picture.size[1] > 2 * TILE
        assert (np.asarray(picture.convert("RGB")) == (255, 176, 0)).all(axis=2).any()  # the outline
    assert (tmp_path / "qc.png").stat().st_size < 500_000


@pytest.mark.parametrize("fill", [True, False])
def test_no_outline_of_everything_or_nothing(tmp_path: Path, fill: bool) -> None:
    draw_quality_picture(tmp_path / "qc.png", "x" * 200, _volume((5, 6, 7)), np.full((5, 6, 7), fill), CHANNELS)
    with Image.open(tmp_path / "qc.png") as picture:
        assert not (np.asarray(picture.convert("RGB")) == (255, 176, 0)).all(axis=2).any()


def test_slices_hang_as_on_a_light_box() -> None:
    array = np.zeros((5, 6, 7))
    array[:, :, 6] = 1  # the patient's right
    assert (slice_view(array, "axial", (2, 3, 3))[:, 0] == 1).all()
    assert (slice_view(array, "coronal", (2, 3, 3))[:, 0] == 1).all()
    array = np.zeros((5, 6, 7))
    array[:, 5] = 1  # anterior
    assert (slice_view(array, "axial", (2, 3, 3))[0] == 1).all()
    assert (slice_view(array, "sagittal", (2, 3, 3))[:, 0] == 1).all()
    array = np.zeros((5, 6, 7))
    array[4] = 1  # superior
    assert (slice_view(array, "coronal", (2, 3, 3))[0] == 1).all()
    assert (slice_view(array, "sagittal", (2, 3, 3))[0] == 1).all()


def test_views_keep_their_proportions() -> None:
    sizes = [view_size_mm(view, (5, 6, 7), (1, 2, 3)) for view in ("axial", "coronal", "sagittal")]
    assert sizes == [(7, 12), (7, 15), (12, 15)]
