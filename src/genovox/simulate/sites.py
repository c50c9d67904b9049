"""Hospitals: scanners, protocols and habits of naming that differ as real ones do."""

from dataclasses import dataclass, replace
from typing import Literal

from genovox.simulate.kinetics import Sequence

BASE_MATRIX = 128


@dataclass(frozen=True)
class Site:
    """One hospital's scanner and protocol.

    Attributes:
        hospital: Its name in the headers.
        plane: ``axial`` or ``sagittal``.
        matrix: Columns, rows, slices.
        pixel_mm: In-plane spacing.
        slice_mm: Distance of slices.
        feet_first_rows: Whether axial images are stored with the spine up, as some scanners do for prone patients.
        phases: Number of phases, pre-contrast included.
        first_post_s: Centre of the first post-contrast phase after the bolus.
        phase_s: Time between post-contrast phases.
        packing: One series for all phases, or one a phase.
        timing: Which tag tells phases of one series apart.
        names: Series name of the pre-contrast and of a post-contrast phase ({k} is its number).
        study_name: What the exam is called.
        subtraction: Name of the scanner's own subtraction series.
        snr: Signal of parenchyma over the noise's SD.
        b1: Flip angle scale in the left and the right breast.
        slope: Rescale slope of the stored values.
    """

    hospital: str
    vendor: str
    model: str
    sequence: Sequence
    plane: Literal["axial", "sagittal"]
    matrix: tuple[int, int, int]
    pixel_mm: float
    slice_mm: float
    feet_first_rows: bool
    phases: int
    first_post_s: float
    phase_s: float
    packing: Literal["one series", "series a phase"]
    timing: Literal["temporal position", "acquisition time"]
    names: tuple[str, str]
    study_name: str
    subtraction: str
    snr: float
    b1: tuple[float, float]
    slope: float = 1.0

    @property
    def spacing_ras_mm(self) -> tuple[float, float, float]:
        """Voxel size along right, anterior, superior."""
        if self.plane == "axial":
            return self.pixel_mm, self.pixel_mm, self.slice_mm
        return self.slice_mm, self.pixel_mm, self.pixel_mm

    @property
    def shape_ras(self) -> tuple[int, int, int]:
        """Voxels along right, anterior, superior."""
        columns, rows, slices = self.matrix
        return (columns, rows, slices) if self.plane == "axial" else (slices, columns, rows)

    def phase_times_s(self) -> tuple[float, ...]:
        """Centre of each phase after the bolus arrived; the first lies before it."""
        return (-60.0, *(self.first_post_s + self.phase_s * k for k in range(self.phases - 1)))


# B1+ left and right: Radiology 2013 (1.5 T -8.9/+5.4%, 3 T -13.7/+2.7%, dual source -0.6/-0.7%).
_ARCHETYPES = (
    Site(
        hospital="North Hospital",
        vendor="SIEMENS",
        model="Skyra",
        sequence=Sequence(3.0, 4.5, 1.7, 10, relaxivity=5.0, fat_left=0.12),
        plane="axial",
        matrix=(128, 128, 48),
        pixel_mm=2.4,
        slice_mm=3.0,
        feet_first_rows=False,
        phases=4,
        first_post_s=90,
        phase_s=75,
        packing="series a phase",
        timing="acquisition time",
        names=("t1_fl3d_tra_dyn_pre", "t1_fl3d_tra_dyn_post_{k}"),
        study_name="MRI Mamma dynamisch",
        subtraction="t1_fl3d_tra_dyn_post_1_SUB",
        snr=32,
        b1=(0.863, 1.027),
    ),
    Site(
        hospital="South Clinic",
        vendor="GE MEDICAL SYSTEMS",
        model="SIGNA HDxt",
        sequence=Sequence(1.5, 5.4, 2.6, 12, relaxivity=4.1, fat_left=0.18),
        plane="sagittal",
        matrix=(112, 112, 72),
        pixel_mm=2.1,
        slice_mm=4.0,
        feet_first_rows=False,
        phases=4,
        first_post_s=80,
        phase_s=90,
        packing="series a phase",
        timing="acquisition time",
        names=("Sag VIBRANT pre", "Ph{k}/Sag VIBRANT"),
        study_name="MRI BREAST BILATERAL W WO",
        subtraction="SUB: Ph1/Sag VIBRANT",
        snr=24,
        b1=(0.911, 1.054),
    ),
    Site(
        hospital="East University",
        vendor="GE MEDICAL SYSTEMS",
        model="DISCOVERY MR750w",
        sequence=Sequence(3.0, 5.1, 2.2, 11, relaxivity=5.0, fat_left=0.15),
        plane="axial",
        matrix=(136, 136, 46),
        pixel_mm=2.4,
        slice_mm=3.2,
        feet_first_rows=True,
        phases=5,
        first_post_s=70,
        phase_s=65,
        packing="one series",
        timing="temporal position",
        names=("Ax VIBRANT MPH", "Ax VIBRANT MPH"),
        study_name="BREAST MRI",
        subtraction="SUB Ax VIBRANT MPH",
        snr=28,
        b1=(0.863, 1.027),
    ),
    Site(
        hospital="West Institute",
        vendor="Philips",
        model="Ingenia",
        sequence=Sequence(1.5, 6.9, 3.4, 10, relaxivity=3.6),
        plane="axial",
        matrix=(120, 120, 50),
        pixel_mm=2.7,
        slice_mm=3.0,
        feet_first_rows=False,
        phases=4,
        first_post_s=100,
        phase_s=80,
        packing="one series",
        timing="acquisition time",
        names=("dyn_eTHRIVE", "dyn_eTHRIVE"),
        study_name="MAMMA DCE",
        subtraction="SsubDynTHR",
        snr=26,
        b1=(0.994, 0.993),
        slope=0.42,
    ),
)


def open_sites(count: int, *, matrix: int = BASE_MATRIX) -> list[Site]:
    """The first ``count`` hospitals; from the fifth on they are earlier ones with another protocol.

    Args:
        count: How many, 1 or more.
        matrix: In-plane size of the first hospital; the others', and the spacing, follow in proportion.
    """
    scale = matrix / BASE_MATRIX
    sites = []
    for number in range(count):
        base, turn = _ARCHETYPES[number % len(_ARCHETYPES)], number // len(_ARCHETYPES)
        columns, rows, slices = base.matrix
        sites.append(
            replace(
                base,
                hospital=base.hospital + (f" {turn + 1}" if turn else ""),
                sequence=replace(base.sequence, tr_ms=base.sequence.tr_ms + 0.3 * turn),
                matrix=(round(columns * scale), round(rows * scale), slices),
                pixel_mm=base.pixel_mm / scale,
                first_post_s=base.first_post_s + 8 * turn,
                snr=base.snr * 0.93**turn / scale,
            )
        )
    return sites
