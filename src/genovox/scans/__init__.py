"""From DICOM files to the volumes of each series."""
