"""A grid of networks by their options, and every check of one of them against Keras."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnshapes import reference
from rnnshapes.forward import keras_replay, numpy_run
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.graph import Network
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification import report, unrolled
from rnnshapes.verification.report import Check
from tests.helpers import cells
from tests.helpers.covering import covering

#: How many steps Keras's layers are called on.
STEPS = 3
#: Options of a network by name, as ``from_sizes`` takes them.
Options = Mapping[str, Any]
#: Alternatives, of which each network has one.
Axis = tuple[Options, ...]


def _axis(*names: str) -> Any:
    """Return a function that makes an axis of these options from their values."""

    def choices(*values: Sequence[object]) -> Axis:
        return tuple(dict(zip(names, value, strict=True)) for value in values)

    return choices


CELLS = cells.FORMS
#: Axes of which all pairs of choices occur, with each cell.
PAIRED: dict[str, Axis] = {
    "bias": _axis("use_bias")([True], [False]),
    "ways": _axis("bidirectional", "go_backwards", "merge_mode")(
        *([False, False, None], [False, True, None]),
        *([True, False, mode] for mode in ("concat", "sum", "mul", "ave")),
    ),
    "sequences": _axis("return_sequences")([False], [True]),
}
#: Axes of which each choice occurs, with each cell. The functions are applied number by number.
ACTIVATION = _axis("activation")(
    *(
        ["tanh"],
        ["relu"],
        ["linear"],
        ["sigmoid"],
        ["hard_sigmoid"],
        ["softsign"],
        ["elu"],
        ["gelu"],
    )
)
GATE_ACTIVATION = _axis("recurrent_activation")(["sigmoid"], ["hard_sigmoid"], ["tanh"], ["relu"])
SIZES = _axis("N", "T", "D", "M", "K")(
    [2, 6, 3, (5, 7), 4],
    [2, 6, 3, 5, 4],
    [1, 6, 3, 5, 4],
    [2, 1, 3, 5, 4],
    [2, 6, 1, 5, 4],
    [2, 6, 3, 1, 4],
    [2, 6, 3, 5, 1],
    [1, 1, 1, 1, 1],
    [40, 6, 3, 5, 4],
    [4, 30, 16, 64, 8],
    [2, 7, 4, (6, 5), 3],
)


def networks(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the options of each network of the grid; SimpleRNN has no gates to vary."""
    singles = [ACTIVATION, SIZES]
    if cell["cell"] in cells.GATED:
        singles.append(GATE_ACTIVATION)
    rows = covering(PAIRED, strength=2)
    assert len(rows) >= max(map(len, singles))
    first = 3 * CELLS.index(cell)  # other options come together with each cell
    return [
        dict(ChainMap(*map(dict, (cell, *row.values(), *(at(place, axis) for axis in singles)))))
        for place, row in enumerate(rows, first)
    ]


def at(place: int, axis: Axis) -> Options:
    """Return one choice of an axis after the other, from the first again after the last."""
    return axis[place % len(axis)]


def checks(network: Network, seed: int = 0) -> Iterator[Check]:
    """Check a network against Keras's own layers in float64, and each step in float32, too."""
    drawn = weights.draw(network, seed)
    xs = [inputs.full_array(source) for source in inputs.random_inputs(network, seed)]
    exact, single = network.with_dtype("float64"), network.with_dtype("float32")
    ours = numpy_run.numpy_outputs(exact, drawn, xs)
    runs: list[reference.RepeatedRun] = []

    def repeat(*args: Any) -> ModelOutputs:
        runs.append(reference.repeat_steps_and_layers(STEPS, *args))
        return runs[0].outputs

    repeated = keras_replay.keras_replay(exact, drawn, ours, "float64", repeat)
    yield from report.structure_checks(network, runs[0].structure)
    called = runs[0].unrolled
    for layer, quantity, residual in unrolled.unrolled_residuals(
        exact, drawn, repeated, called, STEPS
    ):
        yield report.residual_check(layer, quantity, residual, "float64")
    yield from report.replay_checks(exact, drawn, xs, repeated, "float64")
    repeated = keras_replay.keras_replay(single, drawn, ours, "float32")
    yield from report.replay_checks(single, drawn, xs, repeated, "float32")
