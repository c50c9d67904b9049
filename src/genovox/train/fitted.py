"""Maps fitted on a fold's training patients: what preprocessing, which sees no folds, may not decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import DataError
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Array
from genovox.dataset.cases import PreparedCase
from genovox.volumes.nyul import StandardScale, learn_scale

FITTED = "fitted.json"
"""Beside the fold's weights, which mean nothing without it."""


@dataclass(frozen=True)
class FittedMap:
    """The intensity map of a fold.

    Attributes:
        scale: Learnt from the fold's training patients.
        channels: Name of each channel.
    """

    scale: StandardScale
    channels: tuple[str, ...]

    def __call__(self, volume: Array, landmarks: tuple[float, ...]) -> Array:
        """Map the channels of one case, shape (channel, z, y, x), by its own landmarks."""
        return self.scale.map_channels(volume, self.channels, landmarks)


def fit_map(training: Sequence[PreparedCase], table: PreprocessTable) -> FittedMap | None:
    """Fit what the study's normalisation learns; None where it learns nothing.

    Args:
        training: Cases of the fold's training patients.
        table: The study's ``[preprocess]``.

    Raises:
        DataError: If a case has no landmarks.
    """
    if table.normalise != "nyul":
        return None
    for case in training:
        if not case.landmarks:
            raise DataError(
                f'normalise = "nyul" needs landmarks, preprocess/landmarks.csv has none of {case.case_id} '
                "(a two-valued volume has none); preprocess again, or use another normalisation"
            )
    return FittedMap(learn_scale([case.landmarks for case in training]), table.channels)


def attach_map(cases: Sequence[PreparedCase], fitted: FittedMap | None) -> tuple[PreparedCase, ...]:
    """The same cases, mapped whenever they are read."""
    return tuple(replace(case, fitted=fitted) for case in cases)


def save_map(folder: Path, fitted: FittedMap | None) -> None:
    """Write a fold's map into its folder; none leaves no file."""
    if fitted is None:
        (folder / FITTED).unlink(missing_ok=True)
    else:
        write_json(folder / FITTED, fitted.scale.as_dict())


def load_map(folder: Path, table: PreprocessTable) -> FittedMap | None:
    """Read a fold's map; None where the study's normalisation learns nothing.

    Raises:
        DataError: If it is missing or damaged.
    """
    if table.normalise != "nyul":
        return None
    if not (folder / FITTED).exists():
        raise DataError(f"{folder / FITTED} is missing, and the fold's network means nothing without it; train again")
    return FittedMap(StandardScale.from_dict(read_json(folder / FITTED)), table.channels)
