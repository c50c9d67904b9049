"""The command ``genovox``: verbs, errors and exit codes."""

import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from genovox.cli import demo, doctor, fetch, init, labels, lesions, phases, plan, predict, simulate, stages

app = typer.Typer(
    name="genovox",
    help="Honest prediction of gene mutation status from 3D breast MRI: biology, the scanner, or chance?\n\n"
    "Try: genovox demo. Start: genovox init scans/ --labels labels.csv, then genovox run study.toml. "
    "Research use only; it never replaces a genetic test.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("simulate")(simulate.simulate)
app.command("fetch")(fetch.fetch)
app.command("phases")(phases.phases)
app.command("labels")(labels.labels)
app.command("lesions")(lesions.lesions)
for verb in stages.STAGE_VERBS:
    app.command(verb.__name__)(verb)
app.command("plan")(plan.plan)
app.command("predict")(predict.predict)
app.command("doctor")(doctor.doctor)


INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and leave with its exit code; under torchrun on several processes together."""
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from genovox.train.followers import run_together

        sys.exit(run_together(lambda: run_command(sys.argv[1:])))
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command; every error becomes one line and an exit code.

    Args:
        arguments: As on the command line, without the program's name.

    Returns:
        0 done; 2 wrong usage; 3 bad data; 4 refused by a gate; 130 interrupted; 1 a bug of ours.
    """
    try:
        code = app(arguments, prog_name="genovox", standalone_mode=False)
        if code == INTERRUPTED:
            _say("interrupted; the same command goes on where it stopped")
        return code if isinstance(code, int) else 0
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:  # noqa: BLE001 - a user sees one line, never a traceback
        return _report_error(error)
    finally:
        _close_log()


def _report_error(error: Exception) -> int:
    from genovox.core.artifacts import raise_if_disk_full
    from genovox.core.errors import GenovoxError

    if isinstance(error, OSError):
        try:
            raise_if_disk_full(error, Path(error.filename or "the disk"))
        except GenovoxError as full:
            error = full
    if isinstance(error, GenovoxError):
        for line in str(error).splitlines():
            _say(f"error: {line}")
        return error.exit_code
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        _say(f"error: {error.strerror or error}{place}; work in a folder that can be written and read, then run again")
        return 3
    if hasattr(error, "format_message"):  # typer's; which class it is differs between its releases
        return _report_usage(error)
    logging.getLogger("genovox").debug("unforeseen error", exc_info=error)
    _say(
        f"error: unforeseen {type(error).__name__}: {error}; this is a bug in genovox, "
        "please report it with the end of run.log"
    )
    return 1


def _report_usage(error: Any) -> int:
    """Say what was wrong on the command line as every other error is said; the bare command shows its help."""
    from pydantic import ValidationError

    from genovox.core.errors import UsageError, describe_rule

    message = str(error.format_message())
    if message.startswith("Usage:"):
        error.show()
        return UsageError.exit_code
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        problem, option = cause.errors()[0], error.param.opts[-1]
        rule = describe_rule(problem)
        message = f"{option} {rule}, got {problem['input']}" if rule.startswith("must ") else f"{option}: {rule}"
    command = error.ctx.command_path if getattr(error, "ctx", None) else "genovox"
    _say(f"error: {message[0].lower()}{message[1:].removesuffix('.')}; see: {command} --help")
    return UsageError.exit_code


def _close_log() -> None:
    logger = logging.getLogger("genovox")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _say(line: str) -> None:
    from genovox.core.log import log_line

    log_line(line)
