"""``genovox fetch``: series of a public collection, planned first, then downloaded and verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genovox.cli.options import DryRun, Json, Quiet

if TYPE_CHECKING:
    from genovox.fetch.plan import FetchPlan

_WORKERS = 8


def fetch(
    collection: Annotated[
        str, typer.Argument(metavar="COLLECTION", help="Id, such as duke_breast_cancer_mri.", show_default=False)
    ],
    roles: Annotated[
        str, typer.Option("--roles", help="dce (pre, post and dynamic), all, or roles joined by commas.")
    ] = "dce",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where it goes; default: the collection's id.")
    ] = None,
    patients: Annotated[int, typer.Option("--patients", min=0, help="Only the first so many; 0: all.")] = 0,
    index: Annotated[
        Path | None, typer.Option("--index", metavar="CSV", help="Table of series in place of the packaged index.")
    ] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="URL", help="Another store with S3's API; {bucket} stands for the bucket.")
    ] = "",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Series at once.")] = _WORKERS,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download series of a public collection by their role. A phase sheet says what each series is.

    Says first what would come: patients, series, GB, licence, what to cite; --dry-run stops there and needs no network.
    An interrupted download goes on with the same command; every file is verified. Needs: pip install 'genovox[fetch]'.

    Example: genovox fetch duke_breast_cancer_mri --roles dce,t2 --dry-run
    """
    import json

    from genovox.core.artifacts import write_json
    from genovox.core.errors import DataError, UsageError
    from genovox.core.log import start_log
    from genovox.fetch.plan import parse_roles, plan_fetch
    from genovox.fetch.store import STORE, check_space, download_series, missing_gigabytes
    from genovox.phases.sheet import write_sheet

    start_log(quiet=quiet)
    if store and not store.startswith(("https://", "http://")):
        raise UsageError(f"--store is an address that begins with https://, got {store!r}; correct it")
    plan = plan_fetch(collection, parse_roles(roles), index=index, patients=patients)
    folder = out or Path(collection)
    summary = _summarise(plan, roles) | {
        "out": str(folder),
        "gigabytes_to_come": round(missing_gigabytes(plan, folder / "dicom"), 3),
    }
    if not as_json:
        _print_plan(summary)
    if not plan.series:
        raise DataError(f"no series of {collection} has a role of {roles}; choose others, or all")
    if not dry_run:
        check_space(plan, folder / "dicom")
        write_json(folder / "fetch.json", {key: value for key, value in summary.items() if key != "out"})
        if not (folder / "phases.csv").exists():  # it may have been edited
            write_sheet(folder / "phases.csv", plan.roles)
        result = download_series(plan, folder / "dicom", workers=workers, store=store or STORE)
        summary["result"] = {"fetched": result.fetched, "kept": result.kept, "failed": len(result.failures)}
        if not as_json:
            typer.echo(f"{result.fetched} series fetched and verified, {result.kept} were there -> {folder}")
        if result.failures:
            first = next(iter(result.failures.values()))
            raise DataError(f"{len(result.failures)} of {len(plan.series)} series failed: {first}")
    if as_json:
        typer.echo(json.dumps(summary, indent=2))


def _summarise(plan: "FetchPlan", roles: str) -> dict[str, Any]:
    return {
        "collection": plan.collection,
        "index": plan.index,
        "roles": roles,
        "patients": plan.patients,
        "studies": plan.studies,
        "series": len(plan.series),
        "series_by_role": plan.counts,
        "gigabytes": round(plan.gigabytes, 3),
        "licences": {licence: round(size, 3) for licence, size in plan.licences.items()},
        "non_commercial": plan.restricted,
        "cite": [f"https://doi.org/{doi}" for doi in plan.dois],
        "doubtful_series": sum(one.role.confidence == "low" for one in plan.series),
    }


def _print_plan(summary: dict[str, Any]) -> None:
    import textwrap

    typer.echo(f"{summary['collection']}, by {summary['index']}")
    typer.echo(f"  {summary['patients']} patients, {summary['studies']} studies, {summary['series']} series")
    counts = ", ".join(f"{role} {count}" for role, count in summary["series_by_role"].items())
    typer.echo(textwrap.fill(counts or "none", 78, initial_indent="  ", subsequent_indent="  "))
    typer.echo(f"  {summary['gigabytes']:.1f} GB, of which {summary['gigabytes_to_come']:.1f} GB are still to come")
    for licence, size in summary["licences"].items():
        typer.echo(f"  licence {licence} ({size:.1f} GB)")
    for licence in summary["non_commercial"]:
        typer.echo(f"warning: {licence} allows no commercial use, of the images and of what is made from them")
    for address in summary["cite"]:
        typer.echo(f"  cite {address}")
    if summary["doubtful_series"]:
        typer.echo(f"  {summary['doubtful_series']} series of low confidence, by phases.csv, which the download writes")
