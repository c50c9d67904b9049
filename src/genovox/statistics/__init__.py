"""Pure functions on arrays: what a figure of few patients can and cannot say."""
