"""The demo: one command from nothing to a report, on a simulated hospital whose truth is known."""

from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import STAGES, read_stage


@pytest.mark.slow
def test_demo_shows_what_came_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """24 patients take three minutes of processor time."""
    out = tmp_path / "try"
    assert run_command(["demo", str(out), "--patients", "24"]) == 0
    shown = capfd.readouterr().out
    run = out / "runs" / "simulated-half"
    lines = " ".join(shown.split())
    for words in ("24 patients of 3 hospitals", "the oracle", "light: AUC ", "Oracle: AUC ", "Verdict: "):
        assert words in lines
    assert f"Report: {run / 'report' / 'index.html'}" in lines
    assert "Research use only" in lines
    assert (run / "report" / "index.html").stat().st_size > 100_000
    assert (out / "preview.png").exists()
    assert all(read_stage(run, name) for name in STAGES)
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--effect", "huge"], "effect must be one of full, half, none, got 'huge'"), (["--patients", "1"], "got 1")],
)
def test_a_wrong_demo_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["demo", str(tmp_path / "try"), *arguments]) == 2
    assert words in capfd.readouterr().err
    assert not (tmp_path / "try").exists()


def test_demo_keeps_what_is_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run_command(["demo", str(tmp_path), "--patients", "12"]) == 2
    assert "must be empty or new" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
