"""From DICOM files to the phases of dynamic examinations."""
