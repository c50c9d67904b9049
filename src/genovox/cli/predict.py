"""``genovox predict``: a finished run on a new scan."""

from typing import Annotated

import typer

from genovox.cli.options import Device, Json, RunPath


def predict(
    run: RunPath,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="One 3D or 4D file, the phases in order (or joined by ;), or a DICOM folder."
        ),
    ],
    model: Annotated[str, typer.Option(help="Network to use; default: the study's primary model.")] = "",
    device: Device = "auto",
    point: Annotated[
        str, typer.Option(metavar="X,Y,Z", help="Where the lesion is, RAS mm, for a run whose cases are lesions.")
    ] = "",
    times: Annotated[
        str, typer.Option(metavar="S,S,...", help="Seconds at which each phase began, where channels need them.")
    ] = "",
    *,
    as_json: Json = False,
) -> None:
    """Score one scan with every network of a run's folds.

    Example: genovox predict runs/my-study pre.nii.gz post1.nii.gz --json
    """
    import json
    from dataclasses import asdict
    from pathlib import Path

    from genovox.core.log import start_log
    from genovox.predict.inference import predict_scan

    start_log()
    paths = [Path(part) for image in images for part in image.split(";") if part]
    prediction = predict_scan(
        run, paths, model=model, device=device, point_mm=_read_point(point), times_s=_read_times(times)
    )
    if as_json:
        typer.echo(json.dumps(asdict(prediction), indent=2))
        return
    typer.echo(
        f"{prediction.model}: {prediction.probability:.3f} "
        f"(over {prediction.networks} networks: SD {prediction.spread_sd:.3f}, "
        f"{prediction.lowest:.3f} to {prediction.highest:.3f}); uncalibrated"
    )
    for warning in prediction.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(prediction.notice)


def _read_point(text: str) -> tuple[float, ...]:
    from genovox.cohort.manifest import read_point
    from genovox.core.errors import TableError, UsageError

    try:
        return read_point(text.replace(",", ";"), "--point")
    except TableError:
        raise UsageError(f"--point takes X,Y,Z in mm (right, anterior, superior), got {text!r}; correct it") from None


def _read_times(text: str) -> tuple[float, ...]:
    from genovox.core.errors import UsageError

    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise UsageError(f"--times takes seconds joined by commas such as 0,90,180, got {text!r}; correct it") from None
