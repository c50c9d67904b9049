"""``genovox doctor``: what this installation can do, and what a study would need of this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from genovox.cli.options import Assignments, Device, Json


def doctor(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="study.toml or a run folder: what would it need?")
    ] = None,
    assignments: Assignments = None,
    device: Device = "auto",
    *,
    as_json: Json = False,
) -> None:
    """Show versions, cores, memory, GPU, extras. With a study, the memory that its networks need and what would help.

    Example: genovox doctor study.toml
    """
    import json
    import os

    from genovox import __version__
    from genovox.core.artifacts import installed_versions
    from genovox.core.extras import EXTRAS, missing_modules
    from genovox.core.tasks import available_cores
    from genovox.volumes.devices import choose_device

    facts: dict[str, Any] = {
        "genovox": __version__,
        "cores": available_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": choose_device("auto"),
        "versions": installed_versions(),
        "extras": {extra: not missing_modules(extra) for extra in EXTRAS},
    }
    if study is not None:
        facts |= _examine(study, tuple(assignments or ()), device)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"genovox {__version__} on {facts['cores']} cores, {facts['memory_gib']} GiB, device {facts['device']}")
    if study is not None:
        _show_needs(facts)
        return
    typer.echo("versions  " + ", ".join(f"{name} {version}" for name, version in installed_versions().items()))
    for extra in EXTRAS:
        missing = missing_modules(extra)
        note = f"not installed ({', '.join(missing)}): pip install 'genovox[{extra}]'" if missing else "installed"
        typer.echo(f"[{extra}]".ljust(13) + note)


def _examine(target: Path, assignments: tuple[str, ...], device: str) -> dict[str, Any]:
    """What the folds of a study need here."""
    from dataclasses import asdict

    from genovox.core.study import Study
    from genovox.learning.resolution import resolve
    from genovox.train.memory import available_mb
    from genovox.train.needs import count_workers, list_needs, suggest_settings

    study = Study.load_snapshot(target, assignments) if target.is_dir() else Study.load(target, assignments)
    run = target if target.is_dir() else study.root / "runs" / study.study.name
    resolution = resolve(run / "train", device, study.train)
    needs, memory_mb = list_needs(study, resolution), available_mb()
    return {
        "available_mb": memory_mb,
        "resolved": asdict(resolution),
        "folds_at_once": count_workers(needs, resolution, memory_mb),
        "models": [
            {"model": need.model, "batch_size": need.batch_size}
            | asdict(need.memory)
            | {"try": suggest_settings(need, study, resolution, memory_mb)}
            for need in needs
        ],
    }


def _show_needs(facts: dict[str, Any]) -> None:
    import textwrap

    resolved = facts["resolved"]
    typer.echo(f"a fold: {resolved['precision']} on {resolved['device']}, threads {resolved['threads']}")
    typer.echo(f"folds at once: {facts['folds_at_once']}; memory free: {facts['available_mb'] / 1024:.1f} GB")
    typer.echo(f"{'model':<28}{'batch':>6}{'weights':>10}{'layers':>10}{'a fold':>10}  (GB, estimate)")
    for row in facts["models"]:
        sizes = (row[name] / 1024 for name in ("weights_mb", "activations_mb", "total_mb"))
        typer.echo(f"{row['model']:<28}{row['batch_size']:>6}" + "".join(f"{size:>10.2f}" for size in sizes))
        for line in row["try"]:
            typer.echo(textwrap.fill(line, 78, initial_indent="  too much; try ", subsequent_indent="    "))
