"""The page of an experiment's outcome: pictures, published and found side by side, claims and their verdicts."""
