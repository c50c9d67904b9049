"""A picture sheet of the first patients: what a radiologist would look at before believing a simulation."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genovox.core.artifacts import atomic_path
from genovox.simulate.acquisition import Exam
from genovox.simulate.anatomy import Grid, Map
from genovox.simulate.lesion import Lesion
from genovox.simulate.patients import Patient
from genovox.simulate.sites import Site

PREVIEWED = 8
HEIGHT = 200
_GAP, _HEADER = 4, 22
_INK, _PAPER = 225, 12


def draw_strip(path: Path, patient: Patient, site: Site, exam: Exam, *, grid: Grid, lesion: Lesion) -> None:
    """One patient in a row: axial and sagittal through the lesion, before and after contrast, subtraction, MIP, T2."""
    pre, post = exam.phases[0], exam.phases[1]
    difference = post - pre
    voxel = np.rint((np.array(lesion.centre_mm) - grid.origin_mm) / np.array(grid.spacing_mm)).astype(int)
    x, _, z = (int(place) for place in voxel)
    bright = float(np.percentile(post, 99.7))
    uptake = float(np.percentile(difference, 99.7))
    tiles = [
        ("before", _axial(pre, z, grid, bright)),
        (f"{site.first_post_s:g} s after", _axial(post, z, grid, bright)),
        ("subtraction", _axial(difference, z, grid, uptake)),
        ("projection", _axial(_front(difference, grid).max(axis=0)[None], 0, grid, uptake)),
        ("T2", _axial(exam.t2, z, grid, float(np.percentile(exam.t2, 99.7)))),
        ("after, sagittal", _sagittal(post, x, grid, bright)),
    ]
    width = sum(tile.width + _GAP for _, tile in tiles)
    sheet = Image.new("L", (width, HEIGHT + _HEADER + _GAP), _PAPER)
    draw, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(11), 0
    for number, (name, tile) in enumerate(tiles):
        sheet.paste(tile, (left, _HEADER))
        caption = f"{_describe(patient, site)}" if number == 0 else ""
        draw.text((left + 4, 4), caption, _INK, font)
        draw.text((left + 4, _HEADER + 2), name, _INK, font)
        left += tile.width + _GAP
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG", compress_level=1)


def join_strips(strips: list[Path], target: Path) -> None:
    """Put the patients' rows under each other."""
    images = [Image.open(strip) for strip in strips]
    sheet = Image.new("L", (max(image.width for image in images), sum(image.height for image in images)), _PAPER)
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
        image.close()
    with atomic_path(target) as partial:
        sheet.save(partial, format="PNG", optimize=True)


def _describe(patient: Patient, site: Site) -> str:
    looks = [
        "round" if patient.round_shape else "irregular",
        "sharp" if patient.sharp_margin else "unsharp",
        *(["rim"] if patient.rim else []),
        *(["necrosis"] if patient.necrosis else []),
        *(["prepectoral"] if patient.prepectoral else []),
    ]
    carrier = patient.gene or "no carrier"
    return (
        f"{patient.patient_id}: {carrier}, {patient.side}, {patient.diameter_mm:.0f} mm, {', '.join(looks)}; "
        f"density {patient.density}; {site.hospital}, {site.vendor} {site.model}, {site.sequence.field_t:g} T"
    )


def _front(volume: Map, grid: Grid) -> Map:
    """Without the chest, whose heart would outshine everything in a projection."""
    return np.asarray(volume * (grid.axis(1) > -22))


def _axial(volume: Map, z: int, grid: Grid, bright: float) -> Image.Image:
    return _tile(volume[z, ::-1, ::-1], (grid.spacing_mm[0], grid.spacing_mm[1]), bright)


def _sagittal(volume: Map, x: int, grid: Grid, bright: float) -> Image.Image:
    return _tile(volume[::-1, ::-1, x], (grid.spacing_mm[1], grid.spacing_mm[2]), bright)


def _tile(pixels: Map, spacing_mm: tuple[float, float], bright: float) -> Image.Image:
    grey = np.clip(pixels / max(bright, 1e-6) * 255, 0, 255).astype(np.uint8)
    width = round(HEIGHT * pixels.shape[1] * spacing_mm[0] / (pixels.shape[0] * spacing_mm[1]))
    return Image.fromarray(grey).resize((width, HEIGHT), Image.Resampling.BICUBIC)
