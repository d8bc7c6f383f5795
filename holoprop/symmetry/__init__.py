"""Symmetry of weights and of the Jacobian: how far a network is from it, and what brings it there."""
