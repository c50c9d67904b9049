import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genovox.core import log
from genovox.core.log import wrap_words, write_count

GENOVOX = logging.getLogger(log.LOGGER_NAME)


@pytest.fixture(autouse=True)
def _clean_log() -> Iterator[None]:
    before = list(GENOVOX.handlers), GENOVOX.level, GENOVOX.propagate
    GENOVOX.handlers = []
    yield
    for handler in GENOVOX.handlers:
        handler.close()
    GENOVOX.handlers, GENOVOX.level, GENOVOX.propagate = before


@pytest.mark.parametrize(
    ("quiet", "verbose", "shown"),
    [
        (False, False, ["info", "warning: careful"]),
        (True, False, ["warning: careful"]),
        (False, True, ["detail", "info"]),
    ],
)
def test_what_the_screen_shows(
    capsys: pytest.CaptureFixture[str], quiet: bool, verbose: bool, shown: list[str]
) -> None:
    log.start_log(quiet=quiet, verbose=verbose)
    GENOVOX.debug("detail")
    GENOVOX.info("info")
    GENOVOX.warning("careful")
    lines = capsys.readouterr().err.splitlines()
    assert lines[: len(shown)] == shown
    assert ("detail" in lines) == verbose


def test_a_terminal_gets_the_same_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(log, "console", Console(stderr=True, force_terminal=True, color_system=None, width=60))
    log.start_log()
    GENOVOX.warning("careful [of this]")
    assert "warning: careful [of this]" in capsys.readouterr().err


def test_run_log_keeps_everything_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    log.start_log(quiet=True)
    log.log_to_run(tmp_path / "run")
    log.log_to_run(tmp_path / "elsewhere" / ".." / "run")
    GENOVOX.debug("detail")
    log.log_line("the answer [1]")
    lines = (tmp_path / "run" / "run.log").read_text().splitlines()
    assert [line.split(maxsplit=3)[2:] for line in lines] == [["DEBUG", "detail"], ["ERROR", "the answer [1]"]]
    assert capsys.readouterr().err == "the answer [1]\n"


def test_a_line_without_a_log_goes_to_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "console", Console(stderr=True))
    log.log_line("the answer [1]")
    assert capsys.readouterr().err == "the answer [1]\n"


def test_a_warning_is_shown_once_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        log.start_log()
        GENOVOX.warning("one patient")
        GENOVOX.info("one patient")
        GENOVOX.warning("one patient")
    assert capsys.readouterr().err.splitlines() == ["warning: one patient", "one patient"] * 2


def test_a_count_has_its_noun() -> None:
    assert [write_count(count, "case") for count in (0, 1, 1477)] == ["0 cases", "1 case", "1,477 cases"]
    assert [write_count(count, "study", "studies") for count in (1, 2)] == ["1 study", "2 studies"]


def test_words_move_to_the_next_line_which_is_indented() -> None:
    assert wrap_words("error: " + "word " * 5, 20, hanging=2) == "error: word word\n  word word word"
    assert wrap_words("  a note of three words", 14, hanging=2) == "  a note of\n    three\n    words"
    assert wrap_words("short  as it is", 40, hanging=2) == "short  as it is"


@pytest.mark.parametrize(
    "value", ['"a name of words"', "'a name of words'", '("a \\" of words")', "/a/name-of/words.csv"]
)
def test_a_value_that_fits_a_line_is_never_broken(value: str) -> None:
    rows = wrap_words(f"the patients' table {value}; give another", 24, hanging=2).splitlines()
    assert any(value in row for row in rows)
    assert wrap_words(f"here {value}", len(value), hanging=2).splitlines()[-1] == value


def test_only_a_quoted_value_longer_than_a_line_is_broken_and_a_long_path_never() -> None:
    assert wrap_words('got "' + "word " * 6 + '"', 16) == 'got "word word\nword word word\nword "'
    path = "/" + "/".join(["folder"] * 9)
    assert path in wrap_words(f"no such file: {path}", 20, hanging=2).splitlines()[-1]


@given(st.text(st.sampled_from("ab \"'/乳"), max_size=80), st.integers(8, 40))
def test_wrapping_loses_no_letter(text: str, width: int) -> None:
    assert wrap_words(text, width, hanging=2).split() == text.split()


_TALK = """
import logging
from genovox.core.log import log_line, start_log
start_log()
logging.getLogger("genovox").info("status " * 30 + "/a/" + "very-long-name/" * 4 + "of.csv :x: " + "of scans " * 5)
logging.getLogger("genovox").warning("careful " * 30)
log_line("error: " + "wrong " * 40 + "'in some words'")
"""


def _talk_on_a_terminal(columns: int) -> list[str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm"}
    subprocess.run([sys.executable, "-c", _TALK], stdin=theirs, stderr=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # the other end is closed and all is read
            break
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()


@pytest.mark.parametrize(("columns", "width"), [(80, 80), (200, 100)])
def test_a_terminal_shows_whole_words(columns: int, width: int) -> None:
    lines = _talk_on_a_terminal(columns)
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 10
    starts = [line.split()[0] for line in lines if not line.startswith("  ")]
    assert starts == ["status", "warning:", "error:"]
    assert {word for line in lines for word in line.split()} == {
        *("status", "/a/" + "very-long-name/" * 4 + "of.csv", ":x:", "of", "scans", "warning:", "careful"),
        *("error:", "wrong", "'in", "some", "words'"),
    }


def test_a_pipe_gets_one_line_a_message() -> None:
    environment = os.environ | {"FORCE_COLOR": "1"}
    for chosen in (environment, os.environ):
        done = subprocess.run([sys.executable, "-c", _TALK], stderr=subprocess.PIPE, text=True, env=chosen, check=True)
        assert len(done.stderr.splitlines()) == 3
