"""The road of one case: survey, one interpolation a phase onto the window needed, channels, intensity, crop."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from threadpoolctl import threadpool_limits

from genovox.core.errors import ImageError
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Array, Mask, Volume, reorient_to_ras
from genovox.filters.contrast import enhance_contrast
from genovox.filters.denoise import denoise
from genovox.preprocess.crop import crop_start, locate_point
from genovox.preprocess.figures import Figures
from genovox.preprocess.survey import Survey, survey_everything, survey_scan
from genovox.preprocess.window import open_window, sample_phases
from genovox.scans.inspection import read_phases
from genovox.volumes.geometry import Grid, Interpolation, mirror_volume
from genovox.volumes.intensity import (
    PhaseSignal,
    fit_intensity,
    is_two_valued,
    join_samples,
    measure_percentiles,
    measure_phase,
)
from genovox.volumes.kinetics import find_timed_phases, make_channels, parse_channel, phases_used
from genovox.volumes.nyul import measure_landmarks

OUTSIDE_WARNING = 0.02
_LARGEST_COSINE = 0.02


@dataclass(frozen=True)
class Subject:
    """What of a scan a case is about.

    Attributes:
        point_mm: The lesion's place, RAS mm (x, y, z); empty for the whole foreground.
        side: ``left`` or ``right`` where one breast of a scan of both is wanted.
        times_s: Acquisition time of each phase; empty where unknown.
    """

    point_mm: tuple[float, ...] = ()
    side: str = ""
    times_s: tuple[float, ...] = ()


WHOLE = Subject()


@dataclass(frozen=True)
class Preprocessed:
    """Network input of one case and how it came about.

    Attributes:
        volume: Channels, array (channel, z, y, x) float32 in RAS order.
        mask: Foreground in the crop, shape (z, y, x).
        figures: What ``preprocess/cases.csv`` records.
        warnings: What a person should look at.
        notes: Why motion of a phase was not, or not fully, corrected.
        landmarks: Of the pre-contrast signal, where the study normalises by them; empty otherwise.
    """

    volume: Volume
    mask: Mask
    figures: Figures
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    landmarks: tuple[float, ...] = ()

    def face(self, orientation: str) -> "Preprocessed":
        """The same with axes mirrored to run as a study wants its volumes written, such as ``LAS``."""
        mask = mirror_volume(Volume(self.mask[np.newaxis].astype(np.float32), self.volume.affine), orientation)
        return replace(self, volume=mirror_volume(self.volume, orientation), mask=mask.array[0] > 0)


def preprocess_images(
    paths: list[Path], table: PreprocessTable, subject: Subject = WHOLE, *, device: str = "cpu"
) -> Preprocessed:
    """Turn a case's images into network input; as ``preprocess_volume``.

    Args:
        paths: The phases, pre-contrast first.
        table: The study's ``[preprocess]``.
        subject: What of the scan the case is about.
        device: Where voxels are computed.

    Raises:
        ImageError: If the images are unusable, lack a phase, or show no foreground, or the point lies outside them.
    """
    return preprocess_volume(read_phases(paths), table, subject, device=device)


def preprocess_volume(
    source: Volume,
    table: PreprocessTable,
    subject: Subject = WHOLE,
    *,
    survey: Survey | None = None,
    device: str = "cpu",
) -> Preprocessed:
    """Turn a scan into network input.

    A removed background and voxels outside the scan count as signal 0, like air. A two-valued volume keeps its values:
    nearest neighbour where it must be resampled, no foreground, no filter, no normalisation.

    Args:
        source: The phases, pre-contrast first, array (phase, z, y, x).
        table: The study's ``[preprocess]``.
        subject: What of the scan the case is about.
        survey: The scan's survey by the same table, where it is known already.
        device: Where voxels are computed.

    Raises:
        ImageError: If the scan lacks a phase or shows no foreground, or the point lies outside it.
    """
    with one_thread():
        return _preprocess(source, table, subject, survey, torch.device(device))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread a process: cases run in parallel, and sums do not depend on the number of threads."""
    threads = torch.get_num_threads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _preprocess(
    source: Volume, table: PreprocessTable, subject: Subject, survey: Survey | None, device: torch.device
) -> Preprocessed:
    _refuse_shear(source)
    two_valued = is_two_valued(source.array)
    own = Grid.of(reorient_to_ras(source))
    grid = own.rescale(None if table.spacing_mm == "native" else table.spacing_mm)
    if two_valued:
        if table.normalise == "nyul":
            raise ImageError(
                "a volume of two values has no landmarks; use another preprocess.normalise (masks are never normalised)"
            )
        survey = survey_everything(source)
        table = table.model_copy(update={"normalise": "none", "denoise": "none", "contrast": "none"})
    elif survey is None:
        survey = survey_scan(source, table)
    window = open_window(survey, grid, subject.side)
    centre = locate_point(grid, own, subject.point_mm) if subject.point_mm else window.middle
    start = crop_start(grid.shape, table.shape, centre)
    # Beyond the edge of a mask lies more of its lower value; beyond the edge of a scan lies no signal.
    fill = float(source.array.min()) if two_valued else 0.0
    interpolation: Interpolation = "nearest" if two_valued else table.interpolation
    scan = denoise(source.array, Grid.of(source).spacing_mm, table.denoise)
    phases = sample_phases(Volume(scan, source.affine), survey, window.grid, interpolation, device)
    voxels = np.flatnonzero(window.mask).astype(np.int32)
    signals = []
    used = phases_used(table.channels, len(scan), subject.times_s)
    nothing = np.broadcast_to(np.float32(fill), table.shape[::-1])
    cropped = []
    for index, phase in enumerate(phases):
        signals.append(measure_phase(phase, voxels))
        cropped.append(window.crop(phase, start, table.shape, fill) if index in used else nothing)
        del phase  # the next would be sampled beside it
    del voxels
    mask = window.crop(window.mask.astype(np.float32), start, table.shape, 0.0) > 0
    channels = make_channels(cropped, table.channels, subject.times_s, floor=survey.floor)
    del cropped
    if not two_valued:
        channels *= mask
    intensity = fit_intensity(signals, table.normalise)
    mapped = _enhance(intensity.apply(channels, table.channels, out=channels), mask, grid.spacing_mm, table)
    p1, p50, p99 = measure_percentiles(join_samples(signals), (1, 50, 99))
    moved = [motion for motion in survey.motions if not motion.is_identity]
    figures = Figures(
        source_spacing_mm=own.spacing_mm,
        source_shape=own.shape,
        source_orientation=source.orientation,
        phases=len(signals),
        crop_start=start,
        foreground_ml=float(window.mask.sum() * np.prod(grid.spacing_mm) / 1000),
        outside_fraction=float(1 - mask.sum() / max(1, window.mask.sum())),
        intensity_p1=p1,
        intensity_p50=p50,
        intensity_p99=p99,
        offset=intensity.offset,
        scale=intensity.scale,
        clipped_fraction=intensity.clipped_fraction,
        two_valued=two_valued,
        snr=survey.snr,
        left_right_ratio=survey.left_right_ratio,
        bias_strength=survey.bias.strength if survey.bias else 1.0,
        motion_mm=max((motion.mean_displacement_mm for motion in moved), default=0.0),
        motion_gain=float(np.mean([motion.after - motion.before for motion in moved])) if moved else 0.0,
        delays_s=tuple(phase.delay_s for phase in find_timed_phases(table.channels, subject.times_s).values()),
    )
    warnings = (*_find_crop_warnings(figures, table, subject), *_find_signal_warnings(signals, figures))
    notes = tuple(f"phase {k}: {motion.note}" for k, motion in enumerate(survey.motions) if motion.note)
    landmarks = measure_landmarks(signals[0].sample) if table.normalise == "nyul" else ()
    volume = Volume(mapped, grid.cut(start, table.shape).affine)
    return Preprocessed(volume, mask, figures, warnings, notes, landmarks)


def _refuse_shear(source: Volume) -> None:
    axes = source.affine[:3, :3] / np.linalg.norm(source.affine[:3, :3], axis=0)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > _LARGEST_COSINE:
        degrees = np.degrees(np.arccos(cosine))
        raise ImageError(
            f"the axes of a scan must be perpendicular, two of this one meet at {degrees:.1f} degrees; "
            "resample it onto a grid without shear first"
        )


def _enhance(channels: Array, mask: Mask, spacing_mm: tuple[float, float, float], table: PreprocessTable) -> Array:
    """Contrast of the signal channels: a difference or a rate would lose what its value means."""
    if table.contrast == "none" or not mask.any():
        return channels
    for index, name in enumerate(table.channels):
        if parse_channel(name).kind == "signal":
            enhanced = enhance_contrast(channels[index], mask, table.contrast, spacing_mm=spacing_mm)
            channels[index] = np.rint(enhanced) if table.normalise == "uint8" else enhanced
    return channels


def _find_crop_warnings(figures: Figures, table: PreprocessTable, subject: Subject) -> tuple[str, ...]:
    """A crop around a mark is meant to leave the rest out."""
    if not subject.point_mm and table.foreground != "none" and figures.outside_fraction > OUTSIDE_WARNING:
        return (f"{figures.outside_fraction:.1%} of the foreground lies outside the crop; enlarge preprocess.shape",)
    return ()


def _find_signal_warnings(signals: list[PhaseSignal], figures: Figures) -> list[str]:
    """What no scanner measures, but a conversion that went wrong leaves."""
    if figures.two_valued:
        return []
    warnings = []
    for number, signal in enumerate(signals):
        if signal.low == signal.high:
            warnings.append(f"phase {number} holds one value only in the foreground; convert it again")
        elif number and np.array_equal(signal.sample, signals[0].sample):
            warnings.append(f"phase {number} is the same as pre-contrast; look at the order of the phases")
    if figures.intensity_p50 < 0:
        warnings.append(
            f"the median signal is {figures.intensity_p50:.3g}, a magnitude is never negative; convert again"
        )
    return warnings
