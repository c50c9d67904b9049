"""The sheet shows every transform, in the radiologist's convention."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genovox.augment.pipeline import PRESETS
from genovox.augment.sheet import TILE, draw_augmentation_sheet
from genovox.core.errors import UsageError

CHANNELS = ("pre", "post1")


def volume() -> np.ndarray:
    array = np.random.default_rng(0).normal(0, 0.05, (2, 10, 24, 20)).astype(np.float32)
    array[:, :, 16:22, 13:18] += 1  # anterior, on the patient's right
    return array


@pytest.mark.parametrize(("preset", "tiles"), [("none", 4), ("light", 7), ("strong", 17)])
def test_the_original_each_transform_and_three_of_all(tmp_path: Path, preset: str, tiles: int) -> None:
    path = tmp_path / "sheet.png"
    draw_augmentation_sheet(path, volume(), CHANNELS, (2, 2, 2), preset=preset)
    with Image.open(path) as image:
        pixels = np.asarray(image)
    columns = 6
    assert pixels.shape == (-(-tiles // columns) * (TILE + 24) + 4, 4 + columns * (TILE + 4))
    shown = [
        pixels[row * (TILE + 24) + 20 :, 4 + column * (TILE + 4) :][:TILE, :TILE].max() > 100
        for row, column in (divmod(index, columns) for index in range(-(-tiles // columns) * columns))
    ]
    assert shown == [True] * tiles + [False] * (len(shown) - tiles)


def test_right_is_left_and_anterior_is_up(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_augmentation_sheet(path, volume(), CHANNELS, (2, 2, 2), preset="none", channel=1)
    with Image.open(path) as image:
        original = np.asarray(image)[40 : 20 + TILE - 20, 24 : 4 + TILE - 20].astype(float)
    height, width = original.shape
    assert original[: height // 2, : width // 2].mean() > 2 * original[height // 2 :, width // 2 :].mean()


def test_the_same_seed_draws_the_same_sheet(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw_augmentation_sheet(tmp_path / f"{name}.png", volume(), CHANNELS, (2, 2, 2), preset="light", seed=seed)
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    assert "strng" not in PRESETS
    with pytest.raises(UsageError, match="did you mean 'strong'"):
        draw_augmentation_sheet(tmp_path / "x.png", volume(), CHANNELS, (2, 2, 2), preset="strng")
