"""Comparison of a port's arrays with the network, and diagnosis of mistakes."""
