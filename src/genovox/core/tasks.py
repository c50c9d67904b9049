"""Many things at once: a function over many items in worker processes, with progress and without casualties."""

import concurrent.futures
import ctypes
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, repeat
from time import monotonic
from typing import Generic, Protocol, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from genovox.core.errors import DataError, DiskFullError, GenovoxError
from genovox.core.log import LOGGER_NAME, console, write_count

log = logging.getLogger(__name__)

QUIET_S = 300.0
"""Seconds between lines about what goes on inside items, where there is no terminal."""
FIRST_LINES_S = (30.0, 60.0, 120.0, 240.0)
"""Seconds before each of the first of those lines: whether it takes a minute or a day is asked at once."""

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or the reason there is none.

    Attributes:
        of_machine: Whether the reason is the machine's moment (memory, a disk that does not answer), not the item:
            such an item must be tried again, never left out.
    """

    item: Item
    value: Value | None
    failure: str = ""
    of_machine: bool = False


def refuse_machine_failures(failures: dict[str, str], kind: str, kinds: str = "") -> None:
    """Stop where the machine failed some items; what was finished is kept by whoever made it.

    Args:
        failures: Reason by the item's name; empty for none.
        kind: What an item is, in the singular.
        kinds: The plural, where it is not the singular and an s.

    Raises:
        DataError: Naming the first item, the reason and that the same command tries again.
    """
    if failures:
        name, reason = next(iter(failures.items()))
        raise DataError(
            f"the machine failed {write_count(len(failures), kind, kinds)}, such as {name}: {reason} "
            "(the same command does only what is not finished)"
        )


class Ticker(Protocol):
    """Called once for each finished item."""

    def __call__(self, note: str = "") -> None: ...


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Inner:
    """What goes on inside items that take long, such as epochs of folds.

    Attributes:
        title: What is counted.
        total: How many there may be; items may end before.
        measure: How many there are by now, as files of the workers say.
    """

    title: str
    total: int
    measure: Callable[[], int]


class Pace:
    """How long something takes until its end, if it goes on as it went so far.

    Args:
        total: How much there is to do.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._started = self._moved = monotonic()

    def estimate_left_s(self, done: int) -> float | None:
        """Seconds until all is done; None while nothing is.

        Args:
            done: How much is done by now.
        """
        now = monotonic()
        if done != self._done:
            self._done, self._moved = done, now
        if not done:
            return None
        each_s = (self._moved - self._started) / done
        remaining = max(0, self._total - done)
        # The next one is on its way since; what comes after it takes as long as ever.
        return max(each_s * remaining - (now - self._moved), each_s * max(0, remaining - 1))


@contextmanager
def show_progress(title: str, total: int, inner: Inner | None = None) -> Iterator[Ticker]:
    """A bar with time left on a terminal; plain lines elsewhere.

    Lines without a note are at most ten. What goes on inside items, and the time left, is a line after half a minute,
    then ever more seldom, at last one in five minutes.

    Args:
        title: What is done.
        total: Items in all.
        inner: What else to show while items are at work; it is whole once they all are.
    """
    if console.is_terminal and logging.getLogger(LOGGER_NAME).isEnabledFor(logging.INFO) and not _is_quiet():
        with _show_bar(title, total, inner) as advance:
            yield advance
        return
    done = 0
    step = max(1, -(-total // 10))

    def count(note: str = "") -> None:
        nonlocal done
        done += 1
        if note:
            log.info("%s %d/%d: %s", title, done, total, note)
        elif done % step == 0 or done == total:
            log.info("%s %d/%d", title, done, total)

    if inner is None:
        yield count
        return
    pace = Pace(inner.total)

    def tell(inside: int) -> None:
        left_s = pace.estimate_left_s(inside)
        left = "" if left_s is None else f", about {write_duration(left_s)} left"
        log.info("%s: %d/%d %s%s", title, inside, inner.total, inner.title, left)

    with _watch(inner, chain(FIRST_LINES_S, repeat(QUIET_S)), tell):
        yield count


@contextmanager
def _show_bar(title: str, total: int, inner: Inner | None) -> Iterator[Ticker]:
    pace = Pace(inner.total if inner else total)
    done = finished = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=min(24, console.width // 5)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _LeftColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, left=lambda: pace.estimate_left_s(done))
        inside = bar.add_task(inner.title, total=inner.total, left=None) if inner else None

        def show(count: int) -> None:
            nonlocal done
            done = count
            if inside is not None:
                bar.update(inside, completed=count)

        def advance(note: str = "") -> None:
            nonlocal finished
            finished += 1
            bar.update(task, completed=finished)
            if inner is None:
                show(finished)
            else:
                show(inner.total if finished == total else inner.measure())
            if note:
                log.info("  %s", note)

        if inner is None:
            yield advance
            return
        with _watch(inner, repeat(1.0), show):
            yield advance


class _LeftColumn(ProgressColumn):
    """The time left, in the row of items alone."""

    def render(self, task: Task) -> Text:
        """The cell of one row."""
        if task.fields["left"] is None:
            return Text("")
        left_s = task.fields["left"]()
        left = "-:--:--" if left_s is None else timedelta(seconds=round(left_s))
        return Text(f"left {left}", style="progress.remaining")


def write_duration(seconds: float) -> str:
    """A duration in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes <= 90:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes / 5) * 5, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


@contextmanager
def _watch(inner: Inner, waits_s: Iterable[float], show: Callable[[int], object]) -> Iterator[None]:
    """Show a count now and then, from a thread that does nothing else."""
    over = threading.Event()

    def look() -> None:
        for wait_s in waits_s:
            if over.wait(wait_s):
                return
            show(inner.measure())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run_many(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    workers: int,
    describe: Callable[[Item], str],
) -> Iterator[Outcome[Item, Value]]:
    """Apply ``function`` to every item; one bad item never stops the others.

    Args:
        function: Picklable; runs in a worker process unless ``workers`` is 1.
        items: Picklable.
        workers: Number of processes; 1 runs everything here.
        describe: Name of an item for messages.

    Yields:
        One outcome an item, in the order they finish. A worker that dies (out of memory, a crash in a library) costs
        its own item only: those in flight are tried again, each alone.

    Raises:
        DiskFullError: At once, since no other item could be written either.
    """
    if workers <= 1 or len(items) <= 1:
        yield from (_attempt(function, item) for item in items)
        return
    remaining = list(items)
    while remaining:
        unfinished: list[Item] = []
        yield from _run_pool(function, remaining, workers, unfinished)
        # Items start in order, and a pool hands out at most two a worker and one: the rest cannot have killed it.
        in_flight = 2 * workers + 1
        for item in unfinished[:in_flight]:
            alone: list[Item] = []
            yield from _run_pool(function, [item], 1, alone)
            if alone:
                log.warning("%s: its worker process died; it is left out", describe(item))
                yield Outcome(item, None, "the worker process died (out of memory or a crash while reading it)")
        remaining = unfinished[in_flight:]


def _run_pool(
    function: Callable[[Item], Value], items: Sequence[Item], workers: int, unfinished: list[Item]
) -> Iterator[Outcome[Item, Value]]:
    """Run items in one pool; if a worker dies, those it left are added to ``unfinished`` in their order."""
    pool = _pool(min(workers, len(items)))
    waiting = dict(enumerate(items))
    try:
        pending: dict[concurrent.futures.Future[Outcome[Item, Value]], int] = {}
        with suppress(BrokenProcessPool):
            for number, item in waiting.items():
                pending[pool.submit(_attempt, function, item)] = number
        for future in concurrent.futures.as_completed(list(pending)):
            number = pending.pop(future)  # a future keeps its result for as long as it is kept itself
            with suppress(BrokenProcessPool):
                outcome = future.result()
                del waiting[number]
                yield outcome
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    unfinished += waiting.values()


def _pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(parent)


def _die_with_parent(parent: int) -> None:
    """Linux only: a killed parent must not leave workers that go on writing."""
    libc = ctypes.CDLL(None, use_errno=True)
    set_parent_death_signal = 1
    libc.prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    try:
        return Outcome(item, function(item))
    except DiskFullError:
        raise
    except GenovoxError as error:
        return Outcome(item, None, str(error))
    except MemoryError:
        advice = "not enough memory for it; use fewer --workers or a smaller preprocess.shape"
        return Outcome(item, None, advice, of_machine=True)
    except OSError as error:
        return Outcome(item, None, f"{error}; run the same command again", of_machine=True)
    except Exception as error:  # a case of a kind nobody foresaw must not end the run
        log.debug("unforeseen failure", exc_info=True)
        return Outcome(item, None, f"unforeseen failure: {type(error).__name__}: {error}")


def _is_quiet() -> bool:
    handlers = logging.getLogger(LOGGER_NAME).handlers
    return all(handler.level >= logging.WARNING for handler in handlers if not isinstance(handler, logging.FileHandler))
