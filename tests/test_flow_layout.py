"""What the picture of a network shows, whoever draws it: boxes, arrows, steps and labels."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as la

import rnnshapes
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.summary import Inspection, inspect_network
from rnnshapes.ops.dims import Dim
from rnnshapes.render.flow_layout import (
    BoxArrow,
    Lane,
    LayerBox,
    RecurrentDiagram,
    at,
    layout,
    packed,
)
from tests.helpers.cells import NAMES
from tests.helpers.files import saved
from tests.helpers.models import Doubled, model_of

SIZES: dict[str, Any] = {"N": 2, "T": 12, "D": 3, "M": 5, "K": 4}
#: The states of each cell.
STATES = {
    name: tuple(from_sizes(cell=name, **SIZES).recurrent[0].layer.directions[0].cell.states)
    for name in NAMES
}
EACH_CELL = pytest.mark.parametrize("cell", STATES)


def inspected(cell: str = "simple", **options: Any) -> Inspection:
    """A network of different sizes."""
    return rnnshapes.inspect(cell=cell, **{**SIZES, **options})


def boxes(result: Inspection) -> tuple[LayerBox, ...]:
    """All boxes."""
    return layout(result).boxes


def recurrence(result: Inspection, number: int = 0) -> RecurrentDiagram:
    """The recurrence of this number."""
    found = [box.recurrence for box in boxes(result) if box.recurrence]
    return found[number]


def lane(result: Inspection, most: int = 10, number: int = 0) -> Lane:
    """The first lane of a recurrence."""
    return recurrence(result, number).unroll(most).lanes[0]


def steps(one: Lane) -> list[str]:
    """Its steps, and dots for those left out."""
    return [step.step if step else "..." for step in one.steps]


# --- Texts --------------------------------------------------------------------------------------


def test_values_at_a_step_are_written_by_index() -> None:
    steps = Dim.named("T")
    found = [at("h", step) for step in (Dim.of(0), Dim.of(12), Dim.of(-1), steps, steps + -1)]
    assert found == ["h_0", "h_12", "h_{-1}", "h_{T}", "h_{T-1}"]


@settings(deadline=None)
@given(st.lists(st.text("ab", min_size=1, max_size=9), max_size=8), st.integers(3, 25))
def test_texts_share_lines_as_far_as_they_fit(texts: list[str], room: int) -> None:
    """One that is longer than a line goes on in the next."""
    lines = list(packed(texts, room))
    assert all(0 < len(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join(texts)
    if all(len(text) <= room for text in texts):
        assert [text for line in lines for text in line.split("   ")] == texts
        for line, following in pairwise(lines):
            assert len(line) + 3 + len(following.split("   ")[0]) > room


# --- Boxes and the arrows between them ----------------------------------------------------------


@EACH_CELL
def test_boxes_have_the_shapes_of_the_report(cell: str) -> None:
    result = inspected(cell)
    found = boxes(result)
    assert [box.title for box in found] == [f"{one.name}: {one.label}" for one in result.layers]
    for box, report in zip(found, result.layers, strict=True):
        assert box.parameters.split()[0] == str(report.params)
        assert (box.outputs[0].dims, box.outputs[0].shape) == (
            report.output_dims,
            report.output_shape,
        )
    assert found[0].entering == (BoxArrow("x", "(N, T, D) = (2, 12, 3)"),)
    assert found[-1].leaving == (BoxArrow("y_hat", "(N, K) = (2, 4)"),)


def test_a_chain_has_one_arrow_between_boxes() -> None:
    """What leaves a box and enters the next is the same."""
    for above, below in pairwise(boxes(inspected(M=[5, 4, 3]))):
        assert above.leaving == ()
        assert len(below.entering) == 1
        assert below.entering[0].name == above.outputs[0].name
        assert not below.entering[0].origin


def test_arrows_name_where_they_come_from() -> None:
    """An arrow from the box above needs no name."""
    x, other = keras.Input((9, 3), name="left"), keras.Input((9, 3), name="right")
    y = la.GRU(4, name="first")(x)
    z = la.GRU(4, name="second")(other)
    made = keras.Model([x, other], la.Add(name="sum")([y, z]))
    first, second, total = boxes(rnnshapes.inspect(made))
    assert [arrow.origin.split()[-1] for arrow in first.entering] == ["left"]
    assert [arrow.origin.split()[-1] for arrow in second.entering] == ["right"]
    assert {arrow.origin.split()[-1] for arrow in total.entering} == {"first", "second"}
    assert len(first.leaving) == len(second.leaving) == len(total.leaving) == 1


def test_the_only_input_needs_no_name() -> None:
    x = keras.Input((9, 3))
    made = keras.Model(x, la.Add()([la.GRU(4)(x), la.LSTM(4)(x)]))
    first, second, _ = boxes(rnnshapes.inspect(made))
    assert [arrow.origin for arrow in (*first.entering, *second.entering)] == ["", ""]


def test_shapes_not_in_a_file_are_open(tmp_path: Path) -> None:
    """That of the output of a last layer that is not supported."""
    made = keras.Sequential([keras.Input((6, 3)), la.SimpleRNN(4), Doubled()])
    *_, last = boxes(rnnshapes.inspect(saved(made, tmp_path / "x.keras")))
    assert last.entering == (BoxArrow("h", "(N, M) = (1, 4)"),)
    assert last.leaving == (BoxArrow("y_hat", "(?,)"),)


def test_omitted_boxes_are_counted() -> None:
    """What leaves the last one that is drawn is drawn, too."""
    result = inspected(M=[3] * 9)
    everything, some = layout(result), layout(result, 4)
    assert (len(everything.boxes), everything.omitted) == (10, 0)
    assert (len(some.boxes), some.omitted) == (4, 6)
    assert some.boxes[:3] == everything.boxes[:3]
    assert len(some.boxes[3].leaving) == 1


def test_a_single_parameter_is_no_plural() -> None:
    shapes = keras.Sequential([keras.Input((6, 1)), la.SimpleRNN(1), la.PReLU(), la.ReLU()])
    texts = [box.parameters for box in boxes(rnnshapes.inspect(shapes))]
    assert texts == ["3 parameters", "1 parameter", ""]


def test_a_box_gives_its_equation_once() -> None:
    """A linear activation, of which there is no operation, only gives a name."""
    unknown = Doubled()
    parts = [keras.Input((6, 3)), la.SimpleRNN(4, return_sequences=True)]
    made = keras.Sequential([*parts, la.Activation("linear"), unknown])
    _, linear, other = boxes(rnnshapes.inspect(made))
    assert linear.rule == "a_t = h_t"
    assert len([text for text in (other.rule, *other.notes) if text]) == 1


def test_rules_have_the_index_of_a_step() -> None:
    assert boxes(inspected(return_sequences=True))[-1].rule == "y_hat_t = h_t W0 + b0"
    assert boxes(inspected())[-1].rule == "y_hat = h_11 W0 + b0"


def test_a_layer_called_again_has_no_parameters() -> None:
    """Its weights are counted once, and a note tells why."""
    x = keras.Input((9, 3))
    shared = la.GRU(3, return_sequences=True)
    first, second = boxes(rnnshapes.inspect(keras.Model(x, shared(shared(x)))))
    assert first.parameters
    assert not second.parameters
    assert any("again" in note for note in second.notes)
    assert not first.notes
    assert {label[0] for label in lane_labels(second)} == {"h"}
    assert [bool(box.recurrence.equations) for box in (first, second)] == [True, False]
    dense = la.Dense(3)
    first, second = boxes(rnnshapes.inspect(keras.Model(x, dense(dense(x)))))
    assert (first.rule, second.rule) == ("y0_t = x_t W0 + b0", "")


def lane_labels(box: LayerBox) -> list[str]:
    """The labels of all states of a box."""
    assert box.recurrence
    lanes = box.recurrence.unroll(3).lanes
    return [label for one in lanes for state in one.states for label in state.labels]


# --- A recurrence, step by step -----------------------------------------------------------------


@EACH_CELL
@pytest.mark.parametrize("most", [2, 3, 5, 10])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 12])
def test_as_many_steps_as_fit_are_drawn(cell: str, count: int, most: int) -> None:
    """All of them, or the first ones and the last, by their numbers."""
    one = lane(inspected(cell, T=count), most)
    numbers = [str(step) for step in range(count)]
    if count > most:
        numbers = [*numbers[: most - 1], "...", str(count - 1)]
    assert steps(one) == numbers
    inputs = [step.input if step else "..." for step in one.steps]
    assert inputs == [number if number == "..." else f"x_{number}" for number in numbers]


def test_last_step_of_unknown_length_is_named() -> None:
    """Sizes that are open are question marks."""
    network = rnnshapes.inspect(**SIZES).network
    sizes = tuple((name, None if name in "NT" else n) for name, n in network.declared_sizes)
    result = inspect_network(replace(network, declared_sizes=sizes))
    assert steps(lane(result, 4)) == ["0", "1", "2", "...", "T-1"]
    first, last = boxes(result)
    assert first.entering[0].shapes == "(N, T, D) = (?, ?, 3)"
    assert last.entering[0].shapes == "(N, M) = (?, 5)"


@EACH_CELL
@pytest.mark.parametrize("count", [3, 12])
def test_states_go_from_step_to_step(cell: str, count: int) -> None:
    """Forwards from the step before, in reverse from the step behind; all start from 0."""
    behind = {3: ["0", "1"], 12: ["0", "1", "10"]}[count]
    ahead = {3: ["1", "2"], 12: ["1", "2", "11"]}[count]
    for backwards, indices in ((False, behind), (True, ahead)):
        one = lane(inspected(cell, T=count, go_backwards=backwards), 3)
        assert one.reverse == backwards
        assert [state.initial for state in one.states] == ["0"] * len(STATES[cell])
        labels = [state.labels for state in one.states]
        if count == 3:
            assert labels == [
                tuple(f"{state}_{index}" for index in indices) for state in STATES[cell]
            ]
        else:
            assert [found[-1] for found in labels] == [
                f"{state}_{indices[-1]}" for state in STATES[cell]
            ]


#: The outputs that leave each lane of three steps, by the options of the network.
OUTPUTS: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    "forward": ({}, [["h_2"]]),
    "sequences": ({"return_sequences": True}, [["h_0", "h_1", "h_2"]]),
    "backward": ({"go_backwards": True}, [["h_0"]]),
    "backward sequences": (
        {"go_backwards": True, "return_sequences": True},
        [["h_0", "h_1", "h_2"]],
    ),
    "both": ({"bidirectional": True}, [["h→_2"], ["h←_0"]]),
    "both summed": (
        {"bidirectional": True, "merge_mode": "sum", "return_sequences": True},
        [["h→_0", "h→_1", "h→_2"], ["h←_0", "h←_1", "h←_2"]],
    ),
    "stack": ({"M": [5, 4]}, [["h1_0", "h1_1", "h1_2"], ["h2_2"]]),
}


@EACH_CELL
@pytest.mark.parametrize("way", OUTPUTS)
def test_only_outputs_that_go_on_leave(cell: str, way: str) -> None:
    """The last one of each direction, or all; a remark says so where the others do not."""
    options, wanted = OUTPUTS[way]
    found = boxes(inspected(cell, T=3, **options))
    lanes = [one for box in found if box.recurrence for one in box.recurrence.unroll(5).lanes]
    outputs = [[step.output for step in one.steps if step and step.output] for one in lanes]
    assert outputs == wanted
    assert [bool(one.remark) for one in lanes] == [len(names) == 1 for names in wanted]
    assert [one.reverse for one in lanes] == ["back" in way or "←" in n[0] for n in wanted]


def test_directions_are_joined_by_the_equation() -> None:
    """A single direction needs no equation."""
    both = recurrence(inspected("lstm", bidirectional=True))
    assert both.unroll(3).merge == "h = concatenate(h→_11, h←_0)"
    summed = inspected("gru", bidirectional=True, merge_mode="sum", return_sequences=True)
    assert recurrence(summed).unroll(3).merge == "h_t = h→_t + h←_t"
    assert recurrence(inspected()).unroll(3).merge == ""


def test_headings_tell_the_directions_apart() -> None:
    """Each lane has the name of its layer, and where it begins."""
    forwards, backwards = recurrence(inspected(bidirectional=True)).unroll(3).lanes
    assert forwards.name in forwards.heading
    assert backwards.name in backwards.heading
    assert forwards.heading.removeprefix(forwards.name) != backwards.heading.removeprefix(
        backwards.name
    )


def test_a_reversed_sequence_is_read_in_reverse() -> None:
    """What the first layer returns begins with its last step."""
    result = inspected("gru", go_backwards=True, return_sequences=True, M=[5, 4], T=3)
    assert [step and step.input for step in lane(result, number=1).steps] == [
        "h1_2",
        "h1_1",
        "h1_0",
    ]
    assert "h1_{2-t} (N, M1) = (2, 5)" in recurrence(result, 1).each_step
    first, second = (box.notes for box in boxes(result)[:2])
    assert first
    assert second


@EACH_CELL
def test_a_step_tells_what_goes_in_and_out(cell: str) -> None:
    text = recurrence(inspected(cell)).each_step
    assert "x_t (N, D) = (2, 3)" in text
    assert text.endswith(f"{', '.join(f'{s}_t' for s in STATES[cell])} (N, M) = (2, 5)")


@EACH_CELL
def test_weights_and_equations_belong_to_a_step(cell: str) -> None:
    """The equation of a step names the weights on its arrows, in each direction."""
    found = recurrence(inspected(cell, bidirectional=True)).unroll(3)
    text = "; ".join(found.equations)
    for one in found.lanes:
        arrow = "←" if one.reverse else "→"
        assert (one.kernel, one.recurrent_kernel) == (f"Wx{arrow}", f"Wh{arrow}")
        assert one.reverse or f"x_t {one.kernel}" in text
        assert one.reverse or f"h→_{{t-1}} {one.recurrent_kernel}" in text
        assert one.name in text or not one.reverse
    assert found.merge.replace("_11", "_t").replace("_0", "_t") not in text
    assert not boxes(inspected(cell))[1].recurrence


def test_second_direction_is_written_where_it_differs() -> None:
    """Otherwise its name stands there, and which steps its states come from."""

    def equations(first: Any, second: Any) -> tuple[str, ...]:
        both = la.Bidirectional(first, backward_layer=second)
        return recurrence(rnnshapes.inspect(keras.Model(x, both(x)))).equations

    x, ahead, behind = keras.Input((6, 3)), "t+1", "t-1"
    for before, after in ((behind, ahead), (ahead, behind)):
        first, second = (la.SimpleRNN(4, go_backwards=index == ahead) for index in (before, after))
        written, named = equations(first, second)
        assert written == f"h→_t = tanh(x_t Wx→ + bh→ + h→_{{{before}}} Wh→)"
        assert re.findall(r"backward_simple_rnn|t[+-]1|←", named) == [
            *("backward_simple_rnn", "←", after, before),
        ]
    first, second = la.SimpleRNN(4), la.SimpleRNN(4, activation="relu", go_backwards=True)
    assert equations(first, second) == (
        "h→_t = tanh(x_t Wx→ + bh→ + h→_{t-1} Wh→)",
        "h←_t = relu(x_t Wx← + bh← + h←_{t+1} Wh←)",
    )


def test_stacked_cells_pass_on_the_states_of_each() -> None:
    """No kernel is that of all of them."""
    found = recurrence(rnnshapes.inspect(model_of("cells")), 1)
    (one,) = found.unroll(5).lanes
    assert [(state.initial, state.labels) for state in one.states] == [
        ("0", ("h12_0", "h12_1", "h12_2")),
        ("0", ("h22_0", "h22_1", "h22_2")),
    ]
    assert [step.output for step in one.steps if step] == ["h22_0", "h22_1", "h22_2", "h22_3"]
    assert (one.kernel, one.recurrent_kernel) == ("", "")
    assert found.each_step.endswith("h12_t (N, M2) = (1, 4); h22_t (N, M3) = (1, 3)")


def test_states_of_an_encoder_have_numbers() -> None:
    x = keras.Input((9, 3))
    _, *states = la.LSTM(4, return_state=True)(x)
    (decoder,) = recurrence(
        rnnshapes.inspect(keras.Model(x, la.LSTM(4)(x, initial_state=states))), 1
    ).directions
    assert decoder.initial == ("h1_8", "c1_8")


def test_given_states_are_what_lanes_start_from() -> None:
    """States of another recurrence have its names."""
    x, h = keras.Input((9, 3)), keras.Input((4,))
    _, *states = la.LSTM(4, return_state=True, name="encoder")(x)
    y = la.LSTM(4, name="decoder")(x, initial_state=states)
    z = la.GRU(4, name="third")(x, initial_state=h)
    result = rnnshapes.inspect(keras.Model([x, h], [y, z]))
    initial = {
        box.name: [state.initial for state in box.recurrence.unroll(3).lanes[0].states]
        for box in boxes(result)
        if box.recurrence
    }
    assert initial["encoder"] == ["0", "0"]
    assert initial["third"] == ["x2"]
    assert len(set(initial["decoder"])) == 2
    assert not {"0", "x2"} & set(initial["decoder"])


def test_given_states_go_to_their_direction() -> None:
    """The first ones to the first direction."""
    x = keras.Input((9, 3))
    given = [keras.Input((4,)) for _ in range(4)]
    y = la.Bidirectional(la.LSTM(4))(x, initial_state=given)
    lanes = recurrence(rnnshapes.inspect(keras.Model([x, *given], y))).unroll(3).lanes
    assert [[state.initial for state in one.states] for one in lanes] == [
        ["x2", "x3"],
        ["x4", "x5"],
    ]


def test_states_beside_the_output_have_their_own_names() -> None:
    """Behind a joined output they are not one of its directions."""
    layer = la.Bidirectional(la.LSTM(5, return_state=True), merge_mode="sum")
    joined, *states = layer(x := keras.Input((9, 3)))
    (box,) = boxes(rnnshapes.inspect(keras.Model(x, [joined, *states])))
    assert [tensor.name for tensor in box.outputs] == ["h", "h[1]", "h[2]", "h[3]", "h[4]"]
    equations = "h[1] = h→_8, h[2] = c→_8, h[3] = h←_0, h[4] = c←_0"
    assert any(note.endswith(equations) for note in box.notes)


def test_masks_and_unmerged_outputs_are_noted() -> None:
    """Lanes alone do not show them. Beside initial states, Keras passes no mask on."""
    x = keras.Input((9, 3))
    plain, masked = la.GRU(4)(x), la.GRU(4)(la.Masking()(x))
    given = la.GRU(4)(la.Masking()(x), initial_state=plain)
    both = la.Bidirectional(la.GRU(4), merge_mode=None)(x)
    merged = la.Bidirectional(la.GRU(4))(x)
    result = rnnshapes.inspect(keras.Model(x, [plain, masked, *both, merged, given]))
    notes = [box.notes for box in boxes(result) if box.recurrence]
    assert [len(found) for found in notes] == [0, 1, 1, 0, 0]
    assert "mask" in notes[1][0]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_a_network_without_a_graph_has_no_boxes(tmp_path) -> None:
    """A file of weights alone has no graph."""
    model = keras.Sequential([keras.Input((6, 3)), la.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    assert boxes(rnnshapes.inspect(path)) == ()


@pytest.mark.parametrize("name", ["attention", "heads", "normalized", "merged"])
def test_rule_is_the_last_equation(name: str) -> None:
    result = rnnshapes.inspect(model_of(name))
    reports = {report.name: report for report in result.layers}
    found = 0
    for box in boxes(result):
        report = reports.get(box.title.partition(":")[0])
        if box.rule and report is not None:
            last = report.equations[-1]
            assert box.rule.partition(" = ")[0].split("_")[0] == last.name.split("_")[0]
            found += len(report.equations) > 1
    assert found or name == "merged"
