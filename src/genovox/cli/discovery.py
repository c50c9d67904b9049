"""A first manifest and study file from a folder of images: a start for a person to check."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import SimpleITK as sitk

from genovox.cohort.manifest import PHASE_NAME
from genovox.core.artifacts import read_table
from genovox.core.errors import DataError
from genovox.core.volume import is_image_path

CLOSE_UP_MM = 100.0
_SIDE = re.compile(r"(?:^|[_\-. ])(left|right|l|r)(?=$|[_\-. ])", re.IGNORECASE)
_NOT_A_SCAN = re.compile(r"(?:^|[_\-. ])(mask|seg|segmentation|label|roi)$", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_VOXEL_BUDGET = 96**3


@dataclass(frozen=True)
class Discovery:
    """What a folder holds, as far as names tell.

    Attributes:
        manifest: Rows ``case_id, patient_id, image, laterality``.
        skipped: Files that look like masks.
        incomplete: Cases left out since their phases have a gap, such as a post1 without a pre.
        guessed_patients: Cases whose patient is only guessed from the file's name.
        phases: Number of phases by case.
        spacing_mm: Median spacing along right, anterior, superior, as the scans' axes lie after orientation.
        shape: Median size along the same axes.
    """

    manifest: pd.DataFrame
    skipped: list[str]
    incomplete: list[str]
    guessed_patients: list[str]
    phases: dict[str, int]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """What the median scan shows along right, anterior, superior."""
        (x, y, z), (dx, dy, dz) = self.shape, self.spacing_mm
        return x * dx, y * dy, z * dz

    @property
    def is_close_up(self) -> bool:
        """Whether scans are cut-outs that no breast fits into: of a lesion, say."""
        return max(self.extent_mm) < CLOSE_UP_MM


def discover_images(folder: Path, labels: Path | None, root: Path) -> Discovery:
    """List the NIfTI and NRRD files of a folder as cases.

    Files that differ only by ``pre``, ``postK`` or ``phaseK`` at the end of the name are phases of one case. The
    patient is the id of the labels table that the path holds as a folder or as the start of the name; failing that,
    the folder a file lies in, or its name.

    Args:
        folder: Searched with its subfolders.
        labels: Table with ``patient_id,label`` or ``case_id,label``, or None.
        root: Folder of the study; paths are written relative to it.

    Raises:
        DataError: If the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; give the folder that holds the NIfTI or NRRD files")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_image_path(path))
    if not files:
        raise DataError(f"no NIfTI or NRRD file (.nii, .nii.gz, .nrrd) under {folder}; convert the scans first")
    patients = _patient_of_case(labels)
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    skipped = []
    for path in files:
        stem = _strip_suffix(path.name)
        if _NOT_A_SCAN.search(stem):
            skipped.append(str(path.relative_to(folder)))
            continue
        match = PHASE_NAME.search(stem)
        phase = 0 if match is None or match["pre"] else int(match["number"])
        base = stem[: match.start()] if match else stem
        group = groups["/".join((*path.relative_to(folder).parent.parts, base))]
        if phase in group:
            raise DataError(
                f"a phase is one file, {group[phase].name} and {path.name} in {path.parent} look like the same; "
                "rename or remove one"
            )
        group[phase] = path
    rows, guessed = [], []
    incomplete = [name for name, phases in groups.items() if sorted(phases) != list(range(len(phases)))]
    for name in incomplete:
        del groups[name]
    if not groups:
        raise DataError(
            f"phases must run pre, post1, post2, … without a gap, none of {len(incomplete)} cases under {folder} has "
            f"all of its own, such as {incomplete[0]}; add the missing files or write the manifest by hand"
        )
    for name, phases in groups.items():
        case_id = _UNSAFE.sub("-", name.strip("/").replace("/", "-")).strip("-_.") or _UNSAFE.sub("-", folder.name)
        patient_id, is_guess = _find_patient(name, case_id, folder.name, patients)
        if is_guess:
            guessed.append(case_id)
        side = _SIDE.search(name.rsplit("/", 1)[-1])
        laterality = {"l": "left", "r": "right"}[side[1][0].lower()] if side else ""
        images = ";".join(_relative(phases[phase], root) for phase in sorted(phases))
        rows.append({"case_id": case_id, "patient_id": patient_id, "image": images, "laterality": laterality})
    manifest = pd.DataFrame(rows).sort_values("case_id", ignore_index=True)
    spacing_mm, shape = _measure([next(iter(phases.values())) for phases in groups.values()])
    counts = {
        case_id: len(cell.split(";")) for case_id, cell in zip(manifest["case_id"], manifest["image"], strict=True)
    }
    counts |= _count_4d(manifest, root)
    return Discovery(manifest, skipped, incomplete, guessed, counts, spacing_mm, shape)


def propose_grid(discovery: Discovery) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Spacing and shape (x, y, z) that hold the median scan in about 96^3 voxels at most."""
    extent = discovery.extent_mm
    volume = extent[0] * extent[1] * extent[2]
    finest = min(discovery.spacing_mm)
    isotropic = max(finest, (volume / _VOXEL_BUDGET) ** (1 / 3))
    spacing = round(isotropic * 4 + 0.499) / 4 if isotropic > finest else round(finest, 3)
    shape = [max(16, -(-round(length / spacing) // 8) * 8) for length in extent]
    return (spacing, spacing, spacing), (shape[0], shape[1], shape[2])


def _patient_of_case(labels: Path | None) -> dict[str, str]:
    """Patient by whatever the labels table calls a case or a patient."""
    if labels is None:
        return {}
    table = read_table(labels, required=("label",))
    if "patient_id" not in table.columns:
        return {}
    names: dict[str, str] = {}
    for column in ("patient_id", "case_id"):
        if column in table.columns:
            names |= dict(zip(table[column], table["patient_id"], strict=True))
    return {name: owner for name, owner in names.items() if name}


def _find_patient(name: str, case_id: str, folder: str, patients: dict[str, str]) -> tuple[str, bool]:
    parts = name.split("/")
    candidates = [case_id, *parts, folder]
    for candidate in candidates:
        if candidate in patients:
            return patients[candidate], False
    prefixes = [known for known in patients if re.match(re.escape(known) + r"(?![A-Za-z0-9])", parts[-1])]
    if prefixes:
        return patients[max(prefixes, key=len)], False
    if len(parts) > 1:
        return parts[0], False
    return _SIDE.sub("", case_id).strip("-_.") or folder, True


def _count_4d(manifest: pd.DataFrame, root: Path) -> dict[str, int]:
    """Phases of the cases that are one 4D file."""
    counts = {}
    for case_id, cell in zip(manifest["case_id"], manifest["image"], strict=True):
        if ";" not in cell and (size := _read_size(root / cell)) and len(size) == 4:
            counts[case_id] = size[3]
    return counts


def _read_size(path: Path) -> tuple[int, ...] | None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return tuple(reader.GetSize())


def _measure(paths: list[Path]) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    spacings, shapes = [], []
    for path in paths:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            continue
        if reader.GetDimension() < 3:
            continue
        axes = _ras_axes(reader)
        spacings.append([reader.GetSpacing()[axis] for axis in axes])
        shapes.append([reader.GetSize()[axis] for axis in axes])
    if not spacings:
        raise DataError(f"none of {len(paths)} images can be read, such as {paths[0].name}; convert them again")
    spacing, shape = pd.DataFrame(spacings).median(), pd.DataFrame(shapes).median()
    return (float(spacing[0]), float(spacing[1]), float(spacing[2])), (int(shape[0]), int(shape[1]), int(shape[2]))


def _ras_axes(reader: sitk.ImageFileReader) -> list[int]:
    """Which array axis (x, y, z) runs along right, anterior and superior."""
    size = reader.GetDimension()
    affine = np.eye(4)
    affine[:3, :3] = np.array(reader.GetDirection()).reshape(size, size)[:3, :3]
    return [int(axis) for axis in np.argsort(nibabel.io_orientation(affine)[:, 0])]


def _strip_suffix(name: str) -> str:
    return re.sub(r"\.(nii\.gz|nii|nrrd|nhdr)$", "", name, flags=re.IGNORECASE)


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path.resolve(), root.resolve())
