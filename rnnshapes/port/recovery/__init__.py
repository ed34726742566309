"""Weights that a port must have, recovered from its numbers, and what was done to them."""
