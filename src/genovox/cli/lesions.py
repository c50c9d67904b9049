"""``genovox lesions``: enhancing lesions proposed without labels, as a sheet for a person to correct."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genovox.cli.options import Json, Quiet, Workers

_SHOWN = 8


def lesions(
    study_path: Annotated[Path, typer.Argument(metavar="STUDY", help="A study.toml.", show_default=False)],
    workers: Workers = None,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sheet and masks, edited or not.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Propose where the enhancing lesion of each exam lies. As lesions.csv, a picture and masks, beside the study.

    Needs no labels and is no diagnosis. Look at the pictures, correct the sheet, and crop around its lesions:
    [cohort] unit = "lesion", marks = "lesions.csv". A row with use = no is left out.

    Example: genovox lesions study.toml
    """
    import json

    from genovox.core.errors import UsageError
    from genovox.core.log import start_log
    from genovox.core.study import Study
    from genovox.core.tasks import available_cores
    from genovox.lesions.catalogue import list_exams, propose_all
    from genovox.lesions.sheet import write_sheet

    start_log(quiet=quiet)
    study = Study.load(study_path)
    sheet = study.root / "lesions.csv"
    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet} exists and may have been edited; rename it, or --overwrite")
    exams = list_exams(study)
    rows, failures = propose_all(exams, study.root, workers or available_cores())
    write_sheet(sheet, rows)
    summary = summarise_rows(rows, len(exams), failures) | {"sheet": str(sheet)}
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    _print_summary(summary)


def summarise_rows(rows: list[dict[str, str]], exams: int, failures: dict[str, str]) -> dict[str, Any]:
    """How many exams have a lesion that counts, and which a person should look at first."""
    used = [row for row in rows if row["use"] == "yes"]
    settled = {row["case_id"] for row in used} | failures.keys()
    first = {row["case_id"]: row for row in reversed(rows) if row["case_id"] not in settled}
    return {
        "exams": exams,
        "used": len(used),
        "unsure": [
            {"case_id": case_id, "confidence": row.get("confidence", ""), "evidence": row["evidence"]}
            for case_id, row in reversed(first.items())
        ],
        "failed": failures,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    import textwrap

    from genovox.core.log import write_count
    from genovox.lesions.sheet import USED_FROM

    def say(line: str) -> None:
        typer.echo(textwrap.fill(line, 78, initial_indent="  ", subsequent_indent="    "))

    exams = write_count(summary["exams"], "exam")
    typer.echo(f"{exams}: {summary['used']} with a lesion of confidence {USED_FROM} or more")
    unsure, failed = summary["unsure"], summary["failed"]
    if unsure:
        typer.echo(f"{write_count(len(unsure), 'exam')} to look at, where the sheet says use = no:")
        for one in unsure[:_SHOWN]:
            say(f"{one['case_id']}, confidence {one['confidence'] or 'none'}: {one['evidence']}")
    if failed:
        typer.echo(f"{write_count(len(failed), 'exam')} that could not be looked at:")
        for case_id, reason in list(failed.items())[:_SHOWN]:
            say(f"{case_id}: {reason}")
    typer.echo(f"-> {summary['sheet']}, pictures and masks in {Path(summary['sheet']).parent / 'lesions'}")
    typer.echo('look and correct; then in study.toml: [cohort] unit = "lesion", marks = "lesions.csv"')
