"""Shares of a batch: every case once, weights that make the batch's mean, dropout as of the whole batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from genovox.dataset.ranks import ALONE, Ranks, share_dropout
from genovox.models.build import build_network


@given(cases=st.integers(1, 40), size=st.integers(1, 9), seed=st.integers(0, 100))
def test_shares_make_the_batch_and_its_mean(cases: int, size: int, seed: int) -> None:
    shares = [Ranks(rank, size).take_share(cases) for rank in range(size)]
    worked_on = [row for share in shares for row in range(cases)[share.rows][: share.count]]
    assert worked_on == list(range(cases))
    counts = [share.count for share in shares]
    assert max(counts) - min(counts) <= 1
    losses = torch.rand(cases, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    means = [losses[share.rows].mean() * share.weight for share in shares]
    assert float(sum(means)) / size == pytest.approx(float(losses.mean()))


def test_one_process_takes_all_with_weight_one() -> None:
    share = ALONE.take_share(7)
    assert (share.rows, share.count, share.weight) == (slice(0, 7), 7, 1.0)
    assert ALONE.add(0.1) == 0.1
    assert ALONE.hear_first("word") == "word"


def test_a_process_without_a_case_takes_part_and_counts_nothing() -> None:
    shares = [Ranks(rank, 4).take_share(2) for rank in range(4)]
    assert sorted(share.count for share in shares) == [0, 0, 1, 1]
    assert all(len(range(2)[share.rows]) == 1 for share in shares)


def test_dropout_of_a_share_is_that_of_the_batch() -> None:
    batch = torch.rand(7, 5) + 0.1
    plain, network = nn.Dropout(0.4), nn.Sequential(nn.Dropout(0.4))
    torch.manual_seed(3)
    whole = plain(batch)
    shared = share_dropout(network)
    parts = []
    for rank in range(3):
        share = Ranks(rank, 3).take_share(len(batch))
        shared[0].cases, shared[0].share = len(batch), share
        torch.manual_seed(3)
        parts.append(network(batch[share.rows]))
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(network.eval()(batch), batch)


def test_sharing_dropout_leaves_the_weights_names_alone() -> None:
    network = build_network("light", 1)
    names = list(network.state_dict())
    assert len(share_dropout(network)) == 1
    assert list(network.state_dict()) == names
