"""Networks ready to score many volumes: the fastest way this machine has that says what eager float32 says."""

import copy
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genovox.core.errors import UsageError
from genovox.core.extras import import_optional, missing_modules
from genovox.core.volume import Array
from genovox.models.blocks import Network
from genovox.volumes.devices import settle_gpu

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32"]
Scorer = Callable[[Tensor], Tensor]
"""Batch (B, C, D, H, W) float32 on the CPU to logits (B,) float32 on the CPU."""

TOLERANCE = 0.01
"""Largest difference in probability from eager float32."""
WORTHWHILE_VOLUMES = 20
"""Volumes below which opening (a conversion and a check of each network) costs more than it saves."""
EAGER = "torch float32"


@dataclass(frozen=True)
class Engine:
    """Networks that score volumes of one shape.

    Attributes:
        way: What computes, and its number format, such as ``openvino bfloat16``.
        shape: Of one volume, (C, D, H, W).
        scorers: One a network, in their order.
    """

    way: str
    shape: tuple[int, ...]
    scorers: tuple[Scorer, ...]

    def __call__(self, batch: Array | Tensor) -> Tensor:
        """Logits of every network, shape (network, B), float32 on the CPU; the same batch gives the same bits.

        Args:
            batch: Shape (B, C, D, H, W).

        Raises:
            UsageError: If its volumes have another shape.
        """
        return torch.stack([self.score(index, batch) for index in range(len(self.scorers))])

    def score(self, index: int, batch: Array | Tensor) -> Tensor:
        """Logits of one network, shape (B,), where each has an input of its own.

        Args:
            index: Of the network.
            batch: Shape (B, C, D, H, W).

        Raises:
            UsageError: If its volumes have another shape.
        """
        return self.scorers[index](self._read(batch))

    def _read(self, batch: Array | Tensor) -> Tensor:
        tensor = torch.as_tensor(batch, dtype=torch.float32, device="cpu")
        if tuple(tensor.shape[1:]) != self.shape:
            raise UsageError(
                f"this engine scores batches of volumes {self.shape}, got a batch of shape {tuple(tensor.shape)}; "
                "open one for that shape"
            )
        return tensor.contiguous()


@dataclass(frozen=True)
class Way:
    """One way to compute a network.

    Attributes:
        name: As ``Engine.way`` says it.
        open: Makes a network's scorer for volumes of a shape (C, D, H, W).
    """

    name: str
    open: Callable[[Network, tuple[int, ...]], Scorer]


def open_engine(
    networks: Sequence[Network],
    shape: tuple[int, ...],
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    volumes: int | None = None,
) -> Engine:
    """Open the fastest way whose probabilities are those of eager float32, within 0.01, on volumes of noise.

    On the CPU that is OpenVINO (the extra ``[fast]``), else torch; on a GPU torch. A way that differs for any network
    is left, with a warning, for the next.

    Args:
        networks: In evaluation mode; they are not changed.
        shape: Of one volume, (C, D, H, W).
        device: ``cpu`` or ``cuda``.
        precision: ``auto``: bfloat16 where the processor has instructions for it; ``float32``: never.
        volumes: How many will be scored, where that is known; few are scored by eager float32 at once.

    Raises:
        UsageError: If there is no network, or one cannot read volumes of that shape.
    """
    if not networks:
        raise UsageError("an engine needs at least 1 network, got none; train first")
    for network in networks:
        network.check_batch(torch.empty((1, *shape), device="meta"))
    settle_gpu(device)
    eager = Way(EAGER, lambda network, _: _EagerScorer(network.to(device).eval(), device))
    ways = [] if volumes is not None and volumes < WORTHWHILE_VOLUMES else _list_ways(device, precision)
    for way in ways:
        scorers = _open_way(way, eager, networks, shape)
        if scorers is not None:
            return Engine(way.name, shape, scorers)
    return Engine(EAGER, shape, tuple(eager.open(network, shape) for network in networks))


def _list_ways(device: str, precision: Precision) -> Iterator[Way]:
    """Every way but eager float32, the fastest first."""
    if device == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        if missing_modules("fast"):
            log.info(
                "networks run in torch; OpenVINO is faster, most where the processor has bfloat16: "
                "pip install 'genovox[fast]'"
            )
        else:
            if precision == "auto" and "BF16" in _list_openvino_formats():
                yield Way("openvino bfloat16", lambda network, shape: _OpenvinoScorer(network, shape, "bf16"))
            yield Way("openvino float32", lambda network, shape: _OpenvinoScorer(network, shape, "f32"))
        has_bfloat16 = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - get_capabilities is newer than 2.9
    if precision == "auto" and has_bfloat16:
        yield Way("torch bfloat16", lambda network, _: _AutocastScorer(network, device))


def _open_way(way: Way, eager: Way, networks: Sequence[Network], shape: tuple[int, ...]) -> tuple[Scorer, ...] | None:
    """A scorer for every network; None, with a warning, if one says something else than eager float32."""
    noise = draw_noise(shape)
    scorers = []
    for network in networks:
        scorer = way.open(network, shape)
        difference = measure_difference(scorer(noise), eager.open(network, shape)(noise))
        if not difference <= TOLERANCE:
            log.warning(
                "%s is not used: on noise its probability is %.2g from that of %s, at most %g is allowed",
                way.name, difference, eager.name, TOLERANCE,
            )  # fmt: skip
            return None
        scorers.append(scorer)
    return tuple(scorers)


def draw_noise(shape: tuple[int, ...]) -> Tensor:
    """Two volumes, white noise and smooth noise of variance about 1: (2, C, D, H, W), the same every time."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn((1, *shape), generator=generator)
    coarse = torch.randn((1, shape[0], 6, 6, 6), generator=generator)
    return torch.cat([white, functional.interpolate(coarse, size=shape[1:], mode="trilinear") * 2])


def measure_difference(found: Tensor, expected: Tensor) -> float:
    """How far logits lie from those expected, as a difference in probability; infinite where one is not a number.

    Where a sigmoid is flat, wrong logits give right probabilities: so a quarter of the logits' own difference (a
    sigmoid's steepest slope) counts too, relative to a logit beyond 1.

    Args:
        found: Shape (B,).
        expected: Shape (B,).
    """
    found, expected = found.double(), expected.double()
    if found.shape != expected.shape or not bool((found + expected).isfinite().all()):
        return float("inf")
    probabilities = (found.sigmoid() - expected.sigmoid()).abs().max()
    logits = ((found - expected).abs() / expected.abs().clamp(min=1)).max() / 4
    return float(torch.maximum(probabilities, logits))


def _list_openvino_formats() -> list[str]:
    """Number formats the processor has instructions for, such as ``FP32`` and ``BF16``."""
    return list(_import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which reports each import to its maker unless the user found out and said no."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # the import system's own "not there"
    return import_optional("openvino", purpose="a fast engine")


class _EagerScorer:
    """A network as it is."""

    def __init__(self, network: Network, device: str) -> None:
        self._network, self._device = network, device

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Tensor:
        logits: Tensor = self._network(batch.to(self._device))
        return logits.float().cpu()


class _AutocastScorer:
    """A copy of a network with channels last, in bfloat16 where torch finds that safe."""

    def __init__(self, network: Network, device: str) -> None:
        copied = copy.deepcopy(network).to(device).eval()
        self._network, self._device = copied.to(memory_format=torch.channels_last_3d), device  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Tensor:
        placed = batch.to(self._device).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self._device, torch.bfloat16):
            logits: Tensor = self._network(placed)
        return logits.float().cpu()


class _OpenvinoScorer:
    """A network compiled by OpenVINO for one volume at a time, on as many threads as torch has.

    A volume at a time is as fast as a batch, and its score then never depends on its company.
    """

    def __init__(self, network: Network, shape: tuple[int, ...], precision: str) -> None:
        openvino = _import_openvino()
        # Layers are recorded on the smallest volume, which costs least; they are the same on any other.
        example = torch.zeros((1, network.channels, *(network.minimum_side,) * 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a recording leaves out the checks of a batch, done by the engine
            model = openvino.convert_model(network.cpu().eval(), example_input=example, input=[[1, *shape]])
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, batch: Tensor) -> Tensor:
        logits = [self._request.infer([volume[np.newaxis]])[0].item() for volume in batch.numpy()]
        return torch.tensor(logits, dtype=torch.float32)
