"""The digital phantom of the Image Biomarker Standardisation Initiative, doi:10.1148/radiol.2020191145."""

import numpy as np

# Slices along z, rows along y; 0 lies outside the region of interest. Voxels are 2 mm cubes.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    np.float32,
)
MASK = PHANTOM > 0
SPACING_MM = (2.0, 2.0, 2.0)
