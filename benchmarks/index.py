"""How fast a tree of small DICOM files is indexed, and in how much memory: new, unchanged, and grown by one percent.

``python benchmarks/index.py [--files 200000] [--slices 100] [--place FOLDER]``; each pass runs in a process of its own,
whose whole tree is watched. pydicom (``stop_before_pixels``) reads a sample of the same files in the same run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
_PASS = """
import os, sys, time
from pathlib import Path
from genovox.scans.index import index_folder
if __name__ == "__main__":
    start = time.perf_counter()
    index = index_folder(Path(sys.argv[1]) / "dicom", Path(sys.argv[1]))
    spent = os.times()
    cpu = spent.user + spent.system + spent.children_user + spent.children_system
    print(time.perf_counter() - start, cpu, index.files, len(index.series))
"""


def make_template() -> bytes:
    """A file as a scanner writes it, about 2 KB, with marks where each file has values of its own."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, "1.2.3.7777777777.8888888888"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101010.25"
    dataset.AccessionNumber, dataset.Modality, dataset.Manufacturer = "A1", "MR", "SIEMENS"
    dataset.InstitutionName, dataset.StationName, dataset.ManufacturerModelName = "North", "MR1", "Skyra"
    dataset.StudyDescription, dataset.SeriesDescription = "Breast", "t1 fl3d tra dynamic"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientAge = "Doe^Jane", "P1", "F", "045Y"
    dataset.PatientIdentityRemoved = "YES"
    dataset.ContrastBolusAgent, dataset.BodyPartExamined = "gadobutrol", "BREAST"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", "FS"
    dataset.MRAcquisitionType, dataset.SequenceName, dataset.ProtocolName = "3D", "*fl3d1", "t1 dynamic"
    dataset.SliceThickness, dataset.RepetitionTime, dataset.EchoTime = "2", "4.5", "1.7"
    dataset.NumberOfAverages, dataset.ImagingFrequency, dataset.EchoNumbers = "1", "123.2", "1"
    dataset.MagneticFieldStrength, dataset.SpacingBetweenSlices, dataset.FlipAngle = "3", "2", "10"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions, dataset.PatientPosition = "4711", "syngo MR E11", "FFP"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.7777777777"
    dataset.SeriesNumber, dataset.InstanceNumber = "3", "555555"
    dataset.ImagePositionPatient = ["-170", "-170", "99999.99"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.FrameOfReferenceUID, dataset.SliceLocation = "1.2.3.4", "0"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.Rows, dataset.Columns = 1, "MONOCHROME2", 16, 16
    dataset.PixelSpacing = ["1", "1"]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = "200", "400"
    dataset.PixelData = np.zeros((16, 16), np.uint16).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_files(folder: Path, template: bytes, first: int, count: int, slices: int) -> None:
    """Series of ``slices`` files each, ten series a folder."""
    for number in range(first, first + count):
        series, place = divmod(number, slices)
        content = (
            template.replace(b"7777777777", b"%010d" % (10**9 + series))
            .replace(b"8888888888", b"%010d" % (10**9 + number))
            .replace(b"99999.99", b"%8.2f" % (2 * place))
            .replace(b"555555", b"%06d" % place)
            .replace(b"P1", b"P%d" % (series % 10))
        )
        target = folder / f"{series // 10:05d}" / f"{series:06d}"
        if place == 0 or number == first:
            target.mkdir(parents=True, exist_ok=True)
        (target / f"{place:06d}").write_bytes(content)


def run_pass(name: str, root: Path, new: int) -> None:
    """Index the tree in a process of its own and say what it took."""
    script = root / "index_pass.py"
    script.write_text(_PASS)
    process = psutil.Popen([sys.executable, str(script), str(root)], stdout=subprocess.PIPE, text=True)
    peak, start = 0.0, time.perf_counter()
    while process.poll() is None:
        peak = max(peak, _memory_mb(process))
        time.sleep(0.2)
    wall_s = time.perf_counter() - start
    own_s, cpu_s, files, series = process.stdout.read().split()
    rate = f"{new / float(own_s):8.0f} files/s" if new else " " * 16
    print(
        f"{name:<22} {float(own_s):7.1f} s {rate}  {files} files in {series} series, peak {peak:.0f} MB, processor "
        f"time {float(cpu_s):.1f} s, with the start of Python {wall_s:.1f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _memory_mb(process: psutil.Popen) -> float:
    """Of the whole process tree, pages that are shared counted once."""
    total = 0
    try:
        for member in (process, *process.children(recursive=True)):
            total += member.memory_full_info().pss
    except psutil.Error:
        return 0.0
    return total / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--slices", type=int, default=100, help="files a series")
    parser.add_argument("--place", type=Path, default=None, help="folder on the disk to measure")
    options = parser.parse_args()
    template = make_template()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, {len(template)} bytes a file")
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        root = Path(place)
        write_files(root / "dicom", template, 0, options.files, options.slices)
        sample = sorted(next((root / "dicom").iterdir()).rglob("*"))
        paths = [path for path in sample if path.is_file()][:1000]
        start = time.perf_counter()
        for path in paths:
            dcmread(path, stop_before_pixels=True)
        rate = len(paths) / (time.perf_counter() - start)
        print(f"{'pydicom, one process':<22} {'':9} {rate:8.0f} files/s (a sample of {len(paths)}, nothing kept)")
        run_pass("first index", root, options.files)
        run_pass("nothing new", root, 0)
        more = options.files // 100
        write_files(root / "dicom", template, options.files, more, options.slices)
        run_pass("grown by 1%", root, more)


if __name__ == "__main__":
    main()
