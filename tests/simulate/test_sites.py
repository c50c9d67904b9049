"""Hospitals differ as real ones do, and every protocol lies within the consensus."""

import numpy as np
import pytest

from genovox.simulate.sites import Site, open_sites

SITES = open_sites(4)


def _extent_mm(site: Site) -> np.ndarray:
    return np.asarray(np.array(site.shape_ras) * np.array(site.spacing_ras_mm))


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.hospital)
def test_protocol_is_plausible(site: Site) -> None:
    assert site.sequence.field_t in (1.5, 3.0)
    assert 4 <= site.sequence.tr_ms <= 8
    assert 1.3 <= site.sequence.te_ms <= 4.8
    assert 7 <= site.sequence.flip_deg <= 20
    assert site.slice_mm <= 4
    assert site.phase_s < 150
    assert 15 <= site.snr <= 60
    assert 280 <= _extent_mm(site)[0] <= 350  # both breasts, and no more than a field of view
    times = site.phase_times_s()
    assert len(times) == site.phases
    assert times[0] < 0 < times[1] <= 120
    assert set(np.diff(times[1:])) == {site.phase_s}


def test_first_four_cover_what_archives_hold() -> None:
    assert len({site.hospital for site in SITES}) == 4
    assert {site.vendor for site in SITES} == {"SIEMENS", "GE MEDICAL SYSTEMS", "Philips"}
    assert {site.plane for site in SITES} == {"axial", "sagittal"}
    assert {site.packing for site in SITES} == {"one series", "series a phase"}
    assert {site.timing for site in SITES} == {"temporal position", "acquisition time"}
    assert {site.sequence.field_t for site in SITES} == {1.5, 3.0}
    assert {site.sequence.fat_left < 1 for site in SITES} == {True, False}
    assert {site.feet_first_rows for site in SITES} == {True, False}
    assert {site.slope == 1 for site in SITES} == {True, False}


def test_axes_of_sagittal_slices() -> None:
    site = next(site for site in SITES if site.plane == "sagittal")
    columns, rows, slices = site.matrix
    assert site.shape_ras == (slices, columns, rows)
    assert site.spacing_ras_mm == (site.slice_mm, site.pixel_mm, site.pixel_mm)


def test_later_hospitals_vary_earlier_ones() -> None:
    sites = open_sites(11)
    assert sites[:4] == SITES
    assert len({site.hospital for site in sites}) == 11
    for number, site in enumerate(sites[4:], start=4):
        base = SITES[number % 4]
        assert (site.vendor, site.model, site.matrix) == (base.vendor, base.model, base.matrix)
        assert site.sequence.tr_ms > base.sequence.tr_ms
        assert site.first_post_s > base.first_post_s
        assert site.snr < base.snr


def test_matrix_keeps_the_field_of_view() -> None:
    for fine, coarse in zip(SITES, open_sites(4, matrix=64), strict=True):
        assert coarse.matrix == (fine.matrix[0] // 2, fine.matrix[1] // 2, fine.matrix[2])
        assert _extent_mm(coarse) == pytest.approx(_extent_mm(fine))
        assert coarse.snr == pytest.approx(2 * fine.snr)
