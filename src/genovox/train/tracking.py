"""MLflow beside the journal: one run a network, with its settings and its curves, and nobody's id."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from genovox.core.errors import UsageError
from genovox.core.extras import import_optional
from genovox.core.study import Study
from genovox.learning.journal import EpochRecord

log = logging.getLogger(__name__)

DATABASE = "mlflow.db"
_LONGEST_CAUSE = 80
"""Letters of a cause that is quoted; what is longer is named by its kind."""


@dataclass(frozen=True)
class Tracking:
    """Where the runs of a study go.

    Attributes:
        uri: Of MLflow's tracking server or database.
        experiment: Its number there.
    """

    uri: str
    experiment: str


def open_tracking(study: Study) -> Tracking | None:
    """The study's experiment, made where it is not there yet; None where ``train.tracking`` is empty.

    Raises:
        MissingExtraError: If MLflow is not installed.
        UsageError: If it does not answer.
    """
    place = study.train.tracking
    if not place:
        return None
    for module in ("mlflow", "sqlalchemy", "alembic"):
        _import_quietly(module, place)
    try:
        if "://" in place:
            client, location = _open_client(place), None
        else:
            folder = (study.root / place).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            place, location = f"sqlite:///{folder / DATABASE}", (folder / "artifacts").as_uri()
            client = _open_client(place)
        known = client.get_experiment_by_name(study.study.name)
        number = known.experiment_id if known else client.create_experiment(study.study.name, location)
    except Exception as error:
        raise UsageError(
            "train.tracking must be a folder or the address of an MLflow server that answers, "
            f'got "{study.train.tracking}" ({_name_cause(error)}); start it, or leave the key out'
        ) from error
    return Tracking(place, str(number))


class Tracker:
    """The MLflow run of one network; what goes wrong with it is a warning, and training goes on.

    Args:
        tracking: Where it goes; None tracks nothing.
        name: Of the run.
        parameters: What the network depends on.
    """

    def __init__(self, tracking: Tracking | None, name: str, parameters: Mapping[str, Any]) -> None:
        self._name = name
        self._client: Any = None
        self._run = ""
        if tracking is None:
            return
        try:
            self._client = _open_client(tracking.uri)
            self._run = self._client.create_run(tracking.experiment, run_name=name).info.run_id
            entities = import_optional("mlflow", purpose="train.tracking").entities
            self._client.log_batch(
                self._run, params=[entities.Param(key, str(value)) for key, value in parameters.items()]
            )
        except Exception as error:  # noqa: BLE001 - a server that is down must not cost a fold
            self._give_up(error)

    def add(self, record: EpochRecord) -> None:
        """Send the losses and the rate of an epoch."""
        if self._client is None:
            return
        figures = asdict(record)
        epoch = figures.pop("epoch")
        now = time.time_ns() // 1_000_000
        entities = import_optional("mlflow", purpose="train.tracking").entities
        metrics = [entities.Metric(name, float(value), now, epoch) for name, value in figures.items()]
        try:
            self._client.log_batch(self._run, metrics=metrics)
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    def __enter__(self) -> Self:
        """The tracker itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say how the run ended."""
        if self._client is None:
            return
        try:
            self._client.set_terminated(self._run, "FAILED" if kind else "FINISHED")
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        log.warning("train.tracking: %s is no longer tracked (%s)", self._name, type(error).__name__)
        log.debug("tracking failed", exc_info=error)
        self._client = None


def _name_cause(error: BaseException) -> str:
    """What the system said first: each layer above wraps it in another sentence, address and all."""
    system = ""
    first: BaseException | None = error
    while first is not None:
        system = getattr(first, "strerror", None) or system
        first = first.__cause__ or first.__context__
    if system:
        return system[0].lower() + system[1:]
    sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
    return sentence if 0 < len(sentence) <= _LONGEST_CAUSE else type(error).__name__


def _open_client(uri: str) -> Any:
    mlflow = _import_quietly("mlflow", uri)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _import_quietly(module: str, place: str) -> Any:
    # MLflow reports its use to its makers unless it is told not to before it is imported.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return import_optional(module, purpose=f'train.tracking = "{place}"')
