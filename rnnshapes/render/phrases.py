"""Texts, cells and JSON records that several kinds of results share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rnnshapes.network.graph import Network
from rnnshapes.network.structure import Engine, Fact
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import Column, Line, Meaning, Row
from rnnshapes.render.number_text import count_text, ratio_bar, size_text

if TYPE_CHECKING:
    from rnnshapes.forward.difference import Difference, Index
    from rnnshapes.forward.non_finite import NonFinite
    from rnnshapes.network.summary import Gate

#: Names of Keras's backends as their makers write them.
_BACKEND_NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}

#: Headings of the CSV form of checks.
CHECK_HEADINGS = ("name", "passed", "compared", "expected", "found", "ratio", "detail")
#: Columns of the cells that :func:`ratio_cells` returns.
RATIO_COLUMNS = (Column("ratio", numeric=True), Column("of 1", rank=1))
#: How many layers a warning names.
_MOST_NAMES = 8
#: Column of the cell that :func:`index_cell` returns.
INDEX_COLUMN = Column("worst at\nsample, t, unit")


# --- The network and Keras ----------------------------------------------------------------------


def network_text(network: Network) -> str:
    """Return ``Input((T, D)) → SimpleRNN(M) → Dense(K)   N=1 T=10 D=3 M=5 K=2``.

    A network that is no chain is described by its inputs and the number of its layers.
    """
    sizes = " ".join(
        f"{name}={'?' if value is None else value}" for name, value in network.sizes.items()
    )
    inputs = [f"Input({shape_text(node.layer.shape[1:])})" for node in network.inputs]  # type: ignore[attr-defined]
    if network.is_chain:
        called = network.layers[: len(network.layers) - len(network.uncalled)]
        chain = " → ".join([*inputs, *(layer.label for layer in called)])
        return f"{chain}   {sizes}"
    count = f"{len(network.layers)} layer{'s' * (len(network.layers) > 1)}"
    if not inputs:
        return f"{count}, whose graph is not known"
    return f"{', '.join(inputs)} → {count}   {sizes}"


def network_line(network: Network, meaning: Meaning = "strong") -> Line:
    """Return a line that describes a network."""
    return Line(network_text(network), meaning, indent=2)


def format_text(path: str, kind: str, framework: str) -> str:
    """Return what a file is, without the ending of its name: ``PyTorch``, ``ONNX``.

    A kind that the name does not show is added: ``state_dict of PyTorch``.
    """
    is_shown = path.lower().endswith(kind) or kind == f".{framework.lower()}"
    return framework if is_shown else f"{kind} of {framework}"


def sizes_record(network: Network) -> dict[str, Any]:
    """Return all sizes by name; M as a list with one for each cell, K of the last Dense layer."""
    sizes = dict(network.sizes)
    hidden = [name for name in sizes if name[0] == "M"]
    outputs = [name for name in sizes if name[0] == "K"]
    others = {name: value for name, value in sizes.items() if name not in (*hidden, *outputs)}
    return {
        **others,
        "M": [sizes[name] for name in hidden],
        "K": sizes[outputs[-1]] if outputs else None,
    }


def gates_text(gates: Iterable[Gate], axes: int, separator: str = " · ") -> str:
    """Return the part of each gate in a weight of ``axes``: ``i [:, 0:5] · f [:, 5:10]``."""

    def part(gate: Gate) -> str:
        indices = [":"] * axes
        indices[gate.axis] = f"{gate.range[0]}:{gate.range[1]}"
        return f"{gate.name} [{', '.join(indices)}]"

    return separator.join(map(part, gates))


def listed_text(names: Sequence[str]) -> str:
    """Return ``kernel, recurrent_kernel and bias``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def input_text(source: str) -> str:
    """Return ``x: random, seed 0``; nothing for an array that has no name but x."""
    return "" if source == "x" else f"x: {source}"


def engine_text(engine: Engine) -> str:
    """Return ``Keras 3.15.1 (TensorFlow 2.21.0)``."""
    backend = _BACKEND_NAMES.get(engine.backend, engine.backend)
    short = ", matrix products in TensorFloat-32" if engine.tensor_float_32 else ""
    return f"Keras {engine.version} ({backend} {engine.backend_version}{short})"


def engine_record(engine: Engine) -> dict[str, Any]:
    """Return Keras's version and its backend in JSON."""
    return {
        "version": engine.version,
        "backend": engine.backend,
        "backend_version": engine.backend_version,
        "tensor_float_32": engine.tensor_float_32,
    }


def fact_text(fact: Fact, who: str = "Keras") -> str:
    """Return ``dense/kernel: (5, 2) expected, Keras has (2, 5)``."""
    return f"{fact.name}: {size_text(fact.expected)} expected, {who} has {size_text(fact.found)}"


# --- Checks and differences ---------------------------------------------------------------------


def verdict_lines(verdict: str, details: Iterable[str], width: int) -> list[str]:
    """Return ``VERIFIED  all 21 checks · Keras 3.15.1``, and more lines for what does not fit."""
    first, *others = details
    lines = [f"{verdict}  {first}"]
    for detail in others:
        longer = f"{lines[-1]} · {detail}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"  {detail}")
    return lines


def labelled_line(label: str, text: str, meaning: Meaning = "plain") -> Line:
    """Return ``first   t 0, unit 0: …``: a short label, and a text that starts at column 8."""
    return Line(f"{label:<8}{text}", meaning, indent=8)


def names_text(names: Sequence[str]) -> str:
    """Return ``lstm, dense``, or the first of many names with the number of the others."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def warning_line(text: str) -> Line:
    """Return a warning, with the sign by which it is known without colours."""
    return Line(f"! {text}", "warning", indent=2)


def check_row(cells: tuple[str, ...], *, passed: bool) -> Row:
    """Return the row of a check, with ``ok`` or ``FAIL`` before the other cells."""
    return Row(("ok" if passed else "FAIL", *cells), "plain" if passed else "bad")


def ratio_cells(ratio: float | None) -> tuple[str, str]:
    """Return the ratio and its bar; ``none`` where nothing was compared."""
    return "none" if ratio is None else f"{ratio:.3g}", ratio_bar(ratio)


def index_cell(index: Index | None) -> str:
    """Return ``0, 3, 1``; ``-`` stands for no time step."""
    if index is None:
        return ""
    return f"{index.sample}, {'-' if index.t is None else index.t}, {index.unit}"


def index_record(index: Index | None) -> dict[str, int | None] | None:
    """Return an index in JSON."""
    return None if index is None else {"sample": index.sample, "t": index.t, "unit": index.unit}


def difference_record(difference: Difference | None) -> dict[str, Any] | None:
    """Return the largest difference and its index in JSON."""
    if difference is None:
        return None
    return {"max_abs": difference.max_abs, **(index_record(difference.index) or {})}


def not_finite_text(non_finite: NonFinite) -> str:
    """Return how many numbers of the input are NaN or infinite, and where the first is."""
    index, count = non_finite.first, count_text(non_finite.count)
    first = f"sample {index.sample}, t {index.t}, feature {index.unit}"
    if non_finite.too_large is not None:
        return (
            f"x does not fit into {non_finite.dtype}, the format of its input in Keras: "
            f"{non_finite.too_large:g} at {first} becomes infinite. "
            f"NaN or infinite numbers: {count}"
        )
    return f"x holds NaN or infinite numbers: {count}, the first at {first}"


def not_finite_record(non_finite: NonFinite | None) -> dict[str, Any] | None:
    """Return the same in JSON."""
    if non_finite is None:
        return None
    return {"count": non_finite.count, "first": index_record(non_finite.first)}
