"""What is done to the voxels of one scan: arrays in, arrays out, on CPU or GPU."""
