"""Sentences are broken between words, never within a path, and indented as asked."""

import pytest

from genovox.cli.terminal import say

PATH = "/" + "/".join(["a-long-folder"] * 9)


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("300", 100)])
def test_lines_fit_the_terminal_up_to_a_hundred(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    say("word " * 60)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 5


def test_a_path_is_never_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    say(f"  3 scans -> {PATH}", hanging=2)
    assert capsys.readouterr().out == f"  3 scans ->\n    {PATH}\n"
