"""The elements of a DICOM file up to its pixels, walked without a library: an archive has millions of headers.

Only what is plain is walked (explicit or implicit little endian, explicit big endian); for anything odd the answer is
None and pydicom reads the file. Layout: DICOM PS3.5, section 7, and PS3.10, section 7.1.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

TRANSFER_SYNTAX = 0x00020010
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_SEQUENCE, _ITEM, _ITEM_END, _SEQUENCE_END = b"SQ", 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_FIRST_BYTES = 16_384
_MOST_BYTES = 64 << 20
_DEEPEST = 16
_PLAIN = frozenset(str(uid) for uid in AllTransferSyntaxes) - {DeflatedExplicitVRLittleEndian}


@dataclass(frozen=True)
class Elements:
    """Stored bytes by tag.

    Attributes:
        values: Of the wanted tags that are there.
        little_endian: Byte order of binary values.
        syntax: The transfer syntax that the file states, or empty.
    """

    values: dict[int, bytes]
    little_endian: bool
    syntax: str


class _Odd(Exception):  # noqa: N818 - no failure: the sign to leave the file to pydicom
    """Something that is not plain."""


def read_elements(file: BinaryIO, wanted: frozenset[int]) -> Elements | None:
    """Read top-level elements up to the pixel data.

    Args:
        file: At its start; how far it has been read afterwards is not defined.
        wanted: Tags as numbers, ``0xGGGGEEEE``.

    Returns:
        The elements (the last one where a tag is repeated), or None where the file is not plain: damaged, truncated,
        deflated, of an unknown transfer syntax, or wanting where a sequence stands.
    """
    try:
        return _Walk(file, wanted).read()
    except (_Odd, struct.error):
        return None


class _Walk:
    """One file: what was read of it so far, and how its elements are encoded."""

    def __init__(self, file: BinaryIO, wanted: frozenset[int]) -> None:
        self._file = file
        self._wanted = wanted
        self._content = file.read(_FIRST_BYTES)
        self._ended = len(self._content) < _FIRST_BYTES
        self._order = "<"
        self._implicit = False

    def read(self) -> Elements:
        start, syntax = self._find_dataset()
        self._prepare()
        return Elements(self._collect(start), self._order == "<", syntax)

    def _find_dataset(self) -> tuple[int, str]:
        """Where the data set begins after the meta information, and its transfer syntax."""
        content = self._content
        if content[128:132] != b"DICM":
            if content[:2] != b"\x08\x00":
                raise _Odd
            self._implicit = content[4:6] not in _SHORT and content[4:6] not in _LONG
            return 0, ""
        at, syntax = 132, ""
        while content[at : at + 2] == b"\x02\x00":
            element, vr, length = struct.unpack_from("<H2sH", content, at + 2)
            begin = at + 8
            if vr in _LONG:
                (length,) = struct.unpack_from("<I", content, at + 8)
                begin = at + 12
            elif vr not in _SHORT:
                raise _Odd
            at = begin + length
            if at > len(content):
                raise _Odd
            if element == TRANSFER_SYNTAX & 0xFFFF:
                syntax = content[begin:at].decode("ascii", "replace").rstrip(" \0")
        if syntax not in _PLAIN:
            raise _Odd
        self._implicit = syntax == ImplicitVRLittleEndian
        self._order = ">" if syntax == ExplicitVRBigEndian else "<"
        explicit = content[at + 4 : at + 6] in _SHORT or content[at + 4 : at + 6] in _LONG
        if explicit == self._implicit and at < len(content):  # what is there is not what is stated
            raise _Odd
        return at, syntax

    def _prepare(self) -> None:
        self._explicit_head = struct.Struct(f"{self._order}HH2sH").unpack_from
        self._implicit_head = struct.Struct(f"{self._order}HHI").unpack_from
        self._long = struct.Struct(f"{self._order}I").unpack_from
        # The same as whole numbers, which are compared faster: a tag, a VR and a short length.
        self._fast_head = struct.Struct(f"{self._order}IHH").unpack_from
        order: Literal["little", "big"] = "little" if self._order == "<" else "big"
        self._short = frozenset() if self._implicit else frozenset(int.from_bytes(vr, order) for vr in _SHORT)
        little = order == "little"
        self._watched = {(tag & 0xFFFF) << 16 | tag >> 16 if little else tag: tag for tag in self._wanted}

    def _require(self, end: int) -> None:
        """Have the content up to ``end``."""
        while end > len(self._content):
            if self._ended or end > _MOST_BYTES:
                raise _Odd
            size = max(end, 2 * len(self._content)) - len(self._content)
            more = self._file.read(size)
            self._ended = len(more) < size
            self._content += more

    def _collect(self, at: int) -> dict[int, bytes]:  # noqa: PLR0912 - one loop without calls, for speed
        values: dict[int, bytes] = {}
        wanted, last = self._wanted, max(self._wanted)
        fast_head, short, watched = self._fast_head, self._short, self._watched
        content = self._content
        size = len(content)
        while True:
            if at + 12 > size:
                if not self._ended:
                    self._require(at + 8)
                    content = self._content
                    size = len(content)
                if at == size:
                    return values
            raw, code, length = fast_head(content, at)
            if code in short:  # most elements; this loop runs sixty times a file
                end = at + 8 + length
                tag = watched.get(raw)
            else:
                tag, vr, length, begin = self._read_head(at)
                if tag in _PIXELS:
                    return values
                if length == _UNDEFINED:
                    if vr != _SEQUENCE or tag in wanted:
                        raise _Odd
                    at = self._skip_items(begin, _DEEPEST)
                    content = self._content
                    size = len(content)
                    continue
                end = begin + length
                if tag not in wanted:
                    tag = None
                elif vr == _SEQUENCE:
                    raise _Odd
            if end > size:
                self._require(end)
                content = self._content
                size = len(content)
            if tag is not None:
                values[tag] = content[end - length : end]
                if tag == last:  # elements stand in ascending order: nothing that is wanted follows
                    return values
            at = end

    def _read_head(self, at: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and where the value begins; without VRs, what has no length counts as a sequence."""
        if self._implicit:
            group, element, length = self._implicit_head(self._content, at)
            if group == 0xFFFE:
                raise _Odd
            return group << 16 | element, _SEQUENCE if length == _UNDEFINED else b"", length, at + 8
        group, element, vr, length = self._explicit_head(self._content, at)
        if vr in _SHORT:
            return group << 16 | element, vr, length, at + 8
        if vr not in _LONG:
            raise _Odd
        return group << 16 | element, vr, self._long(self._content, at + 8)[0], at + 12

    def _skip_items(self, at: int, deepest: int) -> int:
        """The place after a sequence without a length."""
        if not deepest:
            raise _Odd
        while True:
            self._require(at + 8)
            group, element, length = self._implicit_head(self._content, at)
            tag, at = group << 16 | element, at + 8
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM:
                raise _Odd
            if length == _UNDEFINED:
                at = self._skip_elements(at, deepest)
            else:
                at += length
                self._require(at)

    def _skip_elements(self, at: int, deepest: int) -> int:
        """The place after an item without a length."""
        while True:
            self._require(at + 8)
            group, element, _ = self._implicit_head(self._content, at)
            if group << 16 | element == _ITEM_END:
                return at + 8
            if not self._implicit:
                self._require(at + 12)
            _, vr, length, begin = self._read_head(at)
            if length != _UNDEFINED:
                at = begin + length
                self._require(at)
            elif vr == _SEQUENCE:
                at = self._skip_items(begin, deepest - 1)
            else:
                raise _Odd
