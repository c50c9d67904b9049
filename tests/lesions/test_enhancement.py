"""How the breast enhances."""

from dataclasses import replace

import numpy as np
import pytest

from genovox.core.errors import ImageError
from genovox.core.volume import Volume
from genovox.lesions import enhancement
from genovox.lesions.enhancement import SKIN_MM, Uptake, measure_uptake

from .conftest import SimulatedExam


def _at(uptake: Uptake, point_mm: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(np.rint(np.linalg.solve(uptake.affine, [*point_mm, 1])[:3]).astype(int)[::-1])


def test_the_lesion_takes_up_more_than_the_tissue_around(simulated_exam: SimulatedExam) -> None:
    uptake, lesion = simulated_exam.uptake, simulated_exam.lesion
    place = _at(uptake, lesion.centre_mm)
    assert uptake.tissue[place]
    assert uptake.on_left[place] == (lesion.side == "left")
    near = uptake.early[tuple(slice(index - 2, index + 3) for index in place)]
    assert near.max() > uptake.level + 4 * uptake.spread
    assert uptake.early.shape == uptake.tissue.shape == uptake.phases.shape[1:] == uptake.grid.shape[::-1]


def test_skin_and_nipple_are_no_tissue(simulated_exam: SimulatedExam) -> None:
    uptake = simulated_exam.uptake
    assert uptake.depth_mm[uptake.tissue].min() > SKIN_MM - max(uptake.spacing_mm)
    body = np.zeros((40, 60, 40), bool)
    body[:, :40] = True
    body[16:24, 40:46, 16:24] = True  # 8 mm wide, 6 mm high
    depth_mm, outer_mm = enhancement._measure_depth(body, (1.0, 1.0, 1.0))
    assert depth_mm[20, 42, 20] > 2
    assert outer_mm[20, 43, 20] == 0
    assert outer_mm[20, 30, 20] == pytest.approx(10, abs=1)
    assert outer_mm[5, 30, 5] == depth_mm[5, 30, 5] == 10
    # Where the scan ends there is more body.
    assert outer_mm[0, 10, 0] == depth_mm[0, 10, 0] == 30


def test_the_coil_does_not_matter(simulated_exam: SimulatedExam) -> None:
    """A gain that varies slowly changes uptake little, however much it changes the signal."""
    uptake = simulated_exam.uptake
    x = np.linspace(1, 2, uptake.phases.shape[3], dtype=np.float32)
    sampling = uptake.spacing_mm[::-1]
    breast = uptake.tissue
    plain = enhancement._early_uptake(uptake.phases, breast, sampling)
    shaded = enhancement._early_uptake(uptake.phases * x, breast, sampling)
    error = np.abs(shaded - plain)[breast] / np.maximum(np.abs(plain[breast]), 0.1)
    assert np.median(error) < 0.03
    assert np.percentile(error, 99) < 0.35


def test_axes_do_not_matter(simulated_exam: SimulatedExam) -> None:
    volume = simulated_exam.volume
    z, y, x = volume.array.shape[1:]
    relation = np.array([[0, 0, -1, x - 1], [1, 0, 0, 0], [0, -1, 0, z - 1], [0, 0, 0, 1.0]])
    turned = Volume(
        np.ascontiguousarray(np.transpose(volume.array[:, ::-1, :, ::-1], (0, 3, 1, 2))), volume.affine @ relation
    )
    assert turned.array.shape[1:] == (x, z, y)
    again = measure_uptake(turned)
    assert again.affine == pytest.approx(simulated_exam.uptake.affine)
    assert again.early == pytest.approx(simulated_exam.uptake.early, abs=1e-4)


def test_one_phase_shows_no_lesion(simulated_exam: SimulatedExam) -> None:
    volume = simulated_exam.volume
    with pytest.raises(ImageError, match=r"by how they enhance, the exam has one phase; give every phase"):
        measure_uptake(replace(volume, array=volume.array[:1]))


def test_a_breast_of_skin_alone_is_refused(simulated_exam: SimulatedExam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancement, "SKIN_MM", 500.0)
    with pytest.raises(ImageError, match="no breast tissue is left under the skin"):
        measure_uptake(simulated_exam.volume)
