"""Repeated cross-validation: an explicit loop, checkpoints, one table of predictions."""
