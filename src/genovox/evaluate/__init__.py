"""From tables of predictions to figures with intervals. Tables only."""
