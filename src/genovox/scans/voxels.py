"""The voxels of a phase: its slices decoded, rescaled and stacked."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from genovox.core.errors import ImageError
from genovox.core.volume import Volume
from genovox.scans.containers import read_contents
from genovox.scans.frames import Groups, is_mosaic
from genovox.scans.headers import DICOM_ERRORS

_Pixels = npt.NDArray[Any]
_AGAIN = "export or copy the series again"
_END_OF_IMAGE = b"\xff\xd9"


def read_stack(
    files: Sequence[Path], affine: npt.ArrayLike, shape: tuple[int, int, int], frames: Sequence[int] = ()
) -> Volume:
    """Read the voxels of one phase.

    Args:
        files: One file a slice, in order; a member of an archive is ``archive!/member``.
        affine: Shape (4, 4), index to RAS mm.
        shape: (z, y, x).
        frames: Number of each slice's frame in its file, from 0; empty for files of one image each.

    Returns:
        The volume, array (1, z, y, x), in the scanner's units: each slice's rescale slope and intercept are applied.
        Of MONOCHROME1, where less is brighter, the stored values are inverted first, as ITK does, so that more signal
        is a larger value in every scan (DICOM PS3.3, C.7.6.3.1.2).

    Raises:
        ImageError: If a slice cannot be read or decoded, holds too few bytes or has another matrix; it names the
            slice's number only.
    """
    if len(files) != shape[0] or (frames and len(frames) != len(files)):
        raise ImageError(f"a stack must hold one file a slice, got {len(files)} files for {shape[0]} slices")
    slices: dict[Path, list[int]] = defaultdict(list)
    for number, path in enumerate(files):
        slices[path].append(number)
    array = np.empty((1, *shape), np.float32)
    paths = list(slices)
    done = 0
    try:
        for at, content in read_contents(paths):
            numbers = slices[paths[at]]
            done = numbers[0]
            for number, pixels in _read_slices(content, numbers, frames, shape):
                with np.errstate(over="ignore"):  # a slope beyond all sense: refused below
                    array[0, number] = pixels
            done = min(numbers[-1] + 1, shape[0] - 1)
    except OSError as error:
        reason = error.strerror or "damaged file"
        raise ImageError(f"{_place(done, shape)} cannot be read ({reason}); {_AGAIN}") from None
    if not np.isfinite(array).all():
        raise ImageError("voxels must be finite, got NaN or infinite ones; export the series again")
    return Volume(array, np.asarray(affine, np.float64))


def _place(number: int, shape: tuple[int, int, int]) -> str:
    return f"slice {number + 1} of {shape[0]}"


def _read_slices(
    content: bytes, numbers: list[int], frames: Sequence[int], shape: tuple[int, int, int]
) -> list[tuple[int, _Pixels]]:
    """Slices that lie in one file, by their number in the stack."""
    place = _place(numbers[0], shape)
    try:
        # From memory and without warnings: one of pydicom's could carry the file's name.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(BytesIO(content), force=True)
            if "PixelData" not in dataset:
                raise ImageError(f"{place} holds no whole pixel data; it is truncated or no image: {_AGAIN}")
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = _transfer_syntax(dataset)
            _refuse_unread(dataset, place)
            images = _decode(dataset, [frames[number] for number in numbers] if frames else [0], shape, place)
            return list(zip(numbers, images, strict=True))
    except DICOM_ERRORS as error:
        few = "bytes of pixel data is less than expected" in str(error)
        reason = "truncated: too few bytes of pixel data" if few else f"damaged pixel data, {type(error).__name__}"
        raise ImageError(f"{place} cannot be decoded ({reason}); {_AGAIN}") from None


def _decode(dataset: Dataset, wanted: list[int], shape: tuple[int, int, int], place: str) -> list[_Pixels]:
    """Frames, or tiles of a mosaic, in the order they are asked for."""
    count = int(dataset.get("NumberOfFrames") or 1)
    tiled = is_mosaic(dataset.get("ImageType") or ())
    stored = {0} if tiled else set(wanted)
    if max(stored) >= count:
        raise ImageError(f"{place} is frame {max(stored) + 1}, its file holds {count}; {_AGAIN}")
    _refuse_truncated(dataset, stored, count, place)
    order = sorted(stored)
    found = {}
    for frame, pixels in zip(order, iter_pixels(dataset, indices=order), strict=True):
        values = _invert(pixels, dataset)
        slope, intercept = _rescale(dataset, frame)
        with np.errstate(over="ignore"):  # a slope beyond all sense: refused where the stack is whole
            found[frame] = values * values.dtype.type(slope) + values.dtype.type(intercept)
    if tiled:
        found = {tile: _cut_tile(found[0], tile, shape, place) for tile in wanted}
    for pixels in found.values():
        if pixels.shape != shape[1:]:
            raise ImageError(
                f"{place} must be {_times(shape[1:])}, got {_times(pixels.shape)}; export the series again"
            )
    return [found[frame] for frame in wanted]


def _cut_tile(mosaic: _Pixels, tile: int, shape: tuple[int, int, int], place: str) -> _Pixels:
    rows, columns = shape[1:]
    across, down = mosaic.shape[1] // columns, mosaic.shape[0] // rows
    if not tile < across * down:
        raise ImageError(f"{place} is tile {tile + 1}, its mosaic holds {across * down}; {_AGAIN}")
    top, left = tile // across * rows, tile % across * columns
    return mosaic[top : top + rows, left : left + columns]


def _invert(pixels: npt.NDArray[Any], dataset: Dataset) -> _Pixels:
    # Single precision holds every 16-bit value, and is what converters compute in.
    values = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    if str(dataset.get("PhotometricInterpretation", "")).strip().upper() != "MONOCHROME1":
        return values
    signed = bool(dataset.get("PixelRepresentation"))
    inverted: _Pixels = (-1 if signed else 2 ** int(dataset.BitsStored) - 1) - values
    return inverted


def _rescale(dataset: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame: its own, those that all frames share, or the image's."""
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    groups = Groups(own[frame] if own else Dataset(), shared[0] if shared else Dataset())
    for source in (groups.find("PixelValueTransformationSequence"), dataset):
        slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
        if slope not in {None, ""} or intercept not in {None, ""}:
            return float(1 if slope in {None, ""} else slope), float(0 if intercept in {None, ""} else intercept)
    return 1.0, 0.0


def _refuse_unread(dataset: Dataset, place: str) -> None:
    """Tell a compression, or a layout of bits, that nothing here decodes from damage.

    Raises:
        ImageError: Naming it.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not _is_decoded(syntax, int(dataset.get("BitsStored") or 0)):
        raise ImageError(f"{place} is compressed as {syntax.name}, which this version does not read; export it again")
    stored, high = dataset.get("BitsStored"), dataset.get("HighBit")
    if stored and high is not None and int(high) != int(stored) - 1:
        raise ImageError(
            f"{place} must hold its {stored} bits from bit {int(stored) - 1} down, got high bit {high}; {_AGAIN}"
        )


def _is_decoded(syntax: UID, bits: int) -> bool:
    if syntax == JPEGExtended12Bit and bits > 8:
        return False
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _refuse_truncated(dataset: Dataset, wanted: set[int], count: int, place: str) -> None:
    """Refuse a compressed image without its end, which some decoders fill with zeros.

    Raises:
        ImageError: If the end-of-image marker of a JPEG, JPEG-LS or JPEG 2000 stream is not there.
    """
    syntax: UID = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return
    for frame, content in enumerate(generate_frames(dataset.PixelData, number_of_frames=count)):
        if frame in wanted and not content.rstrip(b"\0").endswith(_END_OF_IMAGE):
            raise ImageError(f"{place} cannot be decoded (truncated: the compressed image has no end); {_AGAIN}")


def _transfer_syntax(dataset: Dataset) -> UID:
    """How a file without meta information was encoded, as pydicom found it."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
