"""Which networks a study trains: one task a model, repeat and fold, each with a key of all its scores depend on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from genovox.augment.pipeline import FORMAT as AUGMENT_FORMAT
from genovox.baselines.tabular import FORMAT as TABULAR_FORMAT
from genovox.cohort.splits import FoldPlan, read_folds
from genovox.core.artifacts import hash_content, read_json
from genovox.core.errors import SingleClassError, UsageError
from genovox.core.names import model_folder
from genovox.core.sections import AugmentTable, PreprocessTable, TrainTable
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.dataset.loader import FORMAT as LOADER_FORMAT
from genovox.learning.checkpoint import NETWORK, pretrained_path
from genovox.learning.loop import FORMAT as LOOP_FORMAT
from genovox.learning.resolution import Resolution
from genovox.learning.start import Start, open_start
from genovox.models.build import FORMAT as NETWORK_FORMAT
from genovox.train.tracking import Tracking

FORMAT = 2
RECORD = "fold.json"
"""Written last: a fold that has it is finished."""
SCORES = "scores.csv"
FROM_NOTHING = {"layer_decay": 1.0, "thaw_epochs": 0}
"""What spares weights that a network starts from has nothing to spare in one that starts from none."""


@dataclass(frozen=True)
class FoldTask:
    """One network to train and score.

    Attributes:
        folder: ``<model>/repeat-R/fold-K`` of the run's train folder.
        key: Hash of everything its scores depend on; a finished fold with this key is kept.
        start: What a network starts from; None for a model of table columns.
        columns: What a model of table columns learns from, a row a case; None for a network.
        encoder_seed: Decides what a frozen encoder's file leaves open: the same in all folds, which share its features.
        features: Where the features of a frozen encoder are kept for all folds; None where none are, or where a fold
            maps intensities its own way.
        tracking: Where its curves go beside its own folder; None for nowhere.
    """

    model: str
    repeat: int
    fold: str
    seed: int
    folder: Path
    key: str
    table: TrainTable
    preprocess: PreprocessTable
    augment: AugmentTable
    resolution: Resolution
    start: Start | None
    columns: pd.DataFrame | None
    encoder_seed: int
    features: Path | None
    training: tuple[PreparedCase, ...]
    validation: tuple[PreparedCase, ...]
    test: tuple[PreparedCase, ...]
    fixed_test: tuple[PreparedCase, ...]
    tracking: Tracking | None = None

    @property
    def name(self) -> str:
        """The fold as messages name it."""
        return f"{self.model} repeat {self.repeat} fold {self.fold}"

    def is_finished(self) -> bool:
        """Whether its files are there and still hold."""
        needed = (RECORD, SCORES, *((NETWORK,) if self.start else ()))
        if not all((self.folder / name).exists() for name in needed):
            return False
        return bool(read_json(self.folder / RECORD)["key"] == self.key)


def open_starts(study: Study, run: Path) -> dict[str, Start]:
    """What each network of a study starts from.

    Raises:
        UsageError: If weights are named in a way nobody knows or are of this run's own folds, or if ``train.parts``
            names no model.
        DataError: If a file of weights is not there.
    """
    odd = [model for model in study.train.parts if model not in study.train.networks]
    if odd:
        raise UsageError(f"train.parts names {odd[0]}, which is no network of train.models; add it or drop the part")
    pretrained = {network: pretrained_path(run, network) for network in study.train.pretrained}
    starts = {model: open_start(model, study.root, study.train.parts, pretrained) for model in study.train.networks}
    own = (run / "train").resolve()
    for model, start in starts.items():
        if start.weights and start.weights.path.resolve().is_relative_to(own):
            raise UsageError(
                f"{model} names a network of this run's own folds, which training replaces; copy the file out of "
                f"{run.name}/train first"
            )
    return starts


def plan_tasks(
    study: Study,
    run: Path,
    resolution: Resolution,
    columns: Mapping[str, pd.DataFrame],
    tracking: Tracking | None = None,
) -> list[FoldTask]:
    """Every fold of every model that learns, in the order of ``predictions.csv``.

    Args:
        study: The study.
        run: Its run folder, with a cohort and preprocessed cases.
        resolution: What the machine decided.
        columns: By model of table columns: a row a case.
        tracking: Where curves go beside the folds' folders; no part of a key.

    Raises:
        SingleClassError: If cases that failed in preprocessing leave a part with one class only.
        UsageError: If weights are named in a way nobody knows.
        DataError: If a file of weights is not there.
    """
    folds = read_folds(run)
    prepared = read_prepared_cases(run)
    fixed = _present(folds.fixed_test, prepared)
    if folds.fixed_test:
        _refuse_one_class(fixed, "fixed test part")
    starts = open_starts(study, run)
    tasks = []
    for model in study.train.fitted:
        start, table = starts.get(model), columns.get(model)
        own = study.train if start and start.weights else study.train.model_copy(update=FROM_NOTHING)
        if start is None:
            how: list[object] = [TABULAR_FORMAT, _digest(table)]
        else:
            settings = own.model_dump(exclude={"models", "parts", "tracking"})
            how = [[LOOP_FORMAT, NETWORK_FORMAT, AUGMENT_FORMAT, LOADER_FORMAT], start.as_dict(), settings]
            how += [study.augment.model_dump(), asdict(resolution)]
        folder = run / "train" / model_folder(model)
        shares = study.train.is_frozen(model) and study.preprocess.normalise != "nyul"
        encoder_seed = derive_seed(study.seed, "encoder", model)
        encoder = hash_content([how[:2], asdict(resolution), encoder_seed])
        features = folder / f"features-{encoder[:12]}.npz" if shares else None
        for repeat, fold in folds.folds:
            parts = _select_parts(folds, prepared, repeat, fold)
            seed = derive_seed(study.seed, "train", model, repeat, fold)
            cases = {
                part: [(case.case_id, case.key, case.label, case.patient_id, case.family_id) for case in cases]
                for part, cases in parts.items()
            }
            content = [FORMAT, model, seed, how, cases, [(case.case_id, case.key) for case in fixed]]
            tasks.append(
                FoldTask(
                    model=model,
                    repeat=repeat,
                    fold=fold,
                    seed=seed,
                    folder=folder / f"repeat-{repeat}" / f"fold-{fold}",
                    key=hash_content(content),
                    table=own,
                    preprocess=study.preprocess,
                    augment=study.augment,
                    resolution=resolution,
                    start=start,
                    columns=table,
                    encoder_seed=encoder_seed,
                    features=features,
                    tracking=tracking,
                    training=parts["train"],
                    validation=parts["val"],
                    test=parts["test"],
                    fixed_test=fixed,
                )
            )
    return tasks


def _digest(table: pd.DataFrame | None) -> str:
    return "" if table is None else hash_content(table.to_csv(float_format="%.9g"))


def _select_parts(
    folds: FoldPlan, prepared: dict[str, PreparedCase], repeat: int, fold: str
) -> dict[str, tuple[PreparedCase, ...]]:
    parts = {part: _present(folds.select_cases(repeat, fold, part), prepared) for part in ("train", "val", "test")}
    for part, cases in parts.items():
        _refuse_one_class(cases, f"{part} part of repeat {repeat} fold {fold}")
    return parts


def _refuse_one_class(cases: tuple[PreparedCase, ...], place: str) -> None:
    if len({case.label for case in cases}) < 2:
        raise SingleClassError(
            f"every part must hold carriers and non-carriers, the {place} lost one class to failures in "
            "preprocessing; see preprocess/exclusions.csv, repair or remove those cases from the manifest"
        )


def _present(case_ids: list[str], prepared: dict[str, PreparedCase]) -> tuple[PreparedCase, ...]:
    return tuple(prepared[case_id] for case_id in case_ids if case_id in prepared)
