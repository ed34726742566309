"""Proof that Keras computes the equations: residuals, bounds, report."""
