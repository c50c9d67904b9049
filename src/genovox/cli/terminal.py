"""Sentences on a terminal as wide as it is, up to 100 columns."""

import shutil
import textwrap

import typer


def say(line: str, *, hanging: int = 0) -> None:
    """Print a sentence, broken between words only, so that a path can be copied.

    Args:
        line: Its leading spaces indent all of it.
        hanging: Spaces more before every line but the first.
    """
    indent = " " * (len(line) - len(line.lstrip()))
    typer.echo(
        textwrap.fill(
            line.strip(),
            min(shutil.get_terminal_size().columns, 100),
            initial_indent=indent,
            subsequent_indent=indent + " " * hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
