"""One step of a recurrence in full: each equation with its operations, shapes and numbers.

The values belong to one sample; shapes are those of all samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim, Shape, dim_texts
from rnnshapes.ops.recorder import Recording

SAMPLES = Dim.named("N")
#: An equation of any step: the name of a value, and what it equals.
GeneralEquation = tuple[str, str]
_REVERSED_STEP = re.compile(r"_\{[^{}]*-1-t\}$")


@dataclass(frozen=True, eq=False)
class StepValue:
    """A value at one step, such as ``h_3``.

    Attributes:
        name: Its name at this step.
        dims: Its symbolic shape, as texts.
        shape: Its shape in numbers, for all samples.
        values: Its numbers for one sample; None for a value that contains only weights.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    values: Array | None


@dataclass(frozen=True, eq=False)
class EvaluatedOperation:
    """One operation with its result: ``x_3 Wx``, (1, 3)·(3, 5) → (1, 5).

    Attributes:
        label: The operation, with the result of the one before shortened to ``…``.
        symbol: That of :class:`rnnshapes.ops.symbolic.SymbolicOperation`.
        operands: The symbolic shapes of the operands.
        operand_shapes: The same in numbers.
        dims: The symbolic shape of the result.
        shape: The same in numbers.
        results: The result; several only for a split.
    """

    label: str
    symbol: str
    operands: tuple[tuple[str, ...], ...]
    operand_shapes: tuple[tuple[int | None, ...], ...]
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    results: tuple[StepValue, ...]


@dataclass(frozen=True, eq=False)
class EvaluatedEquation:
    """One equation at one step, ``h_3 = tanh(x_3 Wx + bh + h_2 Wh)``, with its numbers.

    Attributes:
        text: The equation at this step.
        general: The equation of any step.
        operations: The operations that compute it; none if it only gives a value another name.
        values: The named values.
    """

    text: str
    general: str
    operations: tuple[EvaluatedOperation, ...]
    values: tuple[StepValue, ...]


@dataclass(frozen=True, eq=False)
class StepPrediction:
    """y_hat at one step, and the equations that compute it from the recurrences.

    ``is_output`` tells whether it is the output of the model itself.
    """

    equations: tuple[EvaluatedEquation, ...]
    y_hat: StepValue
    is_output: bool


@dataclass(frozen=True, eq=False)
class StepView:
    """One step of a recurrence, for one sample.

    Attributes:
        t: The time step of the input.
        number: The position of the step in processing order, from 1.
        count: How many steps there are.
        masked: Whether the step does not count; then it has no equations.
        inputs: x_t and the states before the step.
        equations: The equations of the cell.
        states: The states after the step.
        prediction: y_hat, where the head uses each step of this recurrence.
    """

    t: int
    number: int
    count: int
    masked: bool
    inputs: tuple[StepValue, ...]
    equations: tuple[EvaluatedEquation, ...]
    states: tuple[StepValue, ...]
    prediction: StepPrediction | None


def name_at_step(name: str, t: int, count: int) -> str:
    """Return a tensor's name at one step: ``h_3`` of ``h_t``, ``h_6`` of ``h_{T-1-t}``."""
    if _REVERSED_STEP.search(name):
        return _REVERSED_STEP.sub(f"_{count - 1 - t}", name)
    return f"{name[:-1]}{t}" if name.endswith("_t") else name


def step_value(network: Network, name: str, shape: Shape, values: Array) -> StepValue:
    """Return a value with its shape in symbols and in numbers; ``values`` has one sample."""
    numbers = None
    if shape[:1] == (SAMPLES,):
        numbers = values.reshape(-1)
        numbers.setflags(write=False)
    return StepValue(name, dim_texts(shape), network.shape_numbers(shape), numbers)


def evaluated_equations(
    network: Network, recording: Recording, general: Sequence[GeneralEquation]
) -> Iterator[EvaluatedEquation]:
    """Yield each recorded equation beside the same equation of any step."""
    start = 0
    for equation, (name, text) in zip(recording.equations, general, strict=True):
        values = tuple(
            step_value(network, name_here, value.symbol.shape, value.array)
            for name_here, value in zip(equation.names, equation.values, strict=True)
        )
        operations = tuple(
            _evaluated_operation(
                network, recording, position, values if position + 1 == equation.end else ()
            )
            for position in range(start, equation.end)
        )
        yield EvaluatedEquation(str(equation), f"{name} = {text}", operations, values)
        start = equation.end
    assert start == len(recording.operations), "the last operation belongs to an equation"


def _evaluated_operation(
    network: Network, recording: Recording, position: int, values: tuple[StepValue, ...]
) -> EvaluatedOperation:
    """Return one recorded operation; the last one of an equation has ``values``, others none."""
    operation = recording.operations[position]
    label = operation.label
    if values and operation.symbol != "split":
        label = f"{values[0].name} = {label}"
    results = (
        step_value(network, text, operation.shape, v) for text, v in recording.results[position]
    )
    return EvaluatedOperation(
        label=label,
        symbol=operation.symbol,
        operands=tuple(map(dim_texts, operation.operands)),
        operand_shapes=tuple(map(network.shape_numbers, operation.operands)),
        dims=dim_texts(operation.shape),
        shape=network.shape_numbers(operation.shape),
        results=values or tuple(results),
    )
