"""Every error genovox raises on purpose, in one tree.

A message states the rule, the value received and the next step; the exit code tells a script what happened.
"""


class GenovoxError(Exception):
    """Base of all errors meant for the user: shown as one line, never as a traceback."""

    exit_code = 3


class UsageError(GenovoxError):
    """Wrong usage of a command or a wrong study file."""

    exit_code = 2


class StudyError(UsageError):
    """``study.toml`` breaks a rule of its schema."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""


class DataError(GenovoxError):
    """The data break a rule: what, where and what to do."""


class ImageError(DataError):
    """An image cannot be read or has no usable geometry or voxels."""


class TableError(DataError):
    """A table lacks a column, repeats a key or holds a value that is not allowed."""


class SingleClassError(DataError):
    """A statistic needs carriers and non-carriers and got one class only."""


class DiskFullError(DataError):
    """A file could not be written; what was finished before is kept."""


class GateError(GenovoxError):
    """A leakage or exclusion gate refuses to go on.

    Args:
        check: Name of the gate, as ``--accept`` takes it.
        message: Rule, value, next step.
    """

    exit_code = 4

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check


class LeakageError(GateError):
    """A patient or a family stands in two parts of one fold."""

    def __init__(self, message: str) -> None:
        super().__init__("fold-disjointness", message)
