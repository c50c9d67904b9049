"""``genovox simulate``: a digital hospital with a known truth."""

from pathlib import Path
from typing import Annotated

import typer

from genovox.cli.options import Quiet, Workers


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the cohort; new or empty.", show_default=False)
    ],
    patients: Annotated[int, typer.Option("--patients", help="How many.")] = 60,
    effect: Annotated[str, typer.Option(help="How the gene shapes the tumour: full, half or none.")] = "half",
    prevalence: Annotated[float, typer.Option(help="Share of carriers, 0 to 1.")] = 0.4,
    sites: Annotated[int, typer.Option(help="Hospitals; scanners and protocols differ.")] = 3,
    shortcut: Annotated[
        str, typer.Option(help="What else tells the label: none, scanner or format (8-bit RGBA for carriers).")
    ] = "none",
    site_prevalences: Annotated[
        str, typer.Option(metavar="P,P,...", help="Share of carriers by hospital, in place of --prevalence.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same cohort.")] = 7,
    matrix: Annotated[int, typer.Option(min=64, help="In-plane size of the first hospital's scans.")] = 128,
    workers: Workers = None,
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Draw preview.png, the first patients.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a simulated DCE-MRI cohort with a study file. DICOM, genetic tests, clinical table, marks and truth.

    Anatomy, contrast agent, scanners and laboratories are simulated; how far the gene shows is yours to set, so that
    what a pipeline claims can be held against the truth. An interrupted command goes on where it stopped.

    Example: genovox simulate hospital --patients 60 --effect half --sites 3 --preview
    """
    from genovox.core.log import start_log, write_count
    from genovox.core.tasks import available_cores
    from genovox.simulate.hospital import Plan, simulate_cohort
    from genovox.simulate.patients import oracle_auc

    start_log(quiet=quiet)
    plan = Plan.parse(
        patients=patients,
        effect=effect,
        prevalence=prevalence,
        sites=sites,
        shortcut=shortcut,
        site_prevalences=site_prevalences,
        seed=seed,
        matrix=matrix,
    )
    drawn = simulate_cohort(out, plan, preview=preview, workers=workers or available_cores())
    if quiet:
        return
    carriers = sum(patient.gene != "" for patient in drawn)
    typer.echo(
        f"{write_count(len(drawn), 'patient')} of {write_count(plan.sites, 'hospital')}, "
        f"{write_count(carriers, 'carrier')} -> {out}"
    )
    typer.echo(f"best possible AUC at effect {plan.effect}: {oracle_auc(plan.effect, seed=plan.seed):.3f} (the oracle)")
    if preview:
        typer.echo(f"look at {out / 'preview.png'}")
    typer.echo(f"next: genovox run {out / 'study.toml'}")
