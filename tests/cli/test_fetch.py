"""``genovox fetch``: the plan, the download from a store on this machine, and its errors."""

import json
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.fetch import store as module
from tests.fetch.conftest import Store, store

__all__ = ["store"]


def _fetch(store: Store, out: Path, *more: str) -> int:
    arguments = ["fetch", "demo_breast", "--index", str(store.index), "--store", store.address, "--out", str(out)]
    return run_command([*arguments, *more])


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["fetch", "--help"]) == 0
    assert "Example: genovox fetch duke_breast_cancer_mri" in capsys.readouterr().out


def test_a_dry_run_says_what_would_come_and_writes_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fetch(store, tmp_path / "out", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "demo_breast, by index.csv",
        "  2 patients, 2 studies, 4 series",
        "  pre 2, post 2",
        "  0.0 GB, of which 0.0 GB are still to come",
        "  licence CC BY-NC 4.0 (0.0 GB)",
        "  licence CC BY 4.0 (0.0 GB)",
        "warning: CC BY-NC 4.0 allows no commercial use, of the images and of what is made from them",
        "  cite https://doi.org/10.1/demo",
    ]
    assert not (tmp_path / "out").exists()
    assert store.asked.total() == 0


def test_a_download_with_its_sheet(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _fetch(store, out, "--roles", "dce,t2", "--json", "--quiet") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["result"] == {"fetched": 6, "kept": 0, "failed": 0}
    assert json.loads((out / "fetch.json").read_text())["cite"] == ["https://doi.org/10.1/demo"]
    assert len(list((out / "dicom").rglob("*.dcm"))) == 24
    assert list(read_table(out / "phases.csv")["role"]) == ["pre", "post", "t2"] * 2
    (out / "phases.csv").write_text("edited")
    assert _fetch(store, out, "--roles", "dce,t2") == 0
    assert f"0 series fetched and verified, 6 were there -> {out}" in capsys.readouterr().out
    assert (out / "phases.csv").read_text() == "edited"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--roles", "dcee"), 2, "did you mean"),
        (("--roles", "dwi"), 3, "no series of demo_breast has a role of dwi; choose others, or all"),
        (("--store", "ftp://x"), 2, "--store is an address that begins with https://"),
        (("--index", "nowhere.csv"), 3, "no such folder or table"),
    ],
)
def test_errors_are_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, more: tuple[str, ...], code: int, words: str
) -> None:
    assert _fetch(store, tmp_path / "out", *more) == code
    assert words in capsys.readouterr().err


def test_series_that_fail_are_told_and_the_doubtful_too(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.001)
    store.index.write_text(store.index.read_text().replace("ax dyn 1st pass,4,MR,0.004", "ax dyn post,9,MR,0.009"))
    assert _fetch(store, tmp_path / "out") == 3
    done = capsys.readouterr()
    assert "2 series fetched and verified" in done.out
    assert "  4 series of low confidence, by phases.csv, which the download writes" in done.out
    assert "2 of 4 series failed: series 1.2.2: the index counts 9 files, the store lists 4" in done.err
