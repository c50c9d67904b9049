"""Learning from scans without labels, before the networks of a study are trained."""
