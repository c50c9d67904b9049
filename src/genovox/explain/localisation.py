"""Where a map lies: in the foreground or beside it, and in the scan's own space."""

import numpy as np
from scipy.ndimage import affine_transform

from genovox.core.volume import Affine, Volume


def foreground_share(activation: np.ndarray, mask: np.ndarray) -> float | None:
    """Share of a map's sum that lies in the foreground; None for an empty map.

    Args:
        activation: Shape (z, y, x), 0 or more.
        mask: Foreground, shape (z, y, x).
    """
    inside, outside = float(activation[mask].sum()), float(activation[~mask].sum())
    return inside / (inside + outside) if inside + outside > 0 else None


def map_to_scan(activation: np.ndarray, affine: Affine, scan: Volume) -> Volume:
    """Bring a map from the network's grid back to the scan's.

    Args:
        activation: Shape (z, y, x).
        affine: The network grid's (x, y, z) index to RAS mm.
        scan: The scan whose grid is wanted.

    Returns:
        Array (1, z, y, x) on the scan's grid, 0 outside the crop.
    """
    to_crop = np.linalg.inv(affine) @ scan.affine
    flip = [2, 1, 0]
    array = affine_transform(
        activation,
        to_crop[:3, :3][np.ix_(flip, flip)],
        offset=to_crop[:3, 3][flip],
        output_shape=scan.array.shape[1:],
        order=1,
        mode="grid-constant",
        cval=0.0,
        output=np.float32,
    )
    return Volume(array[np.newaxis], scan.affine)
