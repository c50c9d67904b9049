"""Options that verbs share."""

from pathlib import Path
from typing import Annotated

import typer

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="A study.toml or a run folder.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Replace a value of the study, e.g. train.epochs=3."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder; default runs/<name> by the study.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes at once; default: what the machine holds.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show details.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]
Accept = Annotated[
    list[str] | None, typer.Option("--accept", metavar="CHECK", help="Go on although this gate is closed.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; printed in the report.")]
