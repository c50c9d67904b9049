import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from genovox.core import log
from genovox.core.log import write_count

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
