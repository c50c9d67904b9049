"""Filters of voxels: less noise, more contrast; three dimensions, sizes in mm."""
