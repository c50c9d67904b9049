"""Engines say what eager float32 says, or are not used."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from genovox.core.errors import UsageError
from genovox.core.extras import missing_modules
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.predict import engine as module
from genovox.predict.engine import (
    EAGER,
    TOLERANCE,
    WORTHWHILE_VOLUMES,
    Precision,
    Way,
    draw_noise,
    measure_difference,
    open_engine,
)

needs_openvino = pytest.mark.skipif(
    bool(missing_modules("fast")), reason="OPENVINO IS NOT INSTALLED: engines are tested in torch only"
)


def _draw_network(name: str, channels: int, shape: tuple[int, ...], seed: int = 0) -> Network:
    """A network whose batch norms have seen volumes, and whose logits differ from volume to volume."""
    torch.manual_seed(seed)
    network = build_network(name, channels)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.momentum = 1.0  # statistics of the last batch alone
    with torch.no_grad():
        network.train()(draw_noise(shape))
    return network.eval()


@torch.inference_mode()
def _score_eagerly(network: Network, batch: Tensor) -> Tensor:
    return network(batch).double()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "shape", "precision"),
    [
        ("light", (1, 32, 32, 32), "auto"),
        ("light", (2, 17, 30, 23), "float32"),
        ("light", (3, 24, 24, 24), "auto"),
        ("light", (4, 16, 33, 20), "auto"),
        ("resnet10", (3, 33, 32, 37), "auto"),
        ("resnet18", (1, 32, 32, 35), "auto"),
    ],
)
def test_says_what_eager_says(name: str, shape: tuple[int, ...], precision: Precision) -> None:
    network = _draw_network(name, shape[0], shape)
    engine = open_engine([network], shape, precision=precision)
    assert precision == "auto" or engine.way.endswith("float32")
    for size in (1, 3):
        batch = torch.randn((size, *shape), generator=torch.Generator().manual_seed(size))
        found, expected = engine(batch), _score_eagerly(network, batch)
        assert found.shape == (1, size)
        assert found.dtype == torch.float32
        difference = (found[0].double().sigmoid() - expected.sigmoid()).abs().max()
        assert difference <= (1e-4 if engine.way.endswith("float32") else TOLERANCE)
        assert torch.equal(engine(batch.numpy()), found)  # again, as an array


@needs_openvino
def test_openvino_is_what_opens() -> None:
    engine = open_engine([_draw_network("light", 1, (1, 16, 16, 16))], (1, 16, 16, 16))
    assert engine.way.startswith("openvino")
    assert sys.modules["openvino_telemetry"] is None


@needs_openvino
def test_company_in_a_batch_changes_nothing() -> None:
    shape = (1, 24, 24, 24)
    engine = open_engine([_draw_network("light", 1, shape)], shape, precision="float32")
    batch = torch.randn((4, *shape))
    alone = torch.cat([engine(volume[None])[0] for volume in batch])
    assert torch.equal(engine(batch)[0], alone)


def test_every_network_scores_and_each_may_read_its_own_input() -> None:
    shape = (2, 16, 16, 16)
    networks = [_draw_network("light", 2, shape, seed) for seed in range(3)]
    engine = open_engine(networks, shape, precision="float32")
    batches = [torch.randn((2, *shape)) for _ in networks]
    expected = torch.stack([_score_eagerly(network, batches[0]) for network in networks])
    torch.testing.assert_close(engine(batches[0]).double(), expected, rtol=0, atol=1e-4)
    for index, (network, batch) in enumerate(zip(networks, batches, strict=True)):
        own = engine.score(index, batch).double()
        torch.testing.assert_close(own, _score_eagerly(network, batch), rtol=0, atol=1e-4)


def test_networks_stay_as_they_were() -> None:
    shape = (1, 16, 16, 16)
    network = _draw_network("light", 1, shape)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = torch.randn((1, *shape))
    expected = _score_eagerly(network, batch)
    open_engine([network], shape)(batch)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert torch.equal(_score_eagerly(network, batch), expected)


def test_few_volumes_are_scored_at_once() -> None:
    shape = (1, 16, 16, 16)
    network = _draw_network("light", 1, shape)
    batch = torch.randn((2, *shape))
    engine = open_engine([network], shape, volumes=WORTHWHILE_VOLUMES - 1)
    assert engine.way == EAGER
    assert torch.equal(engine(batch)[0].double(), _score_eagerly(network, batch))


def test_torch_computes_in_bfloat16_where_the_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told so of any processor: without the instructions it is slow, the numbers are the same."""
    monkeypatch.setattr(module, "missing_modules", lambda extra: ["openvino"])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    shape = (1, 16, 16, 16)
    network = _draw_network("light", 1, shape)
    engine = open_engine([network], shape)
    assert engine.way == "torch bfloat16"
    batch = torch.randn((3, *shape))
    found, expected = engine(batch)[0], _score_eagerly(network, batch)
    assert 0 < measure_difference(found, expected) <= 2 * TOLERANCE
    assert torch.equal(engine(batch)[0], found)
    assert open_engine([network], shape, precision="float32").way == EAGER


@needs_openvino
def test_openvino_computes_in_bfloat16_where_the_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (1, 16, 16, 16)
    network = _draw_network("light", 1, shape)
    monkeypatch.setattr(module, "_list_openvino_formats", lambda: ["FP32", "BF16"])
    engine = open_engine([network], shape)
    assert engine.way == "openvino bfloat16"
    batch = torch.randn((2, *shape))
    assert measure_difference(engine(batch)[0], _score_eagerly(network, batch)) <= 2 * TOLERANCE
    monkeypatch.setattr(module, "_list_openvino_formats", lambda: ["FP32", "INT8"])
    assert open_engine([network], shape).way == "openvino float32"


def _distort(change: Callable[[Tensor], Tensor]) -> Way:
    """A way that computes the right logits and then gives others."""
    return Way("spoilt", lambda network, shape: lambda batch: change(_score_eagerly(network, batch).float()))


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits + 0.1,
        lambda logits: logits.flip(0),
        lambda logits: logits * 1.2,
        lambda logits: logits * torch.tensor([1, float("nan")]),
        lambda logits: logits[:1],
    ],
    ids=["shifted", "in another order", "steeper", "not a number", "one missing"],
)
def test_a_way_that_says_something_else_is_not_used(
    change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shape = (1, 16, 16, 16)
    network = _draw_network("light", 1, shape)
    monkeypatch.setattr(module, "_list_ways", lambda device, precision: [_distort(change)])
    engine = open_engine([network], shape)
    assert engine.way == EAGER
    assert "spoilt is not used: on noise its probability is" in caplog.text
    batch = torch.randn((2, *shape))
    assert torch.equal(engine(batch)[0].double(), _score_eagerly(network, batch))


@needs_openvino
def test_an_engine_of_another_network_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shape = (1, 16, 16, 16)
    network, other = (_draw_network("light", 1, shape, seed) for seed in (0, 1))
    way = Way("openvino of another", lambda _, shape: module._OpenvinoScorer(other, shape, "f32"))
    monkeypatch.setattr(module, "_list_ways", lambda device, precision: [way])
    assert open_engine([other], shape).way == "openvino of another"
    assert open_engine([other, network], shape).way == EAGER
    assert "openvino of another is not used" in caplog.text


def test_without_the_extra_torch_scores_and_says_what_would_be_faster() -> None:
    """In a process of its own in which OpenVINO is not to be imported."""
    script = """
import json, logging, sys, torch
sys.modules["openvino"] = None
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
from genovox.models.build import build_network
from genovox.predict.engine import open_engine
torch.manual_seed(0)
network = build_network("light", 1).eval()
engine = open_engine([network], (1, 16, 16, 16))
batch = torch.randn((2, 1, 16, 16, 16))
with torch.inference_mode():
    difference = (engine(batch)[0].sigmoid() - network(batch).sigmoid()).abs().max().item()
print(json.dumps({"way": engine.way, "difference": difference}))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    answer = json.loads(done.stdout)
    assert answer["way"] in {EAGER, "torch bfloat16"}
    assert answer["difference"] <= TOLERANCE
    assert done.stderr.count("pip install 'genovox[fast]'") == 1


@pytest.mark.parametrize(
    ("networks", "shape", "words"),
    [
        (0, (1, 16, 16, 16), "an engine needs at least 1 network, got none"),
        (1, (2, 16, 16, 16), "this network was built for 1 channels, got 2"),
        (1, (1, 16, 8, 16), "needs at least 16 voxels on every side, got 16x8x16"),
        (1, (16, 16, 16), r"a batch must have shape \(B, C, D, H, W\)"),
    ],
)
def test_what_no_network_can_read_is_refused(networks: int, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_engine([build_network("light", 1).eval()] * networks, shape)


def test_a_batch_of_another_shape_is_refused() -> None:
    engine = open_engine([build_network("light", 1).eval()], (1, 16, 16, 16), volumes=1)
    with pytest.raises(UsageError, match=r"scores batches of volumes \(1, 16, 16, 16\), got a batch of shape"):
        engine(np.zeros((2, 1, 16, 16, 17), np.float32))


@given(
    logits=st.lists(st.floats(-30, 30), min_size=1, max_size=8),
    shift=st.floats(-5, 5),
)
@settings(deadline=None)
def test_the_difference_covers_that_in_probability(logits: list[float], shift: float) -> None:
    expected = torch.tensor(logits, dtype=torch.float64)
    found = expected + shift
    probability = 1 / (1 + np.exp(-found.numpy())) - 1 / (1 + np.exp(-expected.numpy()))
    difference = measure_difference(found, expected)
    assert difference >= np.abs(probability).max() - 1e-12
    assert difference <= abs(shift) / 4 + 1e-12
    assert measure_difference(expected, expected) == 0


def test_wrong_logits_count_where_probabilities_are_all_one() -> None:
    assert measure_difference(torch.tensor([20.0, 25.0]), torch.tensor([25.0, 20.0])) == pytest.approx(5 / 20 / 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("name", "way"), [("light", "torch bfloat16"), ("resnet10", "torch float32")])
def test_a_gpu_says_what_the_cpu_says(name: str, way: str) -> None:
    # Batch norm over last maps of one voxel a side, from two volumes, blows rounding up: bfloat16 must be left.
    shape = (2, 32, 32, 32)
    network = _draw_network(name, 2, shape)
    batch = torch.randn((3, *shape))
    expected = _score_eagerly(network, batch)
    engine = open_engine([network], shape, device="cuda")
    assert engine.way == way
    assert measure_difference(engine(batch)[0], expected) <= 2 * TOLERANCE
