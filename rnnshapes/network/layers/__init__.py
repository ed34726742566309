"""The layers, in modules named as in Keras: weights, equation, and what a layer is in Keras.

A new layer is a new class in one of these modules. :mod:`rnnshapes.network.layers.registry` finds
it by its ``keras_classes``; no other list names it.
"""
