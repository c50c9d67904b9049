"""``run`` and the verbs of one stage each."""

from collections.abc import Callable

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
        from genovox.core.artifacts import STAGES

        settings = Settings(tuple(assignments or ()), out, workers, device, as_json, dry_run, accept or [], reason)
        travel(study, STAGES if name == "run" else (name,), settings, quiet=quiet, verbose=verbose)

    verb.__name__ = name
    verb.__doc__ = f"{text}\n\nExample: genovox {example}"
    return verb


STAGE_VERBS = (
    _make_verb(
        "run",
        "Bring every stage of a study up to date, from scans to report; finished work is kept, and the same command "
        "goes on after an interruption.",
        "run study.toml --workers 2",
    ),
    _make_verb(
        "cohort", "Read manifest and labels, say who is in and who is not, and plan the folds.", "cohort study.toml"
    ),
    _make_verb(
        "preprocess", "Turn every scan into network input, with a QC picture each.", "preprocess study.toml --workers 4"
    ),
    _make_verb("train", "Train and score every network of every fold; finished folds are kept.", "train study.toml"),
    _make_verb("evaluate", "Compute figures with intervals from the predictions.", "evaluate runs/my-study"),
    _make_verb("audit", "Check: is it biology, the scanner, or chance?", "audit runs/my-study"),
    _make_verb("explain", "Show where the networks looked, in the space of the scans.", "explain runs/my-study"),
    _make_verb("report", "Put the whole study on one page.", "report runs/my-study"),
)
