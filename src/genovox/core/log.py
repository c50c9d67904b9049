"""One log for people (the terminal) and one for later (``run.log``), and how a count is said."""

import logging
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

LOGGER_NAME = "genovox"
console = Console(stderr=True)


def start_log(*, quiet: bool = False, verbose: bool = False) -> None:
    """Show messages on standard error: warnings only if ``quiet``, details too if ``verbose``."""
    logging.raiseExceptions = False  # a full disk must not answer each line of the log with a traceback
    logger = logging.getLogger(LOGGER_NAME)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    screen: logging.Handler
    if console.is_terminal:
        screen = RichHandler(console=console, show_path=False, show_time=False, show_level=False, markup=False)
    else:
        screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(_LevelPrefix())
    screen.setLevel(level)
    screen.addFilter(_Once())
    logger.addHandler(screen)


def log_to_run(folder: Path) -> None:
    """Append everything, details included, to ``run.log`` in the run's folder."""
    path = folder / "run.log"
    name = os.path.abspath(path)  # noqa: PTH100 - as logging names it, without ".."
    logger = logging.getLogger(LOGGER_NAME)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == name:
            return
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(file)


class _Once(logging.Filter):
    """Shows a warning once a command, however often the same tables are read."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        is_new = text not in self._shown
        self._shown.add(text)
        return is_new


class _LevelPrefix(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"warning: {message}" if record.levelno == logging.WARNING else message


def log_line(line: str) -> None:
    """One line for the user that ``run.log`` keeps too, whatever the level asked for."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    logger = logging.getLogger(LOGGER_NAME)
    record = logger.makeRecord(LOGGER_NAME, logging.ERROR, "", 0, line, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def write_count(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
