"""The road of a study: which stage follows which, and how a verb brings one up to date."""

import importlib
import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import typer

from genovox.cli.terminal import say
from genovox.core.artifacts import STAGES, Stage, hold_run, read_json, read_stage, write_json
from genovox.core.errors import DataError, UsageError
from genovox.core.log import log_to_run, start_log
from genovox.core.sections import ORACLE
from genovox.core.study import Study

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")


class StageModule(Protocol):
    """What every stage offers."""

    def open_stage(self, study: Study, run: Path, device: str) -> Stage:
        """The stage as the study wants it, with its key."""

    def build_stage(self, study: Study, stage: Stage, workers: int | None) -> None:
        """Write the stage's files."""


@dataclass(frozen=True)
class Settings:
    """What the options of a verb say."""

    assignments: tuple[str, ...] = ()
    out: Path | None = None
    workers: int | None = None
    device: str = "auto"
    as_json: bool = False
    dry_run: bool = False
    accept: list[str] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class Road:
    """A study on its way through one run folder."""

    study: Study
    run: Path
    settings: Settings
    target: Path

    def open_stage(self, name: str, *, recorded: bool = False) -> Stage:
        """The stage as the study now wants it, on this machine or on the one that is on record."""
        return _module(name).open_stage(self.study, self.run, "recorded" if recorded else self.settings.device)

    def bring(self, name: str) -> None:
        """Bring one stage up to date."""
        stage = self.open_stage(name)
        stage.bring_up_to_date(lambda: _module(name).build_stage(self.study, stage, self.settings.workers))

    def require_upstream(self, name: str) -> None:
        """Refuse to build on a stage that is missing or stale.

        Raises:
            UsageError: Naming the stage, what changed and the command that mends it.
        """
        hindrance = self.find_hindrance(name)
        if hindrance:
            raise UsageError(hindrance)

    def find_hindrance(self, name: str) -> str:
        """What a stage reads that is missing or stale, and the command that mends it; empty if nothing is."""
        for upstream in _READ_BY[name]:
            if upstream in list_stages(self.study):
                stage = self.open_stage(upstream, recorded=True)
                if not stage.is_current():
                    place = self._repeat_target()
                    return (
                        f"{name} reads {upstream}, which is {_state(stage)}; run first: genovox {upstream} {place}, "
                        f"or everything: genovox run {place}"
                    )
        return ""

    def _repeat_target(self) -> str:
        """The target with the options that make this study what it is: a run folder alone is another study."""
        words = [str(self.target)]
        words += [word for assignment in self.settings.assignments for word in ("--set", assignment)]
        words += ["--out", str(self.settings.out)] if self.settings.out else []
        return shlex.join(words)


@contextmanager
def open_road(target: Path, settings: Settings, *, quiet: bool, verbose: bool) -> Iterator[Road]:
    """Load the study, take the run folder and start its log.

    Args:
        target: A study file or a run folder.
        settings: The verb's options.
        quiet: Show warnings only.
        verbose: Show details.

    Raises:
        UsageError: If neither a study nor a run is there, or another process holds the run.
        StudyError: If the run folder is another study's.
    """
    from genovox.cohort.gates import record_acceptance

    start_log(quiet=quiet, verbose=verbose)
    if settings.device not in DEVICES:
        raise UsageError(f"--device takes {', '.join(DEVICES)}, got {settings.device!r}")
    if target.is_dir():
        study = Study.load_snapshot(target, settings.assignments)
        run = settings.out or target
    else:
        study = Study.load(target, settings.assignments)
        run = settings.out or study.root / "runs" / study.study.name
        study.refuse_foreign_run(run)
    if settings.dry_run:
        yield Road(study, run, settings, target)
        return
    with hold_run(run):
        log_to_run(run)
        record_acceptance(run, settings.accept, settings.reason)
        yield Road(study, run, settings, target)


def list_stages(study: Study) -> tuple[str, ...]:
    """The stages of a study in their order; what some model starts from comes before it is trained."""
    place = STAGES.index("train")
    return (*STAGES[:place], *(("pretrain",) if study.train.pretrained else ()), *STAGES[place:])


def travel(target: Path, stages: tuple[str, ...], settings: Settings, *, quiet: bool, verbose: bool) -> None:
    """Bring stages up to date, in order, and say where the result is; no stages named are all of the study's."""
    with open_road(target, settings, quiet=quiet, verbose=verbose) as road:
        stages = stages or list_stages(road.study)
        if settings.dry_run:
            _foresee(road, stages)
            return
        if len(stages) == 1:
            road.require_upstream(stages[0])
        with keep_study(road.study, road.run):
            for name in stages:
                road.bring(name)
                if name == "cohort":
                    judge_folds(road.run, refuse=len(stages) > 1)
                    judge_pretraining(road.study, road.run, refuse=len(stages) > 1)
        if settings.as_json:
            typer.echo(json.dumps(summarise(road.run), indent=2))
        elif not quiet and (road.run / "audit" / "audit.json").exists() and len(stages) > 1:
            _print_conclusion(road.run)


@contextmanager
def keep_study(study: Study, run: Path) -> Iterator[None]:
    """Keep the study in its run; where a stage refuses it, the run goes on being that of the study kept before."""
    path = run / "study.json"
    before = read_json(path) if path.exists() else None
    study.save_snapshot(run)
    try:
        yield
    except UsageError:
        if before is not None:
            write_json(path, before)
        raise


def judge_folds(run: Path, *, refuse: bool) -> None:
    """Say at once, not after hours of preprocessing, that a cohort cannot be trained on.

    Args:
        run: With its cohort.
        refuse: Whether more than the cohort was asked for; a cohort alone is a table to look at.

    Raises:
        DataError: If ``refuse`` and there are no folds.
    """
    from genovox.cohort.splits import read_folds

    if refuse:
        read_folds(run)
    elif reason := read_json(run / "cohort" / "flow.json").get("no_folds"):
        log.warning("nothing can be trained on this cohort: %s, then run genovox cohort again", reason)


def judge_pretraining(study: Study, run: Path, *, refuse: bool) -> None:
    """Say at once that there are too few patients to pretrain on, where the study has networks that do.

    Args:
        study: The study.
        run: With its cohort.
        refuse: Whether more than the cohort was asked for.

    Raises:
        DataError: If ``refuse`` and there are too few.
    """
    if not study.train.pretrained:
        return
    from genovox.pretrain.stage import judge_patients

    try:
        judge_patients(study, run)
    except DataError as error:
        if refuse:
            raise
        log.warning("%s", error)


def summarise(run: Path) -> dict[str, Any]:
    """What a run has come to, for scripts."""
    stages = {name: "done" if read_stage(run, name) else "missing" for name in STAGES}
    summary: dict[str, Any] = {"run": str(run), "stages": stages}
    if stages["evaluate"] == "done":
        metrics = read_json(run / "evaluate" / "metrics.json")
        block = metrics["models"][metrics["primary"]]["cross_validation"]
        summary |= {"model": metrics["primary"], "metrics": block["metrics"]}
    if stages["audit"] == "done":
        audit = read_json(run / "audit" / "audit.json")
        summary |= {name: audit[name] for name in ("headline", "verdict", "confounding", "beyond_clinical")}
    report = run / "report" / "index.html"
    if report.exists():
        summary["report"] = str(report)
    return summary


def _print_conclusion(run: Path) -> None:
    audit = read_json(run / "audit" / "audit.json")
    for line in (
        audit["headline"],
        *_describe_oracle(run),
        f"Verdict: {audit['verdict']}. {audit['paragraph']}",
        f"Report: {run / 'report' / 'index.html'}",
        "Research use only; this does not replace a genetic test.",
    ):
        say(line)


def _describe_oracle(run: Path) -> Iterator[str]:
    """On a simulated cohort: what the best possible reader of the images scores."""
    models = read_json(run / "evaluate" / "metrics.json")["models"]
    if ORACLE in models:
        auc = models[ORACLE]["cross_validation"]["metrics"]["roc_auc"]
        yield f"Oracle: AUC {auc['estimate']:.2f} on the same patients, the best that these simulated images allow"


def _foresee(road: Road, stages: tuple[str, ...]) -> None:
    """Say of each stage whether it would run, and why; what reads a stage that would run would run too."""
    would_run: list[str] = []
    hindrance = road.find_hindrance(stages[0]) if len(stages) == 1 else ""
    if hindrance:
        typer.echo(f"{stages[0]:<11} would be refused: {hindrance}")
        return
    for name in stages:
        rebuilt = [upstream for upstream in would_run if upstream in _READ_BY[name]]
        if rebuilt:
            reason = f"would run: {rebuilt[0]} would be made anew"
        else:
            stage = road.open_stage(name)
            reason = "up to date" if stage.is_current() else f"would run: {stage.describe_change()}"
        if reason != "up to date":
            would_run.append(name)
        typer.echo(f"{name:<11} {reason}")


def _state(stage: Stage) -> str:
    change = stage.describe_change()
    return change if change == "not made yet" else f"stale ({change})"


def _module(name: str) -> StageModule:
    """A stage's module, imported only when it is needed: some bring torch."""
    return cast("StageModule", importlib.import_module(_MODULES[name]))


_MODULES = {
    "cohort": "genovox.cohort.stage",
    "preprocess": "genovox.preprocess.stage",
    "pretrain": "genovox.pretrain.stage",
    "train": "genovox.train.crossval",
    "evaluate": "genovox.evaluate.stage",
    "audit": "genovox.audit.stage",
    "explain": "genovox.explain.stage",
    "report": "genovox.report.stage",
}
_READ_BY: dict[str, tuple[str, ...]] = {
    "cohort": (),
    "preprocess": ("cohort",),
    "pretrain": ("cohort", "preprocess"),
    "train": ("cohort", "preprocess", "pretrain"),
    "evaluate": ("cohort", "preprocess", "train"),
    "audit": ("cohort", "preprocess", "train", "evaluate"),
    "explain": ("cohort", "preprocess", "train", "evaluate"),
    "report": ("cohort", "preprocess", "train", "evaluate", "audit", "explain"),
}
