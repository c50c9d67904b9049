"""Sentences on a terminal as wide as it is, up to 100 columns."""

import shutil

import typer


def say(line: str, *, hanging: int = 0) -> None:
    """Print a sentence, broken between words only, so that a path can be copied.

    Args:
        line: Its leading spaces indent all of it.
        hanging: Spaces more before every line but the first.
    """
    from genovox.core.log import WIDEST, wrap_words

    typer.echo(wrap_words(line.rstrip(), min(shutil.get_terminal_size().columns, WIDEST), hanging=hanging))
