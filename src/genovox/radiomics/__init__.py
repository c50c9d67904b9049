"""Radiomics: a case's voxels as named numbers that a person can read; arrays in, plain floats out."""
