"""The overlay shows heat where the map is."""

from pathlib import Path

import numpy as np
from PIL import Image

from genovox.explain.picture import TILE, draw_overlay


def test_heat_lies_on_its_own_side(tmp_path: Path) -> None:
    ground, heat = np.ones((20, 20, 20), np.float32), np.zeros((20, 20, 20), np.float32)
    ground[10] = 2
    heat[10, 10, 15:18] = 1  # towards the patient's right: the left of the picture
    draw_overlay(tmp_path / "o.png", "case", ground, heat, (1.0, 1.0, 1.0))
    with Image.open(tmp_path / "o.png") as image:
        picture = np.asarray(image).astype(int)
    axial = picture[-TILE - 4 : -4, 4 : 4 + TILE]
    colour = axial[..., 0] - axial[..., 2]
    left, right = colour[20:-20, : TILE // 2], colour[20:-20, TILE // 2 :]
    assert left.max() > 100
    assert right.max() < 30


def test_an_empty_map_still_gives_a_picture(tmp_path: Path) -> None:
    draw_overlay(tmp_path / "o.png", "case", np.zeros((8, 8, 8)), np.zeros((8, 8, 8)), (1.0, 1.0, 2.0))
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size[0] > 3 * TILE
