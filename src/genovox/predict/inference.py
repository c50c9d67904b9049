"""Score new scans and say how far to trust the scores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genovox.cohort.archive import read_exam
from genovox.cohort.manifest import refuse_disorder
from genovox.core.errors import UsageError
from genovox.core.volume import Array
from genovox.predict.bundle import RANGES, Bundle, Ranges, load_bundle
from genovox.predict.engine import Engine, open_engine
from genovox.predict.reference import Place
from genovox.preprocess.figures import figures_as_row
from genovox.preprocess.pipeline import WHOLE, Subject, preprocess_volume
from genovox.scans.inspection import read_phases
from genovox.volumes.devices import choose_device
from genovox.volumes.kinetics import needs_times

NOTICE = "Research use only; this does not replace a genetic test."
TOLERANCE = 0.1
_WORDS = {
    "spacing_x_mm": "spacing, left to right (mm)",
    "spacing_y_mm": "spacing, back to front (mm)",
    "spacing_z_mm": "spacing, feet to head (mm)",
    "intensity_p50": "median intensity of the foreground",
    "intensity_p99": "99th percentile of intensity in the foreground",
    "foreground_ml": "foreground volume (ml)",
}


@dataclass(frozen=True)
class Prediction:
    """What a run says of a scan.

    Attributes:
        probability: Mean raw score of the networks, in [0, 1]; not calibrated.
        spread_sd: Standard deviation of the networks' scores.
        lowest: Lowest score of any network.
        highest: Highest.
        networks: How many there are.
        place: Where the score lies among the study's out-of-fold scores.
        warnings: In what the scan differs from those the networks learned from.
    """

    model: str
    probability: float
    spread_sd: float
    lowest: float
    highest: float
    networks: int
    place: Place
    warnings: list[str]
    notice: str = NOTICE


@dataclass(frozen=True)
class Predictor:
    """A run opened once for one scan or many.

    Attributes:
        bundle: What the run knows.
        engine: Its networks.
    """

    bundle: Bundle
    engine: Engine

    def predict(self, images: list[Path], subject: Subject = WHOLE) -> Prediction:
        """Preprocess a scan as the run did and score it with every fold's network.

        Args:
            images: One 3D or 4D file, the phases in order, or the folder of one DICOM exam.
            subject: The lesion's place where the run's cases are lesions, the side where they are breasts; the time of
                each phase where a channel needs it and the images do not hold it (a DICOM folder does).

        Raises:
            UsageError: If the run needs a point, a side or times, or a point is given that it does not need.
            DataError: If a folder does not hold one dynamic exam.
            ImageError: If the scan is unusable or lacks a phase that a channel needs.
        """
        bundle = self.bundle
        if not images:
            raise UsageError("give at least one image")
        _refuse_other_unit(bundle.unit, subject)
        point_mm, times_s = subject.point_mm, subject.times_s
        if len(images) == 1 and images[0].is_dir():
            scan, stated_s = read_exam(images[0], point_mm)
            times_s = times_s or stated_s
        else:
            refuse_disorder([path.name for path in images], "IMAGE")
            scan = read_phases(images)
        if needs_times(bundle.preprocess.channels) and len(times_s) != len(scan.array):
            raise UsageError(
                f"channels of this run need the time of each phase, got {len(times_s)} for {len(scan.array)} phases; "
                "give the DICOM folder, or --times=S,S,… in seconds"
            )
        done = preprocess_volume(scan, bundle.preprocess, replace(subject, times_s=times_s))
        faced = done.face(bundle.preprocess.orientation)
        scores = self.score_volume(faced.volume.array, done.landmarks)
        return Prediction(
            model=bundle.model,
            probability=float(scores.mean()),
            spread_sd=float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
            lowest=float(scores.min()),
            highest=float(scores.max()),
            networks=len(scores),
            place=bundle.reference.place(float(scores.mean())),
            warnings=[
                *compare_with_cohort(figures_as_row(done.figures, done.volume.affine), bundle.ranges),
                *done.warnings,
            ],
        )

    def score_volume(self, volume: Array, landmarks: tuple[float, ...] = ()) -> Array:
        """Raw score of each network, shape (network,).

        Args:
            volume: Preprocessed as the run's own cases, shape (channel, z, y, x).
            landmarks: Of its pre-contrast signal, where the run normalises by them.
        """
        scores = []
        for index, fitted in enumerate(self.bundle.maps):
            mapped = fitted(volume, landmarks) if fitted else volume
            faces = [mapped, mapped[..., ::-1]] if self.bundle.flips else [mapped]
            batch = np.ascontiguousarray(np.stack(faces))
            scores.append(float(self.engine.score(index, batch).double().sigmoid().mean()))
        return np.array(scores)


def open_predictor(run: Path, *, model: str = "", device: str = "auto", scans: int | None = None) -> Predictor:
    """Open a run to score scans.

    Args:
        run: Run folder.
        model: Network to use; the study's primary model if empty.
        device: ``auto``, ``cpu`` or ``cuda``.
        scans: How many will be scored, where that is known: a few are not worth a faster engine's opening.

    Raises:
        UsageError: If the run is not trained or holds no such network.
    """
    bundle = load_bundle(run, model)
    shape = (bundle.networks[0].channels, *reversed(bundle.preprocess.shape))
    return Predictor(bundle, open_engine(bundle.networks, shape, device=choose_device(device), volumes=scans))


def predict_scan(
    run: Path, images: list[Path], subject: Subject = WHOLE, *, model: str = "", device: str = "auto"
) -> Prediction:
    """Score one scan with every fold's network of a run; as ``open_predictor`` and ``Predictor.predict``."""
    if not images:
        raise UsageError("give at least one image")
    return open_predictor(run, model=model, device=device, scans=1).predict(images, subject)


def _refuse_other_unit(unit: str, subject: Subject) -> None:
    if unit == "lesion" and not subject.point_mm:
        raise UsageError(
            "the cases of this run are lesions; give the place: --point=X,Y,Z in mm (right, anterior, superior)"
        )
    if unit != "lesion" and subject.point_mm:
        raise UsageError("the cases of this run are not lesions, so there is nothing to crop around; leave --point out")
    if unit == "breast" and not subject.side:
        raise UsageError("the cases of this run are breasts; say which one to score: --side left or --side right")
    if unit == "lesion" and subject.side:
        raise UsageError("a lesion's place says its side; leave --side out")


def compare_with_cohort(row: Mapping[str, Any], ranges: Ranges) -> list[str]:
    """Warnings where a scan lies outside the range of the training cohort by more than a tenth of its ends.

    Args:
        row: The scan's figures, as ``figures_as_row`` writes them.
        ranges: What the cohort was like.
    """
    spacing = [float(value) for value in row["source_spacing_mm"].split(";")]
    values = dict(zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), spacing, strict=True))
    values |= {name: float(row[name]) for name in RANGES if name in row}
    warnings = []
    for name, value in values.items():
        low, high = ranges.figures[name]
        if value < low - TOLERANCE * abs(low) or value > high + TOLERANCE * abs(high):
            warnings.append(f"out of range: {_WORDS[name]} is {value:.4g}, the networks saw {low:.4g} to {high:.4g}")
    phases = int(row["phases"])
    if phases < ranges.phases:
        warnings.append(f"missing phase: the scan has {phases} phases, every training case had {ranges.phases}")
    if phases > ranges.most_phases:
        warnings.append(f"more phases: the scan has {phases}, no training case had over {ranges.most_phases}")
    return warnings
