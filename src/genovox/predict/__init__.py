"""A finished run applied to a new scan."""
