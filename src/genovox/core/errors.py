"""Every error genovox raises on purpose, in one tree, and plain words for a value that a schema refuses.

A message states the rule, the value received and the next step; the exit code tells a script what happened.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

_RULES = {
    "greater_than_equal": "must be {ge:g} or more",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be {le:g} or less",
    "less_than": "must be less than {lt:g}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotation marks",
    "string_pattern_mismatch": "must be letters, digits and . _ - only, and begin with a letter or digit",
    "tuple_type": "must be a list",
    "dict_type": "must be a table, written in braces",
    "model_type": "must be a table of keys",
    "date_type": 'must be a day, such as "2024-12-31"',
}
# What the standard library says of a day that is none.
_NO_DAY = re.compile(r"isoformat|^(year|month|day)\b")


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


def describe_rule(problem: Mapping[str, Any]) -> str:
    """The rule that a value breaks, in plain words, and the nearest word where only some are allowed.

    Args:
        problem: One of the errors that a pydantic ``ValidationError`` lists.
    """
    kind, limits, value = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind == "literal_error":
        words = re.findall("'([^']*)'", limits["expected"])
        nearest = difflib.get_close_matches(value.lower(), words, n=1) if isinstance(value, str) else []
        advice = f'; did you mean "{nearest[0]}"?' if nearest else ""
        return f"must be {limits['expected']}".replace("'", '"') + advice
    if kind in ("too_short", "too_long", "string_too_short"):
        few = kind != "too_long"
        count = limits["min_length" if few else "max_length"]
        noun = ("value" if "string" not in kind else "letter") + ("" if count == 1 else "s")
        return f"must have {'at least' if few else 'no more than'} {count} {noun}"
    if kind == "value_error":
        reason = str(limits["error"])
        return _RULES["date_type"] if _NO_DAY.search(reason) else reason
    if kind in _RULES:
        return _RULES[kind].format(**limits)
    message = str(problem["msg"])
    return message[0].lower() + message[1:]
