"""The proposals of one exam, from its phases to files: masks, picture and the rows of the sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from genovox.core.volume import Array, Volume, reorient_to_ras, write_nifti
from genovox.lesions.candidates import find_candidates
from genovox.lesions.enhancement import Uptake, measure_uptake
from genovox.lesions.picture import draw_proposals
from genovox.lesions.ranking import Proposal, rank_candidates
from genovox.volumes.geometry import Grid, sample_grid

MOST_PROPOSALS = 5
FAINT = 0.05
"""Proposals below this confidence are not shown, but for the first."""
PICTURE = "picture.png"


def propose_lesions(volume: Volume) -> tuple[Uptake, list[Proposal]]:
    """Where lesions may be, the surest first: at most five, the first however sure, others from 0.05.

    Args:
        volume: Phases, pre-contrast first, array (phase, z, y, x), in any orientation.

    Raises:
        ImageError: If there is no phase after contrast, or no breast is found.
    """
    uptake = measure_uptake(volume)
    ranked = rank_candidates(uptake, find_candidates(uptake))[:MOST_PROPOSALS]
    return uptake, [one for rank, one in enumerate(ranked) if rank == 0 or one.confidence >= FAINT]


def write_proposals(folder: Path, title: str, volume: Volume) -> list[dict[str, Any]]:
    """Propose the lesions of an exam and write ``picture.png`` and ``1.nii.gz``, ``2.nii.gz``, …, on the scan's grid.

    Args:
        folder: Where the files go.
        title: First line of the picture.
        volume: As ``propose_lesions`` takes it.

    Returns:
        What the sheet says of each, as JSON can hold it.
    """
    uptake, proposals = propose_lesions(volume)
    draw_proposals(folder / PICTURE, title, uptake, proposals)
    target = Grid.of(reorient_to_ras(volume))
    for rank, proposal in enumerate(proposals, start=1):
        write_nifti(folder / f"{rank}.nii.gz", enlarge_proposal(uptake, proposal, target))
    return [_describe_proposal(proposal) for proposal in proposals]


def enlarge_proposal(uptake: Uptake, proposal: Proposal, target: Grid) -> Volume:
    """The mask of a proposal on a grid along the same axes, such as the scan's: 0 and 1, array (1, z, y, x)."""
    mask = proposal.candidate.on_grid(uptake.tissue.shape).astype(np.float32)
    # A margin of nothing, as beyond the exam's window the nearest voxel would be repeated.
    z, y, x = mask.shape
    source = uptake.grid.cut((-1, -1, -1), (x + 2, y + 2, z + 2))
    fine = sample_grid(torch.from_numpy(np.pad(mask, 1)), source, target).numpy()
    binary: Array = (fine > 0.5).astype(np.float32)
    return Volume(binary[None], target.affine)


def _describe_proposal(proposal: Proposal) -> dict[str, Any]:
    figures = proposal.figures
    return {
        "laterality": figures.side,
        "point": list(figures.centre_mm),
        "box": list(figures.box_mm),
        "diameter_mm": figures.diameter_mm,
        "volume_ml": figures.volume_ml,
        "confidence": proposal.confidence,
        "peak_enhancement_percent": figures.peak_percent,
        "ser": None if np.isnan(figures.ser) else figures.ser,
        "evidence": proposal.evidence,
    }
