"""Weight files of PyTorch and ONNX, read without either, and without running anything in them."""
