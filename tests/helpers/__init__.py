"""What the tests share: models, files, networks worked out by hand, and runs of Keras."""
