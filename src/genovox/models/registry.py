"""Names of weights in a study, ``resnet50@medicalnet`` or ``resnet50@PATH``, to files on this machine.

Nothing is ever fetched: a file that is not there is asked for, with its page and its place.
"""

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from genovox.core.errors import DataError, UsageError, describe_rule
from genovox.core.sections import SELF, Table

CACHE_VARIABLE = "GENOVOX_WEIGHTS"

REGISTRY = "weights.toml"
FILE = "file"
"""The source of weights that are named by a path."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Entry(Table):
    """One file of a source: the weights of one network."""

    file: Annotated[str, Field(min_length=1)]
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    page: str = ""
    shortcut: Literal["A", "B", ""] = ""


class Source(Table):
    """A name in the registry: weights that were published, or kept by a group, together."""

    page: str = ""
    paper: str = ""
    licence: str = ""
    channels: int | None = Field(default=None, ge=1)
    note: str = ""
    networks: dict[str, Entry] = Field(default_factory=dict)


@dataclass(frozen=True)
class ResolvedWeights:
    """A file that stands for a name.

    Attributes:
        network: Name of the network, before the ``@``.
        source: Name in the registry, ``self``, or ``file`` for a path.
        path: The file; it exists.
        sha256: Of its content, in hexadecimal digits.
        checked: Whether a sha256 was stated for it, and is this one.
        page: Where it comes from; empty if nobody said.
        licence: As its source states it; empty if nobody said.
        channels: Input channels it was trained with; None if nobody said.
        shortcut: Type of its shortcuts, ``A`` or ``B``; empty if nobody said.
    """

    network: str
    source: str
    path: Path
    sha256: str
    checked: bool
    page: str = ""
    licence: str = ""
    channels: int | None = None
    shortcut: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All of it but the path, which differs from machine to machine: its file name stands for it."""
        return {**vars(self), "path": self.path.name}


def resolve_weights(spec: str, root: Path, *, pretrained: Mapping[str, Path] | None = None) -> ResolvedWeights:
    """File that ``NETWORK@NAME`` or ``NETWORK@PATH`` of a study means; its content is hashed, not opened.

    Letters, digits, ``-`` and ``_`` alone are a name; anything else (``old/best.pth``, ``./best``) is a path:
    absolute, of the home folder (``~``), or relative to the study's folder. Names come from the study's
    ``weights.toml``, then ``~/.config/genovox/weights.toml``, then the registry of genovox. Their files lie in
    ``GENOVOX_WEIGHTS/NAME/``, by default ``~/.cache/genovox/weights/NAME/``.

    Args:
        spec: As in ``train.models``.
        root: The study's folder.
        pretrained: What ``genovox pretrain`` wrote for this study, by network: the files of ``self``.

    Raises:
        UsageError: For a spec, name or network nobody knows, or a ``weights.toml`` that breaks its rules.
        DataError: If the file is missing (with where to get it and where to put it) or has another sha256 than stated.
    """
    network, separator, name = spec.partition("@")
    if not (network and separator and name):
        raise UsageError(f"weights are named NETWORK@NAME or NETWORK@PATH such as resnet18@medicalnet, got {spec!r}")
    if name == SELF:
        return _resolve_self(network, pretrained or {})
    if not _NAME.fullmatch(name):
        path = root / Path(name).expanduser()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise DataError(f"{spec}: {path} {what}; name a file, relative to the study's folder")
        return ResolvedWeights(network, FILE, path, hash_sha256(path), checked=False)
    sources = read_registry(root)
    source, entry = _find_entry(sources, network, name, spec)
    page = entry.page or source.page
    place = weights_folder() / name / Path(entry.file).expanduser()
    if not place.is_file():
        licence = f" (licence: {source.licence})" if source.licence else ""
        origin = f"get it from {page}{licence}" if page else f"ask whoever wrote it into {REGISTRY}"
        raise DataError(
            f"{spec} needs the file {place.name}, which is not there; {origin} and put it at {place}, "
            "nothing is fetched for you"
        )
    digest = hash_sha256(place)
    if entry.sha256 and digest != entry.sha256:
        raise DataError(
            f"{spec}: {place} must have the stated sha256 {entry.sha256}, it has {digest}; get the file again, or "
            f"correct {REGISTRY} if the file is meant"
        )
    return ResolvedWeights(
        network,
        name,
        place,
        digest,
        checked=bool(entry.sha256),
        page=page,
        licence=source.licence,
        channels=source.channels,
        shortcut=entry.shortcut,
    )


def read_registry(root: Path) -> dict[str, Source]:
    """Every source by its name: the registry of genovox, under the user's ``weights.toml``, under the study's.

    Raises:
        UsageError: If one of them is no TOML or breaks the form.
    """
    content = tomllib.loads((resources.files("genovox.models") / "registry.toml").read_text(encoding="utf-8"))
    for path in (Path.home() / ".config" / "genovox" / REGISTRY, root / REGISTRY):
        try:
            own = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            continue
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} must be TOML, it cannot be read ({error}); correct it") from None
        wrong = next((name for name in own if name == SELF or not _NAME.fullmatch(name)), None)
        if wrong is not None:
            raise UsageError(
                f"{path}: a name holds letters, digits, - and _ and is not {SELF}, got {wrong!r}; rename it"
            )
        content = _merge(content, own)
        _validate(content, path)
    return _validate(content, Path("registry.toml"))


def weights_folder() -> Path:
    """Where files of named weights lie: ``GENOVOX_WEIGHTS``, or ``~/.cache/genovox/weights``."""
    stated = os.environ.get(CACHE_VARIABLE)
    return Path(stated).expanduser() if stated else Path.home() / ".cache" / "genovox" / "weights"


def hash_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as publishers state it.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        status = path.stat()
        return _hash_once(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path and who may read it") from None


@cache
def _hash_once(path: Path, size: int, time_ns: int) -> str:  # noqa: ARG001 - a file of another size or time is another
    """A command asks for the same file when its stage opens, and again when it plans."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve_self(network: str, pretrained: Mapping[str, Path]) -> ResolvedWeights:
    path = pretrained.get(network)
    if path is None or not path.is_file():
        others = f" (there is: {', '.join(pretrained)})" if pretrained else ""
        raise DataError(
            f"{network}@{SELF} needs a {network} pretrained for this study, there is none{others}; "
            "run: genovox pretrain"
        )
    return ResolvedWeights(network, SELF, path, hash_sha256(path), checked=False)


def _find_entry(sources: Mapping[str, Source], network: str, name: str, spec: str) -> tuple[Source, Entry]:
    if name not in sources:
        known = (*sources, SELF)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise UsageError(
            f"{spec}: the weights {name!r} are not known, those are {', '.join(known)}; did you mean {nearest!r}? "
            f"A file is named by its path (./{name}), a name by {REGISTRY}"
        )
    networks = sources[name].networks
    network = network.removesuffix("-dilated")  # a reading of the same weights
    if network not in networks:
        raise UsageError(
            f"{spec}: {name} has weights of {', '.join(networks) or 'no network'}, not of {network!r}; use one of "
            f"those, or add [{name}.networks.{network}] to {REGISTRY}"
        )
    return sources[name], networks[network]


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _validate(content: Mapping[str, Any], path: Path) -> dict[str, Source]:
    try:
        return TypeAdapter(dict[str, Source]).validate_python(content, strict=True)
    except ValidationError as error:
        raise UsageError("\n".join(f"{path}: {line}" for line in _describe_problems(error))) from None


def _describe_problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            keys = Entry.model_fields if len(place) > 2 else Source.model_fields
            nearest = difflib.get_close_matches(place[-1], keys, n=1, cutoff=0)[0]
            yield f"unknown key {'.'.join(place)}; did you mean {nearest!r}?"
        elif place[-1] == "sha256":
            yield f"{'.'.join(place)} must be 64 digits of 0-9 and a-f, got {problem['input']!r}; correct it"
        else:
            yield f"{'.'.join(place)}: {describe_rule(problem)}; correct it"
