"""Nothing that names a person leaves the input: every text and date of every file is planted, the run is searched."""

import base64
import gzip
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import UID

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from tests.conftest import ARCHIVE_OPTIONS, on_one_core

from .conftest import EAST, NORTH, POST1, POST2, PRE, SOUTH, Tree, edit_files

MARK = "QZXJVKW"  # long enough not to stand in a picture's base64 by chance
BIRTH, SCAN, OTHER_DAY = "19570413", "20210317", "20180926"
# A text of these tells what an image is, not who is in it: without it there would be no exam.
NEEDED = {"ImageType", "Modality", "PhotometricInterpretation", "SpecificCharacterSet"}
TEXTS = {"LO", "SH", "PN", "LT", "ST", "UT", "UC", "AE", "CS", "UR"}
LENGTHS = {"SH": 16, "CS": 16, "AE": 16}
ADDED = (
    "PatientName", "PatientAddress", "OtherPatientIDs", "ReferringPhysicianName", "OperatorsName", "PatientComments",
    "ImageComments", "StudyID", "AccessionNumber", "RequestedProcedureDescription", "OtherPatientNames",
    "PatientMotherBirthName", "MilitaryRank", "EthnicGroup", "Occupation", "AdditionalPatientHistory",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "RequestingPhysician",
    "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "PerformedProcedureStepDescription",
    "PerformedStationAETitle", "RetrieveAETitle", "IssuerOfPatientID", "PatientTelephoneNumbers", "SoftwareVersions",
    "DeviceSerialNumber", "ContrastBolusAgent", "SequenceName", "ScanOptions", "ClinicalTrialSubjectID",
)  # fmt: skip
DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "LastMenstrualDate")
# What must not stand in a run in any form.
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
# What tells one file of a series from another.
OWN = (
    "SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "SliceLocation", "TemporalPositionIdentifier",
    "AcquisitionTime", "ContentTime", "PixelData",
)  # fmt: skip


@dataclass
class Secrets:
    """What was planted."""

    texts: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)

    def patterns(self) -> re.Pattern[bytes]:
        """Everything in one expression: sentinel, UIDs, ids, and days the way people write them."""
        words = [r"2\.25\.\d{12}", *map(re.escape, self.ids.values())]
        for day in self.days:
            year, month, date = day[:4], day[4:6], day[6:]
            words += [f"{year}.?{month}.?{date}", rf"{date}[./-]{month}[./-]{year}", f"{month}/{date}/{year}"]
        return re.compile("|".join([*words, MARK]).encode(), re.IGNORECASE)


def _plant(tree: Tree, patient: str, told: Secrets) -> None:
    """Plant texts and dates in every file of a patient, then name folders and files by her."""
    for series in sorted((tree.dicom / patient).glob("*/*")):
        files = tree.files(series)
        planted = pydicom.dcmread(files[0])
        _plant_texts(planted, patient, told)
        for path in files:
            own = pydicom.dcmread(path)
            for keyword in OWN:
                if keyword in own:
                    planted[keyword] = own[keyword]
            planted.file_meta.MediaStorageSOPInstanceUID = planted.SOPInstanceUID
            planted.save_as(path)
            path.rename(path.with_name(f"Roe{MARK}_{BIRTH}_{path.name}"))
        series.rename(series.with_name(f"Jane Roe{MARK} {series.name}"))
    (tree.dicom / patient).rename(tree.dicom / f"Roe{MARK}, Jane ({patient})")


def _plant_texts(dataset: Dataset, patient: str, told: Secrets) -> None:
    for keyword in ADDED:
        if keyword not in dataset:
            dataset.add_new(keyword, dictionary_VR(keyword), "")
    block = dataset.private_block(0x0019, f"{MARK} PRIVATE", create=True)
    block.add_new(0x01, "LO", f"{MARK}private")
    block.add_new(0x02, "UT", f"{MARK} born {BIRTH}")
    for keyword in DATES:
        day = BIRTH if keyword == "PatientBirthDate" else OTHER_DAY if keyword == "LastMenstrualDate" else SCAN
        setattr(dataset, keyword, day)
        told.days.add(day)
    item = Dataset()
    item.RequestedProcedureDescription = item.ScheduledProcedureStepID = f"{MARK}item"
    dataset.RequestAttributesSequence = [item]
    dataset.AcquisitionDateTime = f"{SCAN}101112"
    for element in dataset:
        if element.VR in TEXTS and element.keyword not in NEEDED and not element.tag.is_private:
            kept = str(element.value) if element.keyword in ("SeriesDescription", "StudyDescription") else ""
            if element.keyword in ("ScanningSequence", "SequenceVariant", "BodyPartExamined", "PatientSex"):
                kept = str(element.value)
            text = f"{kept} {MARK}{element.keyword[:6]}".strip()
            text = text.upper() if element.VR == "CS" else text
            element.value = text[-LENGTHS.get(element.VR, 64) :]
            assert MARK in element.value
            told.texts.add(str(element.value))
    dataset.PatientID = told.ids[patient]
    dataset.PatientName = f"Roe{MARK}^Jane^{patient}"
    dataset.PatientIdentityRemoved = "NO"
    assert all(str(dataset[keyword].value).startswith("2.25.") for keyword in UIDS)


def _contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what is packed in it."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".gz":
        yield gzip.decompress(content)
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        assert array.dtype.kind in "fui"
    pictures = [content] if path.suffix == ".png" else []
    pictures += [base64.b64decode(text) for text in re.findall(rb"data:image/png;base64,([A-Za-z0-9+/=]+)", content)]
    for picture in pictures:
        yield b"".join(_png_texts(picture.removeprefix(b"\x89PNG\r\n\x1a\n")))


def _png_texts(content: bytes) -> Iterator[bytes]:
    while content:
        size, kind = int.from_bytes(content[:4]), content[4:8]
        body = content[8 : 8 + size]
        if kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf"):
            yield body
            if kind == b"zTXt":
                yield zlib.decompress(body.split(b"\0", 1)[1][1:])
        if kind == b"IEND":
            return
        content = content[12 + size :]


def _search(run: Path, pattern: re.Pattern[bytes]) -> list[str]:
    found = []
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run)).encode()
        for place, content in (("name", name), *(("content", c) for c in (_contents(path) if path.is_file() else ()))):
            for match in pattern.finditer(content):
                around = content[max(0, match.start() - 40) : match.end() + 40]
                found.append(f"{place} of {path.relative_to(run)}: {around!r}")
    return found


@dataclass(frozen=True)
class Searched:
    """A finished run of planted files, and what was planted."""

    root: Path
    run: Path
    told: Secrets


@pytest.fixture(scope="module")
def planted(simulated_hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Eight named patients and two whose scans are unusable, run from DICOM to report."""
    tree = Tree(tmp_path_factory.mktemp("planted") / "study", simulated_hospital)
    hospitals = read_table(simulated_hospital / "truth.csv").set_index("patient_id")["hospital"]
    told = Secrets(ids={f"SIM-{n:04d}": f"77{n}03{n}55{n}" for n in range(1, 9)})
    told.ids |= {"BROKEN": "7790395591", "COLOUR": "7790395592"}
    for patient in told.ids:
        if patient in (NORTH, EAST):
            tree.add(patient)
        elif patient.startswith("SIM"):
            dynamic = ("3",) if hospitals[patient] == "East University" else (PRE, POST1, POST2)
            tree.add(patient, *dynamic)
    tree.add(NORTH, PRE, POST1, POST2, to="BROKEN")
    tree.add(SOUTH, PRE, POST1, to="COLOUR")
    for patient in ("BROKEN", "COLOUR"):
        for path in tree.files(tree.dicom / patient):
            dataset = pydicom.dcmread(path)
            for keyword in UIDS:
                setattr(dataset, keyword, UID(f"{str(dataset[keyword].value)[:50]}.{len(patient)}{ord(patient[0])}"))
            dataset.save_as(path)
    for folder in (PRE, POST1, POST2):
        tree.files(tree.dicom / "BROKEN" / "1" / folder)[4].unlink()
    edit_files(
        tree.files(tree.dicom / "COLOUR"), PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0
    )
    for name in ("genetic_tests.csv", "clinical.csv", "marks.csv"):
        table = read_table(simulated_hospital / name)
        table["patient_id"] = table["patient_id"].map(told.ids)
        if name == "clinical.csv":
            table["family_id"] = [f"Roe{MARK}-{number // 2}" for number in range(len(table))]
            table["name"] = f"Jane Roe{MARK}"
        table.to_csv(tree.root / name, index=False)
    shutil.copy(simulated_hospital / "study.toml", tree.root / "study.toml")
    for patient in told.ids:
        _plant(tree, patient, told)
    options = [*ARCHIVE_OPTIONS, '--set=train.models=["light"]']
    options.remove("--quiet")
    with on_one_core():
        assert run_command(["run", str(tree.root / "study.toml"), *options, "--verbose"]) == 0
    return Searched(tree.root, tree.root / "runs" / "simulated-full", told)


def test_the_search_finds_what_it_should(planted: Searched, tmp_path: Path) -> None:
    pattern = planted.told.patterns()
    for word in (f"a{MARK.lower()}b", BIRTH, "1957-04-13", "17.03.2021", planted.told.ids[NORTH]):
        assert pattern.search(f"...{word}...".encode()), word
    assert not pattern.search(b"2026-11-25 site-1 P-0123456789ab")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(f"x{MARK}".encode()))
    (tmp_path / f"{MARK}.txt").write_text("")
    assert len(_search(tmp_path, pattern)) == 2


def test_files_were_planted_and_used(planted: Searched) -> None:
    assert len(planted.told.texts) > 30
    cases = read_table(planted.run / "cohort" / "cases.csv")
    assert len(cases) == 8
    assert cases["patient_id"].str.fullmatch(r"P-[0-9a-f]{12}").all()
    assert sorted(cases["label"]) == ["0"] * 4 + ["1"] * 4
    assert (cases["point_mm"] != "").all()
    assert cases["family_id"].nunique() == 4
    excluded = read_table(planted.run / "cohort" / "exclusions.csv")
    lost = excluded[excluded["level"] == "case"]
    assert lost["rule"].tolist() == ["label", "label"]
    reasons = " ".join(excluded["reason"])
    for words in ("slices must lie at even distances", "a secondary capture in RGB", "localizer", "T2-weighted"):
        assert words in reasons


def test_nothing_that_names_a_person_is_in_the_run(planted: Searched) -> None:
    files = [path for path in planted.run.rglob("*") if path.is_file()]
    kinds = {"".join(path.suffixes[-2:]) for path in files}
    assert {".csv", ".json", ".npy", ".png", ".html", ".md", ".log", ".nii.gz", ".safetensors"} <= kinds
    found = _search(planted.run, planted.told.patterns())
    assert not found, "\n".join(found[:20])


def test_the_key_stays_beside_the_study(planted: Searched) -> None:
    key = (planted.root / ".genovox" / "key").read_text().strip()
    pattern = re.compile(b"|".join([key.encode(), re.escape(bytes.fromhex(key))]))
    assert _search(planted.run, pattern) == []


def test_dates_are_days_from_the_scan(planted: Searched) -> None:
    """Of the date nothing but the year is left, and of the clock the time between phases."""
    cases = read_table(planted.run / "cohort" / "cases.csv")
    assert set(cases["scan_year"]) == {SCAN[:4]}
    for cell in cases["phase_times_s"]:
        times = [float(time) for time in cell.split(";")]
        assert times[0] == 0
        assert all(0 < late - early < 200 for early, late in pairwise(times))


def test_a_named_archive_says_nothing_when_it_fails(
    tree: Tree, capfd: pytest.CaptureFixture[str], simulated_hospital: Path
) -> None:
    """Every error of ``genovox cohort`` on named files, on the screen and in ``run.log``."""
    told = Secrets(ids={NORTH: "7710315519", SOUTH: "7780385589"})
    for patient in told.ids:
        tree.add(patient, PRE, POST1)
    for folder in (PRE, POST1):
        tree.files(tree.dicom / NORTH / "1" / folder)[4].unlink()
        edit_files(tree.files(tree.dicom / SOUTH / "1" / folder)[:1], PixelData=bytes(10))
    for patient in told.ids:
        _plant(tree, patient, told)
    (tree.root / "study.toml").write_text('[cohort]\nimages = "dicom"\nlabels = "labels.csv"\nunit = "exam"\n')
    labels = tree.root / "labels.csv"
    pattern = told.patterns()

    def refuse(text: str, words: str, *options: str) -> None:
        labels.write_text(text)
        assert run_command(["cohort", str(tree.root / "study.toml"), "--verbose", *options]) in (2, 3)
        shown = capfd.readouterr()
        assert words in shown.err
        assert not pattern.search((shown.err + shown.out).encode()), shown.err
        assert _search(tree.root / "runs", pattern) == []

    rows = [f"{patient_id},{number}" for number, patient_id in enumerate(told.ids.values())]
    refuse("\n".join(["patient_id,label", *rows]), "no case is left of 2: 1 image missing or unusable, 1 no usable")
    refuse("\n".join(["patient_id,label", "7799,1", *rows]), "1 of 3 ids name a patient that is not among the images")
    refuse("\n".join(["patient_id,label", *rows, rows[0]]), "must be unique")
    refuse("\n".join(["case_id,label", *rows]), "2 of 2 ids name a case that is not among the images")
    refuse("\n".join(["case_id,label", *rows, rows[0]]), "must be unique")
    refuse("\n".join(["case_id,patient_id,label", *(f"{row[:10]},{row}" for row in rows)]), "no case is left")
