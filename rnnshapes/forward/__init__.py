"""NumPy forward pass: scan over time, trace, golden file, one step in full."""
