"""A linear probe on features that nothing but the encoder made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import score_cases
from genovox.learning.probe import cache_features, fit_probe, pool_features
from genovox.models.blocks import Network
from genovox.models.build import build_network


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Carriers brighter than the others, in noise."""
    folder = tmp_path_factory.mktemp("bright")
    random = np.random.default_rng(0)
    found = []
    for number in range(36):
        volume = random.normal(0.5 * (number % 2), 1, (1, 16, 16, 16)).astype(np.float32)
        np.save(folder / f"{number}.npy", volume)
        path = folder / f"{number}.npy"
        found.append(PreparedCase(f"c{number}", f"p{number}", "", "", number % 2, f"key{number}", path))
    return found


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build_network("light", 1)


def test_features_are_what_the_head_reads(network: Network, cases: list[PreparedCase]) -> None:
    features = pool_features(network, cases[:5], "cpu", 2)
    assert features.shape == (5, network.fc.in_features)
    logits = features @ network.fc.weight.detach().numpy()[0] + network.fc.bias.item()
    scores = score_cases(network, cases[:5], "cpu", 5)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-5)


def test_a_probe_learns_moves_the_head_alone_and_scores_as_it_was_fitted(
    network: Network, cases: list[PreparedCase], tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = cache_features(tmp_path / "f.npz", network, cases, "cpu", 8)
    trained = fit_probe(network, features, cases[:20], cases[20:28])
    moved = {name for name, value in trained.network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"fc.weight", "fc.bias"}
    scores = score_cases(trained.network, cases[28:], "cpu", 8)
    assert np.mean(scores[1::2]) > np.mean(scores[::2]) + 0.3
    assert trained.best.validation_loss < np.log(2)
    again = fit_probe(network, features, cases[:20], cases[20:28])
    assert again.best == trained.best


def test_the_validation_patients_choose_the_penalty_and_test_patients_nothing(
    network: Network, cases: list[PreparedCase], tmp_path: Path
) -> None:
    features = cache_features(tmp_path / "f.npz", network, cases, "cpu", 8)
    whole = fit_probe(network, features, cases[:20], cases[20:28]).best
    for case in cases[28:]:
        features[case.key] = features[case.key] * 100
    assert fit_probe(network, features, cases[:20], cases[20:28]).best == whole


def test_features_are_computed_once(network: Network, cases: list[PreparedCase], tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    first = cache_features(path, network, cases[:4], "cpu", 8)
    stamp = path.stat().st_mtime_ns
    gone = [replace(case, volume=tmp_path / "gone.npy") for case in cases[:4]]
    again = cache_features(path, network, gone, "cpu", 8)
    assert path.stat().st_mtime_ns == stamp
    assert all(np.array_equal(first[key], again[key]) for key in first)
    more = cache_features(path, network, [gone[0], cases[5]], "cpu", 8)
    assert set(more) == {"key0", "key5"}
    assert path.stat().st_mtime_ns != stamp


def test_a_feature_that_never_varies_weighs_nothing(network: Network, cases: list[PreparedCase]) -> None:
    random = np.random.default_rng(1)
    size = network.fc.in_features
    features = {case.key: random.normal(size=size).astype(np.float32) for case in cases}
    for row in features.values():
        row[3] = 7.0
    trained = fit_probe(network, features, cases[:20], cases[20:])
    assert trained.network.fc.weight[0, 3].item() == 0
    assert bool(trained.network.fc.weight.isfinite().all())
