"""Training: the step around any estimator and optimiser, the loop, metrics, checkpoints, evaluation."""
