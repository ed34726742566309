"""The cells: for each its weights, its equation written once, and where it comes from."""
