"""Live Keras models as networks."""
