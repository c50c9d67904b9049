"""The study file: everything a study declares before it is run."""

import difflib
import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import StudyError
from genovox.core.planned import MINIMUM_SIDE, refuse_planned

SCHEMA = 1
ORACLE = "oracle"
"""The model of simulated cohorts that scores by what was drawn; it reads ``truth.csv`` beside the study."""

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyTable(_Table):
    """``[study]``: what the study is called and the seed of everything random."""

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1)
    name: str = Field(default="study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=7, ge=0)


class SplitsTable(_Table):
    """``[cohort.splits]``: repeated stratified folds that never split a group."""

    folds: int = Field(default=5, ge=2)
    repeats: PositiveInt = 1
    group_by: tuple[Literal["patient_id", "family_id"], ...] = Field(default=("patient_id", "family_id"), min_length=1)
    stratify_by: tuple[Literal["label", "site"], ...] = ("label", "site")
    part_column: str = ""

    @field_validator("group_by")
    @classmethod
    def _keep_both(cls, group_by: tuple[str, ...]) -> tuple[str, ...]:
        if set(group_by) != {"patient_id", "family_id"}:
            raise ValueError("must name patient_id and family_id: a fold splits neither")
        return group_by

    @field_validator("stratify_by")
    @classmethod
    def _keep_label(cls, stratify_by: tuple[str, ...]) -> tuple[str, ...]:
        if "label" not in stratify_by:
            raise ValueError("must name label, so that every fold holds both classes")
        return stratify_by


class CohortTable(_Table):
    """``[cohort]``: where images and labels come from and who is in."""

    images: str
    labels: str = ""
    tests: tuple[str, ...] = ()
    classifications: str = ""
    genes: tuple[str, ...] = ("BRCA1", "BRCA2")
    vus: Literal["exclude", "negative"] = "exclude"
    other_genes: Literal["exclude", "negative"] = "exclude"
    unit: Literal["breast", "exam", "lesion", "volume"] = "volume"
    breasts: Literal["affected", "both", "contralateral"] = "affected"
    clinical: str = ""
    phases: str = ""
    marks: str = ""
    splits: SplitsTable = SplitsTable()

    def refuse_contradictions(self, name: str) -> None:
        """Refuse what cannot hold together.

        Raises:
            StudyError: Naming the keys and what to do.
        """
        if self.labels and self.tests:
            raise StudyError(f"{name}: labels come from cohort.labels or from cohort.tests, both are given; drop one")
        if self.unit == "breast" and self.breasts != "both" and not self.clinical:
            raise StudyError(
                f'{name}: cohort.breasts = "{self.breasts}" needs the affected side; give cohort.clinical (patient_id, '
                'affected_side), or use breasts = "both"'
            )


class PreprocessTable(_Table):
    """``[preprocess]``: from scan to network input; spacing and shape are x, y, z."""

    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | Literal["native"] = (2.0, 2.0, 2.0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (96, 96, 96)
    bias: Literal["n4", "none"] = "none"
    foreground: Literal["breast", "body", "brain", "none"] = "body"
    motion: Literal["none", "rigid", "bspline"] = "none"
    normalise: Literal["joint-z", "percentile", "nyul", "pre", "uint8", "none"] = "joint-z"
    channels: tuple[str, ...] = Field(default=("pre",), min_length=1)


class AugmentTable(_Table):
    """``[augment]``: random transforms of training batches."""

    preset: Literal["breast-dce", "isotropic", "none"] = "breast-dce"


class TrainTable(_Table):
    """``[train]``: the networks, in the order they are declared; the first is the study's primary model."""

    models: tuple[str, ...] = Field(default=("light",), min_length=1)
    epochs: PositiveInt = 40
    batch_size: int = Field(default=8, ge=2)
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup_epochs: int = Field(default=2, ge=0)
    patience: PositiveInt = 10
    keep: Literal["best", "last"] = "best"

    @property
    def networks(self) -> tuple[str, ...]:
        """The models that are trained; the oracle only knows."""
        return tuple(model for model in self.models if model != ORACLE)

    def refuse_lone_oracle(self, name: str) -> None:
        """Refuse a study whose primary model knows the truth.

        Raises:
            StudyError: If the oracle stands first.
        """
        if self.models[0] == ORACLE:
            raise StudyError(
                f"{name}: the first of train.models is the study's primary model, the oracle knows the truth of a "
                'simulated cohort and cannot be it; put a network first, such as ["light", "oracle"]'
            )


class EvaluateTable(_Table):
    """``[evaluate]``: how the intervals are made."""

    resamples: int = Field(default=2000, ge=200)


class AuditTable(_Table):
    """``[audit]``: what would be useful, fixed before the study."""

    minimum_auc: float = Field(default=0.60, gt=0.5, lt=1.0)
    permutations: int = Field(default=2000, ge=200)


class ExplainTable(_Table):
    """``[explain]``: how many cases a group (right, wrong, borderline) to look at."""

    cases_per_group: PositiveInt = 2


class ReportTable(_Table):
    """``[report]``: what the page shows."""

    qc_pictures: int = Field(default=24, ge=0)


class Study(_Table):
    """A whole study file.

    Attributes:
        root: The folder every path of the file is relative to.
    """

    study: StudyTable = StudyTable()
    cohort: CohortTable
    preprocess: PreprocessTable = PreprocessTable()
    augment: AugmentTable = AugmentTable()
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
            raise StudyError(f"{path} is not valid TOML: {error}") from None
        for assignment in assignments:
            _assign(content, assignment)
        return cls._build(content, path.name, path.parent)

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
        for assignment in assignments:
            _assign(snapshot["study"], assignment)
        return cls._build(snapshot["study"], str(path), (run / snapshot["root"]).resolve())

    def save_snapshot(self, run: Path) -> None:
        """Keep the study in the run's folder; its root is kept relative to the run."""
        root = Path(self.root).resolve()
        write_json(run / "study.json", {"root": os.path.relpath(root, run.resolve()), "study": self.as_dict()})

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
        refuse_planned(content, name)
        study.refuse_small_shape(name)
        study.cohort.refuse_contradictions(name)
        study.train.refuse_lone_oracle(name)
        paths: dict[str, Any] = {
            key: relative_path(getattr(study.cohort, key), root) for key in ("images", "labels", "clinical", "marks")
        }
        paths["tests"] = tuple(relative_path(path, root) for path in study.cohort.tests)
        return study.model_copy(update={"cohort": study.cohort.model_copy(update=paths)})

    def refuse_small_shape(self, name: str) -> None:
        """Refuse, before hours of preprocessing, a crop that a network cannot take.

        Raises:
            StudyError: Naming the network, its smallest side and the shape.
        """
        for model in self.train.models:
            smallest = MINIMUM_SIDE[model]
            if min(self.preprocess.shape) < smallest:
                raise StudyError(
                    f"{name}: {model} needs {smallest} voxels a side, preprocess.shape is "
                    f"{list(self.preprocess.shape)}; enlarge the shape or leave the network out"
                )


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
    place = [part for part in place if "[" not in part]
    value = json.dumps(problem["input"], default=str)
    if problem["type"] == "missing":
        if isinstance(problem["loc"][-1], int):
            return f"{'.'.join(place[:-1])} = {value}: value {problem['loc'][-1] + 1} is missing; add it"
        return f"{'.'.join(place)} is missing; add it"
    rule = (
        problem["msg"]
        .replace("tuple", "list")
        .replace("Tuple", "list")
        .replace("dictionary or instance of", "table, as")
    )
    advice = ' (or use "native")' if len(place) < len(problem["loc"]) else ""
    return f"{'.'.join(place)} = {value}: {rule[0].lower()}{rule[1:]}{advice}"


def _valid_names(place: list[str]) -> list[str]:
    model: type[BaseModel] = Study
    for name in place:
        inner = model.model_fields[name].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items() if name != "root"]
