"""Phases: which series of a study is pre-contrast, which is the k-th after contrast, and what all the others are."""
