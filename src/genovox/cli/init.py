"""``genovox init``: a first manifest and study file."""

from pathlib import Path
from typing import Annotated

import typer

_STUDY = """# A genovox study; every key and what it means: docs/study-file.md
[study]
schema = 1
name = "{name}"
seed = 7

[cohort]
images = "manifest.csv"           # one row a case; check patient_id: folds never split a patient
labels = "{labels}"
unit = "volume"

[cohort.splits]
folds = 5
repeats = 1

[preprocess]                      # spacing and shape are x, y, z
spacing_mm = [{spacing}]
shape = [{shape}]
foreground = {foreground}
normalise = "joint-z"
channels = [{channels}]

[augment]
preset = {preset}

[train]
models = {models}
epochs = 40

[audit]
minimum_auc = 0.60                # what would be useful; fix it before you look
"""

_WHOLE = {
    "foreground": '"body"',
    "preset": '"breast-dce"             # isotropic for objects that have no left and right',
    "models": '["light"]                # the first is the study\'s primary model',
}
_CLOSE_UP = {
    "foreground": '"none"               # cut-outs under 10 cm show no air around a body',
    "preset": '"isotropic"              # seen up close, a lesion has no left and right; else breast-dce',
    "models": '["light", "radiomics", "light+radiomics"]    # the first is the study\'s primary model',
}


def init(
    images: Annotated[
        Path, typer.Argument(metavar="SCANS", help="Folder with NIfTI or NRRD files.", show_default=False)
    ],
    labels: Annotated[
        Path | None, typer.Option(help="Table with patient_id,label or case_id,label; without it, one to fill in.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write manifest.csv and study.toml.")] = Path(),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write manifest.csv and study.toml for a folder of scans.

    Files that differ only by pre, post1, post2, ... at the end of their names are phases of one case.

    Example: genovox init scans/ --labels labels.csv
    """
    import os

    import pandas as pd

    from genovox.cli.discovery import discover_images, propose_grid
    from genovox.core.artifacts import write_table, write_text
    from genovox.core.errors import UsageError
    from genovox.core.log import write_count

    targets = [out / "manifest.csv", out / "study.toml", *([] if labels else [out / "labels.csv"])]
    existing = [str(target) for target in targets if target.exists()]
    if existing and not force:
        raise UsageError(f"{', '.join(existing)} would be replaced; use --force, or --out for another folder")
    found = discover_images(images, labels, out)
    spacing_mm, shape = propose_grid(found)
    fewest, most = min(found.phases.values()), max(found.phases.values())
    channels = ["pre", "subtraction1", "washout"][:fewest]
    write_table(out / "manifest.csv", found.manifest)
    if labels is None:
        blank = pd.DataFrame({"case_id": found.manifest["case_id"], "label": "", "reason": ""})
        write_table(out / "labels.csv", blank)
    write_text(
        out / "study.toml",
        _STUDY.format(
            name=_safe_name(images.resolve().name),
            labels=os.path.relpath(labels.resolve(), out.resolve()) if labels else "labels.csv",
            spacing=", ".join(f"{value:g}" for value in spacing_mm),
            shape=", ".join(str(value) for value in shape),
            **(_CLOSE_UP if found.is_close_up else _WHOLE),
            channels=", ".join(f'"{channel}"' for channel in channels),
        ),
    )
    typer.echo(
        f"{write_count(len(found.manifest), 'case')} of "
        f"{write_count(found.manifest['patient_id'].nunique(), 'patient')}, "
        f"{write_count(fewest, 'phase')} each{' at least' if most > fewest else ''} "
        f"-> {', '.join(map(str, targets))}"
    )
    if most > fewest:
        few = [case_id for case_id, count in found.phases.items() if count == fewest]
        typer.echo(
            f"{write_count(len(few), 'case')} with only {fewest} of up to {most} phases, such as {few[0]}: the "
            "channels were chosen for that; complete them or remove their rows, then widen preprocess.channels"
        )
    if found.skipped:
        typer.echo(
            f"left out for names like masks: {write_count(len(found.skipped), 'file')}, such as {found.skipped[0]}"
        )
    if found.incomplete:
        count = write_count(len(found.incomplete), "case")
        typer.echo(f"left out for a gap in the phases: {count}, such as {found.incomplete[0]}")
    if found.guessed_patients:
        count = write_count(len(found.guessed_patients), "case")
        typer.echo(
            f"check manifest.csv: the patient of {count} is a guess from the file name "
            f"(such as {found.guessed_patients[0]}); cases of one patient must share a patient_id"
        )
    if labels is None:
        typer.echo("fill in labels.csv: 1 carrier, 0 tested and none found, empty unknown")
    typer.echo(f"next: genovox run {out / 'study.toml'}")


def _safe_name(name: str) -> str:
    import re

    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "study"
