"""genovox: honest prediction of gene mutation status from 3D breast MRI. Research use only."""

__version__ = "0.1.0"
