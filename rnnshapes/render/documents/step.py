"""A TracedStep as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from rnnshapes.forward.recurrence_steps import RecurrenceSteps, TracedStep
from rnnshapes.forward.step_view import EvaluatedEquation, StepValue
from rnnshapes.render import step
from rnnshapes.render.document import Document, Drawing, Line, Sheet, StyledLines
from rnnshapes.render.phrases import input_text, network_line, sizes_record
from rnnshapes.render.view import View


def document(result: TracedStep, view: View) -> Document:
    """Return each recurrence at this step, with every operation."""
    count = len(result.recurrences)
    source = input_text(result.source)
    return (
        network_line(result.network),
        *([Line(source, indent=2)] if source else []),
        *(
            Drawing("", partial(_draw, result, recurrence, f"layer {number} of {count}"))
            for number, recurrence in enumerate(result.recurrences, 1)
        ),
    )


def _draw(result: TracedStep, recurrence: RecurrenceSteps, which: str, sheet: Sheet) -> StyledLines:
    which = which if len(result.recurrences) > 1 else ""
    view = recurrence.step(result.t)
    header = step.header(view, recurrence, result.sample, which, sheet)
    return [*header, [], *step.body(view, recurrence, sheet)]


def record(result: TracedStep) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.step/1``; arrays stay arrays."""
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "t": result.t,
        "sample": result.sample,
        "layers": [_recurrence_record(each, result.t) for each in result.recurrences],
    }


def rows(result: TracedStep) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each number of each named value."""
    yield ("layer", "t", "value", "unit", "number")
    for layer in record(result)["layers"]:
        values = [value for equation in layer["equations"] for value in equation["values"]]
        values = [*layer["inputs"], *(values or layer["states"])]
        values += [layer["y_hat"]] if layer["y_hat"] is not None else []
        for value in values:
            for unit, number in enumerate(value["data"] if value["data"] is not None else ()):
                yield (layer["name"], result.t, value["name"], unit, float(number))


def _recurrence_record(recurrence: RecurrenceSteps, t: int) -> dict[str, Any]:
    view = recurrence.step(t)
    prediction = view.prediction
    return {
        "name": recurrence.name,
        "direction": "backward" if recurrence.reverse else "forward",
        "masked": view.masked,
        "inputs": [_value_record(value) for value in view.inputs],
        "equations": [_equation_record(equation) for equation in view.equations],
        "states": [_value_record(value) for value in view.states],
        "y_hat": None if prediction is None else _value_record(prediction.y_hat),
    }


def _equation_record(equation: EvaluatedEquation) -> dict[str, Any]:
    return {
        "text": equation.text,
        "general": equation.general,
        "values": [_value_record(value) for value in equation.values],
    }


def _value_record(value: StepValue) -> dict[str, Any]:
    return {"name": value.name, "dims": value.dims, "shape": value.shape, "data": value.values}
