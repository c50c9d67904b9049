"""The picture sheet shows something."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genovox.simulate.hospital import render_patient
from genovox.simulate.patients import Patient, draw_patients
from genovox.simulate.preview import HEIGHT, draw_strip, join_strips
from genovox.simulate.sites import open_sites

PATIENT = draw_patients(patients=2, effect="none", prevalence=0.5, sites=1, shortcut="none", seed=2)[0]


def _draw(path: Path, patient: Patient, site_number: int) -> np.ndarray:
    site = open_sites(4, matrix=64)[site_number]
    exam, grid, lesions = render_patient(patient, site, np.random.default_rng(1))
    draw_strip(path, patient, site, exam, grid=grid, lesion=lesions[0])
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.array(image)


@pytest.mark.parametrize("site", [0, 1])
def test_strip_shows_six_pictures(site: int, tmp_path: Path) -> None:
    pixels = _draw(tmp_path / "strip.png", PATIENT, site)
    assert pixels.shape[0] > HEIGHT
    picture = pixels[-HEIGHT:-4]
    for part in np.array_split(picture, 6, axis=1):
        assert part.std() > 10  # neither black nor white
        assert part.max() > 150
        assert np.median(part) < 200
    assert pixels[:20].max() > 150  # the caption


def test_caption_tells_the_truth(tmp_path: Path) -> None:
    """The sheet is for whoever simulates: another truth is another caption over the same pictures."""
    first = _draw(tmp_path / "one.png", replace(PATIENT, gene="BRCA1"), 3)
    other = _draw(tmp_path / "two.png", replace(PATIENT, gene=""), 3)
    assert (first[:18] != other[:18]).any()
    assert np.array_equal(first[40:], other[40:])


def test_strips_are_joined_under_each_other(tmp_path: Path) -> None:
    sizes = ((60, 20), (40, 30), (50, 10))
    strips = []
    for number, (width, height) in enumerate(sizes):
        strips.append(tmp_path / f"{number}.png")
        Image.new("L", (width, height), 100 + number).save(strips[-1])
    join_strips(strips, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.array(sheet)
    assert pixels.shape == (60, 60)
    assert [pixels[row, 5] for row in (0, 20, 50)] == [100, 101, 102]
    assert pixels[25, 55] < 50
