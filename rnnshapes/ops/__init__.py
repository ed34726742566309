"""The readings of an equation: over symbolic shapes, over arrays, over bounded numbers.

An equation in :mod:`rnnshapes.cells` or :mod:`rnnshapes.network.layers` uses ``@``, ``+``, ``*``
and ``ops.activate(name, z)`` only. Each module here gives values with these operations and an
``ops`` to go with them.
"""
