"""The cells, one in each module: weights, gates, equation, what it is in Keras, and its source.

A new cell is a new module here. :mod:`rnnshapes.cells.registry` finds it; no list names it.
"""
