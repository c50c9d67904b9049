"""Motion put into simulated exams with contrast uptake, coils that stay where they are, and noise is found again."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from genovox.core.volume import Volume, read_volume, reorient_to_ras
from genovox.simulate.acquisition import SCALE, add_rician_noise, draw_tissues
from genovox.simulate.anatomy import Grid, build_anatomy, draw_build
from genovox.simulate.kinetics import signal_over_time
from genovox.simulate.lesion import draw_lesion, place_lesions
from genovox.simulate.patients import draw_patients
from genovox.simulate.sites import open_sites
from genovox.volumes.alignment import View, fit_deformation, fit_rigid, open_views
from genovox.volumes.geometry import Grid as VoxelGrid
from genovox.volumes.geometry import resample_volume
from genovox.volumes.registration import estimate_motion

SITE = open_sites(1)[0]
PATIENT = draw_patients(patients=60, effect="full", prevalence=0.5, sites=1, shortcut="none", seed=3)[0]
NATIVE = Grid((44, 100, 112), (2.4, 2.4, 3.0), (-133.2, -130.0, -64.5))
FINE = Grid((56, 104, 116), (2.5, 2.5, 2.5), (-143.75, -140.0, -68.75))
HALF_VOXEL_MM = 1.2
CENTRE = np.array([0.0, 20.0, 0.0])

Map = Callable[[np.ndarray], np.ndarray]


@cache
def _draw_exam() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Phases without noise on the fine grid, breast and body there, and the SD of noise."""
    random = np.random.default_rng(5)
    anatomy = build_anatomy(PATIENT, draw_build(PATIENT, random), FINE, random)
    for lesion in place_lesions(PATIENT, anatomy, FINE, random):
        anatomy.displace(*draw_lesion(PATIENT, lesion, FINE, random))
    tissues = draw_tissues(PATIENT, random)
    minutes = np.array(SITE.phase_times_s()) / 60
    curves = {name: signal_over_time(minutes, tissues[name], SITE.sequence) for name in anatomy.tissues}
    phases = np.zeros((len(minutes), *FINE.shape), np.float32)
    for name, fraction in anatomy.tissues.items():
        phases += curves[name].astype(np.float32)[:, None, None, None] * fraction * SCALE
    return phases, anatomy.breast, anatomy.depth_mm > 0, float(curves["parenchyma"][0]) * SCALE / SITE.snr


def _points(grid: Grid) -> np.ndarray:
    axes = [np.broadcast_to(grid.axis(axis), grid.shape) for axis in range(3)]
    return np.stack(axes, axis=-1).astype(np.float64)


def _sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    index = (points - FINE.origin_mm) / FINE.spacing_mm
    return np.asarray(
        ndimage.map_coordinates(image.astype(np.float32), np.moveaxis(index, -1, 0)[::-1], order=1, mode="nearest")
    )


def _scan(number: int, back: Map, seed: int) -> np.ndarray:
    """One phase as the scanner sees it; ``back`` takes its points to where they were before contrast."""
    clean, _, _, noise = _draw_exam()
    places = _points(NATIVE)
    coils = 1 / (1 + ((places[..., 1] - 42) / 90) ** 2)  # they do not move with the patient
    return add_rician_noise(
        (_sample(clean[number], back(places)) * coils).astype(np.float32), noise, np.random.default_rng(seed)
    )


def _work(phases: list[np.ndarray]) -> Volume:
    return resample_volume(Volume(np.stack(phases), NATIVE.affine), (3.0, 3.0, 3.0))


def _tissue(volume: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask of the body, its points, and which of them lie in a breast."""
    places = np.stack(np.meshgrid(*map(np.arange, volume.array.shape[1:]), indexing="ij")[::-1], axis=-1)
    points = places @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    _, breast, body, _ = _draw_exam()
    mask = _sample(body, points) > 0.5
    return mask, points[mask], (_sample(breast, points) > 0.5)[mask]


def _rigid(degrees: tuple[float, ...], shift: tuple[float, ...]) -> tuple[Map, Map]:
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return (
        lambda points: (points - CENTRE) @ turn.T + CENTRE + shift,
        lambda points: (points - CENTRE - shift) @ turn + CENTRE,
    )


def _smooth(seed: int, amplitude_mm: float) -> tuple[Map, Map]:
    """A sum of waves of 100 mm and more, and its inverse by fixed point iteration."""
    random = np.random.default_rng(seed)
    waves = random.normal(size=(6, 3))
    waves *= 2 * np.pi / random.uniform(100, 300, (6, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    phases, sizes = random.uniform(0, 2 * np.pi, 6), random.normal(size=(6, 3))

    def wave(points: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(points @ waves.T + phases) @ sizes)

    scale = amplitude_mm / float(np.linalg.norm(wave(_points(NATIVE)), axis=-1).max())

    def back(points: np.ndarray) -> np.ndarray:
        return np.asarray(points + scale * wave(points))

    def forth(points: np.ndarray) -> np.ndarray:
        found = points
        for _ in range(12):  # each brings it three times as near
            found = np.asarray(points - scale * wave(found))
        return found

    return forth, back


def test_rigid_motion_is_found_and_stillness_is_left_alone() -> None:
    truths = [
        _rigid((2, -3, 1), (3, -4, 5)),
        _rigid((-4, 4, 0), (8, -8, -8)),
        _rigid((0.3, 0.2, -0.3), (0.8, -0.5, 0.6)),
    ]
    phases = [_scan(0, lambda p: p, 1), _scan(1, lambda p: p, 2)]
    phases += [_scan(1 + k, back, 3 + k) for k, (_, back) in enumerate(truths)]
    volume = _work(phases)
    mask, points, breast = _tissue(volume)
    motions = estimate_motion(volume, mask, "rigid")
    assert motions[0].is_identity
    assert motions[0].note == ""
    assert motions[1].is_identity
    assert "nothing moves" in motions[1].note
    assert motions[1].before == motions[1].after
    for motion, (forth, _) in zip(motions[2:], truths, strict=True):
        error = np.linalg.norm(motion.move(points) - forth(points), axis=1)
        assert error.mean() < HALF_VOXEL_MM / 2  # twice as good as asked for
        assert error[breast].mean() < HALF_VOXEL_MM / 2
        assert motion.after > motion.before
        moved = np.linalg.norm(motion.move(points) - points, axis=1)
        assert motion.mean_displacement_mm == pytest.approx(moved.mean(), rel=0.01)
        assert motion.largest_displacement_mm == pytest.approx(moved.max(), rel=0.02)
        assert motion.note == ""


def test_smooth_motion_is_found_and_stillness_is_left_alone() -> None:
    forth, back = _smooth(1, 5.0)
    phases = [_scan(0, lambda p: p, 1), _scan(2, lambda p: p, 2), _scan(2, back, 3)]
    phases.append(_scan(2, _rigid((2, -3, 1), (3, -4, 5))[1], 9))
    volume = _work(phases)
    mask, points, breast = _tissue(volume)
    motions = estimate_motion(volume, mask, "bspline")
    assert motions[1].is_identity
    assert motions[1].note
    points, breast = points[::7], breast[::7]
    truth = forth(points)
    error = np.linalg.norm(motions[2].move(points) - truth, axis=1)
    none = np.linalg.norm(points - truth, axis=1)
    assert error[breast].mean() < HALF_VOXEL_MM / 2 < none[breast].mean()
    assert error.mean() < HALF_VOXEL_MM
    assert motions[2].after > motions[2].before
    # A rigid motion asks for no bending.
    assert motions[3].displacement is None
    assert "rigid motion kept" in motions[3].note


def test_the_number_of_threads_changes_nothing() -> None:
    whole = _work([_scan(0, lambda p: p, 1), _scan(2, _smooth(1, 5.0)[1], 3)])
    volume = Volume(np.ascontiguousarray(whole.array[:, 10:34, 30:70, 10:70]), whole.affine)
    mask = np.ones(volume.array.shape[1:], bool)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(estimate_motion(volume, mask, "bspline")[1])
    assert np.array_equal(found[0].matrix, found[1].matrix)
    assert found[0].displacement is not None
    assert found[1].displacement is not None
    assert np.array_equal(found[0].displacement.array, found[1].displacement.array)


def test_the_same_phase_is_where_it_was() -> None:
    signal = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(14, 15, 16)), 1.5).astype(np.float32)
    affine = np.diag([-3.0, 3, 3, 1])
    views = open_views(signal, affine, np.ones(signal.shape, bool))
    np.testing.assert_allclose(fit_rigid(views, views), np.eye(4), atol=1e-4)
    assert np.abs(fit_deformation(views, views, np.eye(4)).array).max() < 1e-3


def test_what_improves_nothing_is_not_believed() -> None:
    random = np.random.default_rng(0)
    phase = _scan(0, lambda p: p, 1)
    noise = random.normal(100, 30, phase.shape).astype(np.float32)
    volume = _work([phase, noise])
    motion = estimate_motion(volume, _tissue(volume)[0], "bspline")[1]
    assert motion.is_identity
    assert motion.note.startswith("left alone: edges agree no better")
    assert motion.largest_displacement_mm == 0


@pytest.mark.parametrize(
    ("shape", "fill", "reason"),
    [((1, 40, 40), 1, "4 voxels along each axis"), ((20, 20, 20), 0, "foreground of 500 voxels")],
)
def test_what_cannot_be_registered_is_left_alone(shape: tuple[int, ...], fill: int, reason: str) -> None:
    array = np.random.default_rng(0).normal(100, 9, (3, *shape)).astype(np.float32)
    motions = estimate_motion(Volume(array, np.diag([3.0, 3, 3, 1])), np.full(shape, fill, bool), "rigid")
    assert len(motions) == 3
    assert all(motion.is_identity for motion in motions)
    assert [reason in motion.note for motion in motions] == [False, True, True]


def test_a_phase_of_one_value_is_left_alone() -> None:
    array = np.random.default_rng(0).normal(100, 9, (3, 12, 12, 12)).astype(np.float32)
    array[1] = 7
    mask = np.ones(array.shape[1:], bool)
    motions = estimate_motion(Volume(array, np.diag([3.0, 3, 3, 1])), mask, "bspline")
    assert "the phase holds one value" in motions[1].note
    assert motions[2].is_identity
    turned = estimate_motion(Volume(array[[1, 0, 2]], np.diag([3.0, 3, 3, 1])), mask, "rigid")
    assert all("the first phase holds one value" in motion.note for motion in turned[1:])


def test_a_patient_out_of_sight_is_not_followed() -> None:
    signal = np.random.default_rng(0).normal(100, 9, (12, 12, 12)).astype(np.float32)
    mask, affine = np.ones(signal.shape, bool), np.diag([3.0, 3, 3, 1])
    away = affine.copy()
    away[0, 3] = 500
    fixed = open_views(signal, affine, mask)
    moved = tuple(View(view.signal, view.mask, VoxelGrid(away, view.grid.shape)) for view in fixed)
    np.testing.assert_array_equal(fit_rigid(fixed, moved), np.eye(4))


@pytest.mark.real_data
def test_a_motion_added_to_a_real_exam_is_found(real_data: Path) -> None:
    folder = real_data / "tcga-ao-a03m"
    phases = [reorient_to_ras(read_volume(folder / f"left_{name}.nii.gz")) for name in ("pre", "post2")]
    affine = phases[0].affine
    native = [np.ascontiguousarray(phase.array[0]) for phase in phases]
    turn = Rotation.from_euler("xyz", (1.5, -2, 2), degrees=True).as_matrix()
    middle = affine[:3, :3] @ ((np.array(native[0].shape[::-1]) - 1) / 2) + affine[:3, 3]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, middle - turn @ middle + (3, -4, 5)
    # scipy asks for the map of array indices z, y, x, from the moved image back.
    flip = np.eye(4)[[2, 1, 0, 3]]
    back = flip @ np.linalg.inv(affine) @ np.linalg.inv(matrix) @ affine @ flip
    moved = [ndimage.affine_transform(phase, back, order=3) for phase in native]
    volume = resample_volume(Volume(np.stack([*native, *moved]), affine), (3.0, 3.0, 3.0))
    smooth = ndimage.gaussian_filter(volume.array[0], 2)
    mask = smooth > 0.5 * smooth.mean()
    points = np.argwhere(mask)[:, ::-1] @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    half_voxel_mm = 0.859 / 2
    motion = estimate_motion(Volume(volume.array[[0, 2]], volume.affine), mask, "rigid")[1]
    error = motion.move(points) - (points @ matrix[:3, :3].T + matrix[:3, 3])
    assert np.linalg.norm(error, axis=1).mean() < half_voxel_mm
    # After contrast the patient's own motion comes first, whatever it is: the search must find it both times.
    first, own, _, both = (open_views(phase, volume.affine, mask) for phase in volume.array)
    own_matrix, both_matrix = fit_rigid(first, own), fit_rigid(first, both)
    error = points @ (both_matrix - matrix @ own_matrix)[:3, :3].T + (both_matrix - matrix @ own_matrix)[:3, 3]
    assert np.linalg.norm(error, axis=1).mean() < half_voxel_mm
