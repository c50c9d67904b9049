"""Networks on disk: safetensors only, never a pickle; each file says whom its network has met."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from genovox.core.artifacts import atomic_path
from genovox.core.errors import DataError
from genovox.core.names import split_model
from genovox.dataset.cases import PreparedCase
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.models.fitting import find_shortcut

NETWORK = "network.safetensors"
METADATA = "genovox"
_DIGITS = 16


@dataclass(frozen=True)
class Lineage:
    """Whom a network has met, itself or through the weights it started from: digests of patients and families.

    Attributes:
        labelled: Those whose labels it was shown, to learn from or to choose an epoch by.
        scanned: Those whose scans alone it learnt from.
        is_whole: Whether these are all; False of a file from elsewhere, which does not say.
    """

    labelled: frozenset[str] = frozenset()
    scanned: frozenset[str] = frozenset()
    is_whole: bool = True

    def meet(self, cases: Iterable[PreparedCase], *, labels: bool) -> "Lineage":
        """Whom the network has met once it has learnt from these cases too."""
        digests = frozenset(digest for case in cases for digest in _digest(case))
        labelled, scanned = (
            (self.labelled | digests, self.scanned) if labels else (self.labelled, self.scanned | digests)
        )
        return Lineage(labelled, scanned, self.is_whole)

    def count_met(self, cases: Sequence[PreparedCase], *, labels: bool) -> int:
        """Patients of these cases whom it has met, themselves or a relative: with their labels, or at all."""
        met = self.labelled if labels else self.labelled | self.scanned
        return len({case.patient_id for case in cases if not met.isdisjoint(_digest(case))})


NOBODY = Lineage()
STRANGER = Lineage(is_whole=False)
"""Of a file that does not say whom its network has met."""


def _digest(case: PreparedCase) -> list[str]:
    names = [f"patient {case.patient_id}", *([f"family {case.family_id}"] if case.family_id else [])]
    return [hashlib.sha256(name.encode()).hexdigest()[:_DIGITS] for name in names]


def pretrained_path(run: Path, network: str) -> Path:
    """Where a run keeps what ``genovox pretrain`` made of a network."""
    return run / "pretrain" / f"{network}.safetensors"


def save_network(path: Path, network: Network, *, name: str, channels: int, lineage: Lineage = STRANGER) -> None:
    """Write a network's weights with its name, its channels and whom it has met."""
    about = {
        "network": name,
        "channels": channels,
        "labelled": sorted(lineage.labelled),
        "scanned": sorted(lineage.scanned),
        "is_whole": lineage.is_whole,
    }
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_path(path) as partial:
        # One entry: several are written in an order that differs, and weights are known by their hash.
        partial.write_bytes(save(state, metadata={METADATA: json.dumps(about)}))


def read_lineage(path: Path) -> Lineage:
    """Whom the network of a file has met, as far as the file says."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[METADATA])
            return Lineage(frozenset(about["labelled"]), frozenset(about["scanned"]), about["is_whole"] is True)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return STRANGER


def load_network(path: Path, *, name: str, channels: int) -> Network:
    """Read a network for scoring.

    Raises:
        DataError: If the file is missing, damaged or holds another network.
    """
    try:
        state = load_file(path)
        network = build_network(split_model(name)[0], channels, shortcut=find_shortcut(state))
        network.load_state_dict(state)
    except (FileNotFoundError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} does not hold a {name} of {channels} channels ({reason}); train again") from None
    return network.eval()
