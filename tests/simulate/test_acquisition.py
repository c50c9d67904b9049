"""What the scanner measures is what physics predicts: noise, coils, B1 and uptake; the gene has no part in it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from genovox.simulate.acquisition import SCALE, Exam, acquire, add_rician_noise, draw_tissues, open_grid
from genovox.simulate.anatomy import Anatomy, Grid, build_anatomy, draw_build
from genovox.simulate.kinetics import Tissue, signal_over_time
from genovox.simulate.lesion import FAST, SLOW
from genovox.simulate.patients import Patient, draw_patients
from genovox.simulate.sites import open_sites

SITES = open_sites(4, matrix=64)
PATIENTS = draw_patients(patients=60, effect="full", prevalence=0.5, sites=1, shortcut="none", seed=3)
DENSE = replace(PATIENTS[0], density="d", bpe=1)
BALL_MM = 14.0


@cache
def _measure(site_number: int) -> tuple[Exam, Anatomy, Grid, dict[str, Tissue], list[np.ndarray]]:
    """A dense woman with a ball of the same lesion tissue in either breast, and the balls' inner voxels."""
    site, random = SITES[site_number], np.random.default_rng(site_number)
    grid = open_grid(site, random)
    anatomy = build_anatomy(DENSE, draw_build(DENSE, random), grid, random)
    tissues = draw_tissues(DENSE, random)
    inner = []
    for centre_x, centre_z in anatomy.build.centres:
        offsets = (grid.axis(0) - centre_x, grid.axis(1) - 20, grid.axis(2) - centre_z)
        distance = np.sqrt(sum(offset**2 for offset in offsets))
        ball = np.asarray(np.clip((BALL_MM - distance) / grid.voxel_mm + 0.5, 0, 1), np.float32)
        anatomy.displace((slice(None), slice(None), slice(None)), {FAST: ball})
        inner.append(distance < BALL_MM - 6)
    return acquire(anatomy, tissues, grid, site, random), anatomy, grid, tissues, inner


def _noise_sd(site_number: int) -> float:
    """What the site's SNR promises."""
    site, tissues = SITES[site_number], _measure(site_number)[3]
    return float(signal_over_time(np.array([-1.0]), tissues["parenchyma"], site.sequence)[0]) * SCALE / site.snr


def _enhancement(exam: Exam, mask: np.ndarray) -> np.ndarray:
    means = np.array([phase[mask].mean() for phase in exam.phases])
    return np.asarray(means[1:] / means[0] - 1)


def _predicted(site_number: int, tissue: Tissue, side: int) -> np.ndarray:
    site = SITES[site_number]
    minutes = np.array(site.phase_times_s()) / 60
    signal = signal_over_time(minutes, tissue, site.sequence, flip_scale=site.b1[side])
    return np.asarray(signal[1:] / signal[0] - 1)


@pytest.mark.parametrize("signal", [0.0, 30.0, 400.0])
def test_noise_is_rician(signal: float) -> None:
    image = np.full((50, 50, 50), signal, np.float32)
    noisy = add_rician_noise(image, 10.0, np.random.default_rng(1))
    assert noisy.dtype == np.float32
    assert (noisy**2).mean() == pytest.approx(signal**2 + 2 * 10.0**2, rel=0.01)
    if signal == 0:
        assert noisy.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.01)
        assert noisy.std() == pytest.approx(10 * np.sqrt(2 - np.pi / 2), rel=0.01)
    if signal == 400:
        assert noisy.std() == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
def test_air_holds_nothing_but_noise(site: int) -> None:
    exam, anatomy, grid, _, _ = _measure(site)
    sd = _noise_sd(site)
    # Away from the skin, which a patient who moves carries into the air.
    air = ndimage.binary_erosion(anatomy.tissues["air"] == 1, iterations=3) & (grid.axis(1) > 0)
    assert air.sum() > 5000
    for phase in exam.phases:
        assert phase[air].mean() == pytest.approx(sd * np.sqrt(np.pi / 2), rel=0.03)
        assert phase[air].std() == pytest.approx(sd * np.sqrt(2 - np.pi / 2), rel=0.03)


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
def test_parenchyma_has_about_the_sites_snr(site: int) -> None:
    exam, anatomy, _, _, _ = _measure(site)
    gland = (anatomy.tissues["parenchyma"] > 0.98) & anatomy.breast
    assert gland.sum() > 500
    assert exam.phases[0][gland].mean() / _noise_sd(site) == pytest.approx(SITES[site].snr, rel=0.3)


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
def test_lesion_enhances_as_predicted(site: int) -> None:
    exam, _, _, tissues, inner = _measure(site)
    for side, mask in enumerate(inner):
        # The patient's flip angle varies by 2% around the site's, and enhancement about as much.
        assert _enhancement(exam, mask) == pytest.approx(_predicted(site, tissues[FAST], side), rel=0.1)


def test_lesion_enhances_exactly_as_predicted_on_average() -> None:
    """Over patients, what is left of the flip angle's scatter vanishes."""
    site, ratios = SITES[0], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        grid = Grid((6, 16, 31), (10, 10, 10), (-150, -75, -25))
        anatomy = _fill(grid, FAST, random)
        tissues = draw_tissues(DENSE, random)
        exam = acquire(anatomy, tissues, grid, replace(site, snr=1e4), random)
        x = np.broadcast_to(grid.axis(0), grid.shape)
        for side, mask in enumerate((x < -70, x > 70)):
            ratios.append(_enhancement(exam, mask) / _predicted(0, tissues[FAST], side))
    assert np.mean(ratios, axis=0) == pytest.approx([1, 1, 1], abs=0.015)
    assert np.std(ratios, axis=0).max() < 0.04


def _fill(grid: Grid, name: str, random: np.random.Generator) -> Anatomy:
    """A box of one tissue."""
    nothing = np.zeros(grid.shape, np.float32)
    tissues = {tissue: nothing.copy() for tissue in ("parenchyma", "lung", "blood", "liver")}
    tissues[name] = np.ones(grid.shape, np.float32)
    return Anatomy(tissues, nothing, nothing, nothing > 0, nothing, draw_build(DENSE, random))


@pytest.mark.parametrize("site", range(4), ids=[site.hospital for site in SITES])
def test_b1_differs_between_the_breasts(site: int) -> None:
    exam, _, _, tissues, inner = _measure(site)
    left, right = (_enhancement(exam, mask)[0] for mask in inner)
    expected = _predicted(site, tissues[FAST], 0)[0] / _predicted(site, tissues[FAST], 1)[0]
    assert left / right == pytest.approx(expected, rel=0.08)
    if SITES[site].vendor == "Philips":  # two transmitters
        assert expected == pytest.approx(1, abs=0.01)
    else:
        assert left / right < 0.95


def test_coils_see_the_breasts_best() -> None:
    random = np.random.default_rng(1)
    grid = Grid((6, 32, 31), (10, 10, 10), (-150, -200, -25))
    exam = acquire(_fill(grid, FAST, random), draw_tissues(DENSE, random), grid, SITES[3], random)
    y = np.broadcast_to(grid.axis(1), grid.shape)
    assert exam.phases[0][y > 0].mean() > 1.8 * exam.phases[0][y < -120].mean()


def test_exam_has_the_sites_phases_on_one_grid() -> None:
    for number, site in enumerate(SITES):
        exam, _, grid, _, _ = _measure(number)
        assert len(exam.phases) == site.phases
        assert {image.shape for image in (*exam.phases, exam.t2)} == {grid.shape}
        assert {image.dtype for image in (*exam.phases, exam.t2)} == {np.dtype(np.float32)}
        assert grid.shape == site.shape_ras[::-1]
        assert max(image.max() for image in exam.phases) / site.slope < 32767  # or DICOM would cut it off


def test_fat_is_dark_where_it_is_suppressed() -> None:
    for number, site in enumerate(SITES):
        exam, anatomy, _, _, _ = _measure(number)
        fat = (anatomy.tissues["fat"] > 0.98) & anatomy.breast
        gland = (anatomy.tissues["parenchyma"] > 0.98) & anatomy.breast
        ratio = exam.phases[0][fat].mean() / exam.phases[0][gland].mean()
        assert (ratio < 0.8) if site.sequence.fat_left < 1 else (ratio > 1.5)


def _vary(patient: Patient, gene: str) -> Patient:
    """The same breast, another gene and another clinic, another tumour."""
    return replace(
        patient,
        gene=gene,
        age=77,
        menopausal=True,
        subtype="triple negative",
        grade=1,
        family_history=True,
        indication="high risk",
        round_shape=not patient.round_shape,
        sharp_margin=not patient.sharp_margin,
        rim=not patient.rim,
        necrosis=not patient.necrosis,
        test="somatic",
        oracle=0.99,
    )


@pytest.mark.parametrize("gene", ["BRCA1", "BRCA2", ""])
def test_kinetics_do_not_read_the_gene(gene: str) -> None:
    for seed, patient in enumerate(PATIENTS[:10]):
        expected = draw_tissues(patient, np.random.default_rng(seed))
        assert draw_tissues(_vary(patient, gene), np.random.default_rng(seed)) == expected


def test_background_enhancement_grows_with_its_category() -> None:
    uptake = [
        np.mean(
            [draw_tissues(replace(DENSE, bpe=bpe), np.random.default_rng(n))["parenchyma"].ktrans for n in range(9)]
        )
        for bpe in range(4)
    ]
    assert (np.diff(uptake) > 0).all()
    assert 0.001 < uptake[0] < uptake[3] < 0.04


def test_lesions_enhance_as_malignancies_do() -> None:
    for seed in range(200):
        tissues = draw_tissues(DENSE, np.random.default_rng(seed))
        fast, slow = tissues[FAST], tissues[SLOW]
        assert 0.1 <= fast.ktrans <= 0.4
        assert 0.3 <= fast.ve <= 0.5
        assert 0.01 <= fast.vp <= 0.06
        assert slow.ktrans < fast.ktrans


def test_grid_holds_breasts_and_chest_wherever_the_technician_put_it() -> None:
    for site in SITES:
        for seed in range(20):
            grid = open_grid(site, np.random.default_rng(seed))
            ends = [(axis.min(), axis.max()) for axis in (grid.axis(number).ravel() for number in range(3))]
            assert ends[0][0] < -125 < 125 < ends[0][1]
            assert ends[1][1] > 100
            assert ends[2][0] < -55 < 55 < ends[2][1]
