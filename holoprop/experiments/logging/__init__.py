"""Where a run is written to besides its JSON lines: TensorBoard's event files, Weights & Biases."""
