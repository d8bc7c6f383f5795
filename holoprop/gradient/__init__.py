"""Gradients: estimators that read them off nudged rest states, their certificate, and exact references."""
