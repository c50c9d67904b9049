"""Presets: what they may and may not do to a breast."""

import dataclasses

import pytest
import torch
from torch import Generator, Tensor

from genovox.augment.intensity import Gamma, Jitter, Noise
from genovox.augment.pipeline import PRESETS, Augmentation, build_augmentation, two_valued
from genovox.augment.spatial import Flips, Warp
from genovox.core.errors import UsageError


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def mirrored(out: Tensor) -> Tensor:
    """Which axes (z, y, x) of warped coordinate channels run backwards: bool, shape (B, 3)."""
    slopes = [out[:, axis].diff(dim=axis + 1).mean(dim=(1, 2, 3)) for axis in range(3)]
    return torch.stack(slopes, dim=1) < 0


def coordinates(count: int, side: int) -> Tensor:
    line = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij")).expand(count, 3, -1, -1, -1)


def spatial_only(preset: str) -> Augmentation:
    return dataclasses.replace(PRESETS[preset], intensity=())


def test_presets() -> None:
    assert list(PRESETS) == ["breast-dce", "isotropic", "none"]
    assert all(build_augmentation(name).name == name for name in PRESETS)


def test_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="got 'breast'; did you mean 'breast-dce'"):
        build_augmentation("breast")


def test_none_is_the_identity() -> None:
    batch = noise(2, 3, 6, 7, 8)
    assert torch.equal(PRESETS["none"](batch, seeded()), batch)


def test_breast_is_mirrored_left_right_only() -> None:
    augmentation = spatial_only("breast-dce")
    flips = torch.cat([mirrored(augmentation(coordinates(50, 12), seeded(seed))) for seed in range(20)])
    assert not flips[:, :2].any()
    # Five standard errors of a half in 1,000.
    assert abs(float(flips[:, 2].float().mean()) - 0.5) < 5 * (0.25 / 1000) ** 0.5


def test_breast_flips_are_exactly_the_last_axis() -> None:
    (flips,) = (step for step in PRESETS["breast-dce"].spatial if isinstance(step, Flips))
    assert flips.axes == ("x",)


def test_isotropic_mirrors_all_axes() -> None:
    (flips,) = (step for step in PRESETS["isotropic"].spatial if isinstance(step, Flips))
    out = mirrored(flips(coordinates(200, 6), seeded()))
    assert set(flips.axes) == {"x", "y", "z"}
    assert out.any(dim=0).all()
    assert not out.all(dim=0).any()


@pytest.mark.parametrize("preset", PRESETS)
def test_channels_share_the_spatial_transform(preset: str) -> None:
    volume = noise(6, 1, 12, 16, 20).expand(-1, 2, -1, -1, -1)
    out = spatial_only(preset)(volume, seeded())
    assert torch.equal(out[:, 0], out[:, 1])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_preset_is_deterministic_finite_and_keeps_its_input(preset: str, dtype: torch.dtype) -> None:
    augmentation = build_augmentation(preset)
    batch = noise(8, 2, 10, 12, 14).to(dtype)
    before = batch.clone()
    out = augmentation(batch, seeded(2))
    assert torch.equal(out, augmentation(batch, seeded(2)))
    assert torch.equal(batch, before)
    assert torch.isfinite(out).all()
    assert (out.shape, out.dtype, out.device) == (batch.shape, dtype, batch.device)
    assert torch.equal(out, batch) == (preset == "none")


def test_intensity_leaves_masks_alone_beside_images() -> None:
    batch = noise(4, 2, 8, 8, 8)
    batch[:, 1] = (batch[:, 1] > 0).float()
    intensity = (Gamma(factor=2, probability=1), Jitter(probability=1), Noise(probability=1))
    out = Augmentation(name="test", intensity=intensity)(batch, seeded())
    assert torch.equal(out[:, 1], batch[:, 1])
    assert not any(torch.equal(a, b) for a, b in zip(out[:, 0], batch[:, 0], strict=True))


def test_a_warped_mask_stays_between_its_two_values() -> None:
    mask = torch.zeros(16, 1, 16, 16, 16)
    mask[:, :, 4:12, 4:12, 4:12] = 1
    out = PRESETS["isotropic"](mask, seeded())
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6
    assert (out.sum(dim=(1, 2, 3, 4)) > 200).all()


def test_two_valued() -> None:
    batch = torch.zeros(1, 3, 2, 2, 2)
    batch[0, 1, 0] = 7
    batch[0, 2, 0, 0] = torch.tensor([1.0, 2.0])
    assert two_valued(batch).flatten().tolist() == [True, True, False]


def test_the_batch_is_checked_even_without_transforms() -> None:
    with pytest.raises(UsageError, match="floating-point batches"):
        PRESETS["none"](torch.zeros(4, 4, 4), seeded())


def test_transforms_run_in_order() -> None:
    steps = Augmentation(
        name="test", spatial=(Flips(axes=("x",), probability=1), Warp(), Flips(axes=("y",), probability=1))
    )
    batch = noise(2, 1, 3, 4, 5)
    assert torch.equal(steps(batch, seeded()), batch.flip(4).flip(3))
