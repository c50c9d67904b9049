"""Intensity transforms keep rank, sign, zero and the ratio of channels."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from genovox.augment.intensity import Gamma, Jitter, Noise, signed_gamma
from genovox.core.errors import UsageError

ALWAYS: list[Callable[[Tensor, Generator], Tensor]] = [
    Gamma(factor=2, probability=1),
    Jitter(factor=1.5, probability=1),
    Noise(relative_sd=0.5, probability=1),
]
VALUES = st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=30)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def as_batch(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, 1, -1)


@given(values=VALUES, exponent=st.floats(0.3, 3))
@settings(max_examples=200, deadline=None)
def test_gamma_keeps_rank_sign_zero_and_range(values: list[float], exponent: float) -> None:
    batch = as_batch(values)
    out = signed_gamma(batch, torch.tensor([exponent], dtype=torch.float64))
    order = batch.flatten().argsort()
    assert torch.isfinite(out).all()
    # A vectorised power is exact to an ulp, so equal neighbours may swap by as much.
    assert (out.flatten()[order].diff() >= -1e-12 * batch.abs().max()).all()
    assert (out * batch >= 0).all()
    assert (out[batch == 0] == 0).all()
    torch.testing.assert_close(out.max(), batch.max())
    torch.testing.assert_close(out.min(), batch.min())


@given(values=VALUES, exponent=st.floats(0.5, 2))
@settings(max_examples=200, deadline=None)
def test_gamma_is_undone_by_its_inverse(values: list[float], exponent: float) -> None:
    batch = as_batch(values)
    power = torch.tensor([exponent], dtype=torch.float64)
    back = signed_gamma(signed_gamma(batch, power), 1 / power)
    # A square may round away beside a large offset, and its root then brings back the root of an ulp.
    tolerance = 4 * math.sqrt(torch.finfo(batch.dtype).eps) * float(batch.abs().max())
    torch.testing.assert_close(back, batch, rtol=0, atol=tolerance)


def test_gamma_of_a_mask_and_of_constants_is_the_identity() -> None:
    batch = torch.zeros(1, 5, 2, 2, 2)
    batch[0, 4, 0], batch[0, 4, 1] = 2.0, 5.0
    batch[0, 0, 0] = 1.0
    batch[0, 1] = 3.0
    batch[0, 2] = -3.0
    assert torch.equal(signed_gamma(batch, torch.tensor([1.7])), batch)


@given(values=VALUES, seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_jitter_is_one_positive_factor_within_its_range(values: list[float], seed: int) -> None:
    batch = as_batch(values)
    out = Jitter(factor=1.5, probability=1)(batch, seeded(seed))
    largest = batch.abs().argmax()
    if batch.flatten()[largest] != 0:
        factor = float(out.flatten()[largest] / batch.flatten()[largest])
        assert 1 / 1.5 - 1e-6 <= factor <= 1.5 + 1e-6
        torch.testing.assert_close(out, batch * factor)
    order = batch.flatten().argsort()
    assert (out.flatten()[order].diff() >= 0).all()


def test_channels_share_factor_and_exponent_and_samples_do_not() -> None:
    batch = noise(1, 1, 6, 6, 6).expand(2, 2, -1, -1, -1)
    for transform in ALWAYS[:2]:
        out = transform(batch, seeded())
        assert torch.equal(out[:, 0], out[:, 1])
        assert not torch.equal(out[0], out[1])


def test_jitter_keeps_ratios_of_channels() -> None:
    batch = noise(3, 2, 6, 6, 6).abs() + 0.1
    out = Jitter(factor=2, probability=1)(batch, seeded())
    torch.testing.assert_close(out[:, 1] / out[:, 0], batch[:, 1] / batch[:, 0])


def test_jitter_is_as_often_up_as_down() -> None:
    out = Jitter(factor=2, probability=1)(torch.ones(4000, 1, 1, 1, 1), seeded()).flatten()
    # A log-uniform factor has mean log 0 and SD log(2) / sqrt(3): five standard errors.
    assert abs(float(out.log().mean())) < 5 * math.log(2) / math.sqrt(3 * 4000)


def test_noise_is_relative_to_each_channel() -> None:
    batch = noise(1, 2, 24, 24, 24)
    batch[:, 1] *= 100
    added = Noise(relative_sd=0.5, probability=1)(batch, seeded()) - batch
    first, second = (float(added[0, c].std() / batch[0, c].std()) for c in (0, 1))
    assert 0 < first <= 0.5
    # The SD of 24^3 draws has a relative standard error of 0.6%: five of them, on both sides.
    assert second == pytest.approx(first, rel=0.06)
    assert abs(float(torch.corrcoef(added[0].flatten(1))[0, 1])) < 5 / 24**1.5


def test_noise_leaves_a_constant_channel() -> None:
    batch = torch.full((1, 1, 4, 4, 4), 2.5)
    assert torch.equal(Noise(probability=1)(batch, seeded()), batch)


@pytest.mark.parametrize("transform", ALWAYS)
def test_the_generator_decides(transform: Callable[[Tensor, Generator], Tensor]) -> None:
    batch = noise(2, 2, 5, 5, 5)
    assert torch.equal(transform(batch, seeded(1)), transform(batch, seeded(1)))
    assert not torch.equal(transform(batch, seeded(1)), transform(batch, seeded(2)))


@pytest.mark.parametrize("transform", ALWAYS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_the_input_not_changed(
    transform: Callable[[Tensor, Generator], Tensor], dtype: torch.dtype
) -> None:
    batch = noise(2, 2, 5, 5, 5).to(dtype)
    before = batch.clone()
    out = transform(batch, seeded())
    assert out.dtype == dtype
    assert out.shape == batch.shape
    assert torch.isfinite(out).all()
    assert torch.equal(batch, before)


@pytest.mark.parametrize(
    "transform", [Gamma(factor=2, probability=0.3), Jitter(probability=0.3), Noise(probability=0.3)]
)
def test_samples_not_chosen_are_untouched(transform: Callable[[Tensor, Generator], Tensor]) -> None:
    batch = noise(200, 1, 3, 3, 3)
    out = transform(batch, seeded())
    changed = sum(not torch.equal(a, b) for a, b in zip(out, batch, strict=True))
    # Five standard errors around 60 of 200.
    assert 60 - 33 <= changed <= 60 + 33


def test_zero_ranges_are_the_identity() -> None:
    batch = noise(2, 1, 4, 4, 4)
    for transform in (
        Gamma(factor=1, probability=1),
        Jitter(factor=1, probability=1),
        Noise(relative_sd=0, probability=1),
    ):
        assert torch.equal(transform(batch, seeded()), batch)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"gamma factor must be finite and in \[1, inf\], got 0.5"):
        Gamma(factor=0.5)
    with pytest.raises(UsageError, match="jitter factor"):
        Jitter(factor=0)
    with pytest.raises(UsageError, match="noise probability"):
        Noise(probability=-0.1)
