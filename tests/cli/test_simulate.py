"""``genovox simulate``: exit codes, messages and what it prints."""

from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: genovox simulate hospital" in out
    for option in ("--patients", "--effect", "--prevalence", "--sites", "--shortcut", "--site-prevalences", "--seed"):
        assert option in out


def test_writes_a_cohort_and_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hospital"
    arguments = ["simulate", str(out), "--patients", "2", "--sites", "1", "--matrix", "64", "--workers", "1"]
    assert run_command([*arguments, "--effect", "full", "--preview"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"2 patients of 1 hospital, 1 carrier -> {out}"
    assert lines[1].startswith("best possible AUC at effect full: 0.8")
    assert lines[2] == f"look at {out / 'preview.png'}"
    assert lines[3] == f"next: genovox run {out / 'study.toml'}"
    assert len(read_table(out / "truth.csv")) == 2
    assert (out / "preview.png").is_file()
    # The same command has nothing left to do; another one is told so.
    assert run_command([*arguments, "--effect", "full", "--quiet"]) == 0
    assert run_command([*arguments, "--effect", "half"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--effect", "strong"], ("effect must be one of full, half, none", "'strong'", "name one of them")),
        (["--shortcut", "age"], ("shortcut must be one of none, scanner, format", "'age'", "name one of them")),
        (["--prevalence", "1.5"], ("above 0 and below 1", "got 1.5", "correct it")),
        (["--prevalence", "nan"], ("above 0 and below 1", "got nan", "correct it")),
        (["--site-prevalences", "a,b"], ("numbers joined by commas", "'a,b'", "such as 0.1,0.4")),
        (["--site-prevalences", "0.1,0.2"], ("one a site", "got 2 for 3", "add or drop some")),
        (["--sites", "0"], ("sites must be 1 to 60", "got 0", "ask for fewer or more")),
        (["--sites", "61"], ("sites must be 1 to 60", "got 61", "ask for fewer or more")),
        (["--patients", "1", "--sites", "1"], ("at least 2 patients", "got 1", "ask for more")),
        (["--shortcut", "scanner", "--sites", "1"], ("at least 2 sites", "got 1", "add one")),
    ],
)
def test_wrong_usage_exits_2_and_writes_nothing(
    arguments: list[str], words: tuple[str, str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each message states the rule, the value and the next step in one line."""
    out = tmp_path / "hospital"
    assert run_command(["simulate", str(out), *arguments]) == 2
    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words)
    assert captured.out == ""
    assert not out.exists()


def test_a_folder_that_holds_something_exits_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert run_command(["simulate", str(tmp_path)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path} must be empty or new, it holds files")
    assert "choose another folder" in line
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("arguments", [["--patients", "many"], ["--workers", "0"], ["--matrix", "8"], ["--frobnicate"]])
def test_malformed_options_exit_2(arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["simulate", str(tmp_path / "hospital"), *arguments]) == 2
    error = capfd.readouterr().err
    assert arguments[0] in error
    assert "Traceback" not in error
    assert run_command(["simulate"]) == 2
