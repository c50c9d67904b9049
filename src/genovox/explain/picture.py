"""The picture of a map: heat over the scan, in three views through its peak."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genovox.core.artifacts import atomic_path
from genovox.preprocess.quality import VIEWS, slice_view, view_size_px

TILE = 220
_GAP = 4
_HEADER = 22
_INK = (232, 232, 232)


def draw_overlay(
    path: Path, title: str, ground: np.ndarray, heat: np.ndarray, spacing_mm: tuple[float, float, float]
) -> None:
    """Draw the ground with the map over it beside the bare ground, in radiological convention.

    Args:
        path: PNG to write.
        title: First line.
        ground: First channel, RAS order, shape (z, y, x).
        heat: The map, same shape, in [0, 1].
        spacing_mm: Spacing along x, y, z.
    """
    sheet = Image.new("RGB", (_GAP + 3 * (TILE + _GAP), _HEADER + 2 * (TILE + _GAP)), (16, 16, 18))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    draw.text((_GAP + 2, 4), title, _INK, font)
    low, high = np.percentile(ground, [0.5, 99.7])
    grey = np.clip((ground - low) / max(float(high - low), 1e-9), 0, 1)
    peak = np.unravel_index(int(heat.argmax()), heat.shape) if heat.any() else tuple(size // 2 for size in heat.shape)
    centre = int(peak[0]), int(peak[1]), int(peak[2])
    for column, (view, left, right) in enumerate(VIEWS):
        size = view_size_px(view, ground.shape, spacing_mm, TILE)
        plain = _enlarge(slice_view(grey, view, centre), size)
        warm = _enlarge(slice_view(heat, view, centre), size)
        for row, pixels in enumerate((plain[..., None].repeat(3, 2), _blend(plain, warm))):
            x = _GAP + column * (TILE + _GAP)
            y = _HEADER + row * (TILE + _GAP)
            tile = Image.fromarray((pixels * 255).astype(np.uint8))
            sheet.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
            draw.text((x + 3, y + 2), view, _INK, font)
            draw.text((x + 3, y + TILE - 16), left, _INK, font)
            draw.text((x + TILE - 12, y + TILE - 16), right, _INK, font)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")


def _enlarge(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)


def _blend(plain: np.ndarray, warm: np.ndarray) -> np.ndarray:
    colours = mpl.colormaps["inferno"](warm)[..., :3]
    opacity = (0.75 * warm**0.7)[..., None]
    return np.asarray(plain[..., None] * (1 - opacity) + colours * opacity)
