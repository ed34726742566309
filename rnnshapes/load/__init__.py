"""Read x, saved Keras files and live models."""
