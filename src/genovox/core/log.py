"""One log for people (the terminal) and one for later (``run.log``), and how a count is said."""

import logging
import os
import re
import sys
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console

LOGGER_NAME = "genovox"
WIDEST = 100
"""Columns of the longest line on a terminal: longer ones are hard to read."""
console = Console(stderr=True)
# A word, or words in quotation marks with what touches them; the apostrophe of a plural opens nothing.
_UNIT = re.compile(r"""(?:(?<!\w)"(?:[^"\\]|\\.)*"(?!\w)|(?<!\w)'[^']*'(?!\w)|\S)+""")


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
    screen: logging.Handler = _Screen() if console.is_terminal else logging.StreamHandler(sys.stderr)
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


class _Screen(logging.Handler):
    """Prints above a progress bar, and in colours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _show(self.format(record), highlight=True)
        except Exception:  # noqa: BLE001 - as every handler of logging: a lost terminal must not end a study
            self.handleError(record)


class _LevelPrefix(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"warning: {message}" if record.levelno == logging.WARNING else message


def log_line(line: str) -> None:
    """One line for the user that ``run.log`` keeps too, whatever the level asked for."""
    _show(line, highlight=False)
    logger = logging.getLogger(LOGGER_NAME)
    record = logger.makeRecord(LOGGER_NAME, logging.ERROR, "", 0, line, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _show(message: str, *, highlight: bool) -> None:
    """Print a message, wrapped for who reads along; a file or a pipe gets its lines whole, so that grep finds them."""
    if console.file.isatty():
        width = min(console.width, WIDEST)
        message = "\n".join(wrap_words(line, width, hanging=2) for line in message.splitlines())
    console.print(message, markup=False, emoji=False, highlight=highlight, soft_wrap=True)


def wrap_words(line: str, width: int, *, hanging: int = 0) -> str:
    """A line as lines of a width, broken between words, never within a path or a quoted value that fits a line.

    Args:
        line: Its leading spaces indent all of it.
        width: In columns; a path that is longer stays whole all the same, so that it can be copied.
        hanging: Spaces more before every line but the first.
    """
    if cell_len(line) <= width:
        return line
    first = " " * (len(line) - len(line.lstrip()))
    indent = first + " " * hanging
    rows: list[str] = []
    row = ""
    for unit in _UNIT.findall(line):
        for piece in [unit] if cell_len(unit) <= width else unit.split():
            if not row:
                row = first + piece
            elif cell_len(f"{row} {piece}") <= width:
                row += f" {piece}"
            else:
                rows.append(row)
                # What fits a line only without the indent is better whole than indented.
                row = piece if cell_len(piece) <= width < cell_len(indent + piece) else indent + piece
    return "\n".join([*rows, row])


def write_count(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
