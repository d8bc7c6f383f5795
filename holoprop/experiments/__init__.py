"""Experiments: validated configurations, the presets, a training run with its folder, the gradient check."""
