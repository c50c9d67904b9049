"""The repository holds text alone: a picture, a scan or a network would be somebody's body or nobody's source."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _list_files() -> list[Path]:
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone: nothing says which files belong to the repository")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [REPOSITORY / name for name in names if (REPOSITORY / name).is_file()]


def test_every_file_is_text_of_a_size_one_can_read() -> None:
    files = _list_files()
    assert len(files) > 100
    binary = [str(path.relative_to(REPOSITORY)) for path in files if b"\0" in path.read_bytes()]
    assert not binary
    large = {path.name: path.stat().st_size for path in files if path.stat().st_size > 100_000}
    assert not large


def test_the_root_holds_nothing_but_what_a_stranger_looks_for() -> None:
    names = {path.name for path in _list_files() if path.parent == REPOSITORY}
    assert names <= {
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "NOTICE",
        "README.md",
        "constraints.txt",
        "pyproject.toml",
    }
