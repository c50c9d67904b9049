"""Mixtures: shares, labels, and who may be mixed with whom."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Generator

from genovox.augment.mixing import Cutmix, Mixup, draw_partners, draw_share
from genovox.core.errors import UsageError


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def levels(count: int) -> torch.Tensor:
    """Samples that hold their own number everywhere."""
    return torch.arange(float(count)).view(-1, 1, 1, 1, 1).expand(count, 2, 6, 7, 8)


@given(
    seed=st.integers(0, 999), cases=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=8)
)
@settings(max_examples=60, deadline=None)
def test_partners_are_never_of_one_patient_with_another_label(seed: int, cases: list[tuple[str, bool]]) -> None:
    patients, labels = [patient for patient, _ in cases], torch.tensor([float(label) for _, label in cases])
    for case, partner in enumerate(draw_partners(labels, patients, seeded(seed))):
        assert patients[case] != patients[partner] or labels[case] == labels[partner]
        possible = any(
            other != case and (patients[other] != patients[case] or labels[other] == labels[case])
            for other in range(len(cases))
        )
        assert (partner != case) == possible


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    generator = seeded()
    shares = np.array([draw_share(generator, alpha) for _ in range(400)])
    assert ((shares >= 0) & (shares <= 1)).all()
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_mixup_mixes_volume_and_label_by_one_share() -> None:
    labels = torch.tensor([0.0, 1.0])
    mixed, soft = Mixup(alpha=1, probability=1)(levels(2), labels, ["a", "b"], seeded())
    # Each sample holds its own label, so the mixture holds the mixed one.
    for sample, label in zip(mixed, soft, strict=True):
        torch.testing.assert_close(sample, torch.full_like(sample, float(label)))
    assert ((soft > 0) & (soft < 1)).all()


def test_cutmix_pastes_a_box_and_the_label_follows_its_voxels() -> None:
    labels = torch.tensor([0, 1])
    for seed in range(10):
        mixed, soft = Cutmix(probability=1)(levels(2), labels, ["a", "b"], seeded(seed))
        for case in range(2):
            pasted = mixed[case] != case
            torch.testing.assert_close(soft[case], mixed[case].mean())
            assert torch.equal(pasted[0], pasted[1])
            if pasted.any():
                spans = [pasted[0].any(dim=dims).sum() for dims in ((1, 2), (0, 2), (0, 1))]
                assert int(torch.stack(spans).prod()) == int(pasted[0].sum())


@pytest.mark.parametrize("kind", [Mixup, Cutmix])
def test_input_is_kept_never_is_the_identity_and_a_lone_patient_stays(kind: Any) -> None:
    batch, labels = levels(2).clone(), torch.tensor([0.0, 1.0])
    before = batch.clone()
    kind(probability=1)(batch, labels, ["a", "b"], seeded())
    assert torch.equal(batch, before)
    assert labels.tolist() == [0, 1]
    for mixed, soft in (
        kind(probability=0)(batch, labels, ["a", "b"], seeded()),
        kind(probability=1)(batch, labels, ["a", "a"], seeded()),
    ):
        assert torch.equal(mixed, batch)
        assert torch.equal(soft, labels)


@pytest.mark.parametrize("kind", [Mixup, Cutmix])
def test_the_generator_decides(kind: Any) -> None:
    batch, labels, patients = levels(4), torch.tensor([0.0, 1.0, 0.0, 1.0]), ["a", "b", "c", "d"]
    first, again, other = (kind(probability=1)(batch, labels, patients, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_sizes_and_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="a label and a patient a case"):
        Mixup()(levels(2), torch.zeros(2), ["a"], seeded())
    with pytest.raises(UsageError, match="mixup alpha"):
        Mixup(alpha=0)
    with pytest.raises(UsageError, match="cutmix probability"):
        Cutmix(probability=1.5)
