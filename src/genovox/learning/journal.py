"""What happens to a fold while it learns: ``history.csv`` after each epoch, and the same curves for TensorBoard."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import pandas as pd
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from genovox.core.artifacts import raise_if_disk_full, write_table

HISTORY = "history.csv"
EVENTS = "events.out.tfevents."


@dataclass(frozen=True)
class EpochRecord:
    """One row of ``history.csv``."""

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    best: bool


class Journal:
    """The records of one fold, on disk as soon as they are known.

    Args:
        folder: The fold's; what an earlier attempt left there is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HISTORY
        self._records: list[EpochRecord] = []
        for old in (self._path, *folder.glob(f"{EVENTS}*")):
            old.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        # Without a thread of its own: a full disk must stop the fold, not a writer that nobody hears.
        self._events = RecordWriter(str(folder / f"{EVENTS}{int(time.time())}.genovox"))
        self._note(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, record: EpochRecord) -> None:
        """Write one epoch.

        Raises:
            DiskFullError: If there is no room for it.
        """
        self._records.append(record)
        write_history(self._path, self._records)
        for name in ("learning_rate", "training_loss", "validation_loss"):
            value = scalar(name, getattr(record, name))
            self._note(Event(wall_time=time.time(), step=record.epoch, summary=value))

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the events' file."""
        self._events.close()

    def _note(self, event: Event) -> None:
        try:
            self._events.write(event.SerializeToString())
            self._events.flush()
        except OSError as error:
            raise_if_disk_full(error, self._path)
            raise


def write_history(path: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``history.csv``."""
    write_table(path, pd.DataFrame([asdict(record) for record in history]))


def count_epochs(folder: Path) -> int:
    """Epochs that a fold has on disk, finished or not."""
    try:
        with (folder / HISTORY).open("rb") as lines:
            return max(0, sum(1 for _ in lines) - 1)
    except FileNotFoundError:
        return 0
