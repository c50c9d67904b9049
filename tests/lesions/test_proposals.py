"""From phases to masks and a picture: simulated truth, and a real exam."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genovox.core.volume import Volume, read_volume, reorient_to_ras
from genovox.lesions.picture import draw_proposals
from genovox.lesions.proposals import MOST_PROPOSALS, propose_lesions, write_proposals
from genovox.lesions.sheet import USED_FROM
from genovox.scans.inspection import read_phases

from .conftest import SimulatedExam, render_exam

PHASES = ("pre", "post1", "post2", "post3", "post4", "post5")


@pytest.mark.parametrize("number", [1, 2])
def test_the_true_lesion_is_among_the_first_two(number: int) -> None:
    volume, lesion = render_exam(number)
    _, proposals = propose_lesions(volume)
    assert 1 <= len(proposals) <= MOST_PROPOSALS
    distance_mm = [np.linalg.norm(np.subtract(one.figures.centre_mm, lesion.centre_mm)) for one in proposals[:2]]
    nearest = int(np.argmin(distance_mm))
    assert distance_mm[nearest] < lesion.radius_mm
    assert proposals[nearest].figures.side == lesion.side


def test_files_of_an_exam(simulated_exam: SimulatedExam, tmp_path: Path) -> None:
    volume, lesion = simulated_exam.volume, simulated_exam.lesion
    rows = write_proposals(tmp_path, "case", volume)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{rank}.nii.gz" for rank in range(1, len(rows) + 1)),
        "picture.png",
    ]
    mask = read_volume(tmp_path / "1.nii.gz")
    assert set(np.unique(mask.array)) == {0, 1}
    # Every voxel of the scan has one of the mask.
    assert mask.affine == pytest.approx(volume.affine)
    assert mask.array.shape[1:] == volume.array.shape[1:]
    middle = mask.affine @ [*np.argwhere(mask.array[0] > 0).mean(0)[::-1], 1]
    assert np.linalg.norm(middle[:3] - rows[0]["point"]) < 2
    assert np.linalg.norm(middle[:3] - np.array(lesion.centre_mm)) < lesion.radius_mm
    assert mask.array.sum() * np.prod(mask.spacing_mm) / 1000 == pytest.approx(rows[0]["volume_ml"], rel=0.1)
    with Image.open(tmp_path / "picture.png") as image:
        picture = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert ((picture == (255, 176, 0)).all(1)).sum() > 100  # the outline of the first


def test_a_picture_without_a_proposal(simulated_exam: SimulatedExam, tmp_path: Path) -> None:
    draw_proposals(tmp_path / "none.png", "none", simulated_exam.uptake, [])
    with Image.open(tmp_path / "none.png") as image:
        assert image.size[1] < 300


@pytest.mark.real_data
def test_the_lesion_of_a_real_breast_and_none_in_the_other(real_data: Path) -> None:
    """The lesion lies 22 mm before the chest wall in the middle of the left breast, as its picture shows."""
    folder = real_data / "tcga-ao-a03m"
    left, right = (
        propose_lesions(_thin(read_phases([folder / f"{side}_{phase}.nii.gz" for phase in PHASES])))[1]
        for side in ("left", "right")
    )
    figures = left[0].figures
    assert left[0].confidence >= USED_FROM
    assert figures.side == "left"
    assert np.linalg.norm(np.subtract(figures.centre_mm, (-74.7, -16.0, -24.2))) < 6
    assert 15 < figures.diameter_mm < 35
    assert right[0].confidence < 0.5
    assert right[0].figures.side == "right"


def _thin(volume: Volume) -> Volume:
    """Half the matrix of the slices, which halves the time and no lesion of this size."""
    ras = reorient_to_ras(volume)
    affine = ras.affine @ np.diag([1, 2, 2, 1.0])
    return Volume(np.ascontiguousarray(ras.array[:, ::2, ::2]), affine)
