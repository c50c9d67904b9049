"""How much memory a command and everything it starts take."""

import time

import psutil


def watch_memory(process: psutil.Popen, *, every_s: float) -> float:
    """The largest memory of the whole process tree in GB (shared pages counted once), until it ends."""
    peak = 0
    while process.poll() is None:
        total = 0
        for member in (process, *_children(process)):
            try:
                total += member.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(every_s)
    return peak / 1e9


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found
