"""What ``trace`` draws: which quantities, of which sample and steps, above which tables."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.render import palette
from rnnshapes.render.document import Drawing, Line, Sheet, Table
from rnnshapes.render.formats import terminal
from rnnshapes.render.text_art.strips import MASKED, MINUS, NOT_FINITE
from rnnshapes.render.view import View

LSTM: dict[str, Any] = {"N": 3, "T": 9, "D": 4, "M": 5, "K": 2, "cell": "lstm", "keras": False}
ALL = "y,h,c,gates"


def shown(result: rnnshapes.Trace, **view: Any) -> list[Drawing]:
    """The drawings over time."""
    view = {"parts": frozenset({"flow"}), **view}
    return [
        block for block in render.to_document(result, View(**view)) if isinstance(block, Drawing)
    ]


def titles(result: rnnshapes.Trace, **view: Any) -> list[str]:
    """What stands above them."""
    return [drawing.title for drawing in shown(result, **view)]


def test_each_quantity_has_its_drawing() -> None:
    """y_hat, states and gates, between the lines on the network and the tables."""
    view = View(sample=1, parts=frozenset({"flow", "numbers"}))
    blocks = render.to_document(rnnshapes.trace(show=ALL, **LSTM), view)
    kinds = [type(block) for block in blocks]
    first, table = kinds.index(Drawing), kinds.index(Table)
    assert set(kinds[:first]) == {Line}
    assert kinds[first:table] == [Drawing] * 7
    assert Drawing not in kinds[table:]
    names = [title.split(" over t")[0] for title in titles(rnnshapes.trace(show=ALL, **LSTM))]
    gates = [f"gate {gate} of lstm" for gate in ("i", "f", "c~", "o")]
    assert names == ["y_hat", "h of lstm", "c of lstm", *gates]


def test_titles_tell_sample_layer_and_direction() -> None:
    """The sample where there are several, and a lane that begins at the last step."""
    several = titles(rnnshapes.trace(show=ALL, **LSTM), sample=1)
    assert all("sample 1 of 3" in title for title in several)
    both = titles(rnnshapes.trace(M=[5, 4], bidirectional=True, show="h", keras=False))
    assert not any("sample" in title for title in both)
    _, *states = both
    assert [title.split()[0] for title in states] == ["h1→", "h1←", "h2→", "h2←"]
    assert [title.split()[2] for title in states] == [
        "bidirectional/forward_simple_rnn",
        "bidirectional/backward_simple_rnn",
        "bidirectional_1/forward_simple_rnn_1",
        "bidirectional_1/backward_simple_rnn_1",
    ]
    assert ["reverse" in title for title in states] == [False, True, False, True]


def test_drawings_show_the_numbers_of_the_sample() -> None:
    """Numbers in the cells, where they are wide enough; gates on a scale from 0 to 1."""
    result = rnnshapes.trace(show=ALL, **LSTM)
    (layer,) = result.layers
    _, h, c, i, f, candidate, o = shown(result, sample=2)
    for drawing, values in ((h, layer.states["h"]), (c, layer.states["c"]), (i, layer.gates["i"])):
        for unit, spans in enumerate(drawing.draw(Sheet(120))[:5]):
            cells = [float(word) for span in spans[1:] for word in span.text.split()]
            np.testing.assert_allclose(cells, values[2, :, unit], atol=0.0051)
    grounds = {span.ink.ground for gate in (i, f, o) for span in gate.draw(Sheet(40))[0][1:]}
    assert grounds <= {palette.fraction(part / 100) for part in range(101)}
    grounds = {span.ink.ground for span in candidate.draw(Sheet(40))[0][1:]}
    assert grounds <= {palette.signed(part / 100) for part in range(-100, 101)}


def test_each_output_has_a_scale_of_its_own() -> None:
    """Outputs may be of different sizes; states have one scale."""
    y_hat, h, *_ = shown(rnnshapes.trace(show=ALL, **LSTM))
    ends = {palette.signed(1.0), palette.signed(-1.0)}

    def reaches_an_end(drawing: Drawing, units: int) -> list[bool]:
        lines = drawing.draw(Sheet(120))[:units]
        return [any(span.ink.ground in ends for span in spans) for spans in lines]

    assert reaches_an_end(y_hat, 2) == [True, True]
    assert sum(reaches_an_end(h, 5)) == 1


def test_all_drawings_stand_exactly_below_each_other() -> None:
    """The same t is in the same place, whatever the labels."""
    for width in (40, 80, 160):
        result = rnnshapes.trace(show=ALL, **{**LSTM, "T": 300, "M": 12})
        lines = [
            "".join(span.text for span in spans)
            for drawing in shown(result)
            for spans in drawing.draw(Sheet(width))
        ]
        assert len({line for line in lines if line.startswith("t ")}) == 1


def test_only_chosen_steps_are_drawn() -> None:
    result = rnnshapes.trace(show="y,h", **LSTM)
    whole, part = shown(result)[1].draw(Sheet(90)), shown(result, start=2, end=5)[1].draw(Sheet(90))
    words = ["".join(span.text for span in spans).split() for spans in (*whole, *part)]
    steps = len(whole)
    assert words[steps + 5] == ["t", "2", "3", "4"]
    for unit in range(5):
        assert [float(a) for a in words[steps + unit][1:]] == pytest.approx(
            [float(a) for a in words[unit][3:6]], abs=0.0051
        )


BOTH = {"flow", "numbers"}


@pytest.mark.parametrize(
    ("view", "kinds", "columns"),
    [
        ({"parts": BOTH}, {Line, Drawing, Table}, {"y_hat", "h", "c", "gate"}),
        ({"parts": {"numbers"}}, {Line, Table}, {"y_hat", "h", "c", "gate"}),
        ({"parts": {"flow"}}, {Line, Drawing}, set()),
        ({"parts": BOTH, "show": ("y",)}, {Line, Drawing, Table}, {"y_hat"}),
        ({"parts": BOTH, "show": ("h", "gates")}, {Line, Drawing, Table}, {"y_hat", "h", "gate"}),
        ({"parts": {"numbers"}, "show": ("c",)}, {Line, Table}, {"y_hat", "c"}),
    ],
)
def test_drawings_and_tables_are_chosen_apart(view, kinds, columns) -> None:
    """``show`` is what stands in tables; drawings show all that is known."""
    result = rnnshapes.trace(show=ALL, **LSTM)
    blocks = render.to_document(result, View(**view))
    assert {type(block) for block in blocks} == kinds
    names = [c.heading for block in blocks if isinstance(block, Table) for c in block.columns]
    assert {re.split(r"\W", name)[0] for name in names} - {"t"} == columns
    assert len(titles(result, **view)) == 7 * (Drawing in kinds)


def masked_lines(result: rnnshapes.Trace, **view: Any) -> list[str]:
    """Of each drawing the first unit, in single characters."""
    lines = [drawing.draw(Sheet(20)) for drawing in shown(result, **view)]
    return ["".join(span.text for span in line[0][1:]) for line in lines]


@pytest.fixture(scope="module")
def masked() -> Any:
    """Two samples of nine steps, of which the second has two masked ones."""
    x = np.random.default_rng(0).standard_normal((2, 9, 3))
    x[1, 4:6] = 0
    return x


def test_masked_steps_are_marked_in_every_drawing(masked: Any) -> None:
    """A part of the steps has its own part of the mask."""
    from keras import layers as la

    from tests.helpers.models import randomized, sequential

    model = randomized(sequential(la.Masking(), la.GRU(5), la.Dense(2), shape=(9, 3)))
    result = rnnshapes.trace(model, x=masked, show="y,h,gates", keras=False)
    for start in (0, 3):
        for sample, marks in ((0, []), (1, [4 - start, 5 - start])):
            lines = masked_lines(result, sample=sample, start=start)
            assert len(lines) == 5
            for line in lines:
                assert len(line) == 9 - start
                assert [t for t, mark in enumerate(line) if mark == MASKED] == marks
                assert NOT_FINITE not in line


def test_y_hat_in_reverse_order_has_no_marks(masked: Any) -> None:
    """Its rows are not those of the mask."""
    from keras import layers as la

    from tests.helpers.models import randomized, sequential

    back = la.SimpleRNN(5, go_backwards=True, return_sequences=True)
    model = randomized(sequential(la.Masking(), back, la.Dense(2), shape=(9, 3)))
    result = rnnshapes.trace(model, x=masked, show="y,h", keras=False)
    assert [MASKED in line for line in masked_lines(result, sample=1)] == [False, True]


def test_a_candidate_is_signed_whatever_its_numbers() -> None:
    """It has the name of a state, and is no share; other gates of the same numbers are."""
    result = rnnshapes.trace(show="gates", activation="sigmoid", **LSTM)
    _, i, _, candidate, _ = shown(result)
    for drawing, colour in ((i, palette.fraction), (candidate, palette.signed)):
        grounds = {span.ink.ground for span in drawing.draw(Sheet(40))[0][1:]}
        assert grounds <= {colour(part / 100) for part in range(101)}


def test_quantities_only_drawn_are_not_left_out() -> None:
    from keras import layers as la

    from tests.helpers.models import sequential

    parts = (la.LSTM(5, return_sequences=True), la.Flatten(), la.Dense(2))
    result = rnnshapes.trace(sequential(*parts, shape=(50, 3)), show="h", keras=False)
    for show, said in ((("y",), False), (None, True)):
        lines = [
            b.text
            for b in render.to_document(result, View(abridged=True, show=show, parts=BOTH))
            if isinstance(b, Line)
        ]
        assert any("not shown" in line for line in lines) == said


def test_without_y_hat_the_states_are_drawn() -> None:
    """The head joins the steps."""
    from keras import layers as la

    from tests.helpers.models import sequential

    lstm = la.LSTM(5, return_sequences=True, name="encode")
    model = sequential(lstm, la.Flatten(), la.Dense(2))
    result = rnnshapes.trace(model, show="y,h", keras=False)
    assert [title.split(" over t")[0] for title in titles(result)] == ["h of encode"]


@pytest.mark.parametrize("columns", [40, 80, 160])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_command_draws_within_the_terminal(columns, encoding, run, monkeypatch) -> None:
    """ASCII streams get ASCII."""
    monkeypatch.setenv("COLUMNS", str(columns))
    options = ("--T", 200, "--cell", "gru", "--show", ALL[:3], "--view", "flow")
    out = run("trace", "-q", "--no-keras", *options).out
    assert max(map(len, out.splitlines())) <= columns
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    result = rnnshapes.trace(T=200, cell="gru", show="y,h", keras=False)
    view = View(parts=frozenset({"flow"}))
    terminal.draw(render.to_document(result, view), terminal.plain(stream, columns))
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert "h of gru over t" in text
    assert ("\\u" in text, MINUS[-1] in text) == (False, encoding == "utf-8")
