"""Weights of a network in files of other frameworks: written, and compared with Keras."""
