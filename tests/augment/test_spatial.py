"""Flips and warps against scipy, against geometry, and against what they promise."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation
from torch.nn import functional

from genovox.augment import spatial
from genovox.augment.draws import Axis
from genovox.augment.spatial import Warp, lattice_points, places_of, resample, rotation_matrix
from genovox.core.errors import UsageError

FULL = Warp(rotation_degrees=30, scale_factor=1.2, translation_fraction=0.1, elastic_voxels=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


def each(warp: Warp, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.stack([warp(sample, generator) for sample in batch])


def coordinates(count: int, *shape: int) -> torch.Tensor:
    """Each voxel's own (z, y, x) from the centre as channels: warped, they tell where each value came from."""
    lines = [torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(count, 3, *shape)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> torch.Tensor:
    place = coordinates(1, *shape) - torch.tensor(centre).view(1, 3, 1, 1, 1)
    return torch.sigmoid(2 * (radius - place.square().sum(dim=1, keepdim=True).sqrt()))


def affine(matrix: torch.Tensor, shift: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    return places_of(matrix, shift, None, shape, 16.0)


def test_zero_ranges_are_the_identity() -> None:
    sample = noise(2, 9, 8, 7)
    assert torch.equal(Warp()(sample, seeded()), sample)
    assert torch.equal(Warp(flip_axes=("x", "y", "z"), flip_probability=0)(sample, seeded()), sample)
    unlikely = Warp(rotation_degrees=30, elastic_voxels=3, affine_probability=0, elastic_probability=0)
    assert torch.equal(unlikely(sample, seeded()), sample)


@pytest.mark.parametrize(("axis", "dimension"), [("z", 1), ("y", 2), ("x", 3)])
def test_a_flip_mirrors_its_axis_exactly(axis: Axis, dimension: int) -> None:
    sample = noise(2, 5, 6, 7)
    assert torch.equal(Warp(flip_axes=(axis,), flip_probability=1)(sample, seeded()), sample.flip(dimension))


def test_half_of_the_samples_are_flipped() -> None:
    batch = torch.arange(2.0).view(1, 1, 1, 1, 2).expand(500, 1, 1, 1, 2)
    flipped = each(Warp(flip_axes=("x",)), batch, seeded())[:, 0, 0, 0, 0].mean()
    # Five standard errors of a share of 500.
    assert abs(float(flipped) - 0.5) < 5 * (0.25 / 500) ** 0.5


def test_a_flip_within_a_warp_is_a_flip_before_it() -> None:
    sample = noise(1, 20, 22, 24)
    settings_: dict[str, Any] = {"rotation_degrees": 20, "translation_fraction": 0.1, "elastic_voxels": 3}
    # The same draws: a flip that never comes draws as one that does.
    flipped = Warp(flip_axes=("x", "z"), flip_probability=1, **settings_)(sample, seeded(4))
    plain = Warp(flip_axes=("x", "z"), flip_probability=0, **settings_)(sample.flip(1, 3), seeded(4))
    torch.testing.assert_close(flipped, plain, atol=1e-3, rtol=0)
    assert not torch.allclose(flipped, Warp(flip_axes=("x",), **settings_)(sample, seeded(4)), atol=0.1)


@pytest.mark.parametrize("shape", [(24, 24, 24), (16, 24, 32)])
@pytest.mark.parametrize("seed", range(4))
def test_affine_equals_scipys(shape: tuple[int, int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    volume = ndimage.gaussian_filter(random.normal(size=shape), 1.0)
    matrix = Rotation.random(rng=random).as_matrix() * random.uniform(0.8, 1.2)
    shift = random.uniform(-2, 2, size=3)
    centre = (np.array(shape) - 1) / 2
    expected = ndimage.affine_transform(
        volume, matrix, offset=centre + shift - matrix @ centre, order=1, mode="nearest"
    )
    ours = resample(
        torch.tensor(volume, dtype=torch.float32)[None],
        affine(torch.tensor(matrix, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32), shape),
    )[0].numpy()
    places = np.stack(np.meshgrid(*(np.arange(side) for side in shape), indexing="ij"), axis=-1)
    source = (places - centre) @ matrix.T + shift + centre
    inside = ((source >= 0) & (source <= np.array(shape) - 1)).all(axis=-1)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-4)
    # Outside, both repeat the nearest border voxel.
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 16])
def test_any_places_equal_scipys_map_coordinates(channels: int, depth: int) -> None:
    shape = (depth, 20, 24)
    volumes = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(channels, *shape)), (0, 1, 1, 1))
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(side)) for side in (9, 20, 24)), indexing="ij"))
    places = (grid + 3 * noise(3, 9, 20, 24)).transpose(0, 1)
    ours = resample(torch.tensor(volumes, dtype=torch.float32), places)
    source = places.transpose(0, 1).double().numpy()
    expected = [ndimage.map_coordinates(volume, source, order=1, mode="nearest") for volume in volumes]
    np.testing.assert_allclose(ours.numpy(), np.stack(expected), atol=2e-4)


def test_threads_and_slabs_do_not_change_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = noise(2, 12, 16, 20)
    whole = FULL(sample, seeded(1))
    monkeypatch.setattr(spatial, "_SLAB_VOXELS", 700)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert torch.equal(FULL(sample, seeded(1)), whole)


def test_planes_equal_the_volumetric_kernel() -> None:
    sample = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 40, 40, 40)), (0, 1, 1, 1))
    values = torch.tensor(sample, dtype=torch.float32)
    places = places_of(rotation_matrix(noise(3), 25), torch.ones(3), None, (40, 40, 40), 16.0)
    grid = (((2 * places + 1) / 40) - 1).flip(1).permute(0, 2, 3, 1)
    expected = functional.grid_sample(values[None], grid[None], padding_mode="border", align_corners=False)[0]
    torch.testing.assert_close(resample(values, places), expected, atol=5e-4, rtol=0)


def test_rotations_are_scipys() -> None:
    for axis, degrees in zip(noise(20, 3), torch.linspace(-180, 180, 20).tolist(), strict=True):
        unit = (axis / axis.norm()).double().numpy()
        expected = Rotation.from_rotvec(unit * np.deg2rad(degrees)).as_matrix()
        np.testing.assert_allclose(rotation_matrix(axis, degrees).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_rotated_ball_stays_a_ball_in_a_long_array(seed: int) -> None:
    shape = (32, 64, 96)
    original = ball(shape, (0.0, 0.0, 7.0), 6.0)
    rotated = each(Warp(rotation_degrees=180), original, seeded(seed))
    mass = rotated[0, 0]
    place = coordinates(1, *shape)[0]
    centre = (place * mass).sum(dim=(1, 2, 3)) / mass.sum()
    expected = ball(shape, (float(centre[0]), float(centre[1]), float(centre[2])), 6.0)
    assert not torch.equal(rotated, original)
    assert float(centre.norm()) == pytest.approx(7.0, abs=0.05)
    assert float(mass.sum() / original.sum()) == pytest.approx(1, abs=0.01)
    # Trilinear smoothing of a 1-voxel edge; a ball squeezed by a factor 1.5 or 3 would differ by about 1.
    assert float((rotated - expected).abs().max()) < 0.15


def test_a_centred_ball_is_untouched_by_rotation() -> None:
    original = ball((32, 64, 96), (0.0, 0.0, 0.0), 10.0)
    rotated = each(Warp(rotation_degrees=180), original, seeded())
    assert float((rotated - original).abs().max()) < 0.15


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_affine_stays_within_its_ranges(seed: int) -> None:
    shape = (20, 28, 36)
    warp = Warp(rotation_degrees=25, scale_factor=1.3, translation_fraction=0.1)
    source = warp(coordinates(1, *shape)[0], seeded(seed)).flatten(1).T.double()
    target = coordinates(1, *shape)[0].flatten(1).T.double()
    half = (torch.tensor(shape) - 1) / 2
    inner = (source.abs() < half - 0.01).all(dim=1)
    design = torch.cat([target, torch.ones(len(target), 1, dtype=torch.float64)], dim=1)[inner]
    fit = torch.linalg.lstsq(design, source[inner]).solution
    matrix, shift = fit[:3].T, fit[3]
    scale = torch.linalg.det(matrix).item() ** (1 / 3)
    cosine = (torch.trace(matrix / scale).item() - 1) / 2
    assert 1 / 1.3 - 1e-3 <= scale <= 1.3 + 1e-3
    assert cosine >= np.cos(np.deg2rad(25.1))
    assert (shift.abs() <= 0.1 * torch.tensor(shape) + 1e-2).all()
    torch.testing.assert_close(matrix @ matrix.T, scale**2 * torch.eye(3).double(), atol=1e-3, rtol=0)


@given(seed=st.integers(0, 10_000), limit=st.floats(0.5, 4.0))
@settings(max_examples=15, deadline=None)
def test_elastic_stays_within_its_limit_and_does_not_fold(seed: int, limit: float) -> None:
    warp = Warp(elastic_voxels=limit, elastic_spacing_voxels=12)
    place = coordinates(1, 18, 24, 30)
    source = each(warp, place, seeded(seed))
    # A place is told to 0.0005 voxels, and where rows meet at a border by the width of the array.
    assert float((source - place).abs().max()) <= limit + 2e-3
    # The map itself, border and all: along each axis places keep their order.
    shape = (18, 24, 30)
    lattice = warp._draw_lattice(seeded(seed), shape)
    places = places_of(torch.eye(3), torch.zeros(3), lattice, shape, 12.0).transpose(0, 1)
    for channel in range(3):
        assert float(places[channel].diff(dim=channel).min()) > 0


def test_elastic_moves_something_and_differs_from_sample_to_sample() -> None:
    place = coordinates(2, 24, 24, 24)
    moved = each(Warp(elastic_voxels=4, elastic_spacing_voxels=12), place, seeded()) - place
    assert float(moved[0].abs().max()) > 0.3
    assert not torch.equal(moved[0], moved[1])


def displacement(lattice: torch.Tensor, shape: tuple[int, int, int], spacing: float) -> torch.Tensor:
    eye, nought = torch.eye(3), torch.zeros(3)
    return places_of(eye, nought, lattice, shape, spacing) - places_of(eye, nought, None, shape, spacing)


def test_the_field_of_a_constant_lattice_is_constant() -> None:
    shape = (7, 16, 33)
    lattice = torch.full((3, *(lattice_points(side, 8.0) for side in shape)), 1.7)
    field = displacement(lattice, shape, 8.0)
    assert field.shape == (7, 3, 16, 33)
    torch.testing.assert_close(field, torch.full_like(field, 1.7), atol=1e-4, rtol=0)


def test_the_field_is_scipys_b_spline() -> None:
    shape, spacing = (13, 1, 1), 4.0
    lattice = torch.zeros(3, *(lattice_points(side, spacing) for side in shape))
    values = noise(lattice.shape[1])
    lattice[0] = values.view(-1, 1, 1)
    knots = np.arange(-3, len(values) + 1, dtype=float)
    expected = BSpline(knots, values.double().numpy(), 3)(np.arange(13) / spacing)
    np.testing.assert_allclose(displacement(lattice, shape, spacing)[:, 0, 0, 0], expected, atol=1e-5)


def test_elastic_is_applied_before_the_affine_map() -> None:
    shape = (12, 14, 16)
    lattice = noise(3, *(lattice_points(side, 8.0) for side in shape))
    matrix, shift = rotation_matrix(noise(3, seed=1), 30) * 1.1, torch.tensor([1.0, -2.0, 0.5])
    both = places_of(matrix, shift, lattice, shape, 8.0).transpose(0, 1).flatten(1)
    bent = places_of(torch.eye(3), torch.zeros(3), lattice, shape, 8.0).transpose(0, 1).flatten(1)
    centre = ((torch.tensor(shape) - 1) / 2).view(3, 1)
    torch.testing.assert_close(both, matrix @ (bent - centre) + shift.view(3, 1) + centre, atol=1e-4, rtol=0)


def test_channels_share_their_transform_and_samples_do_not() -> None:
    volume = noise(1, 1, 12, 14, 16).expand(12, 2, -1, -1, -1)
    for transform in (FULL, Warp(flip_axes=("x", "y", "z"))):
        out = each(transform, volume, seeded(3))
        assert torch.equal(out[:, 0], out[:, 1])
        assert not all(torch.equal(out[0], sample) for sample in out)


def test_samples_not_chosen_are_untouched() -> None:
    batch = noise(40, 1, 6, 6, 6)
    warp = Warp(rotation_degrees=20, elastic_voxels=2, affine_probability=0.3, elastic_probability=0.3)
    out = each(warp, batch, seeded())
    same = torch.tensor([torch.equal(a, b) for a, b in zip(out, batch, strict=True)])
    assert 10 <= int(same.sum()) <= 30


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_the_input_not_changed(dtype: torch.dtype) -> None:
    batch = noise(2, 8, 9, 10).to(dtype)
    before = batch.clone()
    out = FULL(batch, seeded())
    assert out.dtype == dtype
    assert out.device == batch.device
    assert torch.isfinite(out).all()
    assert torch.equal(batch, before)
    assert not torch.equal(out, batch)


def test_no_value_outside_the_range_of_the_batch() -> None:
    batch = noise(4, 16, 16, 16)
    out = FULL(batch, seeded())
    assert out.min() >= batch.min() - 1e-5
    assert out.max() <= batch.max() + 1e-5


def test_the_generator_decides() -> None:
    batch = noise(2, 10, 10, 10)
    assert torch.equal(FULL(batch, seeded(5)), FULL(batch, seeded(5)))
    assert not torch.equal(FULL(batch, seeded(5)), FULL(batch, seeded(6)))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"rotation_degrees": 181}, r"rotation_degrees must be finite and in \[0, 180\], got 181"),
        ({"scale_factor": 0.9}, "scale_factor"),
        ({"translation_fraction": float("nan")}, "translation_fraction"),
        ({"affine_probability": 1.1}, "affine_probability"),
        ({"elastic_voxels": 7}, "must stay under 6.45 .* displace less"),
    ],
)
def test_settings_out_of_range_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Warp(**settings_)


@pytest.mark.parametrize("sample", [torch.zeros(4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.int16)])
def test_other_tensors_are_refused(sample: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="floating-point samples"):
        FULL(sample, seeded())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_a_cpu_gives() -> None:
    sample = functional.avg_pool3d(noise(2, 30, 32, 34), 3, 1, 1)
    # Planes place a voxel to 0.0005 of its width, the volumetric kernel to less.
    torch.testing.assert_close(FULL(sample.cuda(), seeded()).cpu(), FULL(sample, seeded()), atol=2e-3, rtol=0)
