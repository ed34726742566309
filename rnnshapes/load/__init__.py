"""What users hand in: x, saved Keras files, live models."""
