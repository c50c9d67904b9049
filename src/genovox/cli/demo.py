"""``genovox demo``: a whole study on a simulated hospital, from DICOM to the report."""

from pathlib import Path
from typing import Annotated

import typer

from genovox.cli.options import Quiet, Workers


def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for cohort and run.")] = Path("genovox-demo"),
    patients: Annotated[int, typer.Option(help="How many.")] = 60,
    effect: Annotated[str, typer.Option(help="How the gene shapes the tumour: full, half or none.")] = "half",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same cohort.")] = 7,
    workers: Workers = None,
    *,
    quiet: Quiet = False,
) -> None:
    """Simulate a hospital, run every stage, show what came out. About ten minutes on two cores.

    Example: genovox demo try --patients 60
    """
    from genovox.cli.road import Settings, travel
    from genovox.cli.simulate import simulate
    from genovox.core.artifacts import STAGES

    simulate(out, patients=patients, effect=effect, seed=seed, workers=workers, preview=True, quiet=quiet)
    travel(out / "study.toml", STAGES, Settings(workers=workers), quiet=quiet, verbose=False)
