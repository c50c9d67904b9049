"""Fixtures of every test: real data where it is, and one small finished run."""
