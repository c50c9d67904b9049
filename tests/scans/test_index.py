"""Every file is read once, whatever holds it; a kill, a damage and an unreadable file cost no more than that."""

import os
import random
import shutil
import sqlite3
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genovox.core.errors import DataError, ImageError
from genovox.core.tasks import run_many
from genovox.scans import index
from genovox.scans.dicom import Series, arrange_series
from genovox.scans.headers import read_header
from genovox.scans.index import Index, hash_stacks, index_folder, read_folder, walk_files
from genovox.scans.voxels import read_stack
from tests.cohort.conftest import NORTH, POST1, PRE, SOUTH

from .conftest import Tree, describe_frames, describe_image, write_image

STORE = ".genovox/dicom-index.sqlite"


def _index(tree: Tree) -> Index:
    return index_folder(tree.dicom, tree.root)


def _facts(series: list[Series]) -> list[object]:
    return [
        (one.series_uid, one.files, one.problem, [(s.affine, s.shape, s.time_s) for s in one.stacks]) for one in series
    ]


def test_series_are_those_of_the_files(tree: Tree) -> None:
    tree.add(NORTH)
    tree.add(SOUTH)
    found = _index(tree)
    headers = [header for path in tree.files() if (header := read_header(path))]
    expected = arrange_series(headers)
    assert (found.files, found.named) == (len(headers), False)
    assert _facts(found.series) == _facts(expected)
    phases = [(one.series_uid, at) for one in found.series for at in range(len(one.stacks))]
    files = dict(hash_stacks(tree.root, phases))
    for one in expected:
        for at, stack in enumerate(one.stacks):
            kept = files[one.series_uid, at]
            assert [f"{tree.root}/{name}" for name in kept.files] == list(stack.files)
            assert kept.frames == stack.frames
            assert len(kept.content) == 32
    again = dict(hash_stacks(tree.root, phases))
    assert again == files


def test_only_what_is_new_is_read(tree: Tree, count_reads: Callable[[], list[str]]) -> None:
    tree.add(NORTH, PRE)
    first = _index(tree)
    assert len(count_reads()) == len(tree.files())
    assert _index(tree).content == first.content
    assert count_reads() == []
    tree.add(NORTH, POST1)
    second = _index(tree)
    assert len(count_reads()) == len(tree.files()) // 2
    assert second.content != first.content
    changed = tree.files()[3]
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    assert _index(tree).content not in {first.content, second.content}
    assert count_reads() == [changed.name]
    shutil.rmtree(tree.dicom / NORTH / "1" / POST1)
    third = _index(tree)
    assert count_reads() == []
    assert (third.files, len(third.series)) == (first.files, 1)


def test_hashes_follow_the_content(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    phases = [(one.series_uid, 0) for one in _index(tree).series]
    before = dict(hash_stacks(tree.root, phases))
    changed = tree.files()[3]
    content = bytearray(changed.read_bytes())
    content[-2000] ^= 1
    changed.write_bytes(content)
    _index(tree)
    after = dict(hash_stacks(tree.root, phases))
    assert [after[phase].content == before[phase].content for phase in phases] == [False, True]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_of_files_are_folders_as_well(tree: Tree, kind: str, count_reads: Callable[[], list[str]]) -> None:
    tree.add(NORTH, PRE, POST1)
    expected = _index(tree)
    phases = [(one.series_uid, 0) for one in expected.series]
    hashes = {phase: files.content for phase, files in hash_stacks(tree.root, phases)}
    packed = tree.dicom / f"{SOUTH}.{kind}"
    count_reads()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in tree.files():
                archive.write(path, path.relative_to(tree.dicom))
    else:
        with tarfile.open(packed, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(tree.dicom / NORTH, "north")
    shutil.rmtree(tree.dicom / NORTH)
    found = _index(tree)
    assert len(count_reads()) == expected.files
    assert (_facts(found.series), found.files, found.content) == (
        _facts(expected.series),
        expected.files,
        expected.content,
    )
    files = dict(hash_stacks(tree.root, phases))
    assert {phase: one.content for phase, one in files.items()} == hashes
    stack = found.series[0].stacks[0]
    paths = [tree.root / name for name in files[phases[0]].files]
    assert read_stack(paths, stack.affine, stack.shape).array.max() > 0
    assert (_index(tree).content, count_reads()) == (found.content, [])
    assert len(read_folder(tree.dicom)) == expected.files


def test_what_is_not_read_is_told_without_a_name(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    tree.add(NORTH, PRE)
    file = tree.files()[0]
    (tree.dicom / "Doe.dcm").write_bytes(file.read_bytes()[:132] + b"\2\0\0\0UL" + bytes(40))
    with zipfile.ZipFile(tree.dicom / "Roe.zip", "w") as archive:
        archive.write(file, "Roe/1")
        archive.writestr("Roe/inner.zip", b"")
    (tree.dicom / "Poe.tar.gz").write_bytes(b"no archive")
    os.utime(tree.dicom / "Poe.tar.gz", ns=(1, 1))
    (tree.dicom / "notes.txt").write_text("no DICOM: nothing to tell")
    found = _index(tree)
    assert "3 files of the archive not read: " in caplog.text
    for words in (
        "header is damaged",
        "an archive in an archive",
        "a damaged archive (BadGzipFile)",
        "listed in .genovox/unread.txt",
    ):
        assert words in caplog.text
    assert "oe" not in caplog.text.replace("does", "")
    unread = tree.root / ".genovox" / "unread.txt"
    assert stat.S_IMODE(unread.stat().st_mode) == 0o600
    names = [line.split("\t")[0] for line in unread.read_text().splitlines()]
    assert names == ["dicom/Doe.dcm", "dicom/Poe.tar.gz", "dicom/Roe.zip!/Roe/inner.zip"]
    assert found.files == len(tree.files(tree.dicom / NORTH)) + 1
    for path in list(tree.dicom.iterdir()):
        if path.is_file():
            path.unlink()
    _index(tree)
    assert not unread.exists()


def test_a_file_that_the_machine_cannot_read_now_is_tried_again(
    tree: Tree, count_reads: Callable[[], list[str]]
) -> None:
    """An unreadable disk is no verdict on a file: forgotten slices would cost the exam for ever."""
    tree.add(NORTH, PRE, POST1)
    file = tree.files()[3]
    content = file.read_bytes()
    file.unlink()
    file.symlink_to("/proc/self/mem")  # opens, and fails with an input/output error at the first byte
    with pytest.raises(
        DataError, match=r"the machine failed 1 file, .* cannot be read \(Input/output error\)"
    ) as caught:
        _index(tree)
    assert file.name not in str(caught.value)
    assert ".genovox/unread.txt names it" in str(caught.value)
    assert (tree.root / ".genovox" / "unread.txt").read_text().startswith(f"dicom/{file.relative_to(tree.dicom)}\t")
    count_reads()
    file.unlink()
    file.write_bytes(content)
    assert len(_index(tree).series[0].stacks) == 1
    assert count_reads() == [file.name]
    assert not (tree.root / ".genovox" / "unread.txt").exists()


def test_a_folder_that_cannot_be_listed_is_not_left_out_unsaid(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add(NORTH, PRE)
    tree.add(SOUTH, PRE)
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith(SOUTH):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"a folder of the archive cannot be listed \(Permission denied\)") as caught:
        _index(tree)
    assert SOUTH not in str(caught.value)
    assert SOUTH in (tree.root / ".genovox" / "unread.txt").read_text()
    with pytest.raises(DataError, match="cannot be listed"):
        list(walk_files(tree.dicom))


def test_a_kill_costs_what_was_in_hand(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, count_reads: Callable[[], list[str]]
) -> None:
    tree.add(NORTH)
    monkeypatch.setattr(index, "_CHUNK_FILES", 10)

    def stop(function: Callable[..., object], items: list[object], **options: object) -> object:
        for number, outcome in enumerate(run_many(function, items, **options)):  # type: ignore[arg-type]
            if number == 3:
                raise KeyboardInterrupt
            yield outcome

    with monkeypatch.context() as patch:
        patch.setattr(index, "run_many", stop)
        with pytest.raises(KeyboardInterrupt):
            _index(tree)
    assert len(count_reads()) == 40
    found = _index(tree)
    assert len(count_reads()) == len(tree.files()) - 30
    assert found.files == len(tree.files())


def test_an_index_is_as_good_in_small_steps(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add(NORTH)
    whole = _index(tree)
    monkeypatch.setattr(index, "_CHUNK_FILES", 7)
    monkeypatch.setattr(index, "_WINDOW_FILES", 30)
    monkeypatch.setattr(index, "_WINDOW_IMAGES", 5)
    monkeypatch.setattr(index, "_WINDOW_STACKS", 1)
    (tree.root / STORE).unlink()
    small = _index(tree)
    assert (_facts(small.series), small.content) == (_facts(whole.series), whole.content)
    phases = [(one.series_uid, 0) for one in small.series if one.stacks]
    assert set(dict(hash_stacks(tree.root, phases))) == set(phases)


@pytest.mark.parametrize("damage", ["replaced", "cut", "noise", "another version", "a row"])
def test_a_damaged_index_is_made_anew(tree: Tree, damage: str) -> None:
    tree.add(NORTH, PRE, POST1)
    before = _index(tree)
    path = tree.root / STORE
    content = path.read_bytes()
    if damage == "replaced":
        path.write_text('{"format": [0, []], "files": {"x": 1}}')
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        path.write_bytes(content[:4096] + random.Random(1).randbytes(len(content) - 4096))
    else:
        with sqlite3.connect(path) as connection:
            table = "series SET arranged = '{'" if damage == "a row" else "about SET version = 'older'"
            connection.execute(f"UPDATE {table}")
        connection.close()
    after = _index(tree)
    assert (_facts(after.series), after.content) == (_facts(before.series), before.content)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_index_of_an_earlier_version_is_removed(tree: Tree) -> None:
    """It held what headers say of people."""
    tree.add(NORTH, PRE)
    old = tree.root / ".genovox" / "dicom-index.json"
    old.parent.mkdir()
    old.write_text("{}")
    _index(tree)
    assert not old.exists()


def test_names_that_are_no_text(tree: Tree) -> None:
    folder = tree.add(NORTH, PRE)
    target = os.fsdecode(os.fsencode(tree.dicom) + b"/M\xfcller")
    shutil.move(folder, target)
    (one,) = _index(tree).series
    files = dict(hash_stacks(tree.root, [(one.series_uid, 0)]))[one.series_uid, 0]
    assert all((tree.root / name).exists() for name in files.files)


def test_enhanced_files_are_read_once(tree: Tree, count_reads: Callable[[], list[str]]) -> None:
    voxels = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    write_image(tree.dicom / "a", describe_frames(voxels))
    (one,) = _index(tree).series
    assert (one.files, one.problem, len(one.stacks)) == (1, "", 2)
    files = dict(hash_stacks(tree.root, [(one.series_uid, 1)]))[one.series_uid, 1]
    assert (files.files, files.frames) == (("dicom/a",) * 3, (3, 4, 5))
    stack = one.stacks[1]
    found = read_stack([tree.root / name for name in files.files], stack.affine, stack.shape, files.frames)
    np.testing.assert_array_equal(found.array[0], voxels[1])


def test_files_without_a_series_are_one_that_stays_out(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MOST_NAMELESS", 2)
    for k in range(5):
        write_image(
            tree.dicom / f"{k}", describe_image(k, np.zeros((4, 5), np.uint16), (0, 0, k), SeriesInstanceUID="")
        )
    (one,) = _index(tree).series
    assert (one.files, one.stacks) == (5, ())
    assert "a series must carry its identifier" in one.problem


def test_a_series_that_breaks_the_reader_stays_out(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add(NORTH, PRE, POST1)
    broken = str(read_header(tree.files()[0]).series_uid)  # type: ignore[union-attr]

    def fail(headers: list[object]) -> list[Series]:
        if headers[0].series_uid == broken:  # type: ignore[attr-defined]
            raise ZeroDivisionError("Doe")
        return arrange_series(headers)  # type: ignore[arg-type]

    monkeypatch.setattr(index, "arrange_series", fail)
    problems = {one.series_uid: one.problem for one in _index(tree).series}
    assert problems.pop(broken) == "a series must make sense, this one stopped what reads it; export it again"
    assert list(problems.values()) == [""]


def test_a_disk_that_fails_later_is_no_verdict_on_a_series(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add(NORTH, PRE)

    def fail(_: object) -> list[Series]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(index, "arrange_series", fail)
        with pytest.raises(DataError, match=r"the machine failed 1 series, such as number 1: .*Input/output error"):
            _index(tree)
    assert _index(tree).series[0].problem == ""
    tree.files()[0].unlink()
    tree.files()[0].with_name("x").symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"a file cannot be read \(Input/output error\)"):
        read_folder(tree.dicom)


def test_a_slice_that_is_gone_is_not_named(tree: Tree) -> None:
    tree.add(NORTH, PRE)
    (one,) = _index(tree).series
    tree.files()[2].unlink()
    with pytest.raises(DataError, match=r"^a slice cannot be read \(No such file or directory\); mend it") as caught:
        list(hash_stacks(tree.root, [(one.series_uid, 0)]))
    assert str(tree.root) not in str(caught.value)


def test_a_damaged_member_costs_its_own_scan(tree: Tree) -> None:
    """Its header can be read, its pixels cannot: the phase is hashed, and refused when it is read."""
    tree.dicom.mkdir(parents=True)
    with zipfile.ZipFile(tree.dicom / "a.zip", "w") as archive:
        for k in range(3):  # larger than what is read of a header
            dataset = describe_image(k, np.zeros((200, 200), np.uint16), (0, 0, k))
            archive.write(write_image(tree.root / f"{k}", dataset), f"{k}")
    content = bytearray((tree.dicom / "a.zip").read_bytes())
    content[len(content) // 2] ^= 1  # stored as it is: only the checksum tells
    (tree.dicom / "a.zip").write_bytes(content)
    (one,) = _index(tree).series
    ((_, files),) = hash_stacks(tree.root, [(one.series_uid, 0)])
    stack = one.stacks[0]
    with pytest.raises(ImageError, match=r"cannot be read \(a damaged archive \(BadZipFile\)"):
        read_stack([tree.root / name for name in files.files], stack.affine, stack.shape, files.frames)


def test_a_phase_that_is_not_known(tree: Tree) -> None:
    tree.add(NORTH, PRE)
    _index(tree)
    with pytest.raises(DataError, match=r"was damaged .* has been removed; run the same command again"):
        list(hash_stacks(tree.root, [("1.2.3", 0)]))


def test_links_are_followed_but_never_round_in_circles(tree: Tree, tmp_path: Path) -> None:
    """A folder that stands elsewhere may be linked into the archive."""
    tree.add(NORTH, PRE)
    before = _index(tree)
    shutil.move(tree.dicom / NORTH, tmp_path / "elsewhere")
    (tree.dicom / NORTH).symlink_to(tmp_path / "elsewhere")
    (tree.dicom / "up").symlink_to(tree.root)
    (tree.dicom / "again").symlink_to(tree.dicom)
    after = _index(tree)
    assert after.files == before.files
    assert (_facts(after.series), after.content) == (_facts(before.series), before.content)


@pytest.mark.parametrize(("name", "content"), [("a.dcm", b""), ("b.IMA", b"no image"), ("c.dcm", b"\0" * 400)])
def test_a_file_that_is_dicom_by_its_name_only_is_told(tree: Tree, name: str, content: bytes) -> None:
    tree.add(NORTH, PRE, POST1)
    (tree.dicom / name).write_bytes(content)
    index_folder(tree.dicom, tree.root)
    told = (tree.root / ".genovox" / "unread.txt").read_text()
    assert f"{name}" in told
    assert f"of {len(content)} bytes, DICOM by its name but not by its content" in told
