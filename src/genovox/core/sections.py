"""The tables of a study file: every key, its default and what it may hold."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from genovox.core.errors import StudyError

SCHEMA = 1
ORACLE = "oracle"
SELF = "self"
"""Weights that ``genovox pretrain`` makes of the study's own untested patients."""
TABULAR = ("radiomics", "metadata", "clinical")
"""Models of table columns: what a network must be compared with."""
BLEND = "+"
"""Between the names of models whose scores are blended."""
TRUTH = "truth.csv"
"""The model of simulated cohorts that scores by what was drawn, and what it reads beside the study."""

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(ge=1)]
# A run keeps its study as JSON, which has no dates.
Day = Annotated[date, BeforeValidator(lambda value: date.fromisoformat(value) if isinstance(value, str) else value)]


def members_of(model: str, models: Sequence[str]) -> tuple[str, ...]:
    """The models of a list that one of its names blends, as ``light+radiomics`` does; none where it blends none."""
    # Shortest names first, so that no blend is taken for a member; a file of weights may have a plus in its name.
    names = sorted((name for name in models if name != model), key=len)

    def split(rest: str) -> tuple[str, ...]:
        if rest in names:
            return (rest,)
        for name in names:
            tail = split(rest.removeprefix(name + BLEND)) if rest.startswith(name + BLEND) else ()
            if tail:
                return (name, *tail)
        return ()

    return split(model)


def find_blends(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The members of each model of a list that blends others of it."""
    return {model: found for model in models if (found := members_of(model, models))}


def is_network(model: str, models: Sequence[str]) -> bool:
    """Whether a model of a list looks at voxels and is trained."""
    return model != ORACLE and model not in TABULAR and not members_of(model, models)


class Table(BaseModel):
    """A table whose unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyTable(Table):
    """``[study]``: what the study is called and the seed of everything random."""

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1)
    name: str = Field(default="study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=7, ge=0)


class EligibilityTable(Table):
    """``[cohort.eligibility]``: which exams may be in."""

    exams: Literal["all", "earliest"] = "all"
    leave_out: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    roles: tuple[Literal["subtraction", "projection", "t2", "dwi", "adc", "localizer", "reformat"], ...] = ()
    before: tuple[str, ...] = ()
    from_date: Day | None = None
    to_date: Day | None = None


class MatchingTable(Table):
    """``[cohort.matching]``: non-carriers like the carriers; empty ``on`` matches nothing."""

    on: tuple[str, ...] = ()
    ratio: PositiveInt = 1
    caliper: PositiveFloat = 0.2


class SplitsTable(Table):
    """``[cohort.splits]``: repeated stratified folds that never split a group, and who is kept for one last test."""

    scheme: Literal["stratified", "site"] = "stratified"
    folds: int = Field(default=5, ge=2)
    repeats: PositiveInt = 1
    group_by: tuple[Literal["patient_id", "family_id"], ...] = Field(default=("patient_id", "family_id"), min_length=1)
    stratify_by: tuple[Literal["label", "site"], ...] = ("label", "site")
    inner_folds: int = Field(default=5, ge=2)
    part_column: str = ""
    test_sites: tuple[str, ...] = ()
    test_from: Day | None = None

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


class CohortTable(Table):
    """``[cohort]``: where images and labels come from and who is in."""

    images: str
    labels: str = ""
    tests: tuple[str, ...] = ()
    classifications: tuple[str, ...] = ()
    minimum_review: int = Field(default=1, ge=0, le=4)
    precedence: tuple[Literal["curated", "clinvar", "laboratory"], ...] = ()
    panels: str = ""
    coverage: tuple[str, ...] = ()
    calls_origin: Literal["unknown", "germline"] = "unknown"
    genes: tuple[str, ...] = ("BRCA1", "BRCA2")
    vus: Literal["exclude", "negative"] = "exclude"
    other_genes: Literal["exclude", "negative"] = "exclude"
    unit: Literal["breast", "exam", "lesion", "volume"] = "volume"
    breasts: Literal["affected", "both", "contralateral"] = "affected"
    clinical: str = ""
    phases: str = ""
    marks: str = ""
    eligibility: EligibilityTable = EligibilityTable()
    matching: MatchingTable = MatchingTable()
    splits: SplitsTable = SplitsTable()

    @field_validator("classifications", "coverage", mode="before")
    @classmethod
    def _take_one(cls, paths: object) -> object:
        return ((paths,) if paths else ()) if isinstance(paths, str) else paths

    def refuse_contradictions(self, name: str) -> None:
        """Refuse what cannot hold together.

        Raises:
            StudyError: Naming the keys and what to do.
        """
        if self.labels and self.tests:
            raise StudyError(f"{name}: labels come from cohort.labels or from cohort.tests, both are given; drop one")
        for key in ("classifications", "panels", "coverage"):
            if getattr(self, key) and not self.tests:
                raise StudyError(
                    f"{name}: cohort.{key} goes with cohort.tests, which is empty; give the tests or drop it"
                )
        if self.unit == "breast" and self.breasts != "both" and not self.clinical:
            raise StudyError(
                f'{name}: cohort.breasts = "{self.breasts}" needs the affected side; give cohort.clinical (patient_id, '
                'affected_side), or use breasts = "both"'
            )
        if self.eligibility.before and not self.clinical:
            raise StudyError(
                f"{name}: cohort.eligibility.before names columns of the clinical table, got "
                f"{list(self.eligibility.before)} and no table; give cohort.clinical"
            )
        # By value: a run's copy of its study states every key.
        usual = MatchingTable()
        idle = [key for key in ("caliper", "ratio") if getattr(self.matching, key) != getattr(usual, key)]
        if idle and not self.matching.on:
            raise StudyError(
                f"{name}: cohort.matching.{idle[0]} needs cohort.matching.on, what to match on; give it, such as "
                '["age", "site"], or leave the table out'
            )
        start, end = self.eligibility.from_date, self.eligibility.to_date
        if start and end and start > end:
            raise StudyError(f"{name}: cohort.eligibility.from_date {start} lies after to_date {end}; exchange them")
        ways = [
            key
            for key, value in (
                ("part_column", self.splits.part_column),
                ("test_sites", self.splits.test_sites),
                ("test_from", self.splits.test_from),
            )
            if value
        ]
        if len(ways) > 1:
            raise StudyError(
                f"{name}: cohort.splits sets the last test aside in one way, got {' and '.join(ways)}; keep one"
            )


PRESETS: dict[str, dict[str, object]] = {
    # A voxel finer than most scans hold, both breasts or one, intensities joint over the phases.
    "breast-1mm": {
        "spacing_mm": (1.0, 1.0, 1.0),
        "shape": (160, 160, 160),
        "bias": "n4",
        "motion": "rigid",
        "foreground": "breast",
        "channels": ("pre", "subtraction@90s", "washout"),
    },
    # One breast, as the ODELIA consortium crops it.
    "odelia": {
        "spacing_mm": (0.7, 0.7, 3.0),
        "shape": (224, 224, 32),
        "foreground": "breast",
        "channels": ("subtraction1",),
    },
    # MAMA-MIA: isotropic, one mean and SD over all phases of the exam.
    "mama-mia": {
        "spacing_mm": (1.0, 1.0, 1.0),
        "shape": (320, 192, 192),
        "foreground": "body",
        "normalise": "joint-z",
        "channels": ("pre", "post1", "post2"),
    },
    # The study that this field of ours started with.
    "seed-study": {
        "spacing_mm": (1.1, 1.1, 3.0),
        "shape": (320, 320, 64),
        "orientation": "LAS",
        "interpolation": "cubic",
        "foreground": "body",
        "contrast": "equalise",
        "normalise": "uint8",
        "channels": ("post1",),
    },
}
"""What each ``preprocess.preset`` sets; a key that the study states itself counts instead."""


class PreprocessTable(Table):
    """``[preprocess]``: from scan to network input; spacing and shape are x, y, z."""

    preset: Literal["none", "breast-1mm", "odelia", "mama-mia", "seed-study"] = "none"
    spacing_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | Literal["native"] = (2.0, 2.0, 2.0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (96, 96, 96)
    orientation: Literal["RAS", "LAS", "LPS"] = "RAS"
    interpolation: Literal["linear", "cubic"] = "linear"
    bias: Literal["n4", "none"] = "none"
    motion: Literal["none", "rigid", "bspline"] = "none"
    foreground: Literal["breast", "body", "brain", "none"] = "body"
    denoise: Literal["none", "gaussian", "median", "bilateral", "curvature-flow", "non-local-means"] = "none"
    contrast: Literal["none", "equalise", "clahe"] = "none"
    normalise: Literal["joint-z", "percentile", "nyul", "pre", "uint8", "none"] = "joint-z"
    channels: tuple[str, ...] = Field(default=("pre",), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        return PRESETS.get(str(values.get("preset", "none")), {}) | values


class AugmentTable(Table):
    """``[augment]``: random transforms of training batches."""

    preset: Literal["none", "light", "breast-dce", "strong", "isotropic"] = "breast-dce"
    mix: Literal["none", "mixup", "cutmix"] = "none"


class SearchTable(Table):
    """``[train.search]``: values to choose from on inner folds of each fold's patients; empty searches nothing."""

    learning_rate: tuple[PositiveFloat, ...] = ()
    weight_decay: tuple[Annotated[float, Field(ge=0)], ...] = ()
    epochs: tuple[PositiveInt, ...] = ()
    folds: int = Field(default=3, ge=2)

    def list_values(self) -> dict[str, tuple[float, ...]]:
        """What each key is chosen from."""
        return {key: values for key, values in self if isinstance(values, tuple) and values}


class TrainTable(Table):
    """``[train]``: the models, in the order they are declared; the first is the study's primary model."""

    models: tuple[str, ...] = Field(default=("light",), min_length=1)
    members: PositiveInt = 1
    snapshots: PositiveInt = 1
    epochs: PositiveInt = 40
    batch_size: int = Field(default=8, ge=2)
    accumulate: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["cosine", "one-cycle", "plateau"] = "cosine"
    weight_decay: float = Field(default=1e-2, ge=0)
    gradient_norm: PositiveFloat = 5.0
    warmup_epochs: int = Field(default=2, ge=0)
    patience: PositiveInt = 10
    keep: Literal["best", "last"] = "last"
    average: float = Field(default=0.0, ge=0, lt=1)
    loss: Literal["balanced", "plain", "focal"] = "balanced"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    transfer: Literal["fine-tune", "frozen"] = "fine-tune"
    parts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    thaw_epochs: int = Field(default=0, ge=0)
    test_flips: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    tracking: str = ""
    search: SearchTable = SearchTable()

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The networks that start from what ``genovox pretrain`` makes for this study."""
        return tuple(model.partition("@")[0] for model in self.networks if model.endswith(f"@{SELF}"))

    def is_frozen(self, model: str) -> bool:
        """Whether a model's encoder stays as its weights file has it."""
        return self.transfer == "frozen" and "@" in model

    @property
    def networks(self) -> tuple[str, ...]:
        """The models that look at voxels and are trained."""
        return tuple(model for model in self.models if is_network(model, self.models))

    @property
    def blends(self) -> dict[str, tuple[str, ...]]:
        """The members of each model that blends others of the study."""
        return find_blends(self.models)

    @property
    def fitted(self) -> tuple[str, ...]:
        """The models that learn from training patients; the oracle only knows, and a blend only averages."""
        return tuple(model for model in self.models if model != ORACLE and model not in self.blends)

    def refuse_odd_snapshots(self, name: str) -> None:
        """Refuse cycles that no schedule can be cut into.

        Raises:
            StudyError: Naming the key that does not go with ``train.snapshots``.
        """
        if self.snapshots == 1:
            return
        odd = [
            f"{key} = {value}"
            for key, value, is_odd in (
                ("schedule", self.schedule, self.schedule != "cosine"),
                ("thaw_epochs", self.thaw_epochs, self.thaw_epochs > 0),
                ("transfer", self.transfer, self.transfer == "frozen"),
                *(("epochs", epochs, epochs % self.snapshots > 0) for epochs in (self.epochs, *self.search.epochs)),
            )
            if is_odd
        ]
        if odd:
            raise StudyError(
                f"{name}: train.snapshots = {self.snapshots} cuts a cosine schedule of the whole network into cycles "
                f"of equal length, train.{odd[0]} does not go with that; change it, or use train.members"
            )


class PretrainTable(Table):
    """``[pretrain]``: what ``NETWORK@self`` learns from scans without labels, and how."""

    cases: Literal["untested", "all"] = "untested"
    epochs: PositiveInt = 100
    batch_size: int = Field(default=16, ge=2)
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(default=1e-2, ge=0)
    gradient_norm: PositiveFloat = 5.0
    warmup_epochs: int = Field(default=5, ge=0)
    hidden: float = Field(default=0.6, gt=0, lt=1)


class EvaluateTable(Table):
    """``[evaluate]``: a patient's score, its intervals, and for whom the model would be used."""

    resamples: int = Field(default=2000, ge=200)
    patient_score: Literal["mean", "max", "noisy-or"] = "mean"
    cost_ratio: PositiveFloat = 1.0
    target_prevalence: float = Field(default=0.0, ge=0, lt=1)
    subgroups: tuple[str, ...] = ()


class AuditTable(Table):
    """``[audit]``: what would be useful, fixed before the study."""

    minimum_auc: float = Field(default=0.60, gt=0.5, lt=1.0)
    permutation_p: float = Field(default=0.025, gt=0, le=0.05)
    permutations: int = Field(default=2000, ge=200)
    refits: int = Field(default=200, ge=40)
    permute_pipeline: int = Field(default=0, ge=0)
    leave_sites_out: bool = False
    image_controls: bool = True


class ExplainTable(Table):
    """``[explain]``: how many cases a group (right, wrong, borderline) to look at."""

    cases_per_group: PositiveInt = 2


class ReportTable(Table):
    """``[report]``: what the page shows."""

    qc_pictures: int = Field(default=24, ge=0)
