"""The QC picture of a case: what the network gets, with the outline of the foreground."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genovox.core.artifacts import atomic_path
from genovox.core.volume import Array, Mask, Volume
from genovox.preprocess.crop import bounding_box
from genovox.volumes.kinetics import is_difference

TILE = 168
_GAP = 4
_HEADER = 20
# One byte a pixel: greys and one colour. A third of the bytes of RGB, and PNG's filters have nothing to do.
_GREYS = 255
_OUTLINE = 255
_PALETTE = [level * 255 // (_GREYS - 1) for level in range(_GREYS) for _ in "rgb"] + [255, 176, 0]
_INK = 232
_PAPER = 16
VIEWS = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))


def draw_quality_picture(path: Path, title: str, volume: Volume, mask: Mask, channels: tuple[str, ...]) -> None:
    """Draw axial, coronal and sagittal slices of every channel, in radiological convention.

    Args:
        path: PNG to write.
        title: First line.
        volume: Channels in RAS order, array (channel, z, y, x).
        mask: Foreground, shape (z, y, x); outlined unless it is everything.
        channels: Name of each channel.
    """
    width = _GAP + 3 * (TILE + _GAP)
    height = _HEADER + len(channels) * (TILE + _GAP)
    sheet = Image.new("L", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP + 2, 3), title[:80])
    centre = _centre(mask)
    outline = None if mask.all() else mask
    for row, name in enumerate(channels):
        low, high = _window(volume.array[row, ::2, ::2, ::2], name)
        top = _HEADER + row * (TILE + _GAP)
        for column, (view, left, right) in enumerate(VIEWS):
            tile = _tile(
                volume.array[row],
                outline,
                view=view,
                centre=centre,
                spacing_mm=volume.spacing_mm,
                window=(low, high),
            )
            corner = (_GAP + column * (TILE + _GAP), top)
            sheet.paste(tile, (corner[0] + (TILE - tile.width) // 2, corner[1] + (TILE - tile.height) // 2))
            _write(draw, (corner[0] + 3, corner[1] + 2), f"{name} · {view}" if column == 0 else view)
            _write(draw, (corner[0] + 3, corner[1] + TILE - 15), left)
            _write(draw, (corner[0] + TILE - 11, corner[1] + TILE - 15), right)
    sheet.putpalette(_PALETTE)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG", compress_level=1)


def _window(values: Array, name: str) -> tuple[float, float]:
    """Least and largest value to show; of a difference, no change is black if it mostly rises, else grey."""
    low, high = (float(value) for value in np.percentile(values, [0.5, 99.7]))
    if not is_difference(name):
        return low, high
    return (0.0, high) if high >= -low else (low, -low)


def _write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str) -> None:
    """Letters with a dark rim, so that they stay readable on bright tissue."""
    draw.text(corner, text, _INK, ImageFont.load_default(11), stroke_width=2, stroke_fill=_PAPER)


def slice_view(array: np.ndarray, view: str, centre: tuple[int, int, int]) -> np.ndarray:
    """One slice of a (z, y, x) RAS array as it hangs on a light box: anterior or superior up, patient's right left."""
    z, y, x = centre
    if view == "axial":
        return array[z, ::-1, ::-1]
    if view == "coronal":
        return array[::-1, y, ::-1]
    return array[::-1, ::-1, x]


def view_size_mm(view: str, shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Width and height of a view in mm; shape is (z, y, x)."""
    z, y, x = (size * spacing for size, spacing in zip(shape, spacing_mm[::-1], strict=True))
    return {"axial": (x, y), "coronal": (x, z), "sagittal": (y, z)}[view]


def view_size_px(
    view: str, shape: tuple[int, ...], spacing_mm: tuple[float, float, float], tile: int
) -> tuple[int, int]:
    """Width and height of a view in true proportion, the longer one filling a tile; shape is (z, y, x)."""
    width_mm, height_mm = view_size_mm(view, shape, spacing_mm)
    scale = tile / max(width_mm, height_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _centre(mask: Mask) -> tuple[int, int, int]:
    start, size = bounding_box(mask)
    x, y, z = ((2 * first + length) // 2 for first, length in zip(start, size, strict=True))
    return z, y, x


def trace_outline(inside: np.ndarray, size: tuple[int, int], *, closed: bool) -> np.ndarray:
    """Pixels of a view's edge line: the outermost of the mask, once it is as large as the picture.

    Args:
        inside: One view of a mask, as ``slice_view`` hangs it.
        size: Width and height of the picture.
        closed: Whether the line runs along the border of the view too, where the mask goes on beyond it.

    Returns:
        Shape (height, width), bool.
    """
    enlarged = Image.fromarray(np.ascontiguousarray(inside).astype(np.uint8) * 255).resize(size)
    edge = np.pad(np.asarray(enlarged) > 127, 1, mode="constant" if closed else "edge")
    within = edge[:-2, 1:-1] & edge[2:, 1:-1] & edge[1:-1, :-2] & edge[1:-1, 2:]
    return np.asarray(edge[1:-1, 1:-1] & ~within)


def _tile(
    array: np.ndarray,
    outline: Mask | None,
    *,
    view: str,
    centre: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    window: tuple[float, float],
) -> Image.Image:
    pixels = slice_view(array, view, centre)
    scaled = (pixels - window[0]) / max(window[1] - window[0], 1e-9) * (_GREYS - 1)
    grey = np.clip(scaled, 0, _GREYS - 1).astype(np.uint8)
    size = view_size_px(view, array.shape, spacing_mm, TILE)
    tile = Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR)
    if outline is None:
        return tile
    drawn = np.array(tile)
    drawn[trace_outline(slice_view(outline, view, centre), size, closed=False)] = _OUTLINE
    return Image.fromarray(drawn)
