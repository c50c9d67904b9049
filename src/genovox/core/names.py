"""Names in a study file: those that do not exist are refused, never ignored. Names of columns as words."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from genovox.core.errors import StudyError
from genovox.core.sections import BLEND, ORACLE, TABULAR, members_of

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
NETWORK_SIDES = (
    dict.fromkeys(("light", "light-batchnorm", "light-separable", "light-separable-batchnorm"), 16)
    | {f"resnet{depth}{reading}": 32 for reading in ("", "-dilated") for depth in (10, 18, 34, 50, 101, 152, 200)}
    | {"densenet121": 32}
)
"""Smallest side in voxels of a volume that each network takes."""
MODEL_NAMES = (*NETWORK_SIDES, *TABULAR, ORACLE)


def split_words(column: str) -> str:
    """The name of a table's column as lower-case words: ``PatientID`` and ``patient_id`` become ``patient id``."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return " ".join(re.findall(r"[a-z0-9]+", apart.lower()))


def split_model(model: str) -> tuple[str, str]:
    """Network and weights of a model: ``resnet50@medicalnet`` starts from weights, ``resnet50`` has none."""
    network, _, weights = model.partition("@")
    return network, weights


def model_folder(model: str) -> str:
    """Name of a model's folder in ``RUN/train``; a path to weights must not become folders."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", model)


def minimum_side(model: str) -> int:
    """Smallest side in voxels of a volume that a model takes."""
    return NETWORK_SIDES.get(split_model(model)[0], 1)


def refuse_names(content: dict[str, Any], name: str) -> None:
    """Refuse names of channels and models that are unknown or stand twice.

    Args:
        content: The study file as parsed, valid by its schema.
        name: The file's name, for the message.

    Raises:
        StudyError: Naming each such key, its value and what to use.
    """
    lines = list(_find_odd(content, "preprocess", "channels", _is_channel, CHANNEL_NAMES))
    models = content.get("train", {}).get("models", [])
    blends = [model for model in models if _is_blend(model, models)]
    lines += _find_odd(content, "train", "models", lambda model: model in blends or _is_model(model), MODEL_NAMES)
    lines += _find_odd_blends(blends, models)
    lines += _find_odd_first(models)
    lines += _find_shared_folders(models)
    if lines:
        raise StudyError("\n".join(f"{name}: {line}" for line in lines))


def _is_channel(channel: str) -> bool:
    return _CHANNEL.fullmatch(channel) is not None


def _is_model(model: str) -> bool:
    network, weights = split_model(model)
    return network in NETWORK_SIDES if weights else model in MODEL_NAMES


def _is_blend(model: str, models: Sequence[str]) -> bool:
    """Whether a name is meant as a blend: a path to weights may hold a plus too."""
    if members_of(model, models) or BLEND in model.partition("@")[0]:
        return True
    begins = any(model.startswith(name + BLEND) for name in models)
    return begins or (BLEND in model and _is_model(model.rpartition(BLEND)[2]))


def _find_odd_blends(blends: Sequence[str], models: Sequence[str]) -> Iterator[str]:
    """One line for each blend of what cannot be blended, or that stands there in another order."""
    known: dict[frozenset[str], str] = {}
    for blend in blends:
        members = members_of(blend, models) or tuple(blend.split(BLEND))
        place = f"train.models[{models.index(blend)}] = {json.dumps(blend)}"
        strange = [member for member in members if member not in models]
        barred = [member for member in members if member in (ORACLE, "metadata")]
        other = known.setdefault(frozenset(members), blend)
        if strange:
            yield f"{place}: {_explain_stranger(strange[0], models)}"
        elif barred:
            yield f"{place}: {barred[0]} is there to be compared with, not to be part of a score; blend others"
        elif len(set(members)) < len(members):
            yield f"{place}: names a model twice; name each once"
        elif other != blend:
            yield f"{place}: is {json.dumps(other)} again; remove one"


def _find_odd_first(models: Sequence[str]) -> Iterator[str]:
    """A primary model that knows the truth, or that learns nothing the audit could train anew."""
    first = models[0] if models else ""
    members = members_of(first, models)
    if first == ORACLE or members:
        reason = "knows the truth of a simulated cohort" if first == ORACLE else "is a blend, which learns nothing"
        yield (
            f"train.models[0] = {json.dumps(first)}: the first is the study's primary model, {first} {reason} and "
            f"cannot be it; put one that learns first, such as {json.dumps([*(members or ['light']), first])}"
        )


def _explain_stranger(member: str, models: Sequence[str]) -> str:
    if not member.strip():
        return 'a member is missing beside a "+"; name it or drop the sign'
    if member != member.strip():
        return 'a blend has no blanks; write names and "+" alone'
    if _is_model(member):
        return f"a blend takes models of the same list, {json.dumps(member)} is not in it; add it there"
    nearest = difflib.get_close_matches(member, [*models, *MODEL_NAMES], n=1)
    return f"{json.dumps(member)} is unknown" + (f"; did you mean {json.dumps(nearest[0])}?" if nearest else "")


def _find_shared_folders(models: Sequence[str]) -> Iterator[str]:
    """Two files of weights must not share a folder of the run."""
    known: dict[str, str] = {}
    for model in dict.fromkeys(models):
        other = known.setdefault(model_folder(model), model)
        if other != model:
            yield f"train.models: {other} and {model} would share a folder in the run; rename one of the files"


def _find_odd(
    content: dict[str, Any], table: str, key: str, is_known: Callable[[str], bool], valid: tuple[str, ...]
) -> Iterator[str]:
    """One line for each name of a list that is unknown or stands twice."""
    names = content.get(table, {}).get(key, [])
    for position, entry in enumerate(names):
        place = f"{table}.{key}[{position}] = {json.dumps(entry)}"
        if entry in names[:position]:
            yield f"{place}: stands twice; remove one"
        elif not is_known(entry):
            network, at, weights = entry.partition("@")
            nearest = difflib.get_close_matches(network, valid, n=1)
            advice = f'did you mean "{nearest[0]}{at}{weights}"?' if nearest else f"use {', '.join(valid)}"
            yield f"{place} is unknown; {advice}"
