"""``genovox predict``: a finished run on a new scan, or on many."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genovox.cli.options import Device, Json, Quiet, RunPath, Workers
from genovox.cli.terminal import say

if TYPE_CHECKING:
    from genovox.predict.inference import Prediction
    from genovox.predict.scores import ScoreTable
    from genovox.preprocess.pipeline import Subject

_SHOWN = 8
_say = partial(say, hanging=2)


def predict(
    run: RunPath,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="One 3D or 4D file, the phases in order (or joined by ;), or the DICOM folder of one visit. "
            "With --out: a DICOM folder of many, or a manifest.csv.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Network to use; default: the study's primary model, with --out every one.")
    ] = "",
    device: Device = "auto",
    point: Annotated[
        str, typer.Option(metavar="X,Y,Z", help="Where the lesion is, RAS mm, for a run whose cases are lesions.")
    ] = "",
    side: Annotated[
        Literal["left", "right"] | None, typer.Option(help="Which breast, for a run whose cases are breasts.")
    ] = None,
    times: Annotated[
        str, typer.Option(metavar="S,S,...", help="Seconds at which each phase began, where channels need them.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Score many scans into FOLDER/scores.csv.")
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="With --out: where the lesions are (patient_id,point or case_id,point)."),
    ] = None,
    workers: Workers = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score one scan, or many, with every network of a run's folds.

    With --out, scans are preprocessed in parallel, what is done is kept, and one that fails has a row with the reason.

    Example: genovox predict runs/my-study pre.nii.gz post1.nii.gz --json

    Example: genovox predict runs/my-study new-patients/ --out scores/
    """
    from genovox.core.errors import UsageError
    from genovox.core.log import start_log

    start_log(quiet=quiet)
    paths = [Path(part) for image in images for part in image.split(";") if part]
    if out is None:
        _refuse_many(paths, marks, workers)
        from genovox.preprocess.pipeline import Subject

        subject = Subject(_read_point(point), side or "", _read_times(times))
        _predict_one(run, paths, model, device, subject, as_json=as_json)
        return
    if len(paths) != 1 or not (paths[0].is_dir() or paths[0].suffix.lower() == ".csv"):
        raise UsageError(
            f"--out takes one DICOM folder or one manifest.csv, got {', '.join(map(str, paths))}; write a manifest of "
            "NIfTI or NRRD files with: genovox init FOLDER"
        )
    if point or times or side:
        raise UsageError(
            "--point, --side and --times are of one scan; with --out they stand in the manifest or in --marks"
        )
    from genovox.predict.scores import score_scans

    table = score_scans(run, paths[0], out, model=model, marks=marks, device=device, workers=workers)
    if as_json:
        _print_json(_summarise(table))
    else:
        _print_table(table)


def _refuse_many(paths: list[Path], marks: Path | None, workers: int | None) -> None:
    from genovox.core.errors import UsageError

    if paths and paths[0].suffix.lower() == ".csv":
        raise UsageError(f"{paths[0]} is a table of scans; say where the scores shall go: --out FOLDER")
    if marks is not None or workers is not None:
        raise UsageError("--marks and --workers are for many scans; add --out FOLDER, or leave them out")


def _predict_one(run: Path, paths: list[Path], model: str, device: str, subject: "Subject", *, as_json: bool) -> None:
    from dataclasses import asdict

    from genovox.predict.inference import predict_scan

    prediction = predict_scan(run, paths, subject, model=model, device=device)
    if as_json:
        _print_json(asdict(prediction))
    else:
        _print_prediction(prediction)


def _print_json(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(content, indent=2))


def _print_prediction(prediction: "Prediction") -> None:
    from genovox.core.log import write_count

    place = prediction.place
    _say(
        f"{prediction.model}: {prediction.probability:.3f} "
        f"(over {write_count(prediction.networks, 'network')}: SD {prediction.spread_sd:.3f}, "
        f"{prediction.lowest:.3f} to {prediction.highest:.3f}); uncalibrated"
    )
    _say(
        f"higher than {place.percentile:.0f}% of the study's out-of-fold scores ({place.percentile_noncarriers:.0f}% "
        f"of non-carriers', {place.percentile_carriers:.0f}% of carriers')"
    )
    for warning in prediction.warnings:
        _say(f"warning: {warning}")
    _say(prediction.notice)


def _summarise(table: "ScoreTable") -> dict[str, Any]:
    from statistics import mean, median

    from genovox.predict.inference import NOTICE

    models = {}
    for one in table.models:
        means = [mean(scores) for scores in one.scores.values()]
        models[one.model] = {
            "scored": len(means),
            "networks": one.networks,
            "engines": sorted(set(one.engines.values())),
            "lowest": min(means, default=None),
            "median": median(means) if means else None,
            "highest": max(means, default=None),
        }
    return {
        "table": str(table.path),
        "scans": len(table.table),
        "patients": int(table.table["patient_id"].nunique()),
        "models": models,
        "failed": table.reasons,
        "notice": NOTICE,
    }


def _print_table(table: "ScoreTable") -> None:
    from genovox.core.log import write_count

    summary = _summarise(table)
    _say(f"{write_count(summary['scans'], 'scan')} of {write_count(summary['patients'], 'patient')} -> {table.path}")
    for model, one in summary["models"].items():
        if one["scored"]:
            _say(
                f"{model}: {one['scored']} scored, {one['lowest']:.3f} to {one['highest']:.3f}, median "
                f"{one['median']:.3f}; {write_count(one['networks'], 'network')}, "
                f"{', '.join(one['engines'])}; uncalibrated"
            )
    failed = summary["failed"]
    if failed:
        _say(f"{len(failed)} failed, each with a reason in its row:")
        for case_id, reason in list(failed.items())[:_SHOWN]:
            _say(f"  {case_id}: {reason}")
    warned = int((table.table["warnings"] != "").sum())
    if warned:
        _say(f"{write_count(warned, 'scan')} with warnings in the table: read them before the scores")
    _say(summary["notice"])


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
