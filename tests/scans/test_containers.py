"""Members of archives are read where they lie; what is dangerous or damaged is told, and nothing else is harmed."""

import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.scans.containers import (
    ARCHIVE_ERRORS,
    explain_damage,
    is_archive,
    list_members,
    open_content,
    read_contents,
    split_member,
)

CONTENT = {"a/1": b"one" * 500, "a/2": b"", "b 3": bytes(range(256)) * 40, "../../etc/passwd": b"up", "/abs": b"abs"}
HIDDEN = {"a/.4": b"hidden", "__MACOSX/a/1": b"hidden", ".git/1": b"hidden"}


def _write_zip(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        for name, value in content.items():
            archive.writestr(name, value)


def _write_tar(mode: str) -> Callable[[Path, dict[str, bytes]], None]:
    def write(path: Path, content: dict[str, bytes]) -> None:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            folder = tarfile.TarInfo("folder")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            for name, value in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(value)
                archive.addfile(member, io.BytesIO(value))

    return write


WRITERS = {
    "x.zip": _write_zip,
    "x.TAR": _write_tar("w"),
    "x.tar.gz": _write_tar("w:gz"),
    "x.tgz": _write_tar("w:gz"),
    "x.tar.bz2": _write_tar("w:bz2"),
    "x.tar.xz": _write_tar("w:xz"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_members_as_they_were_put_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, CONTENT | HIDDEN)
    before = sorted(tmp_path.rglob("*"))
    found = {member.name: member.file.read() for member in list_members(str(path)) if member.file}
    assert found == CONTENT
    names = [Path(f"{path}!/{name}") for name in ("b 3", "a/1", "../../etc/passwd", "b 3")]
    contents = dict(read_contents([*names, path]))
    assert [contents[k] for k in range(4)] == [CONTENT["b 3"], CONTENT["a/1"], b"up", CONTENT["b 3"]]
    assert contents[4] == path.read_bytes()
    with open_content(names[1]) as file:
        assert (file.read(3), file.seek(0), file.read()) == (b"one", 0, CONTENT["a/1"])
    with open_content(path) as file:
        assert file.read() == path.read_bytes()
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


@pytest.mark.parametrize("name", WRITERS)
def test_a_member_that_is_gone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, CONTENT)
    with pytest.raises(OSError, match=r"a member is no longer in its archive$") as caught:
        list(read_contents([Path(f"{path}!/a/1"), Path(f"{path}!/Doe")]))
    assert "Doe" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        list(read_contents([Path(f"{tmp_path}/gone{name}!/Doe")]))
    with pytest.raises(FileNotFoundError):
        list(list_members(f"{tmp_path}/gone{name}"))


@pytest.mark.parametrize("name", WRITERS)
def test_nested_archives_and_repeated_names_are_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, {"a": b"1", "in.tar.gz": b"2", "b": b"3"})
    if name == "x.zip":
        content = path.read_bytes()
        last = content.rfind(b"PK\1\2")
        local = content.rfind(b"PK\3\4")
        path.write_bytes(content[: local + 30] + b"a" + content[local + 31 : last + 46] + b"a" + content[last + 47 :])
    else:
        with tarfile.open(path, _mode(name)) as archive:  # type: ignore[call-overload]
            for member, value in (("a", b"1"), ("in.tar.gz", b"2"), ("a", b"3")):
                info = tarfile.TarInfo(member)
                info.size = 1
                archive.addfile(info, io.BytesIO(value))
    found = [(member.name, member.file.read() if member.file else member.problem) for member in list_members(str(path))]
    assert found == [
        ("a", b"1"),
        ("in.tar.gz", "an archive in an archive; unpack the outer one"),
        ("a", "a second member of one name in its archive; the first is read"),
    ]
    assert dict(read_contents([Path(f"{path}!/a")])) == {0: b"1"}


def _mode(name: str) -> str:
    return {"x.TAR": "w", "x.tar.bz2": "w:bz2", "x.tar.xz": "w:xz"}.get(name, "w:gz")


def test_an_encrypted_member_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    _write_zip(path, CONTENT)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2", content.find(b"PK\1\2") + 1)  # the directory's entry of a/1
    content[at + 8] |= 1
    path.write_bytes(content)
    found = {member.name: member for member in list_members(str(path))}
    assert found["a/1"].file is None
    assert found["a/1"].problem == "an encrypted member of an archive; unpack it with its password"
    assert found["b 3"].file is not None
    with pytest.raises(OSError, match="a damaged archive"):
        list(read_contents([Path(f"{path}!/a/1")]))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("genovox.scans.containers._FREE_BYTES", 1 << 20)
    path = tmp_path / name
    WRITERS[name](path, {"small": b"1", "bomb": bytes(8 << 20), "after": b"2"})
    found = list(list_members(str(path)))
    assert found[-1].file is None
    assert found[-1].problem == "an archive that unpacks to over 100 times its size; unpack it by hand if that is right"
    assert "after" not in {member.name for member in found}
    with pytest.raises(OSError, match="unpacks to over 100 times its size"):
        list(read_contents([Path(f"{path}!/bomb")]))


def test_a_zip_whose_members_share_their_bytes_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://www.bamsoftware.com/hacks/zipbomb/: many entries of the directory point at one."""
    monkeypatch.setattr("genovox.scans.containers._FREE_BYTES", 1 << 20)
    path = tmp_path / "x.zip"
    _write_zip(path, {"one": bytes(100_000)})
    with zipfile.ZipFile(path, "a") as archive:
        info = archive.getinfo("one")
        archive.filelist.extend([info] * 500)
        archive._didModify = True  # type: ignore[attr-defined]
    (found,) = list_members(str(path))
    assert "over 100 times" in found.problem


def test_a_member_that_holds_more_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    _write_zip(path, {"one": bytes(100_000)})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    (found,) = list_members(str(path))
    assert found.size == 10
    with pytest.raises(OSError, match=r"a damaged archive \(BadZipFile\)"):
        list(read_contents([Path(f"{path}!/one")]))


@pytest.mark.parametrize("name", WRITERS)
def test_damage_never_raises(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, CONTENT)
    whole = path.read_bytes()
    rng = random.Random(len(whole))
    problems = set()
    for number in range(60):
        content = bytearray(whole)
        if number % 2:
            content = content[: rng.randrange(len(whole))]
        for _ in range(rng.randint(0, 6)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        for member in list_members(str(path)):
            if member.file is None:
                problems.add(member.problem.split("(")[0])
            else:
                try:
                    member.file.read()
                except ARCHIVE_ERRORS as error:
                    problems.add(explain_damage(error).split("(")[0])
        try:
            assert len(dict(read_contents([Path(f"{path}!/a/1")]))) == 1
        except OSError as error:
            problems.add(str(error.strerror).split("(")[0])
    assert "a damaged archive " in problems


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b", ("/a/b", "")),
        ("/a/b!/c", ("/a/b!/c", "")),
        ("/a/b.zip!/c", ("/a/b.zip", "c")),
        ("/a!/b.tar.gz!/c.zip!/d", ("/a!/b.tar.gz", "c.zip!/d")),
        ("/a/b.ZIP", ("/a/b.ZIP", "")),
    ],
)
def test_names_of_members(path: str, expected: tuple[str, str]) -> None:
    assert split_member(path) == expected


@given(st.text(), st.text(min_size=1))
def test_a_members_name_comes_back(folder: str, member: str) -> None:
    outer = folder.replace("!", "")
    assert split_member(f"{outer}.tgz!/{member}") == (f"{outer}.tgz", member)
    assert is_archive(f"{outer}.tgz")
