"""What the index remembers comes back as it was, and only its owner can read it."""

import json
import sqlite3
import stat
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import DataError, DiskFullError
from genovox.scans.dicom import arrange_series
from genovox.scans.headers import Header, read_header
from genovox.scans.store import (
    FACTS,
    DamagedStoreError,
    Source,
    open_store,
    pack_header,
    pack_series,
    unpack_header,
    unpack_series,
)
from tests.cohort.conftest import NORTH

from .conftest import Tree

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(text=TEXT, number=NUMBERS, position=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS), words=st.lists(TEXT))
def test_a_header_comes_back(text: str, number: float, position: tuple[float, ...] | None, words: list[str]) -> None:
    header = Header(
        *("a", 1, 2, text, "", text, "", ""), position=position, image_type=tuple(words), echo_time_ms=number, frame=3
    )
    assert unpack_header(pack_header(header), "a", 1, 2) == header
    assert set(FACTS) == {field.name for field in fields(Header)} - {"path", "size", "mtime_ns"}


def test_a_series_comes_back_but_for_its_files(tree: Tree) -> None:
    tree.add(NORTH)
    headers = [header for path in tree.files() if (header := read_header(path))]
    for series in arrange_series(headers):
        own = [header for header in headers if header.series_uid == series.series_uid]
        packed = pack_series(series, own, str(tree.root))
        bare = replace(series.first, path="", size=0, mtime_ns=0)
        stacks = tuple(
            replace(stack, files=(), frames=(), first=replace(stack.first, path="", size=0, mtime_ns=0))
            for stack in series.stacks
        )
        assert unpack_series(packed.arranged) == replace(series, first=bare, stacks=stacks)
        for stack, (files, _) in zip(series.stacks, packed.stacks, strict=True):
            assert [f"{tree.root}/{name}" for name in json.loads(files)["files"]] == list(stack.files)
        assert (packed.uid, packed.named) == (series.series_uid, False)
        touched = pack_series(series, [replace(own[0], mtime_ns=7), *own[1:]], str(tree.root))
        assert touched.content == packed.content
        assert (touched.stacks == packed.stacks) == (not series.stacks)
        named = pack_series(series, [replace(own[0], identity_removed=False, size=1), *own[1:]], str(tree.root))
        assert named.named
        assert named.content != packed.content


def test_files_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / ".genovox" / "store.sqlite"
    with open_store(path) as store:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert store.note_found([(b"a", 1, 1), (b"b", 2, 2), (b"\xff", 3, 3)]) == 3
        assert (store.count_new(), store.list_new(2)) == (3, [(b"a", 1, 1), (b"b", 2, 2)])
        store.add_sources(
            [Source(b"a", 1, 1, (("", 1, "1.2", "x"), ("m", 5, "1.3", "y"))), Source(b"b", 2, 2, (), "n")]
        )
    with open_store(path) as store:
        store.note_found([(b"a", 1, 1), (b"b", 2, 9), (b"\xff", 3, 3)])
        store.forget_lost()
        assert store.list_new(9) == [(b"b", 2, 9), (b"\xff", 3, 3)]
        assert store.list_notes() == []
        assert sorted(store.list_unarranged()) == [("1.2", 1), ("1.3", 1)]
        assert store.list_images("1.3", 9) == [(b"a", "m", 5, 1, "y")]
        assert store.count_images() == 2
        store.note_found([])
        store.forget_lost()
        assert (store.count_images(), store.list_unarranged()) == (0, [])


def test_what_two_processes_read_counts_once(tmp_path: Path) -> None:
    source = Source(b"a", 1, 1, (("", 1, "1.2", "x"),))
    with open_store(tmp_path / "store.sqlite") as one, open_store(tmp_path / "store.sqlite") as other:
        for store in (one, other):
            assert store.note_found([(b"a", 1, 1)]) == 1
            store.add_sources([source])
        assert (one.count_images(), one.list_unarranged()) == (1, [("1.2", 1)])
        assert len(other.list_images("1.2", 9)) == 1


def test_a_full_disk_and_a_locked_index_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    for message, kind in (("database or disk is full", DiskFullError), ("database is locked", DataError)):
        with pytest.raises(kind) as caught, open_store(path):
            raise sqlite3.OperationalError(message)
        assert not isinstance(caught.value, DamagedStoreError)
        assert path.exists()
    with pytest.raises(DamagedStoreError), open_store(path):
        raise sqlite3.DatabaseError("malformed")
    assert not path.exists()
