"""Encoders of every lossless compression that is read, none of which is the decoder (but for JPEG 2000)."""

import struct
from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

_CODE_BITS = 5  # seventeen categories, one code of five bits each


def encode_lossless(values: np.ndarray, precision: int) -> bytes:
    """Encode one image of one component.

    Args:
        values: Shape (rows, columns), unsigned, below ``2 ** precision``.
        precision: Bits a sample, 2 to 16.
    """
    rows, columns = values.shape
    image = values.astype(np.int64)
    predicted = np.empty_like(image)
    predicted[0, 0] = 1 << (precision - 1)
    predicted[0, 1:] = image[0, :-1]
    predicted[1:, 0] = image[:-1, 0]
    predicted[1:, 1:] = image[1:, :-1]
    stream = "".join(_code(int(difference)) for difference in (image - predicted).ravel())
    stream += "1" * (-len(stream) % 8)
    coded = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", precision, rows, columns, 1) + b"\1\x11\0"
    table = b"\0" + bytes(17 if length == _CODE_BITS else 0 for length in range(1, 17)) + bytes(range(17))
    scan = b"\1\1\0\1\0\0"
    segments = b"".join(
        b"\xff" + marker + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((b"\xc3", frame), (b"\xc4", table), (b"\xda", scan))
    )
    content = b"\xff\xd8" + segments + coded + b"\xff\xd9"
    return content + bytes(len(content) % 2)


def _code(difference: int) -> str:
    """The code of a difference modulo 2 ** 16: its category, then its bits."""
    difference = (difference + 32767) % 65536 - 32767  # -32767 to 32768
    size = abs(difference).bit_length()
    code = f"{size:0{_CODE_BITS}b}"
    if size in {0, 16}:
        return code
    value = difference if difference > 0 else difference + (1 << size) - 1
    return code + f"{value:0{size}b}"


def _encode_rle(dataset: Dataset) -> None:
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)


def _encode_jpeg_2000(dataset: Dataset) -> None:
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)


def _encode_jpeg_ls(dataset: Dataset) -> None:
    dataset.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)


def _encode_jpeg_lossless(dataset: Dataset) -> None:
    size = dataset.Rows * dataset.Columns
    count = int(dataset.get("NumberOfFrames") or 1)
    kind = np.dtype(f"u{dataset.BitsAllocated // 8}")
    frames = np.frombuffer(dataset.PixelData, kind)[: size * count].reshape(count, dataset.Rows, dataset.Columns)
    mask = 2**dataset.BitsStored - 1
    dataset.PixelData = encapsulate([encode_lossless(frame & mask, dataset.BitsStored) for frame in frames])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


ENCODERS: dict[str, Callable[[Dataset], None]] = {
    RLELossless: _encode_rle,
    JPEG2000Lossless: _encode_jpeg_2000,
    JPEGLSLossless: _encode_jpeg_ls,
    JPEGLosslessSV1: _encode_jpeg_lossless,
}
