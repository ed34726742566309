"""What is said below the tables of a trace."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rnnshapes.forward.tracing import Trace
from rnnshapes.network.graph import Network, Node
from rnnshapes.render.document import Line
from rnnshapes.render.number_text import fixed, small
from rnnshapes.render.phrases import engine_text, not_finite_text


def remarks(result: Trace, sample: int) -> Iterator[Line]:
    """What the numbers are, what they are not, and how both sides compare."""
    if result.not_finite is not None:
        yield Line(not_finite_text(result.not_finite), "bad")
    yield from _meaning(result)
    yield Line("NumPy computes in float64, from the model's own weights and x in float32.")
    for name, meaning in result.network.changed_meanings.items():
        yield Line(f"{name}: {meaning}", "bad")
    if result.unsupported:
        yield Line(f"Not derived: {', '.join(result.unsupported)}; its values are Keras's.", "bad")
    if result.keras is None or result.difference is None:
        yield Line("Keras was left out.", "dim")
        return
    yield Line(
        f"{engine_text(result.keras.engine)} computes in {result.network.dtype}, every step "
        "by the model's own cells in a loop that shows them."
    )
    yield from _own_output(result, sample)
    apart, what = result.difference, "output" if result.y_hat is None else "y_hat"
    if math.isnan(apart.max_abs):
        yield Line(f"No difference of {what} can be told: it is NaN, first at {apart.index}", "bad")
        return
    yield Line(
        f"Largest difference of {what} in all samples: {small(apart.max_abs)} at {apart.index}"
    )


def _meaning(result: Trace) -> Iterator[Line]:
    """What a row is not, and how a direction or a mask is to be read."""
    network = result.network
    if len(network.outputs) > 1:
        first, *others = [network.nodes[tap.node].name for tap in network.outputs]
        yield Line(
            f"The model has {len(network.outputs)} outputs; shown is the first, {first}, and not "
            f"{', '.join(others)}. verify looks at all of them.",
            "strong",
        )
    if result.y_hat is None:
        yield Line(
            "There is no y_hat at a single step: the output joins the steps, or is a state that "
            "the last one left.",
            "strong",
        )
    elif not network.is_causal:
        backwards = [n for node in network.recurrent for n, d in node.scans if d.reverse]
        why = "layers in front join time steps"
        if backwards:
            why = f"{', '.join(backwards)} reads from the end"
        elif network.unsupported:
            why = f"{network.unsupported[0].name} is not derived"
        be = "may not be" if network.unsupported and not backwards else "is not"
        yield Line(
            f"y_hat at t {be} what the model would answer had the sequence ended at t: {why}.",
            "strong",
        )
    back = turned(network)
    if result.y_hat is not None and back and not network.output_shapes.final:
        yield Line(
            f"Rows of y_hat are in the order in which {back[-1].name} answers: its row t belongs "
            f"to states at {network.output_shapes.steps}-1-t."
        )
    for layer in result.layers:
        if layer.reverse:
            yield Line(
                f"{layer.name} reads from the last step to the first: "
                f"h{layer.index} at t follows from h{layer.index} at t+1."
            )
    if any(layer.mask is not None for layer in result.layers):
        yield Line("A masked step leaves the states as they are, and has no gates.")


def turned(network: Network) -> list[Node]:
    """Layers that answer in an order of their own, from the last step back."""
    return [n for n in network.recurrent if n.layer.reversed_outputs == (True,)]  # type: ignore[attr-defined]


def _own_output(result: Trace, sample: int) -> Iterator[Line]:
    """How Keras's rows are its ``predict``: the last one, each one, or none."""
    output, steps = result.output_keras, result.y_hat_keras
    assert output is not None
    output = output[sample]
    network = result.network
    if steps is None or not (network.is_causal or network.returns_sequences):
        apart = small(float(np.max(np.abs(output - result.output[sample]))))
        numbers = ", ".join(fixed(v) for v in output.reshape(-1)[:8].tolist())
        more = ", …" if output.size > 8 else ""
        yield Line(f"The model's own predict answers {numbers}{more}; NumPy differs by {apart}.")
        return
    steps = steps[sample]
    which = "Every row" if network.returns_sequences else f"Row t = {len(steps) - 1}"
    steps = steps if network.returns_sequences else steps[-1]
    if np.isnan(output).all() and np.isnan(steps).all():
        yield Line(f"{which} is NaN, and so is what the model's own predict answers.", "bad")
        return
    if np.array_equal(output, steps, equal_nan=True):
        yield Line(f"{which} is what the model's own predict answers, bit for bit.", "good")
        return
    apart = small(float(np.max(np.abs(output - steps))))
    yield Line(f"{which} and the model's own predict differ by {apart}; verify judges it.")
