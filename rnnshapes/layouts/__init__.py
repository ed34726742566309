"""Layouts of weights: how each framework names, orders, transposes and splits a cell's arrays."""
