"""A frozen encoder and a linear probe: what pretrained features tell by themselves, in seconds a fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genovox.core.artifacts import atomic_path
from genovox.core.volume import Array
from genovox.dataset.cases import PreparedCase
from genovox.dataset.loader import iterate_in_order
from genovox.dataset.shelf import Shelf
from genovox.learning.journal import EpochRecord
from genovox.learning.loop import TrainedNetwork
from genovox.learning.losses import BinaryLoss
from genovox.models.blocks import Network
from genovox.volumes.devices import settle_gpu

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse weights of the L2 penalty that validation patients choose from."""


@torch.inference_mode()
def pool_features(network: Network, cases: Sequence[PreparedCase], device: str, batch_size: int) -> Array:
    """What the head of a network reads of each case, in order: shape (case, feature), float32."""
    pooled: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        pooled.append(inputs[0].float().cpu())

    settle_gpu(device)
    network = network.to(device).eval()
    handle = network.fc.register_forward_pre_hook(keep)
    for volumes, _ in iterate_in_order(cases, batch_size, shelf=Shelf(device)):
        network(volumes)
    handle.remove()
    return torch.cat(pooled).numpy()


def cache_features(
    path: Path, network: Network, cases: Sequence[PreparedCase], device: str, batch_size: int
) -> dict[str, Array]:
    """The features of cases by their key, from a file that holds those known already.

    Args:
        path: ``.npz`` of this encoder alone; written anew where a case was missing.
        network: The encoder, with its weights.
        cases: Mapped by nothing that a fold fits: their features would be another's in the next fold.
        device: ``cpu`` or ``cuda``.
        batch_size: Cases at once.
    """
    known: dict[str, Array] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            known = {key: stored[key] for key in stored.files}
    missing = [case for case in cases if case.key not in known]
    if missing:
        features = pool_features(network, missing, device, batch_size)
        known |= {case.key: row for case, row in zip(missing, features, strict=True)}
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez(file, **known)  # type: ignore[arg-type]
    return {case.key: known[case.key] for case in cases}


def fit_probe(
    network: Network,
    features: Mapping[str, Array],
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
) -> TrainedNetwork:
    """Fit the head alone: a balanced, L2-penalised logistic regression, its penalty chosen on validation patients.

    Args:
        network: Its head is replaced in place.
        features: By the key of a case, shape (feature,).
        training: Cases that the regression is fitted on.
        validation: Cases that choose the penalty.

    Returns:
        The network, with one record: the losses of the chosen penalty.
    """
    rows = {
        part: np.stack([features[case.key] for case in cases])
        for part, cases in (("train", training), ("val", validation))
    }
    mean, scale = rows["train"].mean(0), rows["train"].std(0)
    scale[scale < 1e-6 * (1 + np.abs(mean))] = np.inf
    labels = {
        part: torch.tensor([float(case.label) for case in cases])
        for part, cases in (("train", training), ("val", validation))
    }
    positives = int(labels["train"].sum())
    loss = BinaryLoss("balanced", positives, len(training) - positives).eval()
    best: tuple[float, float, Array, float] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
        with threadpool_limits(1):
            model.fit((rows["train"] - mean) / scale, labels["train"].numpy())
        weight = model.coef_[0] / scale
        bias = float(model.intercept_[0] - mean @ weight)
        losses = {
            part: float(loss(torch.from_numpy(rows[part] @ weight + bias).float(), labels[part])) for part in rows
        }
        if best is None or losses["val"] < best[1]:
            best = losses["train"], losses["val"], weight, bias
    assert best is not None
    training_loss, validation_loss, weight, bias = best
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(weight)[None])
        network.fc.bias.fill_(bias)
    return TrainedNetwork(network.eval(), [EpochRecord(1, 0.0, training_loss, validation_loss, best=True)])
