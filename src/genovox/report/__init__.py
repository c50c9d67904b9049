"""The study on one page."""
