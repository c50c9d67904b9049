"""``run`` and the verbs of one stage each."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genovox.cli.options import (
    Accept,
    Assignments,
    Device,
    DryRun,
    Json,
    Out,
    Quiet,
    Reason,
    StudyPath,
    Verbose,
    Workers,
)
from genovox.cli.tables import audit, evaluate

if TYPE_CHECKING:
    from genovox.core.study import Study


def _make_verb(name: str, text: str, example: str) -> Callable[..., None]:
    """A verb of one stage, or of all; every one takes the same options."""

    def verb(
        study: StudyPath,
        assignments: Assignments = None,
        out: Out = None,
        workers: Workers = None,
        device: Device = "auto",
        accept: Accept = None,
        reason: Reason = "",
        *,
        as_json: Json = False,
        dry_run: DryRun = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        from genovox.cli.road import Settings, travel

        settings = Settings(tuple(assignments or ()), out, workers, device, as_json, dry_run, accept or [], reason)
        travel(study, () if name == "run" else (name,), settings, quiet=quiet, verbose=verbose)

    verb.__name__ = name
    verb.__doc__ = f"{text}\n\nExample: genovox {example}"
    return verb


def preprocess(
    study: StudyPath,
    assignments: Assignments = None,
    out: Out = None,
    workers: Workers = None,
    device: Device = "auto",
    accept: Accept = None,
    reason: Reason = "",
    *,
    show_augment: Annotated[
        bool,
        typer.Option("--show-augment", help="Draw what each transform of augment.preset does to a case."),
    ] = False,
    as_json: Json = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn every scan into network input, with a QC picture each.

    Look at RUN/preprocess/qc, and with --show-augment at RUN/preprocess/augment.png: both show what networks see.

    Example: genovox preprocess study.toml --workers 4 --show-augment
    """
    from genovox.cli.road import Settings, open_road, travel

    settings = Settings(tuple(assignments or ()), out, workers, device, as_json, dry_run, accept or [], reason)
    travel(study, ("preprocess",), settings, quiet=quiet, verbose=verbose)
    if show_augment and not dry_run:
        with open_road(study, settings, quiet=quiet, verbose=verbose) as road:
            path = _draw_augmentation(road.study, road.run)
        if not quiet:
            typer.echo(f"-> {path}")


def _draw_augmentation(study: "Study", run: Path) -> Path:
    """The sheet of the study's preset, on the first case."""
    import numpy as np

    from genovox.augment.sheet import draw_augmentation_sheet
    from genovox.core.artifacts import read_table
    from genovox.core.volume import Volume, affine_spacing_mm, reorient_to_ras
    from genovox.dataset.cases import read_affine
    from genovox.preprocess.stage import AUGMENT_SHEET

    case_id = str(read_table(run / "preprocess" / "cases.csv", required=("case_id",))["case_id"].iloc[0])
    volume = np.load(run / "preprocess" / "volumes" / f"{case_id}.npy", allow_pickle=False)
    affine = read_affine(run, case_id)
    volume = reorient_to_ras(Volume(volume, affine)).array
    path = run / "preprocess" / AUGMENT_SHEET
    names, preset = study.preprocess.channels, study.augment.preset
    draw_augmentation_sheet(path, volume, names, affine_spacing_mm(affine), preset=preset, seed=study.seed)
    return path


STAGE_VERBS = (
    _make_verb(
        "run",
        "Bring every stage of a study up to date, scans to report. Finished work is kept, and the same command "
        "goes on after an interruption.",
        "run study.toml --workers 2",
    ),
    _make_verb("cohort", "Say who is in the study and who is not, and plan its folds.", "cohort study.toml"),
    preprocess,
    _make_verb(
        "pretrain",
        "Let networks learn from the scans of untested patients. Models named NETWORK@self start from there.",
        "pretrain study.toml",
    ),
    _make_verb("train", "Train and score every network of every fold. Finished folds are kept.", "train study.toml"),
    evaluate,
    audit,
    _make_verb("explain", "Show where the networks looked, in the space of the scans.", "explain runs/my-study"),
    _make_verb("report", "Put the whole study on one page.", "report runs/my-study"),
)
