"""A Trace as a C header: the arrays of its .npz form, each with its shape and its equation."""

from __future__ import annotations

from collections.abc import Iterator

from rnnshapes.forward.golden import Entry, described
from rnnshapes.forward.tracing import Trace
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import inspect_network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim, Shape, shape_text
from rnnshapes.render.documents.tracing import arrays
from rnnshapes.render.formats.c_header import Header, about_layers
from rnnshapes.render.phrases import engine_text, network_text

_READING = (
    "Axis 1 is time, t from 0, by the time of x. What NumPy computes is float64; names that end in "
    "_keras are what Keras computes. A masked step has the states of the one before, and NaN for "
    "its gates."
)
_KERAS = "_keras"


def header(result: Trace) -> Header:
    """What a C header holds. Its names are not those of a golden one, which may stand beside it."""
    about = [f"{result.schema}: {network_text(result.network)}", f"x: {result.source}"]
    if result.keras is not None:
        about.append(f"{engine_text(result.keras.engine)}, {result.network.dtype}")
    layers = about_layers(inspect_network(result.network).layers)
    made = _entries(result.network, arrays(result))
    return Header("TRACE", "trace_", (*about, *layers, _READING), result.network, tuple(made))


def _entries(network: Network, found: dict[str, Array]) -> Iterator[tuple[Entry, str]]:
    """Each array with its symbolic shape, and what is said of it."""
    known = described(network)
    flow = network.output_flow
    samples = Dim.named("N")
    known["output"] = (flow.shapes[0], "what the model returns")
    if flow.steps is not None:
        known["y_hat"] = ((samples, flow.steps, *flow.at_step[1:]), "y_hat_t, the head at step t")
    for name, (dims, _) in list(known.items()):
        recurrence = name.rpartition(".")[0]
        known.setdefault(f"{recurrence}.mask", (dims[:2], "whether step t counts"))
    for name, values in found.items():
        dims, text = _of(name, known)
        by = ", as Keras computes it" if name not in known else ""
        yield Entry(name, values, dims, text), f"{text}{by}, {shape_text(dims)}"


def _of(name: str, known: dict[str, tuple[Shape, str]]) -> tuple[Shape, str]:
    return known[name] if name in known else known[name.removesuffix(_KERAS)]
