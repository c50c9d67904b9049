"""Random transforms of training batches: tensors in, tensors out."""
