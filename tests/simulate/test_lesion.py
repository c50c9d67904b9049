"""Rendered lesions look as their latents say: measured on voxels, as a reader of the images would."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from genovox.simulate.acquisition import open_grid
from genovox.simulate.anatomy import Anatomy, Grid, Map, build_anatomy, draw_build
from genovox.simulate.lesion import FAST, NECROSIS, PREPECTORAL_MM, SLOW, Lesion, draw_lesion, place_lesions
from genovox.simulate.patients import Patient, draw_patients
from genovox.simulate.sites import open_sites

FEATURES = ("round_shape", "sharp_margin", "rim", "necrosis")
# Veltman 2008 (PMC2292493): 95% intervals of the odds ratios of carriers against controls.
ODDS_RATIOS = {"round_shape": (1.4, 13.8), "sharp_margin": (2.5, 28.8), "rim": (1.1, 83.0)}
# What parts the rendered classes; see _Measures.
UNEVEN, SOFT, BRIGHTER_RIM, DEAD = 0.11, 0.15, 0.35, 0.02
RENDERED = (FAST, SLOW, NECROSIS)
FAST_COUNT = 300  # lesions in the fast tests


@dataclass(frozen=True)
class _Measures:
    """What a reader could measure.

    Attributes:
        unevenness: Interquartile range of the logarithm of the radius over directions.
        margin: Distance over which the edge falls from 80% to 20% of the lesion's tissue, over the radius.
        rim: Share of fast tissue among the living in the outer part less that in the inner part.
        dead: Share of the volume that is necrotic.
        volume: Over that of a ball of the lesion's radius.
        voxel: Width of a voxel over the radius: no edge can be sharper.
    """

    unevenness: float
    margin: float
    rim: float
    dead: float
    volume: float
    voxel: float

    def read(self) -> dict[str, bool]:
        return {
            "round_shape": self.unevenness < UNEVEN,
            "sharp_margin": self.margin < np.hypot(self.voxel, SOFT),
            "rim": self.rim > BRIGHTER_RIM,
            "necrosis": self.dead > DEAD,
        }


@cache
def _directions(count: int = 80) -> np.ndarray:
    """Points spread evenly over a sphere (Fibonacci), shape (3, directions): x, y, z."""
    number = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * number / count), np.pi * (1 + 5**0.5) * number
    return np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])


def _crossing(profiles: Map, level: float, step: float) -> np.ndarray:
    """Where each profile from the centre outwards first falls below a level, interpolated."""
    after = np.maximum((profiles < level).argmax(axis=1), 1)
    rows = np.arange(len(profiles))
    inner, outer = profiles[rows, after - 1], profiles[rows, after]
    return np.asarray((after - 1 + np.clip((inner - level) / np.maximum(inner - outer, 1e-6), 0, 1)) * step)


def _measure(fractions: dict[str, Map], centre: np.ndarray, spacing_mm: np.ndarray, radius_mm: float) -> _Measures:
    """Measure a lesion.

    Args:
        fractions: Each (z, y, x).
        centre: Voxel x, y, z, as a fraction.
        spacing_mm: x, y, z.
        radius_mm: To scale by.
    """
    step = float(spacing_mm.min()) / 2
    along = np.arange(0, 3.8 * radius_mm + 1.5 * spacing_mm.max(), step)
    points = _directions()[:, :, None] * along
    places = [points[axis] / spacing_mm[axis] + centre[axis] for axis in (2, 1, 0)]
    fast, slow, dead = (ndimage.map_coordinates(fractions[name], places, order=1) for name in RENDERED)
    whole = fast + slow + dead
    radius, outer, inner = (_crossing(whole, level, step) for level in (0.5, 0.2, 0.8))
    quartiles = np.percentile(np.log(np.maximum(radius, step)), [25, 75])
    level = along / np.maximum(radius, step)[:, None]
    shares = [
        fast[part].sum() / max((fast + slow)[part].sum(), 1e-6) for part in ((level > 0.85) & (level < 1), level < 0.6)
    ]
    total = float(sum(float(fraction.sum()) for fraction in fractions.values()))
    return _Measures(
        unevenness=float(quartiles[1] - quartiles[0]),
        margin=float(np.median(outer - inner)) / radius_mm,
        rim=float(shares[0] - shares[1]),
        dead=float(fractions[NECROSIS].sum()) / total,
        volume=total * float(np.prod(spacing_mm)) / (4 / 3 * np.pi * radius_mm**3),
        voxel=float(np.prod(spacing_mm) ** (1 / 3)) / radius_mm,
    )


def _render(patient: Patient, random: np.random.Generator, grid: Grid) -> _Measures:
    lesion = Lesion((0.0, 0.0, 0.0), patient.diameter_mm / 2, patient.side)
    box, fractions = draw_lesion(patient, lesion, grid, random)
    spacing = np.array(grid.spacing_mm)
    centre = -np.array(grid.origin_mm) / spacing - [box[axis].start for axis in (2, 1, 0)]
    return _measure(fractions, centre, spacing, lesion.radius_mm)


def _fine_grid(radius_mm: float, voxels: int = 4) -> Grid:
    """A cube that holds a lesion, its radius so many voxels long."""
    spacing = radius_mm / voxels
    half = int(3.8 * voxels + 3 / spacing) + 3
    return Grid((2 * half + 1,) * 3, (spacing,) * 3, (-spacing * half,) * 3)


def _scanner_grid(random: np.random.Generator) -> Grid:
    """The voxels of the first hospital, anyhow around the lesion."""
    x, y, z = (
        -float(half * step + random.uniform(-step / 2, step / 2)) for half, step in ((28, 2.4), (28, 2.4), (22, 3))
    )
    return Grid((45, 57, 57), (2.4, 2.4, 3.0), (x, y, z))


def _draw(count: int, **changes: Any) -> list[Patient]:
    asked: dict[str, Any] = {"effect": "full", "prevalence": 0.5, "sites": 1, "shortcut": "none", "seed": 11} | changes
    return draw_patients(patients=count, **asked)


@cache
def _read_lesions(count: int) -> tuple[list[Patient], list[_Measures]]:
    patients = _draw(count)
    random = np.random.default_rng(5)
    return patients, [_render(patient, random, _fine_grid(patient.diameter_mm / 2)) for patient in patients]


def _accuracy(patients: Sequence[Patient], read: Sequence[dict[str, bool]]) -> dict[str, float]:
    return {
        name: float(
            np.mean([seen[name] == getattr(patient, name) for patient, seen in zip(patients, read, strict=True)])
        )
        for name in FEATURES
    }


def _odds_ratio(seen: Sequence[bool], carriers: Sequence[bool]) -> float:
    table = np.zeros((2, 2))
    np.add.at(table, (np.array(carriers, int), np.array(seen, int)), 1)
    return float(table[1, 1] * table[0, 0] / (table[1, 0] * table[0, 1]))


def _check_lesions(count: int) -> None:
    patients, measures = _read_lesions(count)
    read = [measure.read() for measure in measures]
    accuracy = _accuracy(patients, read)
    carriers = [bool(patient.gene) for patient in patients]
    ratios = {name: _odds_ratio([seen[name] for seen in read], carriers) for name in ODDS_RATIOS}
    print(f"{count} lesions, accuracy {accuracy}, odds ratios {ratios}")
    assert min(accuracy.values()) > 0.97
    for name, (low, high) in ODDS_RATIOS.items():
        assert low < ratios[name] < high


def test_features_can_be_read_and_differ_between_carriers_and_others() -> None:
    _check_lesions(FAST_COUNT)


@pytest.mark.slow
def test_features_of_5000_lesions() -> None:
    _check_lesions(5000)


def test_features_survive_the_scanners_voxels() -> None:
    random = np.random.default_rng(6)
    patients = _draw(70, seed=12)
    read = [_render(patient, random, _scanner_grid(random)).read() for patient in patients]
    for least_mm, most_mm, margin in ((8, 14, 0.5), (14, 20, 0.7), (20, 61, 0.95)):
        group = [place for place, patient in enumerate(patients) if least_mm <= patient.diameter_mm < most_mm]
        accuracy = _accuracy([patients[place] for place in group], [read[place] for place in group])
        print(f"{len(group)} lesions of {least_mm} to {most_mm} mm in voxels of 2.4 x 2.4 x 3 mm: accuracy {accuracy}")
        assert accuracy["round_shape"] > 0.9
        assert accuracy["rim"] > 0.9
        assert accuracy["necrosis"] > 0.95
        # The margin of a small lesion drowns in the voxels, as it does in life.
        assert accuracy["sharp_margin"] > margin


def test_round_sharp_lesion_has_the_volume_of_a_ball() -> None:
    patients, measures = _read_lesions(FAST_COUNT)
    volumes = [
        measure.volume
        for patient, measure in zip(patients, measures, strict=True)
        if patient.round_shape and patient.sharp_margin
    ]
    assert len(volumes) > 50
    assert np.abs(np.array(volumes) - 1).max() < 0.25
    assert np.mean(volumes) == pytest.approx(1, abs=0.05)


def test_round_sharp_lesion_has_the_volume_of_a_ball_in_the_scanners_voxels() -> None:
    random = np.random.default_rng(2)
    for diameter in (8.0, 12.0, 20.0, 40.0):
        patient = replace(_draw(2)[0], round_shape=True, sharp_margin=True, diameter_mm=diameter)
        assert _render(patient, random, _scanner_grid(random)).volume == pytest.approx(1, abs=0.25)


def test_fractions_are_fractions() -> None:
    random = np.random.default_rng(3)
    for patient in _draw(30):
        grid = _fine_grid(patient.diameter_mm / 2)
        lesion = Lesion((0.0, 0.0, 0.0), patient.diameter_mm / 2, patient.side)
        box, fractions = draw_lesion(patient, lesion, grid, random)
        assert set(fractions) == set(RENDERED)
        total = np.asarray(sum(fractions.values()))
        assert {fraction.dtype for fraction in fractions.values()} == {np.dtype(np.float32)}
        assert all(fraction.min() >= 0 for fraction in fractions.values())
        assert total.max() <= 1 + 1e-6
        assert total.shape == tuple(part.stop - part.start for part in box)
        for axis in range(3):  # nothing is cut off
            assert total.take([0, -1], axis=axis).max() == 0
        assert patient.rim or fractions[FAST].sum() > 2 * fractions[SLOW].sum()
        assert patient.necrosis or fractions[NECROSIS].max() == 0


def test_lesion_at_the_edge_of_the_scan_is_cut_not_moved() -> None:
    patient = replace(_draw(2)[0], round_shape=True, sharp_margin=True, rim=False, necrosis=False, diameter_mm=20.0)
    grid = Grid((20, 20, 20), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    for corner in ((0.0, 0.0, 0.0), (38.0, 38.0, 38.0)):
        box, fractions = draw_lesion(patient, Lesion(corner, 10.0, "left"), grid, np.random.default_rng(1))
        volume = 8 * sum(float(fraction.sum()) for fraction in fractions.values())
        assert all(0 <= part.start < part.stop <= 20 for part in box)
        # An eighth of it, and the halves of the voxels at the faces.
        assert 1 / 8 < volume / (4 / 3 * np.pi * 10**3) < 1 / 4


@cache
def _women() -> list[tuple[Patient, Anatomy, Grid]]:
    """Fourteen women on coarse grids of the four hospitals."""
    sites, women = open_sites(4, matrix=64), []
    for number, patient in enumerate(_draw(14, sites=4, seed=3)):
        random = np.random.default_rng(number)
        grid = open_grid(sites[patient.site], random)
        women.append((patient, build_anatomy(patient, draw_build(patient, random), grid, random), grid))
    return women


def _sample(values: np.ndarray, grid: Grid, point_mm: tuple[float, float, float]) -> float:
    place = (np.array(point_mm) - grid.origin_mm) / np.array(grid.spacing_mm)
    return float(ndimage.map_coordinates(values, place[::-1, None], order=1, mode="nearest")[0])


def test_prepectoral_lesions_lie_before_the_muscle_and_others_do_not() -> None:
    near: list[float] = []
    far: list[float] = []
    for number, (patient, anatomy, grid) in enumerate(_women()):
        to_muscle = ndimage.distance_transform_edt(anatomy.tissues["muscle"] < 0.5, sampling=grid.spacing_mm[::-1])
        for wanted, gaps in ((True, near), (False, far)):
            for seed in range(2):
                lesions = place_lesions(
                    replace(patient, prepectoral=wanted), anatomy, grid, np.random.default_rng([number, seed])
                )
                gaps.append(_sample(to_muscle, grid, lesions[0].centre_mm) - lesions[0].radius_mm)
    slack_mm = 5  # the muscle is known to a voxel here
    print(
        f"edge to muscle, percentiles 5, 50, 95: {np.percentile(near, [5, 50, 95])}, {np.percentile(far, [5, 50, 95])}"
    )
    assert np.mean(np.array(near) < PREPECTORAL_MM + slack_mm) > 0.95
    assert np.mean(np.array(far) > PREPECTORAL_MM - slack_mm) > 0.95
    assert np.median(near) < PREPECTORAL_MM < np.median(far)


def test_lesion_lies_in_the_patients_breast_and_side() -> None:
    for number, (patient, anatomy, grid) in enumerate(_women()):
        for side in ("left", "right"):
            patient = replace(patient, side=side, bilateral_disease=False, satellites=2)  # noqa: PLW2901
            lesions = place_lesions(patient, anatomy, grid, np.random.default_rng(number))
            assert lesions[0].radius_mm == patient.diameter_mm / 2
            for lesion in lesions:
                assert lesion.side == side
                assert (lesion.centre_mm[0] < 0) == (side == "left")
                assert _sample(anatomy.breast.astype(float), grid, lesion.centre_mm) > 0.3
            for satellite in lesions[1:]:
                gap = float(np.linalg.norm(np.subtract(satellite.centre_mm, lesions[0].centre_mm)))
                assert satellite.radius_mm < lesions[0].radius_mm or patient.diameter_mm < 10
                assert gap > lesions[0].radius_mm + satellite.radius_mm


@pytest.mark.parametrize("side", ["left", "right"])
def test_disease_of_both_breasts_has_the_index_lesion_first(side: str) -> None:
    for number, (patient, anatomy, grid) in enumerate(_women()[:6]):
        both = replace(patient, side=side, bilateral_disease=True, satellites=0)
        first, second = place_lesions(both, anatomy, grid, np.random.default_rng(number))
        assert first.side == side
        assert {first.side, second.side} == {"left", "right"}
        assert first.centre_mm[0] * second.centre_mm[0] < 0


@pytest.mark.parametrize("gene", ["BRCA1", "BRCA2", ""])
def test_lesions_do_not_read_the_gene(gene: str) -> None:
    for number, (patient, anatomy, grid) in enumerate(_women()[:6]):
        other = replace(patient, gene=gene, age=30, subtype="triple negative", grade=3, test="somatic", oracle=0.99)
        placed = [place_lesions(each, anatomy, grid, np.random.default_rng(number)) for each in (patient, other)]
        assert placed[0] == placed[1]
        drawn = [draw_lesion(each, placed[0][0], grid, np.random.default_rng(number)) for each in (patient, other)]
        assert drawn[0][0] == drawn[1][0]
        assert all(np.array_equal(drawn[0][1][name], drawn[1][1][name]) for name in RENDERED)
