"""Saved models: read without running, or trusting, anything in them."""
