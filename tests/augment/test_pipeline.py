"""Presets: what they may and may not do to a breast."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from genovox.augment.artefacts import Bias
from genovox.augment.contrast import ContrastDose, PhaseDropout
from genovox.augment.draws import open_generators
from genovox.augment.intensity import Gain, Gamma, Noise
from genovox.augment.pipeline import PRESETS, Augmentation, build_augmentation, is_mask
from genovox.augment.spatial import Warp
from genovox.core.errors import UsageError

CHANNELS = ("pre", "post1", "subtraction1")


def seeded(count: int, seed: int = 0) -> list[Generator]:
    return open_generators(seed, 0, [str(number) for number in range(count)])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def mirrored(out: Tensor) -> Tensor:
    """Which axes (z, y, x) of warped coordinate channels run backwards: bool, shape (B, 3)."""
    slopes = [out[:, axis].diff(dim=axis + 1).mean(dim=(1, 2, 3)) for axis in range(3)]
    return torch.stack(slopes, dim=1) < 0


def coordinates(count: int, side: int) -> Tensor:
    line = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij")).expand(count, 3, -1, -1, -1)


def spatial_only(preset: str) -> Augmentation:
    return dataclasses.replace(build_augmentation(preset), contrast=(), scanner=())


def test_presets() -> None:
    assert list(PRESETS) == ["none", "light", "breast-dce", "strong", "isotropic"]
    assert all(build_augmentation(name).name == name for name in PRESETS)


def test_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="got 'breast'; did you mean 'breast-dce'"):
        build_augmentation("breast")


def test_none_is_the_identity() -> None:
    batch = noise(2, 3, 6, 7, 8)
    assert build_augmentation("none", CHANNELS)(batch, seeded(2)) is batch


@pytest.mark.parametrize("preset", ["light", "breast-dce", "strong"])
def test_breast_is_mirrored_left_right_only(preset: str) -> None:
    augmentation = spatial_only(preset)
    flips = torch.cat([mirrored(augmentation(coordinates(20, 6), seeded(20, seed))) for seed in range(5)])
    assert not flips[:, :2].any()
    # Five standard errors of a half in 100.
    assert abs(float(flips[:, 2].float().mean()) - 0.5) < 5 * (0.25 / 100) ** 0.5


def test_isotropic_mirrors_all_axes() -> None:
    (warp,) = build_augmentation("isotropic").spatial
    assert isinstance(warp, Warp)
    flips = dataclasses.replace(warp, affine_probability=0, elastic_probability=0)
    out = mirrored(Augmentation(name="flips", spatial=(flips,))(coordinates(100, 6), seeded(100)))
    assert set(warp.flip_axes) == {"x", "y", "z"}
    assert out.any(dim=0).all()
    assert not out.all(dim=0).any()


@pytest.mark.parametrize("preset", PRESETS)
def test_channels_share_the_spatial_transform(preset: str) -> None:
    volume = noise(6, 1, 12, 16, 20).expand(-1, 2, -1, -1, -1)
    out = spatial_only(preset)(volume, seeded(6))
    assert torch.equal(out[:, 0], out[:, 1])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("channels", [(), CHANNELS])
def test_a_preset_is_deterministic_finite_and_keeps_its_input(
    preset: str, dtype: torch.dtype, channels: tuple[str, ...]
) -> None:
    augmentation = build_augmentation(preset, channels)
    batch = noise(8, 3, 10, 12, 14).to(dtype)
    before = batch.clone()
    out = augmentation(batch, seeded(8, 2))
    assert torch.equal(out, augmentation(batch, seeded(8, 2)))
    assert torch.equal(batch, before)
    assert torch.isfinite(out).all()
    assert (out.shape, out.dtype, out.device) == (batch.shape, dtype, batch.device)
    assert torch.equal(out, batch) == (preset == "none")


def test_a_case_is_augmented_alike_in_any_company() -> None:
    augmentation, batch = build_augmentation("strong", CHANNELS), noise(6, 3, 12, 14, 16)
    whole = augmentation(batch, open_generators(7, 2, list("abcdef")))
    for number, case_id in ((4, "e"), (1, "b")):
        alone = augmentation(batch[number : number + 1], open_generators(7, 2, [case_id]))
        assert torch.equal(alone[0], whole[number])


def test_scanner_and_contrast_leave_masks_alone_beside_images() -> None:
    batch = noise(4, 2, 8, 8, 8)
    batch[:, 1] = (batch[:, 1] > 0).float()
    scanner = (Gamma(factor=2, probability=1), Gain(probability=1), Noise(probability=1))
    refused = ContrastDose(channels=("post1", "post2"), probability=1)
    out = Augmentation(name="test", contrast=(refused,), scanner=scanner)(batch, seeded(4))
    assert torch.equal(out[:, 1], batch[:, 1])
    assert not any(torch.equal(a, b) for a, b in zip(out[:, 0], batch[:, 0], strict=True))


def test_a_channel_in_its_own_unit_has_no_scanner() -> None:
    batch = noise(2, 2, 6, 6, 6)
    out = Augmentation(name="test", channels=("pre", "enhancement1"), scanner=(Gain(probability=1),))(batch, seeded(2))
    assert torch.equal(out[:, 1], batch[:, 1])
    assert not torch.equal(out[:, 0], batch[:, 0])


@pytest.mark.parametrize("transform", [Gain(factor=1.5, probability=1), Bias(probability=1)])
def test_gain_and_bias_act_on_signal_whatever_the_normalisation(
    transform: Callable[[Tensor, Generator], Tensor],
) -> None:
    signal = noise(1, 2, 6, 7, 8).abs()
    signal[..., 0, 0, 0] = 0
    raw = torch.cat([signal, signal[:, 1:] - signal[:, :1]], dim=1)
    offset = torch.tensor([3.0, 3.0, 0.0]).view(1, 3, 1, 1, 1)
    augmentation = Augmentation(name="test", channels=CHANNELS, scanner=(transform,))
    expected = augmentation(raw, seeded(1))
    torch.testing.assert_close(augmentation((raw - offset) / 2, seeded(1)), (expected - offset) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(expected[:, 1] - expected[:, 0], expected[:, 2], atol=1e-5, rtol=0)


def test_a_warped_mask_stays_between_its_two_values() -> None:
    mask = torch.zeros(16, 1, 16, 16, 16)
    mask[:, :, 4:12, 4:12, 4:12] = 1
    out = build_augmentation("isotropic")(mask, seeded(16))
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6
    assert (out.sum(dim=(1, 2, 3, 4)) > 200).all()


def test_masks_are_known() -> None:
    values = torch.zeros(20, 20, 20)
    assert is_mask(values)
    values[3, 3] = 7
    assert is_mask(values)
    values[4, 4, 4] = 1
    assert not is_mask(values)
    assert not is_mask(noise(5, 5, 5))


def test_contrast_is_left_out_where_channels_cannot_follow() -> None:
    assert build_augmentation("strong").contrast == ()
    assert build_augmentation("strong", ("post1",)).contrast == ()
    kinds = {type(transform) for transform in build_augmentation("strong", ("pre", "post1", "post2")).contrast}
    assert PhaseDropout in kinds
    assert len(kinds) == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="floating-point batches"):
        build_augmentation("none")(torch.zeros(4, 4, 4), seeded(4))
    with pytest.raises(UsageError, match="one generator a sample, got 1 for 2"):
        build_augmentation("light")(noise(2, 1, 4, 4, 4), seeded(1))
    with pytest.raises(UsageError, match=r"built for 2 channels .* the batch has 1"):
        build_augmentation("light", ("pre", "post1"))(noise(2, 1, 4, 4, 4), seeded(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("preset", PRESETS)
def test_a_gpu_gives_what_a_cpu_gives(preset: str) -> None:
    built = build_augmentation(preset, CHANNELS)
    # Noise is drawn where it is added.
    augmentation = dataclasses.replace(
        built, scanner=tuple(step for step in built.scanner if not isinstance(step, Noise))
    )
    batch = torch.nn.functional.avg_pool3d(noise(3, 3, 30, 32, 34), 3, 1, 1)
    on_gpu = augmentation(batch.cuda(), seeded(3))
    torch.testing.assert_close(on_gpu.cpu(), augmentation(batch, seeded(3)), atol=5e-3, rtol=0)
