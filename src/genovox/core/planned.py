"""Names in a study file: those that do not exist, and those a later version brings, are refused, never ignored."""

import difflib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from genovox import __version__
from genovox.core.errors import StudyError

_COUNT, _DELAY = r"[1-9]\d{0,3}", r"@[1-9]\d{0,3}s"
_CHANNEL = re.compile(
    rf"pre|(post|subtraction)({_COUNT}|{_DELAY})|washout|enhancement({_COUNT})?|washin|ser|time-to-peak"
    rf"|initial-area({_DELAY})?|ktrans|ve|vp"
)
CHANNEL_NAMES = (
    "pre",
    "post1",
    "post@90s",
    "subtraction1",
    "subtraction@90s",
    "washout",
    "enhancement",
    "enhancement1",
    "washin",
    "ser",
    "time-to-peak",
    "initial-area",
    "ktrans",
    "ve",
    "vp",
)
MINIMUM_SIDE = (
    dict.fromkeys(("light", "light-batchnorm", "light-separable", "light-separable-batchnorm"), 16)
    | {f"resnet{depth}{reading}": 32 for reading in ("", "-dilated") for depth in (10, 18, 34, 50, 101, 152, 200)}
    | {"densenet121": 32, "oracle": 1}
)
"""Smallest side in voxels of a volume that each model of ``train.models`` takes."""
MODEL_NAMES = tuple(MINIMUM_SIDE)
_PLANNED_MODEL = re.compile(r"radiomics|metadata|clinical|[a-z0-9-]+@.+")


def refuse_planned(content: dict[str, Any], name: str) -> None:
    """Refuse names that are unknown, stand twice, or that a later version brings.

    Args:
        content: The study file as parsed, valid by its schema.
        name: The file's name, for the message.

    Raises:
        StudyError: Naming each such key, its value and what to use today.
    """
    lines = [f"{name}: {line}" for line in _refuse_names(content, "preprocess", "channels", _is_channel, CHANNEL_NAMES)]
    lines += [f"{name}: {line}" for line in _refuse_names(content, "train", "models", _is_model, MODEL_NAMES)]
    if lines:
        raise StudyError("\n".join(lines))


def _is_channel(channel: str) -> bool:
    return _CHANNEL.fullmatch(channel) is not None


def _is_model(model: str) -> bool | None:
    return True if model in MODEL_NAMES else None if _PLANNED_MODEL.fullmatch(model) else False


def _refuse_names(
    content: dict[str, Any], table: str, key: str, is_known: Callable[[str], bool | None], valid: tuple[str, ...]
) -> Iterator[str]:
    """One line for each name of a list that is planned (None) or unknown (False), or stands twice."""
    names = content.get(table, {}).get(key, [])
    for position, entry in enumerate(names):
        place = f"{table}.{key}[{position}] = {json.dumps(entry)}"
        if entry in names[:position]:
            yield f"{place}: stands twice; remove one"
        elif is_known(entry) is None:
            yield f"{place} is not in genovox {__version__}; use {', '.join(valid)}"
        elif not is_known(entry):
            nearest = difflib.get_close_matches(entry, valid, n=1)
            yield f"{place} is unknown; " + (f'did you mean "{nearest[0]}"?' if nearest else f"use {', '.join(valid)}")
