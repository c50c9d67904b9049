"""Networks on disk: safetensors only, never a pickle."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genovox.core.artifacts import atomic_path
from genovox.core.errors import DataError
from genovox.core.names import split_model
from genovox.models.blocks import Network
from genovox.models.build import build_network

NETWORK = "network.safetensors"


def pretrained_path(run: Path, network: str) -> Path:
    """Where a run keeps what ``genovox pretrain`` made of a network."""
    return run / "pretrain" / f"{network}.safetensors"


def save_network(path: Path, network: Network, *, name: str, channels: int) -> None:
    """Write a network's weights with its name and channels."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_path(path) as partial:
        # One entry: several are written in an order that differs, and weights are known by their hash.
        partial.write_bytes(save(state, metadata={"network": f"{name}, {channels} channels"}))


def load_network(path: Path, *, name: str, channels: int) -> Network:
    """Read a network for scoring.

    Raises:
        DataError: If the file is missing, damaged or holds another network.
    """
    network = build_network(split_model(name)[0], channels)
    try:
        network.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} does not hold a {name} of {channels} channels ({reason}); train again") from None
    return network.eval()
