"""How far a fold is: its epochs over all the trainings it takes, in a file beside its own that is gone at its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from genovox.core.artifacts import raise_if_disk_full
from genovox.core.sections import TrainTable
from genovox.learning.journal import EpochRecord
from genovox.train.search import list_settings

COUNT = "epochs.count"
"""As many bytes as epochs are done: a byte is added in no time, and asking for the size reads nothing."""


def plan_epochs(table: TrainTable, model: str) -> int:
    """Epochs of every training that a fold of a network takes: a search's inner ones, then one a member.

    Args:
        table: The study's ``[train]``.
        model: A network; a frozen one has no epochs.
    """
    if table.is_frozen(model):
        return 0
    grid = list_settings(table)
    inner = sum(_count_epochs(table, settings) for settings in grid) * table.search.folds if len(grid) > 1 else 0
    return inner + find_most_epochs(table) * table.members


def find_most_epochs(table: TrainTable) -> int:
    """Epochs of a member, before a search has said which of its values they are."""
    return max(_count_epochs(table, settings) for settings in list_settings(table) or [{}])


def _count_epochs(table: TrainTable, settings: dict[str, float]) -> int:
    return int(settings.get("epochs", table.epochs))


class EpochCount:
    """The count of one fold, on disk for whoever shows how far it is; it is no part of the fold.

    Args:
        folder: The fold's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / COUNT

    def __enter__(self) -> Self:
        """The count itself, at nothing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left of it, also after a fault."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def follow(self, planned: int) -> Iterator[Callable[[EpochRecord], None]]:
        """What is told of each epoch of one training; one that ends before its time counts whole at its end.

        Args:
            planned: Its epochs.

        Raises:
            DiskFullError: If there is no room for a byte.
        """
        seen = 0

        def add(_: EpochRecord) -> None:
            nonlocal seen
            if seen < planned:
                seen += 1
                self._append(1)

        yield add
        self._append(planned - seen)

    def _append(self, epochs: int) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(b"." * epochs)
        except OSError as error:
            raise_if_disk_full(error, self._path)
            raise


def count_done(folder: Path) -> int:
    """Epochs that a fold has behind it while it is trained; none before and after."""
    try:
        return (folder / COUNT).stat().st_size
    except FileNotFoundError:
        return 0
