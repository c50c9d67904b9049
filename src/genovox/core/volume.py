"""A volume: an array of phases or channels and the affine that places it in the patient."""

import gzip
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from genovox.core.artifacts import atomic_path
from genovox.core.errors import ImageError

Array = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd",)
_NIFTI_HEADER_BYTES = 540
# Its stub does not say that it is an exception.
_INFLATE_ERROR = cast("type[Exception]", isal_zlib.IsalError)
_NIFTI_ERRORS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    EOFError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    _INFLATE_ERROR,
)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """Phases or channels on one grid.

    Attributes:
        array: Shape (phase or channel, z, y, x), float32.
        affine: Shape (4, 4); maps the (x, y, z) voxel index, the reverse of the array's axes, to RAS mm.

    Raises:
        ImageError: If the array is not 4D or empty, or the affine is singular or not finite.
    """

    array: Array
    affine: Affine

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.size == 0:
            raise ImageError(f"a volume must be (phase, z, y, x) and hold voxels, got shape {self.array.shape}")
        check_affine(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z of the array, in mm."""
        return affine_spacing_mm(self.affine)

    @property
    def orientation(self) -> str:
        """Where x, y and z point, such as ``RAS`` or ``PIR``."""
        return affine_orientation(self.affine)


def affine_spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Length of the voxel's three edges in mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def affine_orientation(affine: Affine) -> str:
    """Three letters: the anatomical direction nearest to each array axis x, y, z."""
    return "".join(nibabel.aff2axcodes(affine))


def check_affine(affine: Affine) -> None:
    """Refuse an affine that places no volume in space.

    Raises:
        ImageError: If it is not a finite, invertible (4, 4) matrix.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ImageError("the affine must be a finite 4 x 4 matrix; convert the image again from its source")
    with np.errstate(over="ignore"):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing < 1e-6).any():
        raise ImageError(
            f"voxel spacing must be above 0 mm, got {' x '.join(f'{s:g}' for s in spacing)}; "
            "convert the image again from its source"
        )
    if not np.isfinite(spacing).all() or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-4:
        raise ImageError("the affine must be invertible, got a singular one; convert the image again from its source")


def holds_point(affine: npt.ArrayLike, shape: tuple[int, int, int], point_mm: tuple[float, ...]) -> bool:
    """Whether a place lies in a scan.

    Args:
        affine: Shape (4, 4), voxel (x, y, z) to RAS mm.
        shape: (z, y, x).
        point_mm: RAS mm, x, y, z.
    """
    voxel = np.linalg.solve(np.asarray(affine), [*point_mm, 1.0])[:3]
    return bool(((voxel >= -0.5) & (voxel <= np.array(shape[::-1]) - 0.5)).all())


def reorient_to_ras(volume: Volume) -> Volume:
    """The same voxels as a view whose x, y and z run to right, anterior and superior, as near as the axes allow.

    Nothing is interpolated: axes are swapped and mirrored, and the affine follows, so every voxel stays where it was.
    """
    orientation = nibabel.io_orientation(volume.affine)
    spatial = np.moveaxis(volume.array, (3, 2, 1), (0, 1, 2))
    array = np.moveaxis(nibabel.apply_orientation(spatial, orientation), (0, 1, 2), (3, 2, 1))
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(orientation, volume.array.shape[:0:-1])
    return Volume(array, affine)


def is_image_path(path: Path) -> bool:
    """Whether the name ends like an image genovox reads."""
    return path.name.lower().endswith(NIFTI_SUFFIXES + NRRD_SUFFIXES)


def read_volume(path: Path) -> Volume:
    """Read a NIfTI or NRRD file.

    Args:
        path: A 3D file, or a 4D NIfTI whose last axis is the phase.

    Returns:
        The volume; integer data up to 24 bits keep their values exactly.

    Raises:
        ImageError: If the file is missing, truncated, not an image or holds values that are not finite.
    """
    try:
        exists = path.exists()
    except OSError:  # a name longer than the system takes
        exists = False
    if not exists:
        raise ImageError(f"no such image: {path.name}; check the path")
    if not is_image_path(path):
        raise ImageError(
            f"{path.name} is not NIfTI or NRRD ({', '.join(NIFTI_SUFFIXES + NRRD_SUFFIXES)}); convert it first"
        )
    try:
        volume = _read_nifti(path) if path.name.lower().endswith(NIFTI_SUFFIXES) else _read_nrrd(path)
    except ImageError as error:
        raise error if path.name in str(error) else ImageError(f"{path.name}: {error}") from None
    if not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise ImageError(
            f"voxels must be finite, {path.name} has {count} that are NaN or infinite; "
            "convert the image again from its source"
        )
    return volume


def write_nifti(path: Path, volume: Volume) -> None:
    """Write a volume as NIfTI atomically, compressed if the name ends in ``.gz``; phases become the fourth axis."""
    data = np.transpose(volume.array, (3, 2, 1, 0))
    image = nibabel.Nifti1Image(data[..., 0] if data.shape[3] == 1 else data, volume.affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    with atomic_path(path) as partial:
        # No time stamp in the gzip header: the same volume gives the same file.
        partial.write_bytes(gzip.compress(content, 3, mtime=0) if path.suffix == ".gz" else content)


def read_stored_type(path: Path) -> str:
    """The number type a readable NIfTI or NRRD file stores its voxels in, such as ``int16``."""
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            start = file.read(_NIFTI_HEADER_BYTES)
        return str(_nifti_format(start).header_class.from_fileobj(io.BytesIO(start)).get_data_dtype().newbyteorder("="))
    with path.open("rb") as file:
        fields = (line.split(b":", 1) for line in file)
        return next(field[1].strip().decode() for field in fields if field[0] == b"type")


def _read_nifti(path: Path) -> Volume:
    try:
        # Whole, so that the checksum of the compressed file is verified: a flipped bit must not become a voxel.
        content = igzip.decompress(path.read_bytes()) if _is_gzip(path) else path.read_bytes()
        nifti = _nifti_format(content)
        header = nifti.header_class.from_fileobj(io.BytesIO(content))
        _check_promise(header, len(content))
        # The header's own numbers may be no numbers either: the affine is checked where the volume is made.
        with np.errstate(over="ignore", invalid="ignore"):
            image = nifti.from_bytes(content)
            data = np.asarray(image.dataobj, dtype=np.float32)
            affine = np.asarray(image.affine, dtype=np.float64)
    except _NIFTI_ERRORS as error:
        raise _unreadable(path, error) from None
    if data.ndim == 5 and data.shape[3] == 1:
        data = data[:, :, :, 0]
    if data.ndim == 3:
        data = data[..., np.newaxis]
    if data.ndim != 4:
        raise ImageError(f"{path.name} must be 3D, or 4D with phases last, got {data.ndim}D; split it by phase")
    return Volume(np.ascontiguousarray(np.transpose(data, (3, 2, 1, 0))), affine)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _nifti_format(content: bytes) -> Any:
    """The reader of NIfTI-1 or NIfTI-2, as the magic says."""
    if content[344:348] == b"n+1\0":
        return nibabel.Nifti1Image
    if content[4:8] == b"n+2\0":
        return nibabel.Nifti2Image
    raise ImageFileError("not a NIfTI file")


def _check_promise(header: Any, size: int) -> None:
    """Refuse a header that promises more than the file holds before memory is taken for it, and voxels of no number."""
    dtype, shape = header.get_data_dtype(), header.get_data_shape()
    if dtype.kind not in "iuf":
        raise ImageFileError(f"a voxel must be one real number, got {dtype}")
    if any(length < 0 for length in shape):
        raise ImageFileError(f"sizes must be above 0, got {shape}")
    promised = int(header.get_data_offset()) + math.prod(int(length) for length in shape) * dtype.itemsize
    if promised > size:
        raise ImageFileError(f"truncated: its header promises {promised} bytes, there are {size}")


def _read_nrrd(path: Path) -> Volume:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    if (
        image.GetDimension() != 3
        or image.GetNumberOfComponentsPerPixel() != 1
        or "complex" in image.GetPixelIDTypeAsString()
    ):
        raise ImageError(f"{path.name} must be 3D with one value a voxel; split it by phase")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    with np.errstate(over="ignore", invalid="ignore"):
        array = sitk.GetArrayFromImage(image).astype(np.float32)[np.newaxis]
    return Volume(array, _LPS_TO_RAS @ affine)


def _unreadable(path: Path, error: Exception) -> ImageError:
    words = str(error).strip().splitlines()
    reason = words[-1].split("!r")[0][:160] if words else type(error).__name__
    return ImageError(f"{path.name} cannot be read ({reason}); copy or convert it again from its source")
