"""The interpreters of an equation: each computes it on another kind of value.

An equation in :mod:`rnnshapes.cells` or :mod:`rnnshapes.network.layers` is written once, with
``@``, ``+``, ``-``, ``*`` and the operations in :mod:`rnnshapes.ops.interface`. Each interpreter
has a class of values with these operators, and a class with these operations:

- :mod:`rnnshapes.ops.symbolic` computes symbolic shapes, formulas and multiply-adds,
- :mod:`rnnshapes.ops.numpy_ops` arrays,
- :mod:`rnnshapes.ops.bounded` arrays with a proven bound of their rounding error,
- :mod:`rnnshapes.ops.recorder` arrays, with every operation recorded.
"""
