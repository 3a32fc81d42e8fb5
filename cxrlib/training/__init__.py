"""Training runs: the job, its epochs, batches, losses and checkpoints."""
