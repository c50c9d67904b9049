import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from rich.console import Console

from genovox.core import tasks
from genovox.core.errors import DataError, DiskFullError
from genovox.core.log import LOGGER_NAME
from genovox.core.tasks import Outcome, run_many, show_progress

# Functions that worker processes import: a file of their own, since tests are no package.
JOBS = """
import os, signal, time
from genovox.core.errors import DataError, DiskFullError

def square(number):
    return number * number

def fail_some(number):
    if number == 3:
        raise DataError("three is bad; take four")
    if number == 5:
        raise ZeroDivisionError("five")
    if number == 7:
        raise MemoryError
    return number

def die_some(number):
    if number in (2, 9):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number

def exhaust(number):
    return len(bytearray(2**62)) if number == 1 else number

def fill_disk(number):
    if number == 1:
        raise DiskFullError("cannot write")
    time.sleep(0.2)
    return number

def sleep_long(folder):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(60)
"""
PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
import jobs
from genovox.core.tasks import run_many
if __name__ == "__main__":
    for outcome in run_many(jobs.sleep_long, [sys.argv[1]] * 6, workers=2, describe=str):
        print(outcome)
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("jobs", None)
    yield importlib.import_module("jobs")
    sys.modules.pop("jobs", None)


def _by_item(function: Callable[[int], int], count: int, workers: int) -> dict[int, Outcome[int, int]]:
    outcomes = list(run_many(function, range(count), workers=workers, describe=str))
    assert len(outcomes) == count
    return {outcome.item: outcome for outcome in outcomes}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_has_one_outcome(jobs: ModuleType, workers: int) -> None:
    found = _by_item(jobs.square, 12, workers)
    assert {item: outcome.value for item, outcome in found.items()} == {n: n * n for n in range(12)}


def test_nothing_to_do() -> None:
    assert list(run_many(abs, [], workers=4, describe=str)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_costs_its_own_item(jobs: ModuleType, workers: int) -> None:
    found = _by_item(jobs.fail_some, 9, workers)
    failures = {item: outcome.failure for item, outcome in found.items() if outcome.failure}
    assert failures == {
        3: "three is bad; take four",
        5: "unforeseen failure: ZeroDivisionError: five",
        7: "not enough memory for it; use fewer --workers or a smaller preprocess.shape",
    }
    assert all(found[item].value == item for item in found if item not in failures)


def test_a_killed_worker_costs_its_own_item(jobs: ModuleType) -> None:
    found = _by_item(jobs.die_some, 16, 2)
    assert {item for item, outcome in found.items() if outcome.failure} == {2, 9}
    assert found[9].failure.startswith("the worker process died")
    assert all(found[item].value == item for item in found if item not in (2, 9))


def test_exhausted_memory_costs_its_own_item(jobs: ModuleType) -> None:
    found = _by_item(jobs.exhaust, 3, 2)
    assert found[1].failure.startswith("not enough memory")
    assert (found[0].value, found[2].value) == (0, 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_it(jobs: ModuleType, workers: int) -> None:
    with pytest.raises(DiskFullError):
        list(run_many(jobs.fill_disk, range(40), workers=workers, describe=str))
    _wait_until(lambda: not _has_workers(os.getpid()))


def _has_workers(parent: int) -> bool:
    for child in psutil.Process(parent).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                return True
        except psutil.Error:  # ended meanwhile
            continue
    return False


def _wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_parent_leaves_no_orphans(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", tmp_path], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    _wait_until(lambda: sum(path.name.isdigit() for path in tmp_path.iterdir()) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]
    parent.send_signal(how)
    _, error = parent.communicate(timeout=90)
    assert parent.returncode != 0
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in error
    _wait_until(lambda: not any(map(_is_alive, workers)))


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_worker_whose_parent_is_gone_ends_itself() -> None:
    code = (
        "import os; from genovox.core.tasks import _die_with_parent; _die_with_parent(os.getppid() + 1); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""


def test_workers_leave_the_interrupt_to_the_parent() -> None:
    code = (
        "import os, signal; from genovox.core.tasks import _start_worker; _start_worker(os.getppid()); "
        "os.kill(os.getpid(), signal.SIGINT); print('alive')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"alive\n"


def test_cores() -> None:
    assert 1 <= tasks.available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("total", [0, 1, 7, 10, 11, 19, 20, 95, 1000])
def test_progress_is_at_most_ten_plain_lines(caplog: pytest.LogCaptureFixture, total: int) -> None:
    with caplog.at_level(logging.INFO, LOGGER_NAME), show_progress("reading", total) as advance:
        for _ in range(total):
            advance()
    assert len(caplog.messages) <= 10
    assert all(re.fullmatch(rf"reading \d+/{total}", message) for message in caplog.messages)
    if total:
        assert caplog.messages[-1] == f"reading {total}/{total}"


def test_a_note_is_always_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER_NAME), show_progress("folds", 100) as advance:
        advance("AUC 0.7")
    assert caplog.messages == ["folds 1/100: AUC 0.7"]


def test_a_terminal_gets_a_bar_unless_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "console", Console(stderr=True, force_terminal=True, width=100))
    logger = logging.getLogger(LOGGER_NAME)
    screen, file = logging.StreamHandler(), logging.FileHandler(tmp_path / "run.log")
    monkeypatch.setattr(logger, "handlers", [screen, file])
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    for level in (logging.INFO, logging.WARNING):
        screen.setLevel(level)
        with show_progress("reading scans", 2) as advance:
            advance()
            advance("second")
        drawn = "reading scans" in capsys.readouterr().err.replace("reading scans 2/2", "")
        assert drawn == (level == logging.INFO)
    file.close()
    assert "second" in (tmp_path / "run.log").read_text()


class _Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_follows_from_what_took_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr(tasks, "monotonic", clock)
    pace = tasks.Pace(10)
    clock.now = 38.0
    assert pace.estimate_left_s(0) is None
    clock.now = 40.0
    assert pace.estimate_left_s(2) == 160
    clock.now = 50.0
    assert pace.estimate_left_s(2) == 150  # the third is on its way
    clock.now = 90.0
    assert pace.estimate_left_s(2) == 140  # and late: seven more take no less than before
    clock.now = 100.0
    assert pace.estimate_left_s(10) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (29.6, "30 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (7500, "2 h 5 min"), (7170, "2 h")],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert tasks.write_duration(seconds) == words


def test_plain_lines_say_what_is_left_soon_and_then_seldom(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, waits = _Clock(), []

    class Event:
        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            clock.now += seconds
            return len(waits) > 6

        def set(self) -> None:
            pass

    class Thread:
        def __init__(self, target: Callable[[], None], **_: object) -> None:
            self.start = target

        def join(self) -> None:
            pass

    monkeypatch.setattr(tasks, "monotonic", clock)
    monkeypatch.setattr("genovox.core.tasks.threading.Event", Event)
    monkeypatch.setattr("genovox.core.tasks.threading.Thread", Thread)
    inner = tasks.Inner("epochs", 100, lambda: int(clock.now // 15))
    with caplog.at_level(logging.INFO, LOGGER_NAME), show_progress("training", 3, inner=inner):
        pass
    assert waits == [30, 60, 120, 240, 300, 300, 300]
    assert caplog.messages[:2] == [
        "training: 2/100 epochs, about 24 min left",
        "training: 6/100 epochs, about 24 min left",
    ]


def test_a_bar_ends_whole_and_says_what_is_left_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "console", Console(stderr=True, force_terminal=True, width=80))
    logger = logging.getLogger(LOGGER_NAME)
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler()])
    monkeypatch.setattr(logger, "level", logging.INFO)
    clock = _Clock()
    monkeypatch.setattr(tasks, "monotonic", clock)
    inner = tasks.Inner("epochs", 12000, lambda: 4000)
    with show_progress("training without a hospital", 1, inner=inner) as advance:
        clock.now = 60.0
        time.sleep(1.5)
        advance()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "4000/12000" in drawn
    assert "left 0:02:00" in drawn
    assert "12000/12000" in drawn
    assert "…" not in drawn


def _exhaust(item: int) -> int:
    if item == 2:
        raise MemoryError
    if item == 3:
        raise OSError(5, "Input/output error")
    return item


def test_a_bad_moment_of_the_machine_is_told_from_a_bad_item() -> None:
    outcomes = {outcome.item: outcome for outcome in tasks.run_many(_exhaust, range(5), workers=1, describe=str)}
    assert [item for item, outcome in outcomes.items() if outcome.of_machine] == [2, 3]
    with pytest.raises(DataError, match="the machine failed 1 case, such as c3: not enough memory"):
        tasks.refuse_machine_failures({"c3": "not enough memory"}, "case")
    tasks.refuse_machine_failures({}, "case")


def test_results_are_not_kept_once_they_are_used(jobs: ModuleType) -> None:
    """An index has as many results as an archive has files."""
    alive: list[weakref.ref[Outcome[int, int]]] = []
    most = 0
    for outcome in run_many(jobs.square, range(40), workers=2, describe=str):
        alive = [one for one in alive if one() is not None] + [weakref.ref(outcome)]
        most = max(most, len(alive))
        time.sleep(0.02)  # the workers are done long before the last is taken
    assert outcome.value is not None
    # What is finished waits in the pool; what was taken does not.
    assert len([one for one in alive if one() is not None]) == 1
    assert most <= 2
