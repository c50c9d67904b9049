"""Artefacts against k-space: each is compared with what a Fourier transform of the whole volume says."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from genovox.augment.artefacts import (
    Bias,
    Ghosting,
    Gibbs,
    Motion,
    Spike,
    add_ghosts,
    bias_field,
    join_poses,
    plane_wave,
    truncate_lines,
)
from genovox.augment.draws import AXES, DIMENSION, Axis
from genovox.augment.intensity import smooth
from genovox.core.errors import UsageError

Artefact = Bias | Ghosting | Motion | Spike | Gibbs
ALWAYS: list[Artefact] = [
    Bias(probability=1),
    Ghosting(probability=1),
    Motion(probability=1),
    Spike(probability=1),
    Gibbs(probability=1),
]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def block(side: int = 24) -> Tensor:
    sample = torch.zeros(1, side, side, side)
    sample[:, 9:15, 10:14, 8:16] = 1
    return sample


@pytest.mark.parametrize("artefact", ALWAYS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_shape_and_input_are_kept_and_the_generator_decides(artefact: Artefact, dtype: torch.dtype) -> None:
    sample = noise(2, 11, 12, 13).to(dtype)
    before = sample.clone()
    out = artefact(sample, seeded(3))
    assert (out.dtype, out.shape, out.device) == (dtype, sample.shape, sample.device)
    assert torch.isfinite(out).all()
    assert torch.equal(sample, before)
    assert not torch.equal(out, sample)
    assert torch.equal(out, artefact(sample, seeded(3)))
    assert not torch.equal(out, artefact(sample, seeded(5)))


@pytest.mark.parametrize("artefact", ALWAYS)
def test_channels_share_the_artefact_and_differences_stay_differences(artefact: Artefact) -> None:
    pre, post = noise(12, 12, 12), noise(12, 12, 12, seed=1)
    out = artefact(torch.stack([pre, post, post - pre]), seeded(1))
    if isinstance(artefact, Spike):  # its amplitude is relative to each channel
        pytest.skip("a spike is scaled to each channel")
    torch.testing.assert_close(out[1] - out[0], out[2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "artefact",
    [
        *(type(artefact)(probability=0) for artefact in ALWAYS),
        Bias(strength=0, probability=1),
        Ghosting(strength=0, probability=1),
        Motion(rotation_degrees=0, translation_voxels=0, probability=1),
        Spike(relative_amplitude=0, probability=1),
        Gibbs(kept_fraction=1, probability=1),
    ],
)
def test_never_and_nothing_are_the_identity(artefact: Artefact) -> None:
    sample = noise(1, 6, 7, 8)
    assert artefact(sample, seeded()) is sample


@pytest.mark.parametrize("artefact", [ALWAYS[1], ALWAYS[2], ALWAYS[4]])
def test_a_constant_image_stays(artefact: Artefact) -> None:
    sample = torch.full((1, 10, 11, 12), -1.3)
    torch.testing.assert_close(artefact(sample, seeded()), sample, atol=1e-5, rtol=0)


def test_bias_is_smooth_positive_and_about_one() -> None:
    for seed in range(10):
        field = Bias(strength=0.3, probability=1)(torch.ones(1, 40, 36, 44), seeded(seed))[0]
        assert field.min() > 0
        assert float(field.mean()) == pytest.approx(1, abs=0.02)
        # Smooth: between neighbours it changes by a small part of what it does over the volume.
        assert float(field.diff(dim=0).abs().max()) < 0.25 * float(field.max() - field.min())
        assert float(field.std()) > 0.02


def test_the_bias_field_is_numpys_legendre_series() -> None:
    coefficients = noise(4, 4, 4).double() * 0.1
    coefficients[0, 0, 0] = 0
    lines = [(np.arange(side) + 0.5) * 2 / side - 1 for side in (9, 10, 11)]
    expected = np.exp(np.polynomial.legendre.leggrid3d(lines[0], lines[1], lines[2], coefficients.numpy()))
    ratio = bias_field(coefficients, (9, 10, 11)).numpy() / expected
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-9)


@pytest.mark.parametrize("axis", AXES)
def test_ghosts_are_a_modulation_of_k_space_lines(axis: Axis) -> None:
    sample = noise(1, 15, 16, 18).double()
    dimension = DIMENSION[axis]
    side = sample.shape[dimension]
    lines = torch.fft.fftfreq(side, dtype=torch.float64).mul(2 * torch.pi * 4)
    weights = (1 - 0.3 * (1 - torch.cos(lines))).view([-1 if index == dimension else 1 for index in range(4)])
    expected = torch.fft.ifft(torch.fft.fft(sample, dim=dimension) * weights, dim=dimension).real
    torch.testing.assert_close(add_ghosts(sample, axis, 4, 0.3), expected)


@pytest.mark.parametrize("axis", AXES)
def test_ghosts_stand_at_their_shift_along_the_axis_only(axis: Axis) -> None:
    sample = block()
    added = add_ghosts(sample, axis, 8, 0.4) - sample
    copies = (added > 0.01).float()
    expected = torch.maximum(sample.roll(8, DIMENSION[axis]), sample.roll(-8, DIMENSION[axis]))
    assert torch.equal(copies, expected * (sample == 0))
    torch.testing.assert_close(added[copies > 0], torch.full_like(added[copies > 0], 0.2))
    assert float(added.sum()) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("kept_fraction", [0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("shape", [(16, 16, 16), (15, 18, 21)])
def test_truncation_equals_a_zero_filled_fourier_transform(kept_fraction: float, shape: tuple[int, int, int]) -> None:
    sample = noise(2, *shape).double()
    spectrum = np.fft.fftn(sample.numpy(), axes=(1, 2, 3))
    for axis, side in enumerate(shape):
        lines = np.abs(np.fft.fftfreq(side) * side)
        kept = lines <= kept_fraction * (side // 2)
        spectrum = spectrum * kept.reshape([-1 if index == axis + 1 else 1 for index in range(4)])
    expected = np.fft.ifftn(spectrum, axes=(1, 2, 3)).real
    np.testing.assert_allclose(truncate_lines(sample, AXES, kept_fraction).numpy(), expected, atol=1e-12)


def test_gibbs_overshoots_an_edge_as_the_theory_says() -> None:
    step = torch.zeros(1, 1, 1, 512, dtype=torch.float64)
    step[..., 128:384] = 1
    ringing = truncate_lines(step, ("x",), 0.125)
    # Wilbraham and Gibbs: the overshoot of a jump of 1 tends to 0.0895, whatever the number of terms.
    assert float(ringing.max()) == pytest.approx(1.0895, abs=0.005)


def test_a_spike_is_one_point_of_k_space_and_its_mirror() -> None:
    sample = noise(1, 16, 18, 20)
    wave = Spike(relative_amplitude=0.5, probability=1)(sample, seeded(2)) - sample
    energy = torch.fft.fftn(wave[0].double()).abs().square().flatten()
    top = energy.topk(2).values
    assert float(top.sum() / energy.sum()) == pytest.approx(1, abs=1e-6)
    assert float(top[0] / top[1]) == pytest.approx(1, abs=1e-6)
    assert 0 < float(wave.abs().max() / sample.std()) <= 0.5 * 1.01


def test_a_plane_wave_is_the_cosine_it_says() -> None:
    z, y, x = np.meshgrid(np.arange(8), np.arange(9), np.arange(10), indexing="ij")
    expected = np.cos(2 * np.pi * (2 * z / 8 - 3 * y / 9 + x / 10) + 0.7)
    wave = plane_wave(torch.zeros(1, 8, 9, 10, dtype=torch.float64), (2, -3, 1), 0.7)
    np.testing.assert_allclose(wave.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("side", [14, 15])
def test_joined_poses_are_the_real_part_of_joined_lines(axis: Axis, side: int) -> None:
    middle, before, after = (noise(1, side, side, side, seed=seed).double() for seed in range(3))
    dimension = DIMENSION[axis]
    lines = (torch.fft.fftfreq(side, dtype=torch.float64) * side / (side // 2)).view(
        [-1 if index == dimension else 1 for index in range(4)]
    )
    # The line of an even side that is its own mirror belongs to both ends: half of each.
    nyquist = (lines == -1) if side % 2 == 0 else torch.zeros_like(lines, dtype=torch.bool)
    spectra = [torch.fft.fft(pose, dim=dimension) for pose in (middle, before, after)]
    joined = torch.where(lines < -0.4, spectra[1], torch.where(lines > 0.6, spectra[2], spectra[0]))
    joined = torch.where(nyquist, (spectra[1] + spectra[2]) / 2, joined)
    expected = torch.fft.ifft(joined, dim=dimension).real
    torch.testing.assert_close(join_poses(middle, before, after, (0.4, 0.6), axis), expected)


def test_motion_keeps_energy_roughly_and_the_mean() -> None:
    # A body: most of its energy lies in the centre of k-space, which is read in one pose.
    sample = smooth(block(), 1.5)
    for seed in range(8):
        out = Motion(probability=1)(sample, seeded(seed))
        assert not torch.equal(out, sample)
        assert float(out.square().sum() / sample.square().sum()) == pytest.approx(1, abs=0.2)
        assert float(out.mean()) == pytest.approx(float(sample.mean()), abs=1e-5)


@pytest.mark.parametrize(
    ("artefact", "settings", "message"),
    [
        (Bias, {"strength": -1}, "bias strength"),
        (Bias, {"order": 0}, "bias order"),
        (Ghosting, {"strength": 1.2}, "ghosting strength"),
        (Motion, {"rotation_degrees": 200}, "motion rotation_degrees"),
        (Spike, {"probability": 2}, "spike probability"),
        (Gibbs, {"kept_fraction": 0}, "Gibbs kept_fraction"),
    ],
)
def test_settings_out_of_range_are_refused(artefact: Any, settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        artefact(**settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("artefact", ALWAYS)
def test_a_gpu_gives_what_a_cpu_gives(artefact: Artefact) -> None:
    sample = torch.nn.functional.avg_pool3d(noise(2, 30, 32, 34), 3, 1, 1)
    torch.testing.assert_close(artefact(sample.cuda(), seeded()).cpu(), artefact(sample, seeded()), atol=2e-3, rtol=0)
