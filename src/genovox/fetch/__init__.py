"""Fetch: choose series of a public collection by their role, and download them verified."""
