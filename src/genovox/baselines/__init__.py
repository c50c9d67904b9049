"""Models that look at no voxel: columns of numbers, and the oracle of a simulated cohort."""
