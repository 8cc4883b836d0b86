"""Folds, datasets, batches, the training loop and its checkpoints."""
