"""``genovox phases``: the role of every series, as a sheet for a person to correct."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genovox.cli.options import Json, Quiet

if TYPE_CHECKING:
    from genovox.phases.roles import SeriesRole

_SHOWN = 8


def phases(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A DICOM tree, or a table of series.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="Sheet to write.")] = Path("phases.csv"),
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sheet, edited or not.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say of every MR series which phase it is, and why. Before you download, or before you trust it.

    SOURCE may be a CSV table of series (plain or gzipped) with the columns PatientID, StudyInstanceUID,
    SeriesInstanceUID, SeriesNumber, SeriesDescription and instanceCount, as public archives publish it. Correct the
    sheet by hand and feed it back: [cohort] phases = "phases.csv".

    Example: genovox phases dicom/ --out phases.csv
    """
    import json

    from genovox.core.errors import UsageError
    from genovox.core.log import start_log
    from genovox.phases.sheet import write_sheet

    start_log(quiet=quiet)
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists and may have been edited; give another --out, or --overwrite")
    roles, others = _judge(source, out)
    write_sheet(out, roles)
    summary = summarise_roles(roles) | {"sheet": str(out), "rows_of_other_modality": others}
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    _print_summary(summary)


def _judge(source: Path, out: Path) -> "tuple[list[SeriesRole], int]":
    from genovox.core.errors import DataError
    from genovox.phases.catalogue import read_catalogue
    from genovox.phases.roles import judge_series
    from genovox.phases.sheet import judge_scans
    from genovox.scans.index import index_folder

    if not source.is_dir():
        facts, others = read_catalogue(source)
        return judge_series(facts), others
    index = index_folder(source.resolve(), out.resolve().parent)
    if not index.files:
        raise DataError(f"no DICOM file under {source}; give the folder that holds the scans, or a table of series")
    return judge_scans(index.series), 0


def summarise_roles(roles: "list[SeriesRole]") -> dict[str, Any]:
    """Counts by role, studies by what dynamic exam they hold, and the studies that a person should look at."""
    from collections import Counter, defaultdict

    from genovox.phases.names import DCE_ROLES, ROLES

    studies: dict[tuple[str, str], list[SeriesRole]] = defaultdict(list)
    for role in roles:
        studies[role.patient_id, role.study_uid].append(role)
    kinds: Counter[str] = Counter()
    doubtful = []
    for (patient_id, study_uid), series in studies.items():
        found = {one.role for one in series if one.role in DCE_ROLES and not (one.role == "pre" and one.phase is None)}
        kind = (
            "phases in one series"
            if "dynamic" in found
            else "a series a phase"
            if found == {"pre", "post"}
            else "pre, and posts in one series"
            if "dynamic-post" in found
            else "a part of an exam"
            if found
            else "no dynamic exam"
        )
        kinds[kind] += 1
        unsure = [one for one in series if one.confidence == "low"]
        searched = kind == "no dynamic exam" and not any("biopsy" in one.evidence for one in series)
        unsure = unsure or (series if searched else [])
        if unsure:
            first = max(unsure, key=lambda one: len(one.evidence))
            doubtful.append(
                {
                    "patient_id": patient_id,
                    "study_uid": study_uid,
                    "series_number": first.number,
                    "role": first.role,
                    "evidence": first.evidence,
                }
            )
    counts = Counter(role.role for role in roles)
    return {
        "studies": len(studies),
        "patients": len({role.patient_id for role in roles}),
        "series": len(roles),
        "exams": dict(kinds.most_common()),
        "roles": {role: counts[role] for role in ROLES if counts[role]},
        "doubtful": doubtful,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    import textwrap

    from genovox.core.log import write_count

    studies, patients = write_count(summary["studies"], "study", "studies"), write_count(summary["patients"], "patient")
    typer.echo(f"{summary['series']} MR series of {studies}, {patients}")
    for kind, count in summary["exams"].items():
        typer.echo(f"  {count:>6} {'study' if count == 1 else 'studies'}: {kind}")
    typer.echo("series by role:")
    cells = [f"{role} {count}" for role, count in summary["roles"].items()]
    typer.echo(textwrap.fill(", ".join(cells), 78, initial_indent="  ", subsequent_indent="  "))
    doubtful = summary["doubtful"]
    if doubtful:
        typer.echo(f"{write_count(len(doubtful), 'study', 'studies')} to look at:")
        for one in doubtful[:_SHOWN]:
            line = f"{one['patient_id']}, series {one['series_number']}: {one['role']}? {one['evidence']}"
            typer.echo(textwrap.fill(line, 78, initial_indent="  ", subsequent_indent="    "))
        if len(doubtful) > _SHOWN:
            typer.echo(f"  and {len(doubtful) - _SHOWN} more: the rows whose confidence is low")
    typer.echo(f"-> {summary['sheet']}")
    typer.echo(f'correct it by hand; beside study.toml it counts by: [cohort] phases = "{Path(summary["sheet"]).name}"')
