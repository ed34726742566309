"""What ``inspect`` draws: the network unrolled over time, and its weights to scale."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from typing import Any

import keras
import pytest
from keras import layers

import rnnshapes
from rnnshapes import render
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import Inspection, WeightReport, inspect_network
from rnnshapes.render.document import Drawing, Sheet, StyledLines, Table
from rnnshapes.render.flow_layout import layout
from rnnshapes.render.formats import terminal
from rnnshapes.render.text_art import flow, weights
from rnnshapes.render.text_art.canvas import clean, cut, text_width
from rnnshapes.render.view import View
from tests.helpers.cells import NAMES as CELLS
from tests.helpers.models import MODELS

WIDTHS = (160, 100, 80, 60, 40)
WAYS: dict[str, dict[str, Any]] = {
    "forward": {},
    "sequences": {"return_sequences": True},
    "backward": {"go_backwards": True},
    "backward sequences": {"go_backwards": True, "return_sequences": True},
    "both": {"bidirectional": True},
    "both summed": {"bidirectional": True, "merge_mode": "sum", "return_sequences": True},
    "stack": {"M": [5, 4]},
}
SIZES = {"N": 2, "T": 12, "D": 3, "M": 5, "K": 4}

EACH_CELL = pytest.mark.parametrize("cell", CELLS)
EACH_WAY = pytest.mark.parametrize("way", WAYS)
EACH_WIDTH = pytest.mark.parametrize("width", WIDTHS)


def inspected(cell: str = "simple", way: str = "forward", **sizes: Any) -> Inspection:
    """A network of different sizes."""
    return rnnshapes.inspect(cell=cell, **{**SIZES, **WAYS[way], **sizes})


def lines(picture: StyledLines) -> list[str]:
    """What stands in a picture."""
    return ["".join(span.text for span in spans) for spans in picture]


def drawn(result: Inspection, sheet: Sheet = Sheet()) -> list[str]:  # noqa: B008 - never changed
    """The network as it flows."""
    return lines(flow.draw(layout(result).boxes, sheet))


def rectangles(result: Inspection, sheet: Sheet = Sheet()) -> list[str]:  # noqa: B008
    """The weights to scale."""
    return lines(weights.draw(result, sheet))


@EACH_CELL
@EACH_WAY
@EACH_WIDTH
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_pictures_fit_and_are_ascii_where_they_have_to_be(cell, way, width, encoding) -> None:
    """Every line, at every width; nothing is empty, and every frame is closed."""
    result, sheet = inspected(cell, way), Sheet(width, encoding)
    for picture in (drawn(result, sheet), rectangles(result, sheet)):
        assert picture
        assert max(map(text_width, picture)) <= width
        assert all(line.isascii() for line in picture) == (encoding == "ascii")
    top, side, bottom = ("+-", "|", "+-") if encoding == "ascii" else ("┌─", "│", "└─")
    found = drawn(result, sheet)
    ends = {text_width(line) for line in found if line.startswith((top, side, bottom))}
    assert len(ends) == 1, "the right sides stand one below the other"


@EACH_CELL
@EACH_WAY
def test_every_shape_of_the_report_stands_in_the_flow(cell, way) -> None:
    """Input, states and outputs, in symbols and numbers; every layer with its parameters."""
    result = inspected(cell, way)
    text = "\n".join(drawn(result, Sheet(160)))
    assert "x (N, T, D) = (2, 12, 3)" in text
    for layer in result.layers:
        assert f"{layer.name}: {layer.label}" in text
        assert f"{layer.params} parameters" in text
        dims, shape = ", ".join(layer.output_dims), ", ".join(map(str, layer.output_shape))
        assert f"({dims}) = ({shape})" in text


#: How many steps there are, and what is written into the boxes on a sheet of 80.
STEPS = {
    1: ["t = 0"],
    2: ["t = 0", "t = 1"],
    3: ["t = 0", "t = 1", "t = 2"],
    10: ["t = 0", "t = 1", "t = 2", "t = T-1"],
}


@EACH_CELL
@pytest.mark.parametrize("steps", STEPS)
def test_time_is_unrolled(cell, steps) -> None:
    """A box for each step; where some are left out, dots say so and the last is T-1."""
    found = drawn(inspected(cell, T=steps), Sheet(80))
    boxes = next(line for line in found if "t = 0" in line)
    assert re.findall(r"t = [\w-]+", boxes) == STEPS[steps]
    assert ("…" in "".join(found)) == (steps == 10)
    inputs = next(line for line in found if "x_0" in line)
    assert len(re.findall(r"x_[\w{}-]+", inputs)) == len(STEPS[steps])


def test_states_are_handed_from_step_to_step() -> None:
    """h alone, or h and c; forwards from the step before, backwards from the step behind."""
    for cell, states in {"simple": "h", "gru": "h", "lstm": "hc"}.items():
        rows = [line for line in drawn(inspected(cell, T=3)) if "►" in line]
        assert [re.findall(r"(\w_\d)─►", row) for row in rows] == [
            [f"{state}_0", f"{state}_1"] for state in states
        ]
        rows = [line for line in drawn(inspected(cell, "backward", T=3)) if "◄" in line]
        assert [re.findall(r"◄─(\w_\d)", row) for row in rows] == [
            [f"{state}_1", f"{state}_2"] for state in states
        ]
        assert all(row.rstrip("│ ").endswith("◄─ 0") for row in rows)


#: What goes out, as names on the line below the boxes.
KEPT = {
    "forward": [["h_2"]],
    "sequences": [["h_0", "h_1", "h_2"]],
    "backward": [["h_0"]],
    "backward sequences": [["h_0", "h_1", "h_2"]],
    "both": [["h→_2"], ["h←_0"]],
    "both summed": [["h→_0", "h→_1", "h→_2"], ["h←_0", "h←_1", "h←_2"]],
    "stack": [["h1_0", "h1_1", "h1_2"], ["h2_2"]],
}


@EACH_CELL
@pytest.mark.parametrize("way", KEPT)
def test_what_goes_on_can_be_seen(cell, way) -> None:
    """The last h that is read, or all of them; a box from which none goes on has no way out."""
    found = drawn(inspected(cell, way, T=3))
    out = [number for number, line in enumerate(found) if re.match(r"│ [┌├]─", line)]
    assert [re.findall(r"h\d?[→←]?_\d", found[number]) for number in out] == KEPT[way]
    for number, names in zip(out, KEPT[way], strict=True):
        assert found[number - 1].count("┬") == len(names)
        assert ("only the last" in found[number]) == (len(names) == 1)


def test_both_directions_are_joined_as_the_equation_says() -> None:
    """Arrows point in opposite directions, and a line says what is made of both ends."""
    text = "\n".join(drawn(inspected("lstm", "both")))
    assert "h = concatenate(h→_{T-1}, h←_0)" in text
    assert text.index("─h→_0─►") < text.index("◄─h←_1─")
    text = "\n".join(drawn(inspected("gru", "both summed")))
    assert "h_t = h→_t + h←_t" in text


def test_a_sequence_that_comes_turned_round_is_read_so() -> None:
    """What the first layer returns begins with its last step."""
    found = drawn(inspected("gru", "backward sequences", M=[5, 4], T=3))
    read = [re.findall(r"h1_\d", line) for line in found if line.startswith("│ └")][1]
    assert read == ["h1_2", "h1_1", "h1_0"]
    assert any("each step reads h1_{T-1-t} (N, M1) = (2, 5)" in line for line in found)


def test_too_narrow_a_sheet_stays_empty() -> None:
    """The picture is left out, with its title; no line is ever cut off."""
    result = inspected("lstm", "both")
    assert drawn(result, Sheet(24)) == rectangles(result, Sheet(20)) == []
    stream = StringIO()
    terminal.draw(render.to_document(result, View(blocks="flow")), terminal.plain(stream, 20))
    assert "flows" not in stream.getvalue()
    assert "parameters =" in stream.getvalue()


def test_open_sizes_are_open() -> None:
    """A question mark for each; as many steps as there is room for."""
    network = rnnshapes.inspect(**SIZES).network
    named = tuple((name, None if name in "NT" else size) for name, size in network.declared_sizes)
    result = inspect_network(replace(network, named=named))
    text = "\n".join(drawn(result))
    assert "x (N, T, D) = (?, ?, 3)" in text
    assert "t = T-1" in text
    assert "h (N, M) = (?, 5)" in text


HOSTILE = {
    "controls": "\x1b[31m" + "a" * 500,
    "markup": "[red]x[/red]\r\nb",
    "wide": "層" * 60,
    "marks": "é\u0301" * 50,
    "html": "`|<b>" * 30,
}


def renamed(cell: str, name: str) -> Network:
    """A network whose recurrent layer has another name."""
    network = inspected(cell).network
    nodes = list(network.nodes)
    layer: Any = nodes[1].layer
    layer = replace(layer, name=name, direction=replace(layer.direction, name=name))
    nodes[1] = replace(nodes[1], name=name, layer=layer)
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@EACH_WIDTH
def test_names_from_files_are_harmless(name, encoding, width) -> None:
    """No control characters, no markup, no line that is too wide; what the layer is can be read."""
    result, sheet = inspect_network(renamed("lstm", name)), Sheet(width, encoding)
    found = drawn(result, sheet)
    for line in found + rectangles(result, sheet):
        assert line.isprintable()
        assert text_width(line) <= width
    titles = [line for line in found if "▼─ " in line or "v- " in line]
    assert "LSTM(M)" in titles[0]
    assert "Dense(K)" in titles[1]


def test_text_is_cut_where_it_has_to_be() -> None:
    """Wide characters count twice, marks not at all."""
    assert cut("abcdef", 6, Sheet()) == "abcdef"
    assert cut("abcdefg", 6, Sheet()) == "abcde…"
    assert cut("abcdefg", 6, Sheet(encoding="ascii")) == "abc..."
    assert cut("層層層層", 6, Sheet()) == "層層…"
    assert cut("abc", 0, Sheet()) == ""
    assert text_width("層e\u0301") == 3
    assert clean("a\nb\x1b", Sheet()) == "a b\\x1b"


def block(result: Inspection, weight: WeightReport, sheet: Sheet) -> tuple[list[str], str]:
    """The lines of a weight's rectangle, and the numbers above it."""
    found = rectangles(result, sheet)
    short = weight.name.partition("/")[2]
    heading = f"{short} {clean(weight.symbol, sheet)}"
    top = next(n for n, line in enumerate(found) if heading in line)
    left = found[top].index(heading)
    inside = []
    for line in found[top + 3 :]:
        if not (drawing := re.match(r"[░▒:#a-z]+", line[left:])):
            break
        inside.append(drawing[0])
    return inside, found[top + 2][left:]


@EACH_CELL
@pytest.mark.parametrize("way", ["forward", "both", "stack"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_rectangles_are_as_large_as_the_shapes_say(cell, way, encoding) -> None:
    """Two characters for a column, one line for a row; gates are cut where the report says."""
    result, sheet = inspected(cell, way), Sheet(100, encoding)
    assert rectangles(result, sheet)[0].startswith("To scale: two characters are one column")
    for layer in result.layers:
        for weight in layer.weights:
            inside, numbers = block(result, weight, sheet)
            *rows, columns = weight.shape
            assert len(inside) == (rows[0] if rows else 1)
            assert {len(line) for line in inside} == {2 * columns}
            cuts = (
                [0, *(gate.columns[1] for gate in weight.gates)] if weight.gates else [0, columns]
            )
            assert list(map(int, numbers.split()[: len(cuts)])) == cuts
            for place in cuts:
                assert numbers[2 * place :].startswith(str(place))
            assert_gates(weight, inside)


def assert_gates(weight: WeightReport, inside: list[str]) -> None:
    """Each gate has its letter within its columns, and another pattern than its neighbours."""
    parts = [
        (gate.name, [line[2 * gate.columns[0] : 2 * gate.columns[1]] for line in inside])
        for gate in weight.gates
    ]
    for name, part in parts:
        assert "".join(part).count(name) == 1
        assert len(set("".join(part)) - {name}) == 1
    for (_, part), (_, after) in pairwise(parts):
        assert part[0][0] != after[0][0]


@pytest.mark.parametrize(
    ("sizes", "scale", "shape"),
    [
        ({"M": 16}, "one character is one column, one line is 2 rows", (8, 64)),
        ({"M": 64}, "one character is 5 columns, one line is 10 rows", (7, 48)),
        (
            {"M": 10**9},
            "one character is 50,000,000 columns, one line is 100,000,000 rows",
            (10, 80),
        ),
    ],
)
def test_larger_weights_are_drawn_to_a_smaller_scale(sizes, scale, shape) -> None:
    """All of them to one, which a sentence says; a billion units are no more work than five."""
    result, sheet = inspected("lstm", **sizes), Sheet(100)
    assert f"To scale: {scale}" in " ".join(rectangles(result, sheet))
    inside, _ = block(result, result.layers[0].weights[1], sheet)
    assert (len(inside), len(inside[0])) == shape


def test_what_would_hide_the_recurrence_is_cut() -> None:
    """A thousand outputs do not make a point of the recurrent kernel."""
    result = inspected("simple", K=1000)
    inside, _ = block(result, result.layers[0].weights[1], Sheet())
    assert len(inside) == 5
    text = "\n".join(rectangles(result))
    assert "(M, K) = (5, 1000), cut" in text
    assert text.count("cut") == 2  # the bias, too


def test_the_two_rows_of_a_bias_are_named() -> None:
    """Input and recurrent, beside the lines."""
    found = [line for line in rectangles(inspected("gru")) if re.search(r"[░▒] \w", line)]
    assert [line.split()[-1] for line in found] == ["input", "recurrent"]


def test_at_most_sixteen_weights_are_drawn() -> None:
    """A line says how many more there are."""
    result = inspected(M=[3, 4, 5, 6, 7, 8])
    found = rectangles(result)
    assert sum("kernel" in line for line in found) < 16
    assert found[-1] == "and 4 more, which the table of weights has"


#: What each view has, and whether a network of many layers is drawn in it.
PARTS = {"all": (True, True, False), "flow": (True, False, True), "tables": (False, True, False)}


@pytest.mark.parametrize("parts", PARTS)
def test_the_view_chooses_between_pictures_and_tables(parts) -> None:
    """The total is always there."""
    pictures, tables, many = PARTS[parts]
    blocks = render.to_document(inspected(), View(blocks=parts))
    titles = [part.title for part in blocks if isinstance(part, Drawing)]
    assert titles == (["The network as it flows", "Weights as rectangles"] if pictures else [])
    assert any(isinstance(part, Table) for part in blocks) == tables
    assert any("parameters =" in getattr(part, "text", "") for part in blocks)
    blocks = render.to_document(inspected(M=[3] * 9), View(blocks=parts))
    titles = [part.title for part in blocks if isinstance(part, Drawing)]
    assert ("The network as it flows" in titles) == many


@pytest.mark.parametrize("model", MODELS)
def test_models_of_every_kind_are_drawn(model) -> None:
    """Graphs, masks, stacks, what is called again: every call, with the shapes of the report."""
    result = rnnshapes.inspect(MODELS[model]())
    stages = layout(result).boxes
    calls = [node for node in result.network.nodes if node.sources]
    assert [stage.name for stage in stages] == [node.name for node in calls]
    for width in WIDTHS:
        found = drawn(result, Sheet(width))
        assert found
        assert max(map(text_width, found)) <= width
        assert len([line for line in found if line.startswith("┌")]) == len(stages)
    text = "\n".join(drawn(result, Sheet(160)))
    for stage, node in zip(stages, calls, strict=True):
        assert f"─ {stage.name}: {node.layer.label} ─" in text
        assert [tensor.producer for tensor in stage.sources] == [
            result.network.nodes[tap.node].name for tap in node.sources
        ]
        for tensor in (*stage.sources, *stage.outputs):
            assert f" {tensor.name} ({', '.join(tensor.dims)}" in text


def test_a_layer_that_only_gives_a_name_says_so() -> None:
    """As a linear activation, of which there is no operation; and a box says nothing twice."""
    made = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.SimpleRNN(4, return_sequences=True),
            layers.Activation("linear"),
            layers.UnitNormalization(),
        ]
    )
    found = layout(rnnshapes.inspect(made)).boxes
    assert found[1].rule == "a_t = h_t"
    text = "\n".join(drawn(rnnshapes.inspect(made)))
    assert "│   a_t = h_t " in text
    assert text.count("UnitNormalization is not supported") == 1


def test_layers_are_counted_in_words() -> None:
    """One is no plural."""
    x = keras.Input((6, 3))
    both = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode=None)
    result = rnnshapes.inspect(keras.Model(x, both(x)))
    assert render.to_document(result)[0].text.startswith("Input((T, D)) → 1 layer   N=")


def test_what_goes_out_beside_the_output_has_a_name_of_its_own() -> None:
    """States behind a joined output are not one of its directions."""
    layer = layers.Bidirectional(layers.LSTM(5, return_state=True), merge_mode="sum")
    joined, *states = layer(x := keras.Input((9, 3)))
    stage = layout(rnnshapes.inspect(keras.Model(x, [joined, *states]))).boxes[0]
    assert [tensor.name for tensor in stage.outputs] == ["h", "h[1]", "h[2]", "h[3]", "h[4]"]
    said = "h[1] = h→_{T-1}, h[2] = c→_{T-1}, h[3] = h←_0, h[4] = c←_0"
    assert f"its last states go out, too: {said}" in stage.notes


def table(blocks: Any, title: str) -> Table:
    """The table of this title."""
    return next(part for part in blocks if isinstance(part, Table) and part.title == title)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_where_symbols_are_but_the_numbers_they_are_said_once(tmp_path) -> None:
    """Of weights without a config no size has a name; a column that tells nothing is left out."""
    model = keras.Sequential([keras.Input((6, 3)), layers.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    blocks = render.to_document(rnnshapes.inspect(path), View())
    headings = [column.heading for column in table(blocks, "Weights").columns]
    assert headings == ["weight", "shape", "params", "bytes"]
    assert all(len(row.cells) == 4 for row in table(blocks, "Weights").rows)
    said = [part.text for part in blocks if getattr(part, "text", "").startswith("kernel (")]
    assert said == ["kernel (3, 16): i [:, 0:4] · f [:, 4:8] · c [:, 8:12] · o [:, 12:16]"]


def test_the_shape_is_what_a_narrow_table_keeps() -> None:
    """Costs that N leaves open have no column."""
    model = keras.Sequential([keras.Input((6, 3)), layers.Bidirectional(layers.GRU(4))])
    flows = "What flows, at one time step t"
    columns = table(render.to_document(rnnshapes.inspect(model)), flows).columns
    assert [(c.heading, c.rank) for c in columns] == [("tensor", 0), ("dims", 1), ("shape", 0)]
    assert len(table(render.to_document(rnnshapes.inspect(model, N=2)), flows).columns) == 4
