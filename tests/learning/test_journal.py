"""Curves on disk while a fold learns."""

from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from genovox.core.artifacts import read_table
from genovox.learning.journal import EVENTS, EpochRecord, Journal, count_epochs


def _read_events(path: Path) -> list[Event]:
    """Records of TensorBoard's file: length, its checksum, the message, its checksum."""
    content, events = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_each_epoch_is_on_disk_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert count_epochs(tmp_path) == 0
        for epoch in (1, 2):
            journal.add(EpochRecord(epoch, 0.01, 0.7, 0.6 / epoch, best=True))
            assert count_epochs(tmp_path) == epoch
    table = read_table(tmp_path / "history.csv")
    assert list(table["validation_loss"].astype(float)) == [0.6, 0.3]
    first, *events = _read_events(next(tmp_path.glob(f"{EVENTS}*")))
    assert first.file_version == "brain.Event:2"
    losses = {
        event.step: event.summary.value[0].simple_value
        for event in events
        if event.summary.value[0].tag == "validation_loss"
    }
    assert {step: round(value, 6) for step, value in losses.items()} == {1: 0.6, 2: 0.3}


def test_an_earlier_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    with Journal(tmp_path) as first:
        first.add(EpochRecord(1, 0.01, 0.7, 0.6, best=True))
    (tmp_path / f"{EVENTS}1.old").write_bytes(b"old")
    with Journal(tmp_path):
        pass
    assert count_epochs(tmp_path) == 0
    assert len(list(tmp_path.glob(f"{EVENTS}*"))) == 1
