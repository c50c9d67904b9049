"""``genovox plan``: how many patients show what, before a study or from a finished one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genovox.cli.options import Device, Json, Quiet, Workers

if TYPE_CHECKING:
    from genovox.plan.findings import Findings
    from genovox.plan.outlook import CurveResult
    from genovox.plan.prospect import Prospect


def plan(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run that is evaluated.", show_default=False)
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of carriers, 0 to 1; of a run: its own.", show_default=False)
    ] = None,
    auc: Annotated[
        float | None, typer.Option(help="AUC that is hoped for; of a run: its headline.", show_default=False)
    ] = None,
    patients: Annotated[
        int | None, typer.Option(help="Patients there are; of a run: its own.", show_default=False)
    ] = None,
    parameters: Annotated[int, typer.Option(help="Candidate parameters of a model that is developed.")] = 10,
    models: Annotated[
        int | None,
        typer.Option(help="Configurations that are tried; default 1, of a run: its own.", show_default=False),
    ] = None,
    *,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Train on nested subsamples of the run's folds; resumable.")
    ] = False,
    model: Annotated[
        str, typer.Option(help="Of the learning curve; default radiomics or clinical. A network may take hours.")
    ] = "",
    draws: Annotated[int, typer.Option(min=1, help="Subsamples of each size in each fold.")] = 3,
    workers: Workers = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how many patients show what. Before a study, or from a finished one.

    Power and interval of an AUC, what chance reaches, and the sizes that developing and validating a model need. With
    a RUN also RUN/plan/plan.json and plan.png.

    Example: genovox plan --prevalence 0.3 --auc 0.7 --patients 120

    Example: genovox plan runs/my-study --learning-curve
    """
    from genovox.core.errors import UsageError
    from genovox.core.log import start_log
    from genovox.plan.prospect import Question, foresee

    start_log(quiet=quiet)
    if run is not None:
        if prevalence is not None:
            raise UsageError("--prevalence is for a plan without a run, whose own counts are used; leave one out")
        if model and not learning_curve:
            raise UsageError(f"--model is of the learning curve, got {model!r} without one; add --learning-curve")
        given = {"auc": auc, "patients": patients, "parameters": parameters, "models": models}
        _plan_run(run, given, model if learning_curve else None, draws, workers, device, as_json=as_json, quiet=quiet)
        return
    if learning_curve or model:
        raise UsageError("--learning-curve and --model need a run, got none; try: genovox plan RUN --learning-curve")
    if prevalence is None or auc is None:
        raise UsageError("a plan needs a run, or --prevalence and --auc; try: genovox plan --prevalence 0.3 --auc 0.7")
    _show(
        foresee(Question(prevalence, auc, patients, parameters, 1 if models is None else models)),
        None,
        None,
        as_json=as_json,
    )


def _plan_run(
    target: Path,
    given: dict[str, Any],
    curve_of: str | None,
    draws: int,
    workers: int | None,
    device: str,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from genovox.core.artifacts import hold_run, write_json
    from genovox.core.study import Study
    from genovox.plan.findings import ask, read_findings
    from genovox.plan.picture import draw_plan
    from genovox.plan.prospect import foresee

    study = Study.load_snapshot(target) if target.is_dir() else Study.load(target)
    run = target if target.is_dir() else study.root / "runs" / study.study.name
    findings = read_findings(study, run)
    prospect = foresee(ask(findings, **given))
    folder = run / "plan"
    curve = None
    with hold_run(run):
        if curve_of is not None:
            from genovox.plan.curve import FOLDER, choose_model, draw_curve

            curve = draw_curve(
                study,
                run,
                choose_model(study, curve_of),
                draws=draws,
                workers=workers,
                device=device,
                place=folder / FOLDER,
            )
        write_json(folder / "plan.json", _gather(prospect, findings, curve))
        draw_plan(folder / "plan.png", prospect, curve)
    _show(prospect, findings, curve, as_json=as_json)
    if not as_json and not quiet:
        typer.echo(f"-> {folder / 'plan.json'}, {folder / 'plan.png'}")


def _gather(prospect: "Prospect", findings: "Findings | None", curve: "CurveResult | None") -> dict[str, Any]:
    from dataclasses import asdict

    return prospect.as_dict() | {
        "findings": asdict(findings) if findings else None,
        "learning_curve": curve.as_dict() if curve else None,
    }


def _show(prospect: "Prospect", findings: "Findings | None", curve: "CurveResult | None", *, as_json: bool) -> None:
    import json

    from genovox.plan.wording import describe_plan

    if as_json:
        typer.echo(json.dumps(_gather(prospect, findings, curve), indent=2, allow_nan=False))
        return
    for line in describe_plan(prospect, findings, curve):
        typer.echo(line)
