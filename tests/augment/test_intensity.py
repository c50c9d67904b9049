"""Intensity transforms keep rank, sign, zero and the ratio of channels."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Generator, Tensor

from genovox.augment.intensity import Blur, Gain, Gamma, LowResolution, Noise, signed_gamma, smooth
from genovox.core.errors import UsageError

ALWAYS: list[Gamma | Gain | Noise | Blur | LowResolution] = [
    Gamma(factor=2, probability=1),
    Gain(factor=1.5, probability=1),
    Noise(relative_sd=0.5, probability=1),
    Blur(sd_voxels=1, probability=1),
    LowResolution(factor=3, probability=1),
]
VALUES = st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=30)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def each(transform: Callable[[Tensor, Generator], Tensor], batch: Tensor, generator: Generator) -> Tensor:
    return torch.stack([transform(sample, generator) for sample in batch])


def as_sample(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


@given(values=VALUES, exponent=st.floats(0.3, 3))
@settings(max_examples=100, deadline=None)
def test_gamma_keeps_rank_sign_zero_and_range(values: list[float], exponent: float) -> None:
    batch = as_sample(values)
    out = signed_gamma(batch, exponent)
    order = batch.flatten().argsort()
    assert torch.isfinite(out).all()
    # A vectorised power is exact to an ulp, so equal neighbours may swap by as much.
    assert (out.flatten()[order].diff() >= -1e-12 * batch.abs().max()).all()
    assert (out * batch >= 0).all()
    assert (out[batch == 0] == 0).all()
    torch.testing.assert_close(out.max(), batch.max())
    torch.testing.assert_close(out.min(), batch.min())


@given(values=VALUES, exponent=st.floats(0.5, 2))
@settings(max_examples=100, deadline=None)
def test_gamma_is_undone_by_its_inverse(values: list[float], exponent: float) -> None:
    batch = as_sample(values)
    back = signed_gamma(signed_gamma(batch, exponent), 1 / exponent)
    # A square may round away beside a large offset, and its root then brings back the root of an ulp.
    tolerance = 4 * math.sqrt(torch.finfo(batch.dtype).eps) * float(batch.abs().max())
    torch.testing.assert_close(back, batch, rtol=0, atol=tolerance)


def test_gamma_of_a_mask_and_of_constants_is_the_identity() -> None:
    sample = torch.zeros(5, 2, 2, 2)
    sample[4, 0], sample[4, 1] = 2.0, 5.0
    sample[0, 0] = 1.0
    sample[1] = 3.0
    sample[2] = -3.0
    torch.testing.assert_close(signed_gamma(sample, 1.7), sample)


def test_gamma_is_the_power_law_of_each_side() -> None:
    sample = noise(1, 8, 8, 8).double()
    out = signed_gamma(sample, 1.6)
    top, bottom = sample.max(), -sample.min()
    expected = torch.where(sample > 0, top * (sample / top).abs() ** 1.6, -bottom * (sample / bottom).abs() ** 1.6)
    torch.testing.assert_close(out, expected)


@given(values=VALUES, seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_gain_is_one_positive_factor_within_its_range(values: list[float], seed: int) -> None:
    batch = as_sample(values)
    out = Gain(factor=1.5, probability=1)(batch, seeded(seed))
    largest = batch.abs().argmax()
    if batch.flatten()[largest] != 0:
        factor = float(out.flatten()[largest] / batch.flatten()[largest])
        assert 1 / 1.5 - 1e-6 <= factor <= 1.5 + 1e-6
        torch.testing.assert_close(out, batch * factor)
    order = batch.flatten().argsort()
    assert (out.flatten()[order].diff() >= 0).all()


def test_channels_share_factor_and_exponent_and_samples_do_not() -> None:
    batch = noise(1, 1, 6, 6, 6).expand(2, 2, -1, -1, -1)
    for transform in [*ALWAYS[:2], *ALWAYS[3:]]:
        out = each(transform, batch, seeded())
        torch.testing.assert_close(out[:, 0], out[:, 1])
        assert not torch.equal(out[0], out[1])


def test_gain_keeps_ratios_of_channels() -> None:
    sample = noise(2, 6, 6, 6).abs() + 0.1
    out = Gain(factor=2, probability=1)(sample, seeded())
    torch.testing.assert_close(out[1] / out[0], sample[1] / sample[0])


def test_noise_is_relative_to_each_channel() -> None:
    sample = noise(2, 24, 24, 24)
    sample[1] *= 100
    added = Noise(relative_sd=0.5, probability=1)(sample, seeded()) - sample
    first, second = (float(added[c].std() / sample[c].std()) for c in (0, 1))
    assert 0 < first <= 0.5
    # The SD of 24^3 draws has a relative standard error of 0.6%: five of them, on both sides.
    assert second == pytest.approx(first, rel=0.06)
    assert abs(float(torch.corrcoef(added.flatten(1))[0, 1])) < 5 / 24**1.5


def test_noise_leaves_a_constant_channel() -> None:
    batch = torch.full((1, 4, 4, 4), 2.5)
    assert torch.equal(Noise(probability=1)(batch, seeded()), batch)


@pytest.mark.parametrize("transform", ALWAYS)
def test_the_generator_decides(transform: Callable[[Tensor, Generator], Tensor]) -> None:
    batch = noise(2, 5, 6, 7)
    assert torch.equal(transform(batch, seeded(1)), transform(batch, seeded(1)))
    assert not torch.equal(transform(batch, seeded(1)), transform(batch, seeded(2)))


@pytest.mark.parametrize("transform", ALWAYS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_the_input_not_changed(
    transform: Callable[[Tensor, Generator], Tensor], dtype: torch.dtype
) -> None:
    batch = noise(2, 5, 6, 7).to(dtype)
    before = batch.clone()
    out = transform(batch, seeded())
    assert out.dtype == dtype
    assert out.shape == batch.shape
    assert torch.isfinite(out).all()
    assert torch.equal(batch, before)


@pytest.mark.parametrize("transform", [Gamma(factor=2, probability=0.3), Gain(probability=0.3), Noise(probability=0.3)])
def test_samples_not_chosen_are_untouched(transform: Callable[[Tensor, Generator], Tensor]) -> None:
    batch = noise(200, 1, 3, 3, 3)
    out = each(transform, batch, seeded())
    changed = sum(not torch.equal(a, b) for a, b in zip(out, batch, strict=True))
    # Five standard errors around 60 of 200.
    assert 60 - 33 <= changed <= 60 + 33


def test_zero_ranges_are_the_identity() -> None:
    batch = noise(1, 4, 4, 4)
    for transform in (
        Gamma(factor=1, probability=1),
        Gain(factor=1, probability=1),
        Noise(relative_sd=0, probability=1),
        Blur(sd_voxels=0, probability=1),
        LowResolution(factor=1, probability=1),
        *(type(transform)(probability=0) for transform in ALWAYS),
    ):
        assert torch.equal(transform(batch, seeded()), batch)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"gamma factor must be finite and in \[1, inf\], got 0.5"):
        Gamma(factor=0.5)
    with pytest.raises(UsageError, match="gain factor"):
        Gain(factor=0)
    with pytest.raises(UsageError, match="noise probability"):
        Noise(probability=-0.1)
    with pytest.raises(UsageError, match="low resolution factor"):
        LowResolution(factor=0.5)
    with pytest.raises(UsageError, match="blur sd_voxels"):
        Blur(sd_voxels=-1)


@pytest.mark.parametrize("sd_voxels", [0.05, 0.3, 0.8, 1.7])
@pytest.mark.parametrize("shape", [(2, 9, 16, 23), (1, 3, 1, 12)])
def test_blur_is_scipys(sd_voxels: float, shape: tuple[int, ...]) -> None:
    sample = noise(*shape)
    expected = [ndimage.gaussian_filter(channel.double().numpy(), sd_voxels, mode="nearest") for channel in sample]
    if min(shape[1:]) <= math.floor(4 * sd_voxels + 0.5):
        pytest.skip("the border of a sample thinner than the kernel is repeated by one rule here, by another there")
    torch.testing.assert_close(
        smooth(sample, sd_voxels), torch.from_numpy(np.stack(expected)).float(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("value", [-2.0, 3.0])
def test_blur_and_low_resolution_keep_a_constant(value: float) -> None:
    sample = torch.full((1, 2, 7, 5), value)
    for transform in ALWAYS[3:]:
        torch.testing.assert_close(transform(sample, seeded()), sample)


def test_low_resolution_averages_along_one_axis_only() -> None:
    ramp = torch.arange(12.0).view(1, 1, 1, 12).expand(1, 12, 12, 12)
    out = LowResolution(factor=3, axes=("z", "y"), probability=1)(ramp, seeded())
    torch.testing.assert_close(out, ramp)
    checkers = torch.tensor([1.0, -1.0]).repeat(6).view(1, 1, 1, 12).expand(1, 12, 12, 12)
    coarse = [LowResolution(factor=3, axes=("x",), probability=1)(checkers, seeded(seed)) for seed in range(5)]
    for sample in coarse:
        torch.testing.assert_close(sample[:, :1, :1].expand_as(sample), sample)
    # A factor too near 1 to lose a voxel changes nothing; the others average plus and minus away.
    assert sorted(float(sample.std()) for sample in coarse)[2] < 0.7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("transform", ALWAYS)
def test_a_gpu_gives_what_a_cpu_gives(transform: Callable[[Tensor, Generator], Tensor]) -> None:
    sample = noise(2, 20, 21, 22)
    on_gpu, on_cpu = transform(sample.cuda(), seeded()).cpu(), transform(sample, seeded())
    if isinstance(transform, Noise):
        # Drawn where it is added: other voxels, of the same strength, and the same each time.
        assert torch.equal(on_gpu, transform(sample.cuda(), seeded()).cpu())
        on_gpu, on_cpu = ((out - sample).std(dim=(1, 2, 3)) for out in (on_gpu, on_cpu))
        torch.testing.assert_close(on_gpu, on_cpu, atol=0, rtol=0.05)
    else:
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=1e-4)
