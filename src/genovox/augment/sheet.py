"""A picture of what augmentation does to one case: each transform at its strength, beside the original."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from genovox.augment.artefacts import Bias, Ghosting, Gibbs, Motion, Spike
from genovox.augment.contrast import ContrastDose, ContrastTiming, PhaseDropout
from genovox.augment.draws import open_generators
from genovox.augment.intensity import Blur, Gain, Gamma, LowResolution, Noise
from genovox.augment.pipeline import Augmentation, Transform, build_augmentation
from genovox.augment.spatial import Warp
from genovox.core.artifacts import atomic_path
from genovox.core.volume import Array
from genovox.preprocess.quality import slice_view, view_size_px

TILE = 168
_GAP, _HEADER, _COLUMNS = 4, 20, 6
_DRAWS = 6
_INK, _PAPER = 232, 16
_NAMES: dict[type, str] = {
    Bias: "bias",
    Blur: "blur",
    ContrastDose: "contrast dose",
    ContrastTiming: "contrast timing",
    Gain: "gain",
    Gamma: "gamma",
    Ghosting: "ghosting",
    Gibbs: "Gibbs ringing",
    LowResolution: "low resolution",
    Motion: "motion",
    Noise: "noise",
    PhaseDropout: "phase dropout",
    Spike: "spike",
    Warp: "flip, affine, elastic",
}


def draw_augmentation_sheet(
    path: Path,
    array: Array,
    channel_names: tuple[str, ...],
    spacing_mm: tuple[float, float, float],
    *,
    preset: str = "strong",
    channel: int = 0,
    seed: int = 0,
) -> None:
    """Draw the middle axial slice of one channel: the original, each transform of a preset alone, and all together.

    A transform alone acts with certainty, and the draw shown is the one of six that changes the image most: near the
    top of the preset's range. Radiological convention: anterior up, patient's right on the left. All tiles share the
    original's window.

    Args:
        path: PNG to write.
        array: Channels in RAS order, shape (channel, z, y, x).
        channel_names: Name of each channel.
        spacing_mm: Along x, y, z.
        preset: Whose transforms.
        channel: Which channel to show.
        seed: Decides the draws.

    Raises:
        UsageError: If there is no such preset.
    """
    augmentation = build_augmentation(preset, channel_names)
    tiles = [("original", array[channel])]
    for part in ("contrast", "spatial", "scanner"):
        for transform in getattr(augmentation, part):
            alone = _only(augmentation, part, (_certain(transform),))
            draws = [_apply(alone, array, seed + number)[channel] for number in range(_DRAWS)]
            tiles.append((_NAMES[type(transform)], max(draws, key=lambda drawn: _change(drawn, array[channel]))))
    tiles += [(f"{preset}, {number}", _apply(augmentation, array, seed + number)[channel]) for number in range(1, 4)]
    window = np.percentile(array[channel], [0.5, 99.7])
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("L", (_GAP + _COLUMNS * (TILE + _GAP), rows * (TILE + _HEADER + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for index, (name, values) in enumerate(tiles):
        row, column = divmod(index, _COLUMNS)
        left, top = _GAP + column * (TILE + _GAP), row * (TILE + _HEADER + _GAP)
        tile = _draw_tile(values, spacing_mm, (float(window[0]), float(window[1])))
        draw.text((left + 2, top + 4), name, _INK, font)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + _HEADER + (TILE - tile.height) // 2))
    draw.text((_GAP + 3, _HEADER + TILE - 15), "R", _INK, font)
    draw.text((_GAP + TILE - 11, _HEADER + TILE - 15), "L", _INK, font)
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")


def _only(augmentation: Augmentation, part: str, transforms: tuple[Transform, ...]) -> Augmentation:
    none: dict[str, Any] = {"contrast": (), "spatial": (), "scanner": ()}
    return dataclasses.replace(augmentation, **none | {part: transforms})


def _certain(transform: Any) -> Transform:
    names = [field.name for field in dataclasses.fields(transform) if field.name.endswith("probability")]
    certain: Transform = dataclasses.replace(transform, **dict.fromkeys(names, 1.0))
    return certain


def _apply(augmentation: Augmentation, array: Array, seed: int) -> Array:
    batch = torch.from_numpy(np.ascontiguousarray(array)).unsqueeze(0)
    return augmentation(batch, open_generators(seed, 0, ["sheet"]))[0].numpy()


def _change(drawn: np.ndarray, original: np.ndarray) -> float:
    middle = original.shape[0] // 2
    return float(np.square(drawn[middle] - original[middle]).sum())


def _draw_tile(values: np.ndarray, spacing_mm: tuple[float, float, float], window: tuple[float, float]) -> Image.Image:
    centre = (values.shape[0] // 2, values.shape[1] // 2, values.shape[2] // 2)
    pixels = slice_view(values, "axial", centre)
    scaled = (pixels - window[0]) / max(window[1] - window[0], 1e-9) * 255
    grey = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    return grey.resize(view_size_px("axial", values.shape, spacing_mm, TILE), Image.Resampling.BILINEAR)
