"""Settling: how a network comes to rest. Solvers, the fixed-point problem they solve, and how it ended."""
