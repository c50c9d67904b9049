"""The picture of an exam's proposals: where each lies, outlined, as a reader would look at it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genovox.core.artifacts import atomic_path
from genovox.core.volume import Mask
from genovox.lesions.enhancement import Uptake
from genovox.lesions.ranking import Proposal
from genovox.preprocess.quality import VIEWS, slice_view, trace_outline, view_size_px

_TILE, _GAP, _HEADER, _CAPTION = 220, 4, 22, 18
_INK, _PAPER = (232, 232, 232), (16, 16, 16)
_COLOURS = ((255, 176, 0), (86, 180, 233), (0, 200, 140), (230, 120, 180), (240, 228, 66))
_BRIGHTEST = 99.9


def draw_proposals(path: Path, title: str, uptake: Uptake, proposals: list[Proposal]) -> None:
    """Draw the projection of the breasts' early uptake and a row of slices a proposal, in radiological convention.

    Args:
        path: PNG to write.
        title: First line.
        uptake: The exam.
        proposals: In the order of their rank.
    """
    bright = max(float(np.percentile(uptake.early[uptake.tissue], _BRIGHTEST)), 1e-6)
    if proposals:
        bright = max(bright, 1.2 * float(np.percentile(uptake.early[proposals[0].candidate.box], 95)))
    width = _GAP + 3 * (_TILE + _GAP)
    height = _HEADER + (1 + len(proposals)) * (_TILE + _CAPTION + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((_GAP + 2, 3), title[:90], _INK, font)
    masks = [proposal.candidate.on_grid(uptake.tissue.shape) for proposal in proposals]
    inside = np.where(uptake.tissue, uptake.early, 0)
    rows = ["projections of the early uptake", *map(_caption, range(1, len(proposals) + 1), proposals)]
    for row, caption in enumerate(rows):
        top = _HEADER + row * (_TILE + _CAPTION + _GAP)
        draw.text((_GAP + 2, top + 1), caption[:110], _COLOURS[(row - 1) % len(_COLOURS)] if row else _INK, font)
        for column, (view, left, right) in enumerate(VIEWS):
            if row:
                centre = _middle(masks[row - 1])
                pixels = slice_view(uptake.early, view, centre)
                outlines = [(row - 1, slice_view(masks[row - 1], view, centre))]
            else:
                pixels = _project(inside, view)
                outlines = [(number, _project(mask, view)) for number, mask in enumerate(masks)]
            tile = _tile(pixels / bright, view_size_px(view, inside.shape, uptake.spacing_mm, _TILE), outlines)
            x = _GAP + column * (_TILE + _GAP)
            sheet.paste(tile, (x + (_TILE - tile.width) // 2, top + _CAPTION + (_TILE - tile.height) // 2))
            draw.text((x + 3, top + _CAPTION + _TILE - 16), left, _INK, font)
            draw.text((x + _TILE - 12, top + _CAPTION + _TILE - 16), right, _INK, font)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG", compress_level=3)


def _caption(rank: int, proposal: Proposal) -> str:
    figures = proposal.figures
    return (
        f"{rank}: {figures.side}, {figures.diameter_mm:.0f} mm, {figures.volume_ml:.1f} ml, "
        f"peak {figures.peak_percent:.0f}%, confidence {proposal.confidence:.2f}"
    )


def _middle(mask: Mask) -> tuple[int, int, int]:
    z, y, x = np.rint(np.argwhere(mask).mean(0)).astype(int)
    return int(z), int(y), int(x)


def _project(array: np.ndarray, view: str) -> np.ndarray:
    """Largest value along the line of sight, as ``slice_view`` hangs it."""
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[view]
    return slice_view(array.max(axis=axis, keepdims=True), view, (0, 0, 0))


def _tile(shares: np.ndarray, size: tuple[int, int], outlines: list[tuple[int, np.ndarray]]) -> Image.Image:
    grey = (np.clip(shares, 0, 1) * 255).astype(np.uint8)
    tile = Image.fromarray(np.ascontiguousarray(grey)).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    drawn = np.array(tile)
    for number, outline in outlines:
        drawn[trace_outline(outline, size, closed=True)] = _COLOURS[number % len(_COLOURS)]
    return Image.fromarray(drawn)
