"""A Trace as a document, as JSON, as rows and as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rnnshapes.algebra.arrays import Array
from rnnshapes.algebra.dims import shape_text
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.figures import fixed, small, whole
from rnnshapes.render.shared import (
    engine_text,
    network_text,
    not_finite_text,
    place_text,
    sizes_record,
)
from rnnshapes.render.view import View
from rnnshapes.tracing import LayerTrace, Trace

#: How many steps stay at each end where the middle is left out.
_AT_EACH_END = 10

#: A column, and what stands in it at time step t.
Cells = tuple[Column, Callable[[int], str]]


def document(result: Trace, view: View) -> Document:
    """The time steps of one sample, and how the two sides compare."""
    sizes = result.network.numbers(result.network.input_shape)
    return (
        Line(network_text(result.network), "strong"),
        Line(f"x {shape_text(sizes)}: {result.source}"),
        _table(result, view),
        *_notes(result, view),
    )


def record(result: Trace) -> dict[str, Any]:
    """The JSON form ``rnnshapes.trace/1``; arrays stay arrays."""
    keras, difference = result.keras, result.difference
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None if keras is None else vars(keras.engine),
        "y_hat": {"numpy": result.y_hat, "keras": result.y_hat_keras},
        "output": {"numpy": result.output, "keras": None if keras is None else keras.output},
        "layers": [_layer_record(layer) for layer in result.layers],
        "difference": None
        if difference is None
        else {"max_abs": difference.max_abs, **vars(difference.place)},
        "not_finite": None
        if result.not_finite is None
        else {"count": result.not_finite.count, "first": vars(result.not_finite.first)},
    }


def arrays(result: Trace) -> dict[str, Array]:
    """What a .npz holds: ``y_hat``, ``y_hat_keras``, ``lstm.c``, ``lstm.c_keras``, ``lstm.gate_i``.

    Each is (N, T, units).
    """
    found = {"y_hat": result.y_hat}
    if result.y_hat_keras is not None:
        found["y_hat_keras"] = result.y_hat_keras
    for layer in result.layers:
        for key, values in layer.states.items():
            found[f"{layer.name}.{key}"] = values
            if key in layer.keras:
                found[f"{layer.name}.{key}_keras"] = layer.keras[key]
        found |= {f"{layer.name}.gate_{gate}": values for gate, values in layer.gates.items()}
    return found


def _layer_record(layer: LayerTrace) -> dict[str, Any]:
    keras = {f"{key}_keras": values for key, values in layer.keras.items()}
    return {"name": layer.name, **layer.states, **keras, "gates": dict(layer.gates)}


def rows(result: Trace) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each sample and time step."""
    parts = arrays(result)
    yield ("sample", "t", *(f"{name}[{i}]" for name, a in parts.items() for i in range(a.shape[2])))
    for sample in range(result.y_hat.shape[0]):
        for t in range(result.y_hat.shape[1]):
            yield (sample, t, *(v for a in parts.values() for v in a[sample, t].tolist()))


def _table(result: Trace, view: View) -> Table:
    n, t, _ = result.y_hat.shape
    start = 0 if view.start is None else view.start
    end = t if view.end is None else view.end
    columns = list(_columns(result, view.sample))
    made = []
    for step in _steps(start, end, view):
        if step is None:
            made.append(Row(("…",) * len(columns), "dim"))
        else:
            own = step == t - 1 and not result.network.returns_sequences
            cells = tuple(cell(step) for _, cell in columns)
            made.append(Row(cells, "strong" if own else "plain"))
    names = ", ".join(name for name, *_ in _quantities(result))
    return Table(
        f"{names} at each time step, sample {view.sample} of {n}",
        tuple(column for column, _ in columns),
        tuple(made),
        elsewhere="--format json or csv",
    )


def _steps(start: int, end: int, view: View) -> Iterator[int | None]:
    """The steps to show; ``None`` stands for those left out in the middle."""
    if not _elided(start, end, view):
        yield from range(start, end)
        return
    yield from range(start, start + _AT_EACH_END)
    yield None
    yield from range(end - _AT_EACH_END, end)


def _elided(start: int, end: int, view: View) -> bool:
    return not view.chosen and view.most_rows is not None and end - start > view.most_rows


def _columns(result: Trace, sample: int) -> Iterator[Cells]:
    """t, and for y_hat and each state its units from both sides and their largest difference.

    In a narrow terminal y_hat[0] and the differences come first, then unit after unit.
    """
    yield Column("t", numeric=True), str
    shown = list(_quantities(result))
    for group, (name, ours, theirs) in enumerate(shown):
        for unit in range(ours.shape[2]):
            rank = 1 + (1 + unit) * len(shown) + group if group or unit else 0
            for side, values in (("NumPy", ours), ("Keras", theirs)):
                if values is not None:
                    yield _column(f"{name}[{unit}]\n{side}", values[sample, :, unit], rank)
        if theirs is not None:
            apart = _apart(ours[sample], theirs[sample])
            heading = f"{name}\ndifference"
            yield Column(heading, numeric=True, rank=1 + group), _small_at(apart)


def _quantities(result: Trace) -> Iterator[tuple[str, Array, Array | None]]:
    """What is shown, (N, T, units) from NumPy and from Keras, by its name in the equation."""
    yield "y_hat", result.y_hat, result.y_hat_keras
    indices = {layer.name: layer.index for layer in result.network.recurrent}
    for layer in result.layers:
        index = indices[layer.name]
        for key, values in layer.states.items():
            yield f"{key}{index}", values, layer.keras.get(key)
        for gate, values in layer.gates.items():
            yield f"gate {gate}{index}", values, None


def _column(heading: str, values: Array, rank: int) -> Cells:
    return Column(heading, numeric=True, rank=rank), lambda t: fixed(float(values[t]))


def _small_at(values: Array) -> Callable[[int], str]:
    return lambda t: small(float(values[t]))


def _apart(ours: Array, theirs: Array) -> Array:
    with np.errstate(invalid="ignore"):
        apart: Array = np.max(np.abs(ours - theirs), axis=-1)
    return apart


def _notes(result: Trace, view: View) -> Iterator[Line]:
    t = result.y_hat.shape[1]
    if _elided(view.start or 0, t if view.end is None else view.end, view):
        left = whole(t - 2 * _AT_EACH_END)
        yield Line(
            f"{left} steps in the middle are not shown: --steps a:b shows some, "
            "--format json or csv holds all",
            "dim",
        )
    if result.not_finite is not None:
        yield Line(not_finite_text(result.not_finite), "bad")
    yield Line("NumPy computes in float64, from the model's own weights and x in float32.")
    if result.keras is None or result.difference is None:
        yield Line("Keras was left out.", "dim")
        return
    yield Line(
        f"{engine_text(result.keras.engine)} computes in {result.network.dtype}, every step "
        "by a twin of the model with return_sequences=True."
    )
    yield _own_output(result, view.sample)
    apart = result.difference
    where = place_text(apart.place)
    yield Line(f"Largest difference of y_hat in all samples: {small(apart.max_abs)} at {where}")


def _own_output(result: Trace, sample: int) -> Line:
    """How Keras's last row (each row, for a model that returns sequences) is its ``predict``."""
    assert result.keras is not None
    assert result.y_hat_keras is not None
    output, steps = result.keras.output[sample], result.y_hat_keras[sample]
    which = "Every row" if result.network.returns_sequences else f"Row t = {len(steps) - 1}"
    steps = steps if result.network.returns_sequences else steps[-1]
    if np.array_equal(output, steps, equal_nan=True):
        return Line(f"{which} is what the model's own predict answers, bit for bit.", "good")
    apart = small(float(np.max(np.abs(output - steps))))
    return Line(f"{which} and the model's own predict differ by {apart}; verify judges it.")
