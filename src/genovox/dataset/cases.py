"""The preprocessed cases of a run, ready to be read by a network."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genovox.core.artifacts import read_table
from genovox.core.case import read_cases
from genovox.core.errors import DataError
from genovox.core.volume import Affine, Array
from genovox.preprocess.cache import digest_file
from genovox.volumes.nyul import LANDMARK_NAMES

LANDMARKS = "landmarks.csv"


@dataclass(frozen=True)
class PreparedCase:
    """A case whose network input is on disk.

    Attributes:
        key: Hash of everything its input depends on.
        volume: File of the channels, (channel, z, y, x) float32.
        digest: Hash of that file when it was written.
        landmarks: Of its pre-contrast signal; empty where preprocessing wrote none.
        fitted: What maps its channels by its landmarks whenever it is read, fitted on training patients of a fold.
    """

    case_id: str
    patient_id: str
    family_id: str
    site: str
    label: int
    key: str
    volume: Path
    digest: str = ""
    landmarks: tuple[float, ...] = ()
    fitted: Callable[[Array, tuple[float, ...]], Array] | None = None


def read_prepared_cases(run: Path) -> dict[str, PreparedCase]:
    """Every labelled case of a run that was preprocessed, by its id.

    Raises:
        TableError: If the run's tables are missing.
    """
    table = read_table(run / "preprocess" / "cases.csv", required=("case_id", "key", "digest")).set_index("case_id")
    made, digests = table["key"], table["digest"]
    landmarks = _read_landmarks(run / "preprocess" / LANDMARKS)
    return {
        case.case_id: PreparedCase(
            case_id=case.case_id,
            patient_id=case.patient_id,
            family_id=case.family_id,
            site=case.site,
            label=case.label,
            key=str(made[case.case_id]),
            volume=run / "preprocess" / "volumes" / f"{case.case_id}.npy",
            digest=str(digests[case.case_id]),
            landmarks=landmarks.get(case.case_id, ()),
        )
        for case in read_cases(run / "cohort" / "cases.csv")
        if case.case_id in made.index and case.label is not None
    }


def read_affine(run: Path, case_id: str) -> Affine:
    """Where a preprocessed volume of a run lies: voxel (x, y, z) to RAS mm."""
    return read_affines(run)[case_id]


def read_affines(run: Path) -> dict[str, Affine]:
    """Where every preprocessed volume of a run lies, by case."""
    table = read_table(run / "preprocess" / "cases.csv", required=("case_id", "affine"))
    cells = zip(table["case_id"], table["affine"], strict=True)
    return {case_id: np.array([float(value) for value in cell.split(";")]).reshape(4, 4) for case_id, cell in cells}


def _read_landmarks(path: Path) -> dict[str, tuple[float, ...]]:
    if not path.exists():
        return {}
    table = read_table(path, required=("case_id", *LANDMARK_NAMES)).set_index("case_id")
    numbers = table[list(LANDMARK_NAMES)].astype(float)
    return {str(case_id): tuple(row) for case_id, row in zip(numbers.index, numbers.to_numpy().tolist(), strict=True)}


def refuse_damaged(cases: Sequence[PreparedCase]) -> None:
    """Stop before a network learns from a volume that is not as it was written.

    Raises:
        DataError: Naming the first such case.
    """
    with ThreadPoolExecutor() as pool:
        for case, is_whole in zip(cases, pool.map(_is_whole, cases), strict=True):
            if not is_whole:
                raise DataError(
                    f"the preprocessed volume of {case.case_id} is not as it was written; remove the run's "
                    "preprocess/stage.json and run again: what is damaged is made anew"
                )


def _is_whole(case: PreparedCase) -> bool:
    try:
        return digest_file(case.volume) == case.digest
    except OSError:
        return False


def load_batch(cases: Sequence[PreparedCase]) -> Tensor:
    """Read cases into one tensor.

    Returns:
        Shape (B, C, D, H, W), float32.

    Raises:
        DataError: If a volume is missing or damaged.
    """
    return torch.from_numpy(np.stack([_load_volume(case) for case in cases]))


def _load_volume(case: PreparedCase) -> Array:
    try:
        array: Array = np.load(case.volume, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"cannot read the preprocessed volume of {case.case_id} ({error}); "
            "remove the run's preprocess/stage.json and the folder .genovox/cache, then run again"
        ) from None
    return case.fitted(array, case.landmarks) if case.fitted else array
