"""Preprocessed volumes as batches of tensors."""
