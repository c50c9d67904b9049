"""What a finished run knows that a new scan needs: networks, preprocessing and the ranges it was made for."""

from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_json, read_table, require_stage
from genovox.core.errors import UsageError
from genovox.core.sections import ORACLE, TABULAR, PreprocessTable
from genovox.learning.checkpoint import NETWORK, load_network
from genovox.models.blocks import Network
from genovox.train.crossval import NETWORKS
from genovox.train.fitted import FittedMap, load_map
from genovox.train.fold import MEMBER
from genovox.train.plan import RECORD

RANGES = ("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "intensity_p50", "intensity_p99", "foreground_ml")


@dataclass(frozen=True)
class Bundle:
    """A run ready to score.

    Attributes:
        preprocess: How the networks' own cases were preprocessed.
        model: The network's name.
        networks: One a fold and repeat, in evaluation mode.
        maps: What each network's fold fitted on its training patients, None where nothing is.
        ranges: Smallest and largest value of the training cohort by figure.
        phases: Phases of the case that has the fewest.
        most_phases: Phases of the case that has the most.
        flips: Whether a score is the mean over the volume and its mirror image.
        around_point: Whether each case was cropped around a mark.
    """

    preprocess: PreprocessTable
    model: str
    networks: list[Network]
    maps: list[FittedMap | None]
    ranges: dict[str, tuple[float, float]]
    phases: int
    most_phases: int
    flips: bool
    around_point: bool


def _is_around_points(run: Path) -> bool:
    return bool((read_table(run / "cohort" / "cases.csv", required=("point_mm",))["point_mm"] != "").any())


def load_bundle(run: Path, model: str = "") -> Bundle:
    """Load a run.

    Args:
        run: Run folder with a finished train stage.
        model: Network to use; the study's primary model if empty.

    Raises:
        UsageError: If the run is not trained or does not hold the network.
    """
    if not (run / "study.json").exists():
        raise UsageError(f"{run} is no run folder (it has no study.json); give a folder in runs/")
    train, preprocess = require_stage(run, "train"), require_stage(run, "preprocess")
    for name, record in (("cohort", require_stage(run, "cohort")), ("preprocess", preprocess)):
        if train["parts"]["upstream"][name] != record["key"]:
            raise UsageError(
                f"{run}: its {name} was made anew after its networks were trained; run first: genovox run {run}"
            )
    models = train["parts"]["config"]["models"]
    models = [name for name in models if name != ORACLE and name not in TABULAR]
    if not models:
        raise UsageError(f"{run} has no network, and only networks score a scan; add one to train.models")
    model = model or models[0]
    if model not in models:
        raise UsageError(f"--model must be one of {', '.join(models)}, got {model!r}")
    folders = [run / "train" / name for name in read_json(run / "train" / NETWORKS)]
    records = {folder: read_json(folder / RECORD) for folder in folders}
    own = {folder: record for folder, record in records.items() if record["model"] == model}
    members = [(folder, place) for folder in own for place in (folder, *sorted(folder.glob(f"{MEMBER}-*")))]
    networks = [
        load_network(place / NETWORK, name=model, channels=own[folder]["channels"]) for folder, place in members
    ]
    settings = PreprocessTable.model_validate(preprocess["parts"]["config"])
    maps = [load_map(folder, settings) for folder, _ in members]
    table = read_table(run / "preprocess" / "cases.csv")
    columns = {name: table[name].astype(float) for name in RANGES if name in table.columns}
    spacing = table["source_spacing_mm"].str.split(";", expand=True).astype(float)
    columns |= {f"spacing_{axis}_mm": spacing[index] for index, axis in enumerate("xyz")}
    ranges = {name: (float(values.min()), float(values.max())) for name, values in columns.items()}
    phases = table["phases"].astype(int)
    flips = bool(train["parts"]["config"]["test_flips"])
    return Bundle(
        settings, model, networks, maps, ranges, int(phases.min()), int(phases.max()), flips, _is_around_points(run)
    )
