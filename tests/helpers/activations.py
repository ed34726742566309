"""Activations as a textbook has them."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(z: Any) -> Any:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-z))


def softmax(z: Any) -> Any:
    """Return shares that add up to 1 along the last axis."""
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
