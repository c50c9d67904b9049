"""``genovox evaluate`` and ``genovox audit``: of a study, or of any tool's table of predictions."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genovox.cli.options import Accept, Assignments, Device, DryRun, Json, Quiet, Reason, Verbose, Workers

if TYPE_CHECKING:
    from genovox.audit.tables import Audit
    from genovox.cli.foreign import ForeignTables
    from genovox.core.study import Study
    from genovox.evaluate.evaluation import Evaluation
    from genovox.evaluate.schema import LabelUnit

Target = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY|TABLE.csv", help="A study.toml, a run folder, or a CSV table of predictions.", show_default=False
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Run folder of a study; of a table: where the figures go."),
]
CasesPath = Annotated[
    Path | None,
    typer.Option("--cases", metavar="CSV", help="Of a table: a row a case, with site, scanner and more."),
]
Unit = Annotated[
    str | None,
    typer.Option("--label-unit", metavar="patient|case", help="Of a table: to what labels belong; default patient."),
]


def is_table(target: Path) -> bool:
    """Whether a path is meant as a table of predictions: a CSV, or a file that is no study."""
    return target.suffix.lower() == ".csv" or (target.is_file() and target.suffix.lower() not in (".toml", ".json"))


def evaluate(
    target: Target,
    assignments: Assignments = None,
    out: Folder = None,
    cases: CasesPath = None,
    label_unit: Unit = None,
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
    """Compute figures with intervals from predictions. A study's, or any other tool's table.

    A table needs the columns case_id, patient_id, label (0 or 1) and score (0 to 1); model, repeat, fold and part
    where there are several. Its figures go to TABLE-evaluation/.

    Example: genovox evaluate runs/my-study

    Example: genovox evaluate predictions.csv --cases cases.csv
    """
    if is_table(target):
        _refuse_of_study({"--accept": accept, "--workers": workers, "--dry-run": dry_run})
        _evaluate_table(target, cases, out, label_unit, assignments or (), as_json=as_json, quiet=quiet)
        return
    _refuse_of_table({"--cases": cases, "--label-unit": label_unit})
    from genovox.cli.road import Settings, travel

    settings = Settings(tuple(assignments or ()), out, workers, device, as_json, dry_run, accept or [], reason)
    travel(target, ("evaluate",), settings, quiet=quiet, verbose=verbose)


def audit(
    target: Target,
    assignments: Assignments = None,
    out: Folder = None,
    cases: CasesPath = None,
    folds: Annotated[
        Path | None, typer.Option("--folds", metavar="CSV", help="Of a table: case_id, fold, part of every case.")
    ] = None,
    clinical: Annotated[
        Path | None, typer.Option("--clinical", metavar="CSV", help="Of a table: age, subtype and more by patient.")
    ] = None,
    exclusions: Annotated[
        Path | None, typer.Option("--exclusions", metavar="CSV", help="Of a table: the cases that were left out.")
    ] = None,
    label_unit: Unit = None,
    workers: Workers = None,
    device: Device = "auto",
    accept: Accept = None,
    reason: Reason = "",
    *,
    permute_pipeline: Annotated[
        int,
        typer.Option(
            "--permute-pipeline",
            metavar="N",
            min=0,
            help="Train the primary model anew on N deals of the labels; each costs a whole training.",
            show_default=False,
        ),
    ] = 0,
    leave_sites_out: Annotated[
        bool,
        typer.Option(
            "--leave-sites-out",
            help="Train the primary model anew without each hospital; about the price of one training.",
            show_default=False,
        ),
    ] = False,
    as_json: Json = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check whether it is biology, the scanner, or chance. Of a study, or of any other tool's table.

    With --permute-pipeline the networks themselves are asked what chance would have scored; p is never below
    1 / (1 + N). With --leave-sites-out each hospital with five patients of a class or more is scored by networks
    that never saw it. Interrupted, the same command goes on. A table is read as by genovox evaluate; what it does not
    hold is not assessed. Its audit goes to TABLE-audit/.

    Example: genovox audit runs/my-study --permute-pipeline 100

    Example: genovox audit predictions.csv --cases cases.csv --folds folds.csv
    """
    if is_table(target):
        wrong = {"--accept": accept, "--workers": workers, "--dry-run": dry_run, "--permute-pipeline": permute_pipeline}
        wrong["--leave-sites-out"] = leave_sites_out
        _refuse_of_study(wrong)
        beside = {"cases": cases, "folds": folds, "clinical": clinical, "exclusions": exclusions}
        _audit_table(target, beside, out, label_unit, assignments or (), as_json=as_json, quiet=quiet)
        return
    beside = {"--cases": cases, "--folds": folds, "--clinical": clinical, "--exclusions": exclusions}
    _refuse_of_table(beside | {"--label-unit": label_unit})
    from genovox.cli.road import Settings, travel

    chosen = [*(assignments or ()), *([f"audit.permute_pipeline={permute_pipeline}"] if permute_pipeline else ())]
    chosen += ["audit.leave_sites_out=true"] if leave_sites_out else []
    settings = Settings(tuple(chosen), out, workers, device, as_json, dry_run, accept or [], reason)
    travel(target, ("audit",), settings, quiet=quiet, verbose=verbose)


def _refuse_of_study(options: dict[str, Any]) -> None:
    from genovox.core.errors import UsageError

    for name, value in options.items():
        if value:
            raise UsageError(f"{name} is for a study, got a table of predictions; leave {name} out")


def _refuse_of_table(options: dict[str, Any]) -> None:
    from genovox.core.errors import UsageError

    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"{name} is for a table of predictions (a .csv file), got a study, which has its own; leave {name} out"
            )


def _start(label_unit: str | None, assignments: list[str] | tuple[str, ...], *, quiet: bool) -> "Study":
    from genovox.core.errors import UsageError
    from genovox.core.log import start_log
    from genovox.core.study import Study

    start_log(quiet=quiet)
    if label_unit not in (None, "patient", "case"):
        raise UsageError(f"--label-unit takes patient or case, got {label_unit!r}; say to what the labels belong")
    return Study.assume(tuple(assignments))


def _compute(tables: "ForeignTables", study: "Study", label_unit: str | None) -> "Evaluation":
    from genovox.evaluate.stage import evaluate_by_study

    unit: LabelUnit = "case" if label_unit == "case" else "patient"
    return evaluate_by_study(study, tables.scored, label_unit=unit, cases=tables.facts)


def _evaluate_table(
    path: Path,
    cases: Path | None,
    out: Path | None,
    label_unit: str | None,
    assignments: list[str] | tuple[str, ...],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from genovox.cli.foreign import read_foreign_tables
    from genovox.cli.printing import describe_evaluation
    from genovox.core.errors import TableError
    from genovox.evaluate.stage import write_evaluation

    study = _start(label_unit, assignments, quiet=quiet)
    tables = read_foreign_tables(path, cases=cases)
    if len(tables.scored) < len(tables.predictions):
        raise TableError(
            "an evaluation scores patients that were not trained on, got rows of part 'train'; leave them out, or ask "
            "genovox audit, which looks at them for leaks"
        )
    evaluation = _compute(tables, study, label_unit)
    folder = out or path.with_name(f"{path.stem}-evaluation")
    write_evaluation(folder, evaluation)
    if as_json:
        content = {"folder": str(folder), "notes": tables.notes, "metrics": evaluation.metrics}
        typer.echo(json.dumps(content, indent=2, allow_nan=False))
    elif not quiet:
        for line in describe_evaluation(evaluation, tables.notes):
            typer.echo(line)
        typer.echo(f"-> {folder}")


def _audit_table(
    path: Path,
    beside: dict[str, Path | None],
    out: Path | None,
    label_unit: str | None,
    assignments: list[str] | tuple[str, ...],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from genovox.cli.foreign import read_foreign_tables
    from genovox.cli.printing import describe_audit
    from genovox.core.artifacts import write_json, write_table

    study = _start(label_unit, assignments, quiet=quiet)
    tables = read_foreign_tables(path, **beside)
    found = _judge(tables, study, label_unit)
    folder = out or path.with_name(f"{path.stem}-audit")
    write_table(folder / "associations.csv", found.associations)
    write_json(folder / "audit.json", found.content)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "notes": tables.notes} | found.content, indent=2))
    elif not quiet:
        for line in describe_audit(found.content, tables.notes):
            typer.echo(line)
        typer.echo(f"-> {folder / 'audit.json'}")


def _judge(given: "ForeignTables", study: "Study", label_unit: str | None) -> "Audit":
    """Audit the tables; where a leak forbids to evaluate them, say so and do what needs no figures."""
    from genovox.audit.checks import Check
    from genovox.audit.leakage import check_leaks
    from genovox.audit.tables import Evidence, Tables, audit_leaking, audit_tables
    from genovox.core.errors import LeakageError
    from genovox.core.seeds import derive_seed

    tables = Tables(given.scored, given.cases, given.folds, given.clinic, given.exclusions)
    cases = given.predictions.drop_duplicates("case_id") if given.cases is None else given.cases
    cases = cases.assign(**{name: "" for name in ("family_id", "site") if name not in cases})
    find_leaks = partial(check_leaks, given.predictions, cases, folds=given.folds, clinic=given.clinic)
    try:
        metrics = _compute(given, study, label_unit).metrics
        evidence = Evidence.gather(
            tables, metrics, resamples=study.evaluate.resamples, seed=derive_seed(study.seed, "audit")
        )
    except LeakageError as leak:
        leaks = find_leaks()
        if all(check.status != "fail" for check in leaks):
            told = str(leak).split("; ")[0]
            leaks[0] = Check(leaks[0].name, leaks[0].question, "fail", told, leaks[0].threshold)
        return audit_leaking(tables, cases.assign(label=cases["label"].astype(int)), study.audit, leaks=leaks)
    return audit_tables(evidence, study.audit, leaks=find_leaks())
