"""What the images themselves say of the scan, read once and remembered by content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from genovox.core.artifacts import read_json
from genovox.core.errors import DataError, ImageError
from genovox.core.volume import Volume, read_stored_type, read_volume, reorient_to_ras
from genovox.scans.dicom import SAME_GRID_MM
from genovox.scans.likeness import describe_likeness, pack_likeness
from genovox.scans.voxels import read_stack

UNKNOWN = "unknown"
STACK_SUFFIX = ".json"
MOST_PHASES = 100
SMALL_SHAPE = 100
"""Voxels: of 2,662 lung nodules (LIDC, masks at 1 mm) up to four have one shape, none of them above 34 voxels."""


@dataclass(frozen=True)
class Inspection:
    """Facts of one case's images.

    Attributes:
        scan: Scan metadata (``scan_matrix``, ``scan_spacing_mm``, …) as text.
        fingerprint: Hash of the order of the first phase's voxels in RAS order: equal for copies, whatever the file's
            compression, axis order or (increasing) rescaling of intensities. Empty for a mask of fewer than 100
            voxels, which two patients may share by chance.
        likeness: Fine structure of the first phase as text, alike in copies that were turned, resampled or compressed;
            empty for a mask, which has none.
    """

    scan: dict[str, str]
    fingerprint: str
    likeness: str = ""


def read_image(path: Path) -> Volume:
    """Read an image of a case: a NIfTI or NRRD file, or a stack file, which lists the DICOM files of one phase.

    Raises:
        ImageError: If it is unreadable.
    """
    if path.suffix != STACK_SUFFIX:
        return read_volume(path)
    stack = _open_stack(path)
    files = [path.parent / name for name in stack["files"]]
    z, y, x = stack["shape"]
    return read_stack(files, stack["affine"], (z, y, x), stack["frames"])


def _open_stack(path: Path) -> dict[str, Any]:
    try:
        stack: dict[str, Any] = read_json(path)
    except DataError:
        raise ImageError("the list of a phase's DICOM files is gone; run the cohort stage again") from None
    return stack


def read_phases(paths: list[Path]) -> Volume:
    """Read a case's phases onto the array's first axis.

    Args:
        paths: One file (3D, or 4D with phases last) or one 3D file a phase, in phase order.

    Raises:
        ImageError: If a file is unreadable, the phases do not share one grid, or there are more than 100.
    """
    if len(paths) > MOST_PHASES:
        raise ImageError(_too_many(len(paths)))
    first = read_image(paths[0])
    if len(paths) == 1:
        if len(first.array) > MOST_PHASES:
            raise ImageError(_too_many(len(first.array)))
        return first
    phases = np.empty((len(paths), *first.array.shape[1:]), np.float32)
    for number, path in enumerate(paths, start=1):
        volume = first if number == 1 else read_image(path)
        if len(volume.array) != 1:
            raise ImageError(f"{path.name} holds {len(volume.array)} phases; give one file a phase, or one 4D file")
        if volume.array.shape[1:] != first.array.shape[1:]:
            raise ImageError(
                f"phases must share one grid, phase {number} ({path.name}) is {_matrix(volume)} and phase 1 is "
                f"{_matrix(first)}; resample them onto one grid"
            )
        if _corner_distance_mm(volume, first) > SAME_GRID_MM:
            raise ImageError(
                f"phases must share one grid, phase {number} ({path.name}) lies elsewhere than phase 1; "
                "resample them onto one grid"
            )
        phases[number - 1] = volume.array[0]
    return Volume(phases, first.affine)


def _too_many(count: int) -> str:
    return (
        f"an exam must have at most {MOST_PHASES} phases, got {count}; "
        "a fast series of so many is no DCE exam of the breast: average it in time, or leave phases out"
    )


def _corner_distance_mm(one: Volume, other: Volume) -> float:
    """Largest distance between the same corner voxel of two volumes of one shape."""
    z, y, x = one.array.shape[1:]
    corners = np.array([[i, j, k, 1] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)]).T
    return float(np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0).max())


def inspect_images(paths: list[Path]) -> Inspection:
    """Read a case's images whole and describe the scan.

    Raises:
        ImageError: If they are unreadable, not on one grid, or hold one value only.
    """
    volume = read_phases(paths)
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        name = "the exam" if paths[0].suffix == STACK_SUFFIX else paths[0].name
        raise ImageError(f"{name} holds the value {low:g} only; convert the image again from its source")
    full_8_bit = low == 0 and high == 255 and bool((volume.array == np.floor(volume.array)).all())
    scan = {
        "scan_format": _file_format(paths[0]),
        "scan_stored_type": _stored_type(paths[0]),
        "scan_full_8_bit": "yes" if full_8_bit else "no",
        "scan_phases": str(len(volume.array)),
        "scan_matrix": _matrix(volume),
        "scan_spacing_mm": "x".join(f"{spacing:.3f}" for spacing in volume.spacing_mm),
        "scan_orientation": volume.orientation if _states_orientation(paths[0]) else UNKNOWN,
    }
    ranks = _rank_voxels(volume)
    if ranks.max() > 1:
        return Inspection(scan, _hash_ranks(ranks), pack_likeness(describe_likeness(volume.array[0])))
    return Inspection(scan, "" if _is_small_shape(ranks) else _hash_ranks(ranks))


def inspect_case(task: tuple[str, list[Path]]) -> Inspection:
    """``inspect_images`` of a case given by its id and paths, as a worker process takes it."""
    with threadpool_limits(1):  # cases run in parallel
        return inspect_images(task[1])


def _file_format(path: Path) -> str:
    if path.suffix == STACK_SUFFIX:
        return "dicom"
    return "nifti" if ".nii" in path.name.lower() else "nrrd"


def _stored_type(path: Path) -> str:
    return str(_open_stack(path)["stored_type"]) if path.suffix == STACK_SUFFIX else read_stored_type(path)


def _rank_voxels(volume: Volume) -> npt.NDArray[np.int32]:
    """The order of the first phase's values in RAS order, which no rescaling of the intensities changes."""
    voxels = reorient_to_ras(volume).array[0]
    return np.unique(voxels, return_inverse=True)[1].astype(np.int32)


def _is_small_shape(ranks: npt.NDArray[np.int32]) -> bool:
    """Whether few voxels of a mask hold one of its two values."""
    marked = int(np.count_nonzero(ranks))
    return min(marked, ranks.size - marked) < SMALL_SHAPE


def _hash_ranks(ranks: npt.NDArray[np.int32]) -> str:
    digest = hashlib.blake2b(repr(ranks.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(ranks).data)
    return digest.hexdigest()


def _states_orientation(path: Path) -> bool:
    """Whether the file says where right and left are; nibabel takes a guess where it does not."""
    if ".nii" not in path.name.lower():
        return True
    header: Any = nibabel.load(path).header
    return bool(header["qform_code"] or header["sform_code"])


def _matrix(volume: Volume) -> str:
    return "x".join(str(size) for size in volume.array.shape[:0:-1])
