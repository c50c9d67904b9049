"""The study file: everything a study declares before it is run."""

import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import StudyError, describe_rule
from genovox.core.names import minimum_side, refuse_names, split_model
from genovox.core.sections import (
    BLEND,
    ORACLE,
    PRESETS,
    SCHEMA,
    SELF,
    TRUTH,
    AuditTable,
    AugmentTable,
    CohortTable,
    EvaluateTable,
    ExplainTable,
    PreprocessTable,
    PretrainTable,
    ReportTable,
    StudyTable,
    Table,
    TrainTable,
)

MOST_SETTINGS = 100
"""Combinations of a search: the best of more, on the few patients of an inner fold, is best by luck."""
_OF_FORM = ("int_from_float", "string_pattern_mismatch", "too_short", "finite_number")
"""Problems with the form of a value beside a wrong type: a limit says by itself what to write."""


class Study(Table):
    """A whole study file.

    Attributes:
        root: The folder every path of the file is relative to.
    """

    study: StudyTable = StudyTable()
    cohort: CohortTable
    preprocess: PreprocessTable = PreprocessTable()
    augment: AugmentTable = AugmentTable()
    pretrain: PretrainTable = PretrainTable()
    train: TrainTable = TrainTable()
    evaluate: EvaluateTable = EvaluateTable()
    audit: AuditTable = AuditTable()
    explain: ExplainTable = ExplainTable()
    report: ReportTable = ReportTable()
    root: Path = Field(default=Path(), exclude=True)

    @property
    def seed(self) -> int:
        """The seed everything random derives from."""
        return self.study.seed

    @classmethod
    def load(cls, path: Path, assignments: tuple[str, ...] = ()) -> Self:
        """Read a study file.

        Args:
            path: ``study.toml``.
            assignments: Values that replace the file's, such as ``train.epochs=3``.

        Raises:
            StudyError: For a file that is missing, no TOML, of a newer schema, or breaks a rule; every problem is
                one line of the message.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise StudyError(
                f"no such study file: {path}; make one with: genovox init IMAGES --labels labels.csv"
            ) from None
        except OSError as error:
            raise StudyError(f"{path} cannot be read ({error.strerror}); give a study.toml or a run folder") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StudyError(_explain_no_toml(path, error)) from None
        for assignment in assignments:
            _assign(content, assignment)
        study = cls._build(content, path.name, path.parent)
        if ORACLE in study.train.models and not (path.parent / TRUTH).exists():
            raise StudyError(
                f"{path.name}: the oracle reads {TRUTH} beside the study, which only a simulated cohort has; leave "
                f'"{ORACLE}" out of train.models'
            )
        return study

    @classmethod
    def load_snapshot(cls, run: Path, assignments: tuple[str, ...] = ()) -> Self:
        """Read the study as a run folder keeps it.

        Raises:
            StudyError: If the folder is no run.
        """
        path = run / "study.json"
        if not path.exists():
            raise StudyError(f"{run} is no run folder (it has no study.json); give a study.toml or a folder in runs/")
        snapshot = read_json(path)
        # A run states every key; a preset that is asked for anew must count instead of what the old one set.
        for preset in (text.removeprefix("preprocess.preset=").strip("\"'") for text in assignments):
            for key in PRESETS.get(preset, ()):
                snapshot["study"]["preprocess"].pop(key, None)
        for assignment in assignments:
            _assign(snapshot["study"], assignment)
        return cls._build(snapshot["study"], str(path), (run / snapshot["root"]).resolve())

    @classmethod
    def assume(cls, assignments: tuple[str, ...] = ()) -> Self:
        """The study that a table without a study file is read as: the defaults, and what is assigned.

        Raises:
            StudyError: If an assignment breaks a rule.
        """
        content: dict[str, Any] = {"cohort": {"images": "manifest.csv", "labels": "labels.csv"}}
        for assignment in assignments:
            _assign(content, assignment)
        return cls._build(content, "--set", Path())

    def locate_images(self) -> Path:
        """The DICOM tree or manifest that ``cohort.images`` names.

        Raises:
            StudyError: If it is not there.
        """
        source = Path(self.root) / self.cohort.images
        if not source.exists():
            raise StudyError(
                f'cohort.images = "{self.cohort.images}": there is no such file or folder; '
                "give a DICOM tree or a manifest.csv"
            )
        return source

    def save_snapshot(self, run: Path) -> None:
        """Keep the study in the run's folder; its root is kept relative to the run."""
        root = Path(self.root).resolve()
        write_json(run / "study.json", {"root": os.path.relpath(root, run.resolve()), "study": self.as_dict()})

    def refuse_foreign_run(self, run: Path) -> None:
        """A folder holds the run of one study: another's stages would be made anew over its own.

        Raises:
            StudyError: If the folder keeps a study of another name or place.
        """
        if not (run / "study.json").exists():
            return
        snapshot = read_json(run / "study.json")
        name, root = snapshot["study"]["study"]["name"], (run / snapshot["root"]).resolve()
        if (name, root) != (self.study.name, Path(self.root).resolve()):
            raise StudyError(
                f'{run} holds the run of another study, "{name}" of {os.path.relpath(root)}, got "{self.study.name}"; '
                "give --out a folder of its own"
            )

    def as_dict(self) -> dict[str, Any]:
        """Every table as JSON would hold it."""
        content: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return content

    @classmethod
    def _build(cls, content: dict[str, Any], name: str, root: Path) -> Self:
        schema = content.get("study", {}).get("schema", SCHEMA) if isinstance(content.get("study"), dict) else SCHEMA
        if isinstance(schema, int) and schema > SCHEMA:
            raise StudyError(f"{name}: study.schema is {schema}, this genovox reads up to {SCHEMA}; update genovox")
        if "root" in content:
            raise StudyError(f"{name}: unknown table [root]; paths are relative to the file itself")
        try:
            study = cls.model_validate(_as_tuples(content) | {"root": root}, strict=True)
        except ValidationError as error:
            lines = [_describe_problem(problem) for problem in _drop_echoes(error.errors())]
            raise StudyError("\n".join(f"{name}: {line}" for line in dict.fromkeys(lines))) from None
        refuse_names(content, name)
        study.refuse_small_shape(name)
        study.cohort.refuse_contradictions(name)
        study.train.refuse_odd_snapshots(name)
        study.refuse_idle_training(name)
        paths: dict[str, Any] = {
            key: relative_path(getattr(study.cohort, key), root)
            for key in ("images", "labels", "clinical", "marks", "panels", "phases")
        }
        for key in ("tests", "classifications", "coverage"):
            paths[key] = tuple(relative_path(path, root) for path in getattr(study.cohort, key))
        cohort = study.cohort.model_copy(update=paths)
        return study.model_copy(update={"cohort": cohort, "train": _make_relative(study.train, root)})

    def refuse_small_shape(self, name: str) -> None:
        """Refuse, before hours of preprocessing, a crop that a network cannot take.

        Raises:
            StudyError: Naming the network, its smallest side and the shape.
        """
        for model in self.train.models:
            smallest = minimum_side(model)
            if min(self.preprocess.shape) < smallest:
                raise StudyError(
                    f"{name}: {model} needs {smallest} voxels a side, preprocess.shape is "
                    f"{list(self.preprocess.shape)}; enlarge the shape or leave the network out"
                )

    def refuse_idle_training(self, name: str) -> None:
        """Refuse keys of ``[train]`` that would do nothing, and a search that would not end.

        Raises:
            StudyError: Naming the key, its value and what to do.
        """
        train = self.train
        if train.transfer == "frozen" and not any(train.is_frozen(model) for model in train.networks):
            raise StudyError(
                f'{name}: train.transfer = "frozen" keeps the weights that a network starts from, and no network of '
                f"train.models starts from any; name some, such as light@{SELF}, or leave the key out"
            )
        grid = train.search.list_values()
        repeated = next((key for key, values in grid.items() if len(set(values)) < len(values)), None)
        if repeated:
            raise StudyError(
                f"{name}: train.search.{repeated} = {list(grid[repeated])} holds a value twice; write each once"
            )
        if grid and all(train.is_frozen(model) for model in train.networks):
            raise StudyError(
                f'{name}: train.search tries how networks learn, with train.transfer = "frozen" none does; leave one '
                "of the two out"
            )
        settings = math.prod(len(values) for values in grid.values())
        if settings > MOST_SETTINGS:
            raise StudyError(
                f"{name}: train.search holds {settings} combinations, each trained on {train.search.folds} inner folds "
                f"of every fold; at most {MOST_SETTINGS} are searched: shorten its lists"
            )


def _make_relative(table: TrainTable, root: Path) -> TrainTable:
    """Weights by paths relative to the study's folder, as all its paths."""

    def turn(model: str) -> str:
        network, weights = split_model(model)
        path = Path(weights).expanduser()
        return f"{network}@{relative_path(str(path), root)}" if weights and path.is_absolute() else model

    parts = {turn(model): part for model, part in table.parts.items()}
    models = tuple(BLEND.join(turn(one) for one in table.blends.get(model, (model,))) for model in table.models)
    return table.model_copy(update={"models": models, "parts": parts})


def relative_path(path: str, root: Path) -> str:
    """A path relative to the study's folder; one that is relative already is taken as it is."""
    return os.path.relpath(path, root.resolve()) if path and Path(path).is_absolute() else path


def _as_tuples(content: Any) -> Any:
    """Lists as the tuples the tables hold: strict validation, so that ``true`` is no 1, takes nothing else."""
    if isinstance(content, dict):
        return {name: _as_tuples(value) for name, value in content.items()}
    return tuple(_as_tuples(value) for value in content) if isinstance(content, list) else content


def _assign(content: dict[str, Any], assignment: str) -> None:
    name, separator, text = assignment.partition("=")
    keys = name.strip().split(".")
    if not separator or len(keys) < 2:
        raise StudyError(f"--set takes TABLE.KEY=VALUE such as train.epochs=3, got {assignment!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = content
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise StudyError(f"--set {assignment}: {key} is a value, not a table")
    table[keys[-1]] = value


def _drop_echoes(problems: Sequence[Any]) -> list[Any]:
    """One problem a value: "native" expected for a list, and a list too short because of its entries, say nothing."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not str(problem["loc"][-1]).startswith("literal[")
        and not any(place[:-1] == problem["loc"] for place in places)
    ]


def _describe_problem(problem: Any) -> str:
    place = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(place[-1], _valid_names(place[:-1]), n=1)
        advice = f'did you mean "{nearest[0]}"?' if nearest else f"valid: {', '.join(_valid_names(place[:-1]))}"
        return f"unknown key {'.'.join(place)}; {advice}"
    keys = [part for part in problem["loc"] if "[" not in str(part)]
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
    value = json.dumps(problem["input"], default=str, ensure_ascii=False)
    if problem["type"] == "missing":
        if isinstance(keys[-1], int):
            return f"{name.rpartition('[')[0]} = {value}: value {keys[-1] + 1} is missing; add it"
        return f"{name} is missing; add it"
    return f"{name} = {value}: {describe_rule(problem)}{_advise(keys, problem)}"


def _advise(keys: list[str | int], problem: Any) -> str:
    """What to write instead: the value in the form that its key takes, or else what the key holds by default."""
    kind = problem["type"]
    if kind == "model_type":
        return f"; write [{'.'.join(map(str, keys))}] and its keys below it"
    table, key = _find_table([str(part) for part in keys[:-1]]), keys[-1]
    field = None if table is None else _find_fields(table).get(str(key))
    if field is None or not (kind.endswith("_type") or kind in _OF_FORM):
        return ""
    annotation: Any = Annotated[field.annotation, field]
    takes: TypeAdapter[Any] = TypeAdapter(annotation)
    for form in _reshape(problem["input"]):
        with suppress(ValidationError):
            return f"; write {json.dumps(takes.validate_python(form, strict=True), default=str, ensure_ascii=False)}"
    usual = field.get_default(call_default_factory=True)
    native = ' or "native"' if len(keys) < len(problem["loc"]) else ""
    return f", such as {json.dumps(usual)}{native}" if usual else ""


def _reshape(value: Any) -> Iterator[Any]:
    """A value in other forms, the likeliest first."""
    if isinstance(value, str):
        with suppress(tomllib.TOMLDecodeError):
            yield tomllib.loads(f"value = {value.strip().lower()}")["value"]
        yield tuple(part.strip() for part in value.split(",") if part.strip())
        yield re.sub("[^A-Za-z0-9._-]+", "-", value).strip("-._")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((value,), (value, value, value), str(value))
    elif isinstance(value, date):
        yield str(value)
    elif isinstance(value, tuple) and len(value) == 1:
        yield value[0]


def _explain_no_toml(path: Path, error: ValueError) -> str:
    reason = "it is no text" if isinstance(error, UnicodeDecodeError) else f"{error}"
    if path.suffix == ".toml":
        return f"{path} is not valid TOML: {reason}; correct it, or make one with: genovox init"
    return (
        f"{path} is not valid TOML: {reason}; give a study.toml or a run folder, or make a study with: "
        "genovox init IMAGES --labels labels.csv"
    )


def _find_table(names: list[str]) -> type[BaseModel] | None:
    """The table of that name; None for what is no table."""
    model: type[BaseModel] = Study
    for name in names:
        inner = model.model_fields[name].annotation if name in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return None
        model = inner
    return model


def _find_fields(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """What a table may hold, by the name in the file."""
    return {field.alias or name: field for name, field in table.model_fields.items() if name != "root"}


def _valid_names(place: list[str]) -> list[str]:
    table = _find_table(place)
    return [] if table is None else list(_find_fields(table))
