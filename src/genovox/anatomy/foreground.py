"""Foreground: what belongs to the patient, or to the organ that is studied."""

import numpy as np

from genovox.anatomy.body import find_body
from genovox.anatomy.brain import find_brain
from genovox.anatomy.breast import find_breasts
from genovox.core.errors import ImageError
from genovox.core.volume import Mask, Volume


def find_foreground(volume: Volume, kind: str) -> Mask:
    """Mask of the foreground.

    Args:
        volume: Phases in RAS order, pre-contrast first, array (phase, z, y, x).
        kind: ``body`` (air removed), ``breast`` (chest wall removed too), ``brain`` (skull removed) or ``none``
            (everything).

    Returns:
        Shape (z, y, x).

    Raises:
        ImageError: If there is no foreground, or the scan is too small to show it.
        MissingExtraError: For ``brain`` without the extra ``[brain]``.
    """
    if kind == "none":
        return np.ones(volume.array.shape[1:], bool)
    if kind == "breast":
        return find_breasts(volume).mask
    if kind == "brain":
        return find_brain(volume)
    mask = find_body(volume)
    if not mask.any():
        raise ImageError('the foreground is empty; look at the scan or use foreground = "none"')
    return mask
