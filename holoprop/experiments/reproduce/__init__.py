"""Published experiments and our own, each run by its name and checked against the outcome that is expected of it."""
