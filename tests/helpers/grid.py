"""Correct and wrong networks of many sizes, compared by verify's own rule.

Keras's own layers repeat each step of the run in NumPy, in float32 and in float64. Their outputs
are compared with the network itself, and with mutants of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward import keras_replay, numpy_run
from rnnshapes.load import inputs
from rnnshapes.network.graph import Network
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.session import open_session
from rnnshapes.verification import residuals
from tests.helpers.cells import FORMS

DTYPES = ("float32", "float64")
#: Families of mistakes that make another network, and not another input.
STRUCTURAL = ("kernel", "gates", "cell", "bias", "activation", "head")


class CaseResult(NamedTuple):
    """The largest ratio of a network in a precision, and how many numbers were compared.

    ``empty`` counts residuals that compared none.
    """

    name: str
    dtype: str
    ratio: float
    compared: int
    empty: int


class Case:
    """A network by its sizes, with weights of a given spectral radius, and its input."""

    def __init__(self, radius: float | None = None, scale: float = 1.0, **spec: Any) -> None:
        self.name = " ".join(f"{key}={value}" for key, value in spec.items())
        self.name += f" radius={radius} scale={scale}"
        with open_session(**spec) as session:
            self.network, drawn = session.network, session.weights()
            self.xs = tuple(inputs.full_array(source) for source in session.sources)
        self.weights = {
            group: {key: np.float32(scale) * array for key, array in arrays.items()}
            for group, arrays in drawn.items()
        }
        for arrays in self.weights.values():
            if radius is not None and "Wh" in arrays:
                arrays["Wh"] = _with_radius(arrays["Wh"], radius)

    def keras_outputs(self, dtype: str) -> Any:
        """Return what Keras computes in each step."""
        ours = numpy_run.numpy_outputs(self.network, self.weights, self.xs)
        return keras_replay.keras_replay(self.network, self.weights, ours, dtype)

    def compare(self, outputs: Any, network: Network, weights: Any, dtype: str) -> CaseResult:
        """Compare Keras's outputs with a network that may be another one."""
        exact = network.with_dtype(dtype)
        layers = residuals.layer_residuals(exact, weights, self.xs, outputs)
        found = [residual for _, _, residual in layers]
        ratios = [residual.ratio for residual in found if residual.compared]
        largest = np.nan if np.isnan(ratios).any() else max(ratios, default=np.nan)
        compared = sum(residual.compared for residual in found)
        empty = sum(residual.compared == 0 for residual in found)
        return CaseResult(self.name, dtype, float(largest), compared, empty)


def _with_radius(kernel: Any, radius: float) -> Any:
    """Scale each gate's block of a recurrent kernel to a spectral radius."""
    blocks = np.split(kernel, kernel.shape[1] // kernel.shape[0], axis=1)
    scaled = [b * (radius / max(np.abs(np.linalg.eigvals(b)).max(), 1e-30)) for b in blocks]
    return np.concatenate(scaled, axis=1).astype("float32")


def right(cases: Iterator[Case]) -> Iterator[CaseResult]:
    """Compare each case with itself."""
    for case in cases:
        for dtype in DTYPES:
            yield case.compare(case.keras_outputs(dtype), case.network, case.weights, dtype)


def wrong(case: Case) -> Iterator[CaseResult]:
    """Compare Keras's outputs with every structural mutant, in both precisions."""
    base = Hypothesis(case.network, case.weights, case.xs, ())
    mutants = [one for one in hypotheses(base) if one.families[0] in STRUCTURAL]
    for dtype in DTYPES:
        outputs = case.keras_outputs(dtype)
        for mutant in mutants:
            result = case.compare(outputs, mutant.network, mutant.weights, dtype)
            yield result._replace(name=f"{case.name}: {mutant.mistakes[0].text}")


def nudged(case: Case, share: float = 1e-6, dtype: str = "float64") -> Iterator[CaseResult]:
    """Compare Keras's outputs with weights in which one large number is moved."""
    outputs = case.keras_outputs(dtype)
    for group, arrays in case.weights.items():
        for key, array in arrays.items():
            moved = array.astype("float64")
            moved.flat[int(np.argmax(np.abs(moved)))] *= 1 + share
            weights = {**case.weights, group: {**arrays, key: moved}}
            result = case.compare(outputs, case.network, weights, dtype)
            yield result._replace(name=f"{case.name}: {group}/{key}")


def cases(
    sizes: tuple[tuple[int, ...], ...], radii: tuple[float | None, ...], **more: Any
) -> Iterator[Case]:
    """Yield each cell with each (N, T, D, M, K) and each spectral radius."""
    for cell, (n, t, d, m, k), radius in itertools.product(FORMS, sizes, radii):
        yield Case(radius, N=n, T=t, D=d, M=m, K=k, **cell, **more)
