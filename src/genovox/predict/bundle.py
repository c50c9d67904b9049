"""What a finished run knows that a new scan needs: networks, preprocessing and the ranges it was made for."""

from dataclasses import dataclass
from pathlib import Path

from genovox.core.artifacts import read_json, read_table, require_stage
from genovox.core.errors import UsageError
from genovox.core.study import Study
from genovox.models.blocks import Network
from genovox.train.checkpoint import load_network

RANGES = ("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "intensity_p50", "intensity_p99", "foreground_ml")


@dataclass(frozen=True)
class Bundle:
    """A run ready to score.

    Attributes:
        model: The network's name.
        networks: One a fold and repeat, in evaluation mode.
        ranges: Smallest and largest value of the training cohort by figure.
        phases: Phases the training cases have, the fewest.
    """

    study: Study
    model: str
    networks: list[Network]
    ranges: dict[str, tuple[float, float]]
    phases: int


def load_bundle(run: Path, model: str = "") -> Bundle:
    """Load a run.

    Args:
        run: Run folder with a finished train stage.
        model: Network to use; the study's primary model if empty.

    Raises:
        UsageError: If the run is not trained or does not hold the network.
    """
    study = Study.load_snapshot(run)
    require_stage(run, "train")
    model = model or study.train.models[0]
    if model not in study.train.models:
        raise UsageError(f"--model must be one of {', '.join(study.train.models)}, got {model!r}")
    records = sorted((run / "train" / model).glob("repeat-*/fold-*/fold.json"))
    networks = [
        load_network(path.parent / "network.safetensors", name=model, channels=read_json(path)["channels"])
        for path in records
    ]
    table = read_table(run / "preprocess" / "cases.csv")
    columns = {name: table[name].astype(float) for name in RANGES if name in table.columns}
    spacing = table["source_spacing_mm"].str.split(";", expand=True).astype(float)
    columns |= {f"spacing_{axis}_mm": spacing[index] for index, axis in enumerate("xyz")}
    ranges = {name: (float(values.min()), float(values.max())) for name, values in columns.items()}
    return Bundle(study, model, networks, ranges, int(table["phases"].astype(int).min()))
