"""Verification of a network against Keras: its checks, and their result.

The one-step residual is the rule. Keras's own states s_{t-1} go through one step of the equation
in float64; s_t may differ from the result by no more than rounding in Keras's precision can cause
in that one step. T and the spectral radius of Wh play no part in the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnshapes import progress, reference
from rnnshapes.forward import keras_replay, numpy_run
from rnnshapes.forward.difference import Difference, Index, output_difference
from rnnshapes.forward.non_finite import NonFinite, NonFiniteFinder
from rnnshapes.load.inputs import InputSources, describe_inputs
from rnnshapes.network.graph import Network
from rnnshapes.network.structure import Engine, ModelStructure, facts
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.result import Result
from rnnshapes.verification import unrolled
from rnnshapes.verification.bounds import Residual
from rnnshapes.verification.residuals import layer_residuals

#: How many times each step is computed, beside the run of Keras itself.
PASSES = 4
_DIRECTIONS = MappingProxyType(
    {False: "from t = 0 on", True: "from the last t back", None: "no recurrence"}
)
_RANDOM = (
    "two runs on the same x give different outputs: a layer that is not supported probably draws "
    "random numbers; create one keras.random.SeedGenerator in the layer and pass it as seed=, or "
    "draw no random numbers at inference"
)


@dataclass(frozen=True)
class Check:
    """One check of a network against Keras.

    Attributes:
        name: What is checked: ``lstm: h at every step``.
        passed: Whether it passes; a check that compares nothing fails.
        compared: How many numbers, names or shapes were compared.
        expected: What is expected, as text.
        found: What Keras has, as text.
        residual: The largest error and its bound; None for an exact comparison.
        layer: The layer or recurrence.
        quantity: What of it is compared: ``h at every step``.
    """

    name: str
    passed: bool
    compared: int
    expected: str
    found: str
    residual: Residual | None = None
    layer: str = ""
    quantity: str = ""

    @property
    def ratio(self) -> float | None:
        """The largest ratio; None for an exact comparison, and where nothing was compared."""
        return self.residual.ratio if self.residual is not None and self.compared else None

    @property
    def index(self) -> Index | None:
        """The index of the largest ratio; None where there is no ratio."""
        return self.residual.index if self.residual is not None and self.compared else None

    @property
    def precision(self) -> str:
        """The dtype in which Keras computed; empty for an exact comparison."""
        return "" if self.residual is None else self.residual.precision

    @property
    def detail(self) -> str:
        """``worst at sample 0, t 3, unit 1``; empty where there is no ratio."""
        return "" if self.index is None else f"worst at {self.index}"


@dataclass(frozen=True, repr=False)
class Verification(Result):
    """Every check of a network against Keras.

    Attributes:
        network: The network.
        source: Where the input comes from, as text.
        engine: Keras and its backend.
        checks: The checks. They alone decide whether the verification has ``passed``.
        difference: The largest difference of whole runs. It is information, not a check.
        not_finite: NaN and infinite numbers of the input.
        unsupported: Layers that no check covers; empty where everything is checked.
        is_random: Whether the model failed, and gives other outputs in another run.
    """

    schema = "rnnshapes.verify/1"
    renderer = "verification"

    network: Network
    source: str
    engine: Engine
    checks: tuple[Check, ...]
    difference: Difference | None
    not_finite: NonFinite | None
    unsupported: tuple[str, ...]
    is_random: bool = False

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them pass."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """Possible reasons of a failure."""
        if self.passed:
            return ()
        reasons = dict(self.network.known_differences)
        if self.is_random:
            reasons["predict"] = _RANDOM
        return tuple(f"{name}: {reason}" for name, reason in reasons.items())

    @property
    def overflow(self) -> int | None:
        """The first step at which a sample may have overflowed; None if none has."""
        residuals = [check.residual for check in self.checks if check.residual is not None]
        steps = [r.overflow for r in residuals if r.overflow is not None]
        return min(steps, default=None)


def verify_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    built: ModelStructure,
    keras_weights: Weights,
    keras: ModelOutputs,
) -> Verification:
    """Check the structure, the weights and the outputs of a Keras model against the network.

    Each step is computed ``PASSES`` times: NumPy computes it, it is checked, Keras repeats it in
    float64, and it is checked again.

    Args:
        network: The network.
        weights: Its weights.
        sources: Its input.
        built: Names, shapes and counts of the Keras model.
        keras_weights: The weights of the Keras model.
        keras: What Keras computed from the same input.
    """
    finder = NonFiniteFinder()
    (xs,) = finder.blocks(sources, 2**62, slice(0, None))
    ours = numpy_run.numpy_outputs(network, weights, xs, keras)
    checks = (
        *structure_checks(network, built),
        *weight_checks(network, weights, keras_weights),
        *residual_checks(network, weights, xs, keras),
        *float64_checks(network, weights, xs, ours, keras.engine),
    )
    return Verification(
        network=network,
        source=describe_inputs(sources, network),
        engine=keras.engine,
        checks=checks,
        difference=output_difference(network, ours, keras) if network.recurrent else None,
        not_finite=finder.result,
        unsupported=tuple(f"{node.name} ({node.layer.type})" for node in network.unsupported),
    )


def structure_checks(network: Network, built: ModelStructure) -> Iterator[Check]:
    """Check every weight's name and shape, every count and every direction."""
    for fact in facts(network, built):
        numbers = "nothing" if fact.expected is None else _number_text(fact.expected)
        yield Check(
            name=fact.name,
            passed=fact.agrees,
            compared=1,
            expected=numbers if fact.symbols in ("", numbers) else f"{fact.symbols} = {numbers}",
            found="nothing" if fact.found is None else _number_text(fact.found),
        )
    for layer in network.layers:
        for direction in layer.directions:
            expected, actual = direction.reverse, built.backwards.get(direction.name)
            yield Check(
                name=f"{direction.name}: direction",
                passed=actual == expected,
                compared=1,
                expected=_DIRECTIONS[expected],
                found=_DIRECTIONS[actual],
                layer=direction.name,
            )


def weight_checks(network: Network, weights: Weights, keras_weights: Weights) -> Iterator[Check]:
    """Check that every number of every weight is the same in Keras."""
    names = {
        (group, weight.key): f"{group}/{weight.name}"
        for layer in network.layers
        for group, layer_weights in layer.groups.items()
        for weight in layer_weights
        if layer.declared_shapes is None
    }
    pairs = {name: (weights[g][key], keras_weights[g][key]) for (g, key), name in names.items()}
    different = [name for name, pair in pairs.items() if not np.array_equal(*pair)]
    if pairs:
        yield Check(
            name="weights: numbers",
            passed=not different,
            compared=sum(one.size for one, _ in pairs.values()),
            expected="equal",
            found=f"not equal: {', '.join(different)}" if different else "equal",
        )


def residual_checks(
    network: Network, weights: Weights, xs: Sequence[Array], keras: ModelOutputs
) -> Iterator[Check]:
    """Check every state at every step, every layer's output, masks, and the model's own output.

    A sample is not compared from the step on at which it may have overflowed. If every sample
    has overflowed, the model's own output is not checked.
    """
    for layer, quantity, residual in layer_residuals(network, weights, xs, keras):
        yield residual_check(layer, quantity, residual)


def float64_checks(
    network: Network, weights: Weights, xs: Sequence[Array], ours: ModelOutputs, engine: Engine
) -> Iterator[Check]:
    """Check the same in float64, where an error of 1e-6 in a weight shows.

    Keras's own layers are rebuilt, and repeat each step of the run in NumPy. Both are compared
    with the equations, and so is the output of the run in NumPy. Where the backend of Keras has
    no float64, only the run in NumPy is checked.
    """
    if not engine.float64:
        yield from replay_checks(network, weights, xs, ours, "float64")
        return
    called: dict[str, tuple[Array, ...]] = {}

    def repeat_steps_and_layers(*args: Any) -> ModelOutputs:
        keras = reference.repeat_steps_and_layers(unrolled.STEPS, *args)
        called.update(keras.unrolled)
        return keras.outputs

    repeated = keras_replay.keras_replay(network, weights, ours, "float64", repeat_steps_and_layers)
    progress.advance(network.scan_steps)
    for layer, quantity, residual in unrolled.unrolled_residuals(
        network, weights, repeated, called, unrolled.STEPS
    ):
        yield residual_check(layer, quantity, residual, "float64")
    yield from replay_checks(network, weights, xs, repeated, "float64")


def replay_checks(
    network: Network, weights: Weights, xs: Sequence[Array], repeated: ModelOutputs, dtype: str
) -> Iterator[Check]:
    """Check what Keras computes in ``dtype`` from each step and each layer of the run in NumPy.

    In float64, the dtype of the run in NumPy, the outputs of that run are checked as well.
    """
    recurrent = {node.name for node in network.recurrent}
    in_dtype = network.with_dtype(dtype)
    for layer, quantity, residual in layer_residuals(in_dtype, weights, xs, repeated):
        if layer == "predict":  # here the model's outputs are those of the run in NumPy
            if dtype == "float64":
                yield residual_check("trace", quantity.removeprefix("own "), residual, dtype)
        elif dtype == "float64" or not (layer in recurrent and quantity.startswith("output")):
            yield residual_check(layer, quantity, residual, dtype)


def residual_check(layer: str, quantity: str, residual: Residual, dtype: str = "") -> Check:
    """Return a residual as a check; its name contains ``dtype`` if that is given."""
    found = f"ratio {residual.ratio:.3g}" if residual.compared else "nothing to compare"
    return Check(
        name=f"{layer}: {quantity}{f', in {dtype}' if dtype else ''}",
        passed=residual.passed,
        compared=residual.compared,
        expected="ratio <= 1",
        found=found,
        residual=residual,
        layer=layer,
        quantity=quantity,
    )


def _number_text(value: tuple[int, ...] | int) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)
