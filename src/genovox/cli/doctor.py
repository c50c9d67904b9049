"""``genovox doctor``: what this installation can do."""

import typer

from genovox.cli.options import Json


def doctor(*, as_json: Json = False) -> None:
    """Show versions, cores, memory, GPU and which extras are installed.

    Example: genovox doctor --json
    """
    import json
    import os

    from genovox import __version__
    from genovox.core.artifacts import installed_versions
    from genovox.core.extras import EXTRAS, missing_modules
    from genovox.core.tasks import available_cores
    from genovox.volumes.devices import choose_device

    facts = {
        "genovox": __version__,
        "cores": available_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": choose_device("auto"),
        "versions": installed_versions(),
        "extras": {extra: not missing_modules(extra) for extra in EXTRAS},
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"genovox {__version__} on {facts['cores']} cores, {facts['memory_gib']} GiB, device {facts['device']}")
    typer.echo("versions  " + ", ".join(f"{name} {version}" for name, version in installed_versions().items()))
    for extra in EXTRAS:
        missing = missing_modules(extra)
        note = f"not installed ({', '.join(missing)}): pip install 'genovox[{extra}]'" if missing else "installed"
        typer.echo(f"[{extra}]".ljust(13) + note)
