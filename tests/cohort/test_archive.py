"""A tree of DICOM files becomes exams: nothing is read twice, nobody is named, and what is left out is told."""

import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from genovox.cohort import archive
from genovox.cohort.archive import Archive, Pseudonyms, open_archive, read_exam
from genovox.core.artifacts import read_table
from genovox.core.errors import DataError
from genovox.core.volume import reorient_to_ras
from genovox.scans.inspection import read_phases
from genovox.simulate.sites import Site, open_sites
from tests.conftest import on_one_core

from .conftest import (
    EAST,
    LOCALIZER,
    NORTH,
    POST1,
    POST2,
    PRE,
    SOUTH,
    SUBTRACTION,
    T2,
    Tree,
    edit_files,
    renew_uids,
)

SITES = open_sites(3, matrix=64)
CODES = {"North Hospital": "site-2", "South Clinic": "site-3", "East University": "site-1"}  # by their names' order


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the index of the simulated hospital is kept."""
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def opened(simulated_hospital: Path, root: Path) -> Archive:
    """The whole simulated hospital."""
    with on_one_core():
        return open_archive(simulated_hospital / "dicom", root)


@pytest.fixture(scope="module")
def sites(simulated_hospital: Path) -> dict[str, Site]:
    """Hospital by patient."""
    truth = read_table(simulated_hospital / "truth.csv")
    return {row["patient_id"]: SITES[int(row["site"])] for row in truth.to_dict("records")}


def _open(tree: Tree) -> Archive:
    return open_archive(tree.dicom, tree.root)


def _visits(archive: Archive) -> dict[str, int]:
    return {case_id: facts.visit for case_id, facts in archive.facts.items()}


def _read_by_hand(files: list[Path]) -> np.ndarray:
    """Voxels of one phase in RAS order, (z, y, x), from nothing but positions and orientations."""
    slices = [pydicom.dcmread(file) for file in files]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    slices.sort(key=lambda one: float(np.array(one.ImagePositionPatient, float) @ normal))
    stack = np.stack([one.pixel_array.astype(float) * float(one.get("RescaleSlope", 1)) for one in slices])
    axes = [normal, column, row]  # of the array, in LPS
    order = [int(np.argmax([abs(axis[k]) for axis in axes])) for k in (2, 1, 0)]
    stack = stack.transpose(order)
    signs = [np.sign(axes[order[place]][k]) for place, k in ((0, 2), (1, 1), (2, 0))]
    ras = [signs[0], -signs[1], -signs[2]]
    return stack[tuple(slice(None, None, int(sign)) for sign in ras)]


def test_one_exam_a_patient_with_its_phases_times_and_side(
    opened: Archive, sites: dict[str, Site], simulated_hospital: Path
) -> None:
    assert [case.case_id for case in opened.cases] == [case.patient_id for case in opened.cases] == sorted(sites)
    assert opened.files == len(list((simulated_hospital / "dicom").rglob("*.dcm")))
    assert opened.lost == {}
    assert {facts.visit for facts in opened.facts.values()} == {1}
    for case in opened.cases:
        site = sites[case.patient_id]
        times = site.phase_times_s()
        assert len(case.images) == site.phases
        assert case.phase_times_s == pytest.approx([time - times[0] for time in times])
        assert case.laterality == "bilateral"
        assert case.site == CODES[site.hospital]
        assert case.label is None
        assert case.point_mm == ()


def test_what_the_headers_say_of_the_scan(opened: Archive, sites: dict[str, Site], simulated_hospital: Path) -> None:
    for case in opened.cases:
        site = sites[case.patient_id]
        scan = case.scan
        assert scan["scan_vendor"] == {"SIEMENS": "siemens", "GE MEDICAL SYSTEMS": "ge"}[site.vendor]
        assert float(scan["scan_field_strength"]) == site.sequence.field_t
        assert float(scan["scan_repetition_time_ms"]) == site.sequence.tr_ms
        assert float(scan["scan_echo_time_ms"]) == site.sequence.te_ms
        assert float(scan["scan_flip_angle_deg"]) == site.sequence.flip_deg
        assert scan["scan_series_per_exam"] == ("1" if site.packing == "one series" else str(site.phases))
        one = next((simulated_hospital / "dicom" / case.patient_id / "1" / "3").iterdir())
        assert scan["scan_year"] == pydicom.dcmread(one, stop_before_pixels=True).StudyDate[:4]
    models = {sites[case.patient_id].model: case.scan["scan_model"] for case in opened.cases}
    assert models == {"DISCOVERY MR750w": "model-1", "SIGNA HDxt": "model-2", "Skyra": "model-3"}
    assert all(case.scan["scan_series_name"].startswith("series-") for case in opened.cases)


@pytest.mark.parametrize("patient", [NORTH, SOUTH, EAST])
def test_voxels_are_those_of_the_files(
    opened: Archive, root: Path, simulated_hospital: Path, sites: dict[str, Site], patient: str
) -> None:
    case = next(case for case in opened.cases if case.patient_id == patient)
    volume = reorient_to_ras(read_phases(case.image_paths(root)))
    visit = simulated_hospital / "dicom" / patient / "1"
    if sites[patient].packing == "one series":
        files = sorted((visit / "3").iterdir())
        size = len(files) // sites[patient].phases
        phases = [files[start : start + size] for start in range(0, len(files), size)]
    else:
        phases = [sorted((visit / str(3 + number)).iterdir()) for number in range(sites[patient].phases)]
    for found, files in zip(volume.array, phases, strict=True):
        np.testing.assert_array_equal(found, _read_by_hand(files).astype(np.float32))


def test_every_other_series_is_told_with_its_reason(opened: Archive) -> None:
    kinds = Counter(row.reason.split(":")[0] for row in opened.exclusions)
    # One patient was biopsied: a study of two series.
    assert kinds == {"localizer": 8, "t2": 8, "subtraction": 8, "other": 2}
    reasons = {row.reason.split(":")[0]: row.reason for row in opened.exclusions}
    assert "T2-weighted by its name" in reasons["t2"]
    assert "subtraction by its image type" in reasons["subtraction"]
    assert "biopsy by its name" in reasons["other"]
    assert "slices must share one" in reasons["localizer"]
    assert {(row.level, row.stage, row.rule, row.label) for row in opened.exclusions} == {
        ("series", "cohort", "series", None)
    }
    names = [row.case_id for row in opened.exclusions]
    assert len(set(names)) == len(names)
    phases = sum(int(case.scan["scan_series_per_exam"]) for case in opened.cases)
    assert opened.series == len(opened.exclusions) + phases


def test_a_second_look_reads_no_header(
    opened: Archive, root: Path, simulated_hospital: Path, count_reads: Callable[[], list[str]]
) -> None:
    again = open_archive(simulated_hospital / "dicom", root)
    assert count_reads() == []
    assert again.cases == opened.cases
    assert (again.content, again.digests) == (opened.content, opened.digests)


def test_what_is_new_changed_or_gone_is_noticed(tree: Tree, count_reads: Callable[[], list[str]]) -> None:
    tree.add(NORTH, PRE, POST1)
    (tree.dicom / "notes.txt").write_text("not DICOM")
    first = _open(tree)
    assert len(count_reads()) == len(tree.files()) + 1
    tree.add(NORTH, POST2)
    second = _open(tree)
    assert len(count_reads()) == len(tree.files()) // 3
    assert [len(case.images) for case in (first.cases[0], second.cases[0])] == [2, 3]
    assert second.cases[0].images[:2] == first.cases[0].images  # a phase more leaves the others as they are
    assert second.content != first.content

    changed = tree.files(tree.dicom / NORTH / "1" / POST1)[5]
    content = bytearray(changed.read_bytes())
    content[-2000] ^= 1
    changed.write_bytes(content)
    third = _open(tree)
    assert count_reads() == [changed.name]
    pre, post1, post2 = third.cases[0].images
    assert third.cases[0].images == second.cases[0].images
    assert third.digests[pre] == second.digests[pre]
    assert third.digests[post1] != second.digests[post1]
    assert third.digests[post2] == second.digests[post2]

    shutil.rmtree(tree.dicom / NORTH / "1" / POST2)
    fourth = _open(tree)
    assert count_reads() == []
    assert len(fourth.cases[0].images) == 2
    assert fourth.files == len(tree.files())
    changed.unlink()
    fifth = _open(tree)
    assert count_reads() == []
    assert fifth.cases == []
    assert "no usable dynamic exam in 2 series" in fifth.lost[NORTH]
    assert "slices must lie at even distances" in fifth.lost[NORTH]
    assert "1 slices missing" in fifth.lost[NORTH]


def test_a_study_that_moves_stays_what_it_is(tree: Tree, tmp_path: Path, count_reads: Callable[[], list[str]]) -> None:
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PatientIdentityRemoved=None)
    before = _open(tree)
    count_reads()
    shutil.move(tree.root, tmp_path / "moved")
    after = open_archive(tmp_path / "moved" / "dicom", tmp_path / "moved")
    assert count_reads() == []
    assert after.cases == before.cases
    assert (after.digests, after.content, after.facts) == (before.digests, before.content, before.facts)
    volume = read_phases(after.cases[0].image_paths(tmp_path / "moved"))
    assert len(volume.array) == 2


def test_what_is_no_dicom_or_hidden_does_not_count(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    before = _open(tree)
    file = tree.files()[0]
    (tree.dicom / "README.txt").write_text("scans of 2021")
    (tree.dicom / "empty.dcm").write_bytes(b"")
    (tree.dicom / "Thumbs.db").write_bytes(bytes(2000))
    (tree.dicom / "garbage.dcm").write_bytes(bytes(128) + b"DICM" + b"garbage" * 30)
    shutil.copy(file, file.with_name("._0001.dcm"))
    (tree.dicom / ".trash").mkdir()
    shutil.copy(file, tree.dicom / ".trash" / "0001.dcm")
    (tree.dicom / "gone.dcm").symlink_to("nowhere")
    os.mkfifo(tree.dicom / "pipe")
    after = _open(tree)
    assert (after.files, after.content) == (before.files, before.content)
    assert after.cases == before.cases
    assert after.exclusions == before.exclusions == []


def test_a_folder_without_dicom_is_one_clear_error(tree: Tree) -> None:
    tree.dicom.mkdir(parents=True)
    (tree.dicom / "scan.nii.gz").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match=r"no DICOM file under .*dicom; give the folder that holds the scans, or a man"):
        _open(tree)


def test_a_patient_whose_every_series_stays_out_is_told(tree: Tree) -> None:
    tree.add(NORTH, LOCALIZER, T2, PRE, SUBTRACTION)
    found = _open(tree)
    assert found.cases == []
    assert set(found.lost) == {NORTH}
    assert found.lost[NORTH].startswith("no usable dynamic exam in 4 series: ")
    reasons = {row.reason for row in found.exclusions}
    assert "other: T1-weighted volume with no other phase on its grid" in reasons
    assert len(found.exclusions) == 4


def test_visits_are_numbered_in_time(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    later = tree.add(NORTH, PRE, POST1, visit="0")  # comes first by its folder
    renew_uids(tree.files(later), "2")
    edit_files(tree.files(later), StudyDate="20300101")
    found = _open(tree)
    assert [case.case_id for case in found.cases] == [f"{NORTH}-1", f"{NORTH}-2"]
    assert {case.patient_id for case in found.cases} == {NORTH}
    assert _visits(found) == {f"{NORTH}-1": 1, f"{NORTH}-2": 2}
    assert found.cases[1].scan["scan_year"] == "2030"


def _split_into_sides(tree: Tree, visit: Path) -> None:
    """A sagittal exam as a scanner stores it that measures each breast on its own."""
    for path in tree.files(visit):
        dataset = pydicom.dcmread(path)
        left = float(dataset.ImagePositionPatient[0]) > 0  # LPS
        dataset.SeriesInstanceUID += ".1" if left else ".2"
        dataset.save_as(path)


def test_breasts_scanned_apart_are_exams_apart(tree: Tree) -> None:
    visit = tree.add(SOUTH, PRE, POST1, POST2)
    _split_into_sides(tree, visit)
    found = _open(tree)
    assert [(case.case_id, case.laterality) for case in found.cases] == [
        (f"{SOUTH}-left", "left"),
        (f"{SOUTH}-right", "right"),
    ]
    assert _visits(found) == {f"{SOUTH}-left": 1, f"{SOUTH}-right": 1}
    assert {len(case.images) for case in found.cases} == {3}
    assert not set(found.cases[0].images) & set(found.cases[1].images)


def test_one_patient_that_is_named_hides_all(tree: Tree) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    edit_files(tree.files(tree.dicom / NORTH)[:1], PatientIdentityRemoved=None)
    edit_files(tree.files(tree.dicom / SOUTH)[:1], PatientIdentityRemoved="NO")
    found = _open(tree)
    ids = [case.patient_id for case in found.cases]
    assert len(set(ids)) == 2
    for patient_id in ids:
        assert re.fullmatch(r"P-[0-9a-f]{12}", patient_id)
    assert set(ids) == {found.pseudonym(NORTH), found.pseudonym(f" {SOUTH} ")}
    assert all(row.patient_id in ids for row in found.exclusions)
    key = tree.root / ".genovox" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32


def test_an_archive_that_says_it_is_de_identified_needs_no_key(opened: Archive, root: Path) -> None:
    assert not (root / ".genovox" / "key").exists()
    assert opened.pseudonym("SIM-0001") == "SIM-0001"


def test_the_same_key_gives_the_same_ids(tree: Tree, simulated_hospital: Path, tmp_path: Path) -> None:
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PatientIdentityRemoved=None)
    first = _open(tree)
    assert _open(tree).cases == first.cases
    key = (tree.root / ".genovox" / "key").read_text()
    other, same = Tree(tmp_path / "other", simulated_hospital), Tree(tmp_path / "same", simulated_hospital)
    for place in (other, same):
        shutil.copytree(tree.dicom, place.dicom)
    (same.root / ".genovox").mkdir()
    (same.root / ".genovox" / "key").write_text(key)
    assert _open(same).cases[0].case_id == first.cases[0].case_id
    assert _open(other).cases[0].case_id != first.cases[0].case_id
    assert (other.root / ".genovox" / "key").read_text() != key


@pytest.mark.parametrize("content", ["", "00ff", "no key at all"])
def test_a_damaged_key_never_lets_ids_out(tree: Tree, content: str) -> None:
    tree.add(NORTH, PRE, POST1)
    edit_files(tree.files(), PatientIdentityRemoved=None)
    (tree.root / ".genovox").mkdir()
    (tree.root / ".genovox" / "key").write_text(content)
    with pytest.raises(DataError, match="key of the pseudonyms") as caught:
        _open(tree)
    assert NORTH not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("A/1", "A-1"), ("Doe, Jane", "Doe Jane"), ("A-1", "A.1"), ("Ä1", "Ö1"), ("a", "A")],
)
def test_two_ids_never_become_one(one: str, other: str) -> None:
    for pseudonym in (Pseudonyms(b""), Pseudonyms(b"k" * 32)):
        assert pseudonym(one) != pseudonym(other)


@pytest.mark.parametrize("name", ["SIM-0001", "..", "../../etc", "***", "-x", "a/b", "a b^c", "x" * 64, "中"])
def test_an_id_is_fit_to_name_a_file(name: str) -> None:
    for pseudonym in (Pseudonyms(b""), Pseudonyms(b"k" * 32)):
        safe = pseudonym(name)
        assert safe == pseudonym(f"  {name} ")
        assert archive._UNSAFE.search(safe) is None
        assert safe[0].isalnum()


def test_an_exam_to_score(tree: Tree, opened: Archive, root: Path, simulated_hospital: Path) -> None:
    case = next(case for case in opened.cases if case.patient_id == EAST)
    volume, times_s = read_exam(simulated_hospital / "dicom" / EAST)
    assert len(times_s) == len(volume.array)
    assert list(times_s) == sorted(times_s)
    expected = read_phases(case.image_paths(root))
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine)


def test_a_folder_to_score_holds_one_exam(tree: Tree, simulated_hospital: Path) -> None:
    tree.add(NORTH, PRE, POST1)
    tree.add(SOUTH, PRE, POST1)
    with pytest.raises(DataError, match=r"must hold one dynamic exam, .* holds 2 in \d+ DICOM files; give the folder"):
        read_exam(tree.dicom)
    only = simulated_hospital / "dicom" / NORTH / "1" / T2
    with pytest.raises(DataError, match=r"holds 0 in \d+ DICOM files \(T2-weighted by its name\); give the folder of"):
        read_exam(only)
    (tree.root / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 in 0 DICOM files; give"):
        read_exam(tree.root / "empty")
    assert not list(tree.root.rglob(".genovox"))  # a scan to score leaves nothing behind
