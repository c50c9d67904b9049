"""What a finished run knows that a new scan needs: networks, preprocessing and the ranges it was made for."""

from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_json, read_table, require_stage
from genovox.core.errors import UsageError
from genovox.core.sections import PreprocessTable, is_network
from genovox.models.blocks import Network
from genovox.predict.reference import Reference, read_reference
from genovox.train.crossval import NETWORKS
from genovox.train.fitted import FittedMap, load_map
from genovox.train.fold import load_networks
from genovox.train.plan import RECORD

RANGES = ("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "intensity_p50", "intensity_p99", "foreground_ml")


@dataclass(frozen=True)
class Ranges:
    """What the training cohort was like.

    Attributes:
        figures: Smallest and largest value by figure.
        phases: Phases of the case that has the fewest.
        most_phases: Phases of the case that has the most.
    """

    figures: dict[str, tuple[float, float]]
    phases: int
    most_phases: int


@dataclass(frozen=True)
class Bundle:
    """A run ready to score.

    Attributes:
        preprocess: How the networks' own cases were preprocessed.
        model: The network's name.
        networks: Those of every fold and repeat, its members and snapshots, in evaluation mode.
        maps: What each network's fold fitted on its training patients, None where nothing is.
        ranges: What the training cohort was like.
        flips: Whether a score is the mean over the volume and its mirror image.
        unit: What a case is: a breast, an exam, a lesion or a row.
        reference: The study's own out-of-fold scores.
    """

    preprocess: PreprocessTable
    model: str
    networks: list[Network]
    maps: list[FittedMap | None]
    ranges: Ranges
    flips: bool
    unit: str
    reference: Reference


def list_models(run: Path) -> list[str]:
    """The networks of a run, the primary one first.

    Raises:
        UsageError: If the folder is no run, its networks are not trained on what it holds now, or it has none.
    """
    if not (run / "study.json").exists():
        raise UsageError(f"{run} is no run folder (it has no study.json); give a folder in runs/")
    train = require_stage(run, "train")
    for name in ("cohort", "preprocess"):
        if train["parts"]["upstream"][name] != require_stage(run, name)["key"]:
            raise UsageError(
                f"{run}: its {name} was made anew after its networks were trained; run first: genovox run {run}"
            )
    listed = train["parts"]["config"]["models"]
    models = [name for name in listed if is_network(name, listed)]
    if not models:
        raise UsageError(f"{run} has no network, and only networks score a scan; add one to train.models")
    return models


def choose_models(run: Path, model: str) -> list[str]:
    """The one network that is asked for, or all of a run.

    Raises:
        UsageError: If the run is not trained or does not hold it.
    """
    models = list_models(run)
    if model and model not in models:
        raise UsageError(f"--model must be a network, as only they score a scan: {', '.join(models)}, got {model!r}")
    return [model] if model else models


def load_bundle(run: Path, model: str = "") -> Bundle:
    """Load a run.

    Args:
        run: Run folder with a finished train stage.
        model: Network to use; the study's primary model if empty.

    Raises:
        UsageError: If the run is not trained or does not hold the network.
    """
    model = choose_models(run, model)[0]
    train, preprocess = require_stage(run, "train"), require_stage(run, "preprocess")
    folders = [run / "train" / name for name in read_json(run / "train" / NETWORKS)]
    own = [folder for folder in folders if read_json(folder / RECORD)["model"] == model]
    settings = PreprocessTable.model_validate(preprocess["parts"]["config"])
    members = [(network, load_map(folder, settings)) for folder in own for network in load_networks(folder)]
    flips = bool(train["parts"]["config"]["test_flips"])
    return Bundle(
        preprocess=settings,
        model=model,
        networks=[network for network, _ in members],
        maps=[fitted for _, fitted in members],
        ranges=read_ranges(run),
        flips=flips,
        unit=require_stage(run, "cohort")["parts"]["config"]["unit"],
        reference=read_reference(run, model),
    )


def read_ranges(run: Path) -> Ranges:
    """What the cohort of a run was like.

    Raises:
        TableError: If the table of its preprocessed cases is missing.
    """
    table = read_table(run / "preprocess" / "cases.csv", required=("source_spacing_mm", "phases"))
    columns = {name: table[name].astype(float) for name in RANGES if name in table.columns}
    spacing = table["source_spacing_mm"].str.split(";", expand=True).astype(float)
    columns |= {f"spacing_{axis}_mm": spacing[index] for index, axis in enumerate("xyz")}
    phases = table["phases"].astype(int)
    figures = {name: (float(values.min()), float(values.max())) for name, values in columns.items()}
    return Ranges(figures, int(phases.min()), int(phases.max()))
