"""Networks made from calls of layers: names of tensors, time steps, and what may mix them."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnnshapes.cells.frameworks import FrameworkLSTM, FrameworkRNN
from rnnshapes.errors import ContradictionError, InputError, UnsupportedError
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import OLD_HARD_SIGMOID, UNROLLED_MASK, Network, Tap
from rnnshapes.network.layers.config import (
    LAST_INPUT,
    LayerConfig,
    Namer,
    Source,
    activation_in,
    is_keras,
    is_operation,
    size_in,
)
from rnnshapes.network.lost_masks import LostMasks
from rnnshapes.network.naming import TensorNames, state_name
from rnnshapes.network.structure import ModelStructure, facts
from rnnshapes.network.summary import inspect_network
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from tests.helpers.layer_calls import Part, network

DENSE: Part = ("Dense", {"units": 2})


def rnn(units: int = 4, kind: str = "LSTM", *, seq: bool = True, **options: Any) -> Part:
    return kind, {"units": units, "return_sequences": seq, **options}


def both(merge_mode: str | None = "concat", *, seq: bool = True) -> Part:
    inner = {"name": "g", "units": 4, "return_sequences": seq}
    return "Bidirectional", {
        "layer": {"class_name": "GRU", "config": inner},
        "merge_mode": merge_mode,
    }


def operation(kind: str, *arguments: Any, **options: Any) -> Part:
    return f"keras.ops.{kind}", options, {"arguments": (Source(0), *arguments)}


def taps_of(net: Network) -> list[Tap]:
    """Return all outputs of all nodes."""
    return [Tap(i, o) for i, each in enumerate(net.node_shapes) for o in range(len(each.shapes))]


MASKING: Part = ("Masking", {})
SCALE = Constant((0.5, -1.5, 2.0, 0.75), (4,), "float32")
STATES = {"sources": (Tap(0),), "initial": (Tap(1, 1), Tap(1, 2))}
NETWORKS: dict[str, Network] = {
    "sequence": network(rnn(), DENSE),
    "last": network(rnn(seq=False), DENSE),
    "last by index": network(rnn(), operation("GetItem", (slice(None), -1)), DENSE),
    "both, last by index": network(both(), operation("GetItem", (slice(None), -1)), DENSE),
    "stack": network(rnn(), rnn(5, "GRU"), DENSE, DENSE),
    "reverse": network(rnn(go_backwards=True), DENSE),
    "reverse, last": network(rnn(go_backwards=True, seq=False), DENSE),
    "both": network(both(), DENSE),
    "both, apart": network(both(None), ("Add", {}, {"sources": (Tap(1), Tap(1, 1))})),
    "both, last": network(both(seq=False), DENSE),
    "states": network(rnn(return_state=True), rnn(), outputs=(Tap(2), Tap(1, 2))),
    "given states": network(rnn(seq=False, return_state=True), (*rnn(), STATES), DENSE),
    "flipped": network(operation("Flip", axis=1), rnn(), DENSE),
    "added": network(
        rnn(),
        ("Add", {}, {"sources": (Tap(1), Tap(1))}),
        ("Add", {}, {"sources": (Tap(1), Tap(2))}),
        DENSE,
    ),
    "two outputs": network(
        rnn(), DENSE, ("Dense", {"units": 3}, {"sources": (Tap(1),)}), outputs=(Tap(2), Tap(3))
    ),
    "called again": network(rnn(), *[("Dense", {"units": 4}, {"name": "d"})] * 2),
    "dropped": network(rnn(), ("Dropout", {"rate": 0.5}), DENSE),
    "convolved": network(("Conv1D", {"filters": 3, "kernel_size": 2}), rnn(), DENSE),
    "no recurrence": network(DENSE),
    "head in front": network(DENSE, rnn(seq=False), ("RepeatVector", {"n": 5}), rnn()),
    "scaled": network(rnn(seq=False), operation("Multiply", SCALE), DENSE),
    "stateful": network(rnn(stateful=True), DENSE, batch=4),
    "masked": network(MASKING, rnn(return_state=True), rnn(5, seq=False, go_backwards=True), DENSE),
    "masked, both": network(MASKING, both(), both(seq=False), DENSE),
    "zeroed": network(MASKING, rnn(zero_output_for_mask=True), rnn(seq=False)),
    "mean added": network(
        rnn(), ("GlobalAveragePooling1D", {}), ("Add", {}, {"sources": (Tap(1), Tap(2))})
    ),
    "one step added": network(
        ("GlobalAveragePooling1D", {"keepdims": True}),
        ("GlobalAveragePooling1D", {}),
        ("Add", {}, {"sources": (Tap(1), Tap(2))}),
    ),
    "normalized": network(rnn(seq=False), ("GroupNormalization", {"groups": 2}), DENSE),
    "made state": network(
        ("GlobalAveragePooling1D", {}),
        ("Dense", {"units": 4}),
        (*rnn(kind="SimpleRNN"), {"sources": (Tap(0),), "initial": (Tap(2),)}),
        DENSE,
    ),
    "flattened": network(("Flatten", {}), DENSE, ("RepeatVector", {"n": 5}), DENSE),
    "joined masks": network(
        MASKING, *((kind, {}, {"sources": (Tap(0), Tap(1))}) for kind in ("Concatenate", "Add"))
    ),
}
#: Names at t, and after the last step where these differ.
NAMES: dict[str, tuple[str, str]] = {
    "sequence": ("x_t h_t y_hat_t", ""),
    "last": ("x_t h_t y_hat_t", "x_t h_{T-1} y_hat"),
    "last by index": ("x_t h_t h_t y_hat_t", "x_t h_t h_{T-1} y_hat"),
    "both, last by index": ("x_t h_t g y_hat", ""),
    "stack": ("x_t h1_t h2_t y0_t y_hat_t", ""),
    "reverse": ("x_t h_{T-1-t} y_hat_t", ""),
    "reverse, last": ("x_t h_t y_hat_t", "x_t h_0 y_hat"),
    "both": ("x_t h_t y_hat_t", ""),
    "both, apart": ("x_t h→_t h←_t y_hat_t", ""),
    "both, last": ("x_t h_t y_hat_t", "x_t h y_hat"),
    "states": ("x_t h1_t h1[1] h1[2] h2_t", ""),
    "given states": (
        "x_t h1_t h1[1] h1[2] h2_t y_hat_t",
        "x_t h1_{T-1} h1[1] h1[2] h2_t y_hat_t",
    ),
    "flipped": ("x_t s_t h_t y_hat_t", ""),
    "added": ("x_t h_t m1_t m2_t y_hat_t", ""),
    "two outputs": ("x_t h_t y_hat1_t y_hat2_t", ""),
    "called again": ("x_t h_t y0_t y_hat'_t", ""),
    "dropped": ("x_t h_t h_t y_hat_t", ""),
    "convolved": ("x_t u_t h_t y_hat_t", ""),
    "no recurrence": ("x_t y_hat_t", ""),
    "head in front": ("x_t y0_t h1_t s_t h2_t", "x_t y0_t h1_{T-1} s_t h2_t"),
    "scaled": ("x_t h_t m_t y_hat_t", "x_t h_{T-1} m y_hat"),
    "stateful": ("x_t h_t y_hat_t", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_tensors_have_names_at_each_step(name: str) -> None:
    net = NETWORKS[name]
    names, taps = TensorNames(net), taps_of(net)
    at_t, at_end = NAMES[name]
    assert [names.of(tap) for tap in taps] == at_t.split()
    assert [names.at_end(tap) for tap in taps] == (at_end or at_t).split()


def test_tensors_have_names_without_steps() -> None:
    names = TensorNames(NETWORKS["states"])
    taps = taps_of(NETWORKS["states"])
    assert [names.whole(tap) for tap in taps] == ["x", "h1", "h1[1]", "h1[2]", "h2"]
    names = TensorNames(NETWORKS["both, apart"])
    assert [names.whole(Tap(1, number)) for number in (0, 1)] == ["h", "h"]


def test_final_states_have_names() -> None:
    found = [state_name(NETWORKS["states"], tap) for tap in taps_of(NETWORKS["states"])]
    assert found == ["x", "l1", "h1_{T-1}", "c1_{T-1}", "l2"]
    net = network(rnn(return_state=True, go_backwards=True, seq=False))
    assert [state_name(net, Tap(1, number)) for number in range(4)] == ["l1", "h_0", "c_0", "l1"]


#: Whether values depend on no later step, on other steps through recurrences alone, whether blocks
#: of steps can be computed, and whether each layer feeds the next one; positions of the head, and
#: the largest number of paths.
PROPERTIES: dict[str, tuple[str, tuple[int, ...], int]] = {
    "sequence": ("causal, recurrent, blocks, chain, sequence", (2,), 1),
    "last": ("causal, recurrent, blocks, chain", (2,), 1),
    "last by index": ("causal, recurrent, blocks, chain", (2, 3), 1),
    "both, last by index": ("chain", (2, 3), 1),
    "stack": ("causal, recurrent, blocks, chain, sequence", (3, 4), 1),
    "reverse": ("recurrent, chain, sequence", (2,), 1),
    "reverse, last": ("recurrent, chain", (2,), 1),
    "both": ("recurrent, chain, sequence", (2,), 1),
    "both, apart": ("recurrent, sequence", (2,), 2),
    "states": ("causal, recurrent, blocks, sequence", (), 1),
    "given states": ("causal, recurrent, sequence", (3,), 3),
    "flipped": ("chain, sequence", (3,), 1),
    "added": ("causal, recurrent, blocks, sequence", (2, 3, 4), 3),
    "two outputs": ("causal, recurrent, blocks, sequence", (2, 3), 1),
    "called again": ("causal, recurrent, blocks, chain, sequence", (2, 3), 1),
    "convolved": ("chain, sequence", (3,), 1),
    "no recurrence": ("causal, recurrent, blocks, chain, sequence", (1,), 1),
    "head in front": ("chain, sequence", (), 1),
    "scaled": ("causal, recurrent, blocks, chain", (2, 3), 1),
    "stateful": ("causal, recurrent, chain, sequence", (2,), 1),
    "made state": ("sequence", (4,), 2),
    "flattened": ("chain, sequence", (1, 2, 3, 4), 1),
    "mean added": ("sequence", (2, 3), 2),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_network_knows_what_mixes_steps(name: str) -> None:
    net = NETWORKS[name]
    words, head, paths = PROPERTIES[name]
    found = {
        "causal": net.is_causal,
        "recurrent": net.only_recurrences_mix_steps,
        "blocks": net.runs_in_blocks,
        "chain": net.is_chain,
        "sequence": net.returns_sequences,
    }
    assert ", ".join(word for word, holds in found.items() if holds) == words
    assert (net.head, net.path_count) == (head, paths)


#: The steps of the first output of each node; "last" where it is that of the last step alone, "~"
#: where a step may depend on later ones, "*" where it has a mask, "2" for two such outputs.
STEPS = {
    "sequence": "T T T",
    "last": "T Tlast Tlast",
    "last by index": "T T Tlast Tlast",
    "both, last by index": "T ~T ~None ~None",
    "reverse": "T ~T ~T",
    "reverse, last": "T ~Tlast Tlast",
    "both, apart": "T ~T2 ~T",
    "states": "T T T",
    "given states": "T Tlast T T",
    "flipped": "T ~T T T",
    "head in front": "T T Tlast ~R R",
    "scaled": "T Tlast Tlast Tlast",
    "convolved": "T ~T' T' T'",
    "masked": "T T* T* ~Tlast Tlast",
    "masked, both": "T T* ~T* ~Tlast Tlast",
    "zeroed": "T T* T* Tlast",
    "normalized": "T Tlast Tlast Tlast",
    "mean added": "T T ~None T",
    "one step added": "T ~1 ~None ~1",
    "flattened": "T ~None ~None ~R ~R",
    "joined masks": "T T* T* T",
}


@pytest.mark.parametrize("name", STEPS)
def test_outputs_have_time_steps(name: str) -> None:
    shapes = NETWORKS[name].node_shapes
    assert {each.mask_axes for each in shapes} <= {0, 2}
    found = [
        f"{'~' * (not s.causal)}{s.steps}{'last' * s.final}{'*' * s.masked}{'2' * (s.joined > 1)}"
        for s in shapes
    ]
    assert " ".join(found) == STEPS[name]


def test_steps_on_the_way_have_shapes() -> None:
    expected = {
        "sequence": [[], [], ["N T K", "N T K"]],
        "last": [[], [], ["N K", "N K"]],
        "convolved": [[], ["N T' 2 D", "N T' F", "N T' F"], [], ["N T' K", "N T' K"]],
        "flipped": [[], ["N T D"], [], ["N T K", "N T K"]],
        "added": [[], [], ["N T M"], ["N T M"], ["N T K", "N T K"]],
    }
    for name, shapes in expected.items():
        nodes = NETWORKS[name].node_shapes
        found = [[" ".join(map(str, shape)) for shape in each.intermediates] for each in nodes]
        assert found == shapes


#: Class and options of a layer that is called on x and again, the sources of these calls, the
#: shapes of their outputs, and the new lengths.
CONV = {"filters": 3, "kernel_size": 2}
AGAIN: list[tuple[str, dict[str, Any], tuple[int, ...], str, list[int]]] = [
    ("Conv1D", CONV, (0, 1), "N T' F, N T'' F", [5, 4]),
    ("Conv1D", CONV, (0, 0), "N T' F, N T' F", [5]),
    ("Conv1D", {**CONV, "padding": "same"}, (0, 1), "N T F, N T F", []),
    ("Conv1D", {**CONV, "strides": 2, "padding": "causal"}, (0, 1), "N T' F, N T'' F", [3, 2]),
    ("Conv1DTranspose", CONV, (0, 1), "N T' F, N T'' F", [7, 8]),
    ("MaxPooling1D", {"pool_size": 2}, (0, 1), "N T' D, N T'' D", [3, 1]),
    ("UpSampling1D", {"size": 2}, (0, 1), "N T' D, N T'' D", [12, 24]),
    ("ZeroPadding1D", {"padding": [1, 2]}, (0, 1), "N T' D, N T'' D", [9, 12]),
    ("Cropping1D", {"cropping": [1, 1]}, (0, 1), "N T' D, N T'' D", [4, 2]),
    ("Dense", {"units": 3}, (0, 1), "N T K, N T K", []),
]


@pytest.mark.parametrize("case", AGAIN, ids=[f"{case[0]}-{case[4]}" for case in AGAIN])
def test_layer_called_again_has_its_own_lengths(case: Any) -> None:
    kind, options, sources, shapes, lengths = case
    calls = ((kind, options, {"name": "c", "sources": (Tap(source),)}) for source in sources)
    net = network(*calls)
    found = [" ".join(map(str, each.shapes[0])) for each in net.node_shapes[1:]]
    assert ", ".join(found) == shapes
    assert [size for name, size in net.sizes.items() if "'" in name] == lengths


def test_layer_called_again_keeps_other_lengths() -> None:
    same = (
        ("Conv1D", {**CONV, "padding": "same"}),
        ("MaxPooling1D", {"strides": 1, "padding": "same"}),
    )
    for kind, options in same:
        calls = ((kind, options, {"name": "c", "sources": (Tap(n),)}) for n in (0, 1))
        net = network(("ZeroPadding1D", {"padding": 2}), *calls)
        steps = [str(each.steps) for each in net.node_shapes[2:]]
        assert (steps, net.sizes["T'"], "T''" in net.sizes) == (["T", "T'"], 10, False)


def test_groups_may_divide_a_computed_size() -> None:
    conv = "Conv1D", {"filters": 4, "kernel_size": 2}
    groups = "GroupNormalization", {"groups": 5}
    net = network(conv, ("Permute", {"dims": [2, 1]}), groups)
    assert not net.unsupported
    assert (net.sizes["T'"], net.sizes["G"], net.parameters) == (5, 5, 4 * 7 + 2 * 5)


def test_images_called_again_have_numbers() -> None:
    options = {"filters": 3, "kernel_size": [2, 3]}
    calls = [LayerCall("x", "InputLayer", {"batch_shape": (None, 9, 8, 3)})]
    calls += [LayerCall("c", "Conv2D", options, (Tap(source),)) for source in (0, 1)]
    net = assemble(LayerGraph(tuple(calls), (Tap(2),)))
    found = [" ".join(map(str, each.shapes[0])) for each in net.node_shapes]
    assert found == ["N T 8 D", "N T' 6 F", "N T'' 4 F"]
    assert (net.sizes["T'"], net.sizes["T''"]) == (8, 7)


def test_outputs_have_a_shape_at_one_step() -> None:
    expected = {"sequence": "N D, N M, N K", "last": "N D, N M, N K", "states": "N D, N M1, N M2"}
    for name, text in expected.items():
        shapes = [each.at_step for each in NETWORKS[name].node_shapes]
        assert ", ".join(" ".join(map(str, shape)) for shape in shapes) == text
    states = NETWORKS["states"].node_shapes[1]
    found = [states.output(number) for number in range(4)]
    assert [len(each.shapes) for each in found] == [1, 1, 1, 0]
    assert [str(each.steps) for each in found] == ["T", "None", "None", "None"]
    apart = NETWORKS["both, apart"].node_shapes[1]
    assert [str(apart.output(number).steps) for number in (0, 1)] == ["T", "T"]
    assert [apart.output(number).joined for number in (0, 1)] == [1, 1]


def test_steps_of_all_recurrences_are_counted() -> None:
    counts = {"sequence": 6, "stack": 12, "both": 12, "convolved": 5, "no recurrence": 1}
    for name, steps in counts.items():
        net = NETWORKS[name].with_sizes(N=7)
        assert net.scan_steps == 7 * steps
        assert net.max_steps == 6
    assert NETWORKS["convolved"].step_count(NETWORKS["convolved"].node_shapes[1]) == 5
    flattened = NETWORKS["flattened"]
    assert [flattened.step_count(each) for each in flattened.node_shapes] == [6, 1, 1, 5, 5]
    assert from_sizes(N=2, T=9, M=[3, 4], bidirectional=True).scan_steps == 2 * 4 * 9


def test_sizes_are_set_once() -> None:
    net = NETWORKS["sequence"]
    assert net.sizes == {"N": None, "T": 6, "D": 3, "M": 4, "K": 2}
    assert net.with_sizes(N=5, T=6).sizes["N"] == 5
    with pytest.raises(InputError, match=r"T is 6.*7"):
        net.with_sizes(T=7)
    with pytest.raises(InputError, match=r"N \(samples\)"):
        net.size("N")
    with pytest.raises(InputError, match="N"):
        net.count(Dim.named("N") * Dim.named("M"))
    assert net.count(Dim.named("T") * Dim.named("M")) == 24
    assert net.value(Dim.named("N")) is None
    assert net.shape_numbers((Dim.named("N"), Dim.named("T"), Dim.of(2))) == (None, 6, 2)
    assert net.parameters == 4 * 4 * (3 + 4 + 1) + 2 * (4 + 1)
    assert net.widths == {"l1": {"h": 4, "c": 4}}
    assert net.groups == ("l1", "l2")
    assert [layer.name for layer in NETWORKS["called again"].layers] == ["l1", "d"]


def test_layer_dtype_is_overridden_by_network_dtype() -> None:
    net = network(rnn(), (*DENSE, {"computes_in": "float16"}))
    first, second = net.layers
    assert net.precisions == ("float32", "float16")
    other = net.with_dtype("float64")
    assert (other.dtype, other.precisions) == ("float64", ("float64",))
    assert other.with_dtype("float64") is other
    assert other.with_dtype("float32").precision(second) == "float32"
    assert net.precision(first) == "float32"


def test_why_nothing_is_traced_or_built_is_said() -> None:
    unknown = network(("Own", {}), rnn())
    assert [node.name for node in unknown.unsupported][:1] == ["l1"]
    assert "Own" in unknown.no_recurrence_reason
    assert "'l1' (Own)" in unknown.not_buildable_reason
    assert unknown.contradictions == {}
    plain = network(DENSE)
    assert "Dense" not in plain.no_recurrence_reason
    assert plain.not_buildable_reason == ""
    empty = replace(plain, nodes=(), outputs=())
    assert empty.not_buildable_reason == empty.no_recurrence_reason
    assert (empty.path_count, empty.max_steps) == (0, 1)
    broken = network(("Dense", {"units": -1}))
    assert list(broken.contradictions) == ["l1"]


def test_cells_that_keras_lacks_are_named_once() -> None:
    net = network(rnn(kind="SimpleRNN"), rnn(kind="SimpleRNN"), rnn(), DENSE)
    assert (net.not_in_keras, net.not_buildable_reason) == ((), "")
    x, *recurrent, dense = net.nodes
    others = []
    for node, kind in zip(recurrent, (FrameworkRNN, FrameworkRNN, FrameworkLSTM), strict=True):
        direction = node.layer.directions[0]
        own = replace(direction, cell=kind(direction.cell.output))
        others.append(replace(node, layer=replace(node.layer, direction=own)))  # type: ignore[call-arg]
    foreign = net.with_nodes((x, *others, dense))
    assert foreign.not_in_keras == ("RNN", "LSTM")
    assert "RNN" in foreign.not_buildable_reason
    shape = {"batch_shape": (None, 6, None)}
    calls = [LayerCall("x", "InputLayer", shape), LayerCall("l", "GRU", {"units": 4}, (Tap(0),))]
    assert "--D" in assemble(LayerGraph(tuple(calls), (Tap(1),))).not_buildable_reason


def test_differences_of_keras_are_known_by_layer() -> None:
    options = {"unroll": True, "zero_output_for_mask": True}
    back = rnn(go_backwards=True, **options)
    unrolled = both()
    unrolled[1]["layer"]["config"]["unroll"] = True
    cases = [
        ((MASKING, back), {"l2": UNROLLED_MASK}),
        ((MASKING, rnn(**options)), {}),
        ((MASKING, rnn(seq=False, go_backwards=True, **options)), {}),
        ((MASKING, rnn(go_backwards=True, unroll=True)), {}),
        ((back,), {}),
        ((MASKING, (*back, {"mask_dropped": True})), {}),
        ((MASKING, unrolled), {"l2": UNROLLED_MASK}),
        ((MASKING, both()), {}),
        ((DENSE, rnn(recurrent_activation=KERAS2_HARD_SIGMOID)), {"l2": OLD_HARD_SIGMOID}),
        ((DENSE, rnn(recurrent_activation="hard_sigmoid")), {}),
    ]
    for parts, expected in cases:
        net = network(*parts)
        assert net.known_differences == expected
        layers = inspect_network(net).layers
        warned = [layer.name for layer in layers if "warning" in {n.topic for n in layer.notes}]
        assert warned == list(expected)
    net = network(rnn())
    x, node = net.nodes
    layer = replace(node.layer, runtime_differences="own")  # type: ignore[call-arg]
    changed = net.with_nodes((x, replace(node, layer=layer)))
    assert changed.known_differences == {"l1": "own"}
    assert changed.node_shapes is net.node_shapes


def test_unsupported_layer_is_in_no_head() -> None:
    own: Part = ("Own", {}, {"outputs": ((None, 6, 5),)})
    net = network(rnn(), own, rnn(), DENSE, own)
    assert [node.name for node in net.unsupported] == ["l2", "l5"]
    assert (net.head, net.is_causal, net.only_recurrences_mix_steps) == ((4,), False, False)
    assert list(net.unsupported_reasons) == ["l2", "l5"]
    assert all("Own" in reason for reason in net.unsupported_reasons.values())
    assert "l2 (" in net.no_recurrence_reason
    assert "l5 (" in net.no_recurrence_reason
    found = [(s.causal, str(s.steps)) for s in net.node_shapes]
    assert found == [(True, "T"), (True, "T"), (False, "T"), (True, "T"), (True, "T"), (False, "T")]
    reports = {layer.name: layer for layer in inspect_network(net).layers}
    assert [name for name, layer in reports.items() if not layer.supported] == ["l2", "l5"]
    assert [(reports[n].equations, reports[n].operations) for n in ("l2", "l5")] == [((), ())] * 2


#: What a model tells of a call of an unsupported layer on x, and the shapes, the steps and the axes
#: of the mask of its outputs, behind x and behind a mask of (N, T).
DECLARED: list[tuple[dict[str, Any], str, str, tuple[int, int]]] = [
    ({"outputs": ((None, 6, 3),)}, "N T D", "T", (0, 0)),
    ({"outputs": ((None, 6, 5),)}, "N T 5", "T", (0, 0)),
    ({"outputs": ((None, 3),)}, "N D", "None", (0, 0)),
    ({"outputs": ((None, 6),)}, "N 6", "None", (0, 0)),
    ({"outputs": ((None, 6, 6, 3),)}, "N T 6 D", "T", (0, 0)),
    ({"outputs": ((None, None, 3),)}, "N T' D", "T'", (0, 0)),
    ({"outputs": ((None, None, 3),), "keeps_steps": True}, "N T D", "T", (0, 0)),
    ({"outputs": ((None, None, None), (None, 3)), "keeps_steps": True}, "N T T', N D", "T", (0, 0)),
    ({"outputs": ((None, None, 3), (None, None))}, "N T' D, N T''", "T'", (0, 0)),
    ({"outputs": ((None, 6, 3),), "masked": True}, "N T D", "T", (2, 2)),
    ({"outputs": ((None, 6, 3),), "masked": True, "nesting": 1}, "N T' 6 D", "T'", (3, 3)),
    ({"outputs": ((None, 6, 3),), "nesting": 1}, "N T' 6 D", "T'", (0, 2)),
    (
        {"outputs": ((None, 6, 3),), "masked": True, "nesting": 1, "models_ended": 1},
        *("N T' 6 D", "T'", (0, 2)),
    ),
    ({"outputs": ((),), "nesting": 1}, "", "None", (0, 2)),
]


@pytest.mark.parametrize(("told", "shapes", "steps", "mask_axes"), DECLARED)
def test_unsupported_layer_has_the_shapes_it_declares(
    told: Any, shapes: str, steps: str, mask_axes: tuple[int, int]
) -> None:
    """A size has the name of an equal one on the same axis of x, or on the last one."""
    for before, axes in zip(((), (MASKING,)), mask_axes, strict=True):
        net = network(*before, ("Own", {}, told))
        own = net.node_shapes[-1]
        assert ", ".join(" ".join(map(str, shape)) for shape in own.shapes) == shapes
        assert (str(own.steps), own.mask_axes, own.causal) == (steps, axes, False)
        open_sizes = {"T'", "T''"} & {name.rstrip(",") for name in shapes.split()}
        assert net.sizes == {"N": None, "T": 6, "D": 3} | dict.fromkeys(open_sizes)


def test_stored_arrays_of_one_name_have_numbers() -> None:
    stored = (("k", (3, 4)), ("b", (4,)), ("k", ()))
    (layer,) = inspect_network(network(("Own", {}, {"stored": stored}))).layers
    assert [(weight.name, weight.symbol, weight.shape) for weight in layer.weights] == [
        ("l1/k[0]", "", (3, 4)),
        ("l1/b", "", (4,)),
        ("l1/k[2]", "", ()),
    ]


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("float16", "float16", "float16"),
        ("float16", "float32", "float32"),
        ("float16", "bfloat16", "float32"),
        ("float64", "float16", "float64"),
        ("bfloat16", "float64", "float64"),
    ],
)
def test_operation_computes_in_the_wider_dtype(first: str, second: str, result: str) -> None:
    both = {"sources": (Tap(1), Tap(2)), "arguments": (Source(0), Source(1))}
    net = network(
        (*DENSE, {"computes_in": first}),
        (*DENSE, {"computes_in": second, "sources": (Tap(0),)}),
        ("keras.ops.Add", {}, both),
        DENSE,
    )
    assert [net.precision(layer) for layer in net.layers] == [first, second, result, "float32"]


FED: Part = ("Dense", {"units": 3})
BOOLEAN = operation("Greater", 0.5)
ATTENTION: Part = ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3})
OWN: Part = ("Own", {})
SOFTMAX: Part = ("Softmax", {})
PRELU: Part = ("PReLU", {})
GRU: Part = ("GRU", {"units": 4})
STORED = {"stored": (("w", (3, 2)),)}
CAUSAL = {"call_options": (("use_causal_mask", True),)}


def called(part: Part, **more: Any) -> Part:
    """Return a call of the layer c."""
    return (*part[:2], {"name": "c", **more})


def attending(**more: Any) -> Part:
    return called(ATTENTION, sources=(Tap(0), Tap(0)), **more)


#: Calls of layers, and which of them are unsupported; None where the model is refused.
CALLS: list[tuple[tuple[Part, ...], str | None]] = [
    ((rnn(return_state=True), called(DENSE, initial=(Tap(1, 1),))), "c"),
    ((called(DENSE, sources=()),), "c"),
    ((BOOLEAN, called(DENSE)), "c"),
    ((BOOLEAN, operation("Where", 1.0, 0.0), DENSE), ""),
    ((called(FED, stored=(("kernel", (3, 3)), ("bias", (3,)))),), ""),
    ((called(FED, stored=(("bias", (3,)), ("kernel", (3, 3)))),), "c"),
    ((called(FED, stored=(("a", (3, 3)), ("b", (3,))), named=False),), ""),
    ((called(FED, contradiction="why"),), "c"),
    ((called(FED, unsupported_reason="why"),), "c"),
    ((called(FED, unsupported_reason="why", nesting=1),), "c"),
    ((rnn(return_state=True), called(rnn(), initial=(Tap(1, 1), Tap(1, 2)))), ""),
    ((rnn(return_state=True), called(rnn(), initial=(Tap(1, 1), Tap(1, 2)), nesting=1)), "c"),
    *(
        ((rnn(return_state=True), called(rnn(units), initial=initial)), "c")
        for units, initial in (
            (4, (Tap(1, 1),)),
            (4, (Tap(1, 1), Tap(1, 3))),
            (4, (Tap(1), Tap(1, 2))),
            (5, (Tap(1, 1), Tap(1, 2))),
        )
    ),
    ((rnn(return_state=True), called(GRU, initial=(Tap(1, 1), Tap(1, 2)))), ""),
    ((rnn(return_state=True), called(both(), initial=(Tap(1, 1), Tap(1, 2)))), ""),
    ((rnn(return_state=True), called(both(), initial=(Tap(1, 1), Tap(1, 2), Tap(1, 1)))), "c"),
    ((OWN, called(GRU, sources=(Tap(0),), initial=(Tap(1),))), "l1"),
    ((OWN, called(GRU, sources=(Tap(0),), initial=(Tap(1),), nesting=1)), "l1 c"),
    ((rnn(return_state=True), called(rnn()), called(rnn(), initial=(Tap(1, 1),))), None),
    ((MASKING, rnn(return_state=True), called(SOFTMAX, sources=(Tap(2),))), "c"),
    ((MASKING, rnn(return_state=True), called(SOFTMAX, sources=(Tap(2, 1),))), ""),
    ((called(FED), called(FED)), ""),
    ((called(FED), BOOLEAN, called(FED)), None),
    ((called(FED), ("Own", {}), called(FED)), None),
    ((called(("Dropout", {})), BOOLEAN, called(("Dropout", {}))), "c:2"),
    ((called(rnn()), called(rnn(), sources=(Tap(0),))), ""),
    ((called(rnn()), called(rnn())), None),
    ((called(DENSE), called(DENSE)), None),
    ((called(PRELU), ("Cropping1D", {}), called(PRELU)), None),
    ((called(PRELU), ("Reshape", {"target_shape": [6, 3]}), called(PRELU)), ""),
    ((called(rnn(stateful=True)),), ""),
    ((called(rnn(stateful=True)), called(rnn(stateful=True))), None),
    ((attending(), attending()), ""),
    ((attending(**CAUSAL), attending(**CAUSAL)), ""),
    ((attending(**CAUSAL), attending()), None),
    ((attending(), attending(**CAUSAL)), None),
    ((called(OWN), called(OWN, **CAUSAL)), "c c:2"),
    ((called(OWN, **STORED), called(OWN, **STORED, **CAUSAL)), "c c:2"),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_only_some_calls_of_layers_are_supported(number: int) -> None:
    parts, unsupported = CALLS[number]
    batch = 4 if any("stateful" in config for _, config, *_ in parts) else None
    if unsupported is None:
        with pytest.raises(InputError, match="'c'"):
            network(*parts, batch=batch)
        return
    net = network(*parts, batch=batch)
    assert [node.name for node in net.unsupported] == unsupported.split()
    contradicts = any(more.get("contradiction") for *_, more in parts if isinstance(more, dict))
    assert list(net.contradictions) == ["c"] * contradicts


def test_outputs_of_a_model_are_there() -> None:
    for part, number in ((rnn(return_state=True), 2), (OWN, 0)):
        assert network(part, outputs=(Tap(1, number),)).outputs == ((1, number),)
    for part, number in ((rnn(return_state=True), 3), (DENSE, 1)):
        with pytest.raises(InputError, match="l1"):
            network(part, outputs=(Tap(1, number),))


def test_mask_beside_initial_states_skips_no_steps() -> None:
    states = {"sources": (Tap(1),), "initial": (Tap(2, 1), Tap(2, 2))}
    found = []
    for dropped in (False, True):
        call = (*rnn(), {**states, "mask_dropped": dropped})
        net = network(MASKING, rnn(return_state=True), call)
        assert [net.is_masked(node) for node in net.recurrent] == [True, not dropped]
        notes = inspect_network(net).layers[-1].notes
        assert [note.topic for note in notes][-2:] == ["use", "use"]
        found.append(notes)
    assert found[0][:-1] == found[1][:-1]
    assert found[0] != found[1]


def test_no_state_is_given_at_each_step() -> None:
    shape, gru = {"batch_shape": (None, 6, 5, 3)}, {"units": 3}
    calls = [LayerCall("x", "InputLayer", shape)]
    calls.append(LayerCall("p", "GlobalAveragePooling2D", {}, (Tap(0),)))
    each = LayerCall("r", "GRU", gru, (Tap(0),), nesting=1, models_ended=1)
    for initial, unsupported in (((), []), ((Tap(1),), ["r"])):
        net = assemble(LayerGraph((*calls, replace(each, initial=initial)), (Tap(2),)))
        assert [node.name for node in net.unsupported] == unsupported
        topics = [note.topic for note in inspect_network(net).layers[-1].notes]
        assert topics == (["warning"] if unsupported else ["gates", "gates", "use"])


def test_attention_takes_masks_from_other_calls() -> None:
    """Only layers that use the mask pass it on for sure, behind attention on the same input."""
    attention = "MultiHeadAttention"
    # Class and inputs of a call, whether it uses their mask, and whether that may be lost.
    calls: list[tuple[str, tuple[Tap, ...], bool, bool]] = [
        ("InputLayer", (), False, False),
        ("Masking", (Tap(0),), False, False),
        (attention, (Tap(1), Tap(1)), False, False),  # its own removal
        ("Dense", (Tap(1),), False, True),
        ("Dense", (Tap(3),), False, True),  # the mask of its input was lost before
        ("LSTM", (Tap(1),), True, True),
        ("Dense", (Tap(5),), False, False),
        ("Dense", (Tap(0), Tap(3)), False, True),
        ("Dense", (Tap(1, 1),), False, False),
        (attention, (Tap(6), Tap(7)), False, True),
        (attention, (Tap(6), Tap(3)), False, True),  # another one, too
        (attention, (Tap(8), Tap(0)), False, False),
        ("Dense", (Tap(0),), False, False),  # x has no mask
    ]
    graph = [LayerCall(f"l{i}", kind, {}, taps) for i, (kind, taps, _, _) in enumerate(calls)]
    shape = tuple(map(Dim.named, "NTD"))
    plain = NodeShapes((shape,), shape[1])
    masked = replace(plain, shapes=(shape, shape), joined=2, mask_axes=2)
    shapes = [plain, *[masked] * len(calls)]
    masks = LostMasks(graph)
    found = []
    for call, (_, _, uses_mask, _) in zip(graph, calls, strict=True):
        found.append(masks.before(call, shapes))
        masks.add(SimpleNamespace(uses_mask=uses_mask), lost=found[-1])  # type: ignore[arg-type]
    assert found == [lost for *_, lost in calls]


def test_calls_have_primes_and_names_of_recurrences() -> None:
    again = (*rnn(3), {"name": "r"})
    net = network(again, again, again)
    assert [node.primes for node in net.nodes] == ["", "", "'", "''"]
    assert [name for node in net.nodes for name, _ in node.scans] == ["r", "r:2", "r:3"]
    assert net.widths == {name: {"h": 3, "c": 3} for name in ("r", "r:2", "r:3")}
    assert [node.group for node in NETWORKS["called again"].nodes[2:]] == ["d", "d"]


@pytest.mark.parametrize(
    ("part", "orders"),
    [(rnn(), ((False,), (True,))), (both(), ((False, False), (True, True)))],
)
def test_outputs_in_order_of_inputs_are_not_reversed(part: Part, orders: Any) -> None:
    """Keras returns steps in the order of processing; Bidirectional turns its backward ones."""
    layer = network(part).nodes[-1].layer
    turned = layer.map_directions(lambda d: replace(d, reverse=not d.reverse))  # type: ignore[attr-defined]
    assert (layer.reversed_outputs, turned.reversed_outputs) == orders  # type: ignore[attr-defined]
    for each in (layer, turned):
        other = replace(each, input_order=True)
        assert other.reversed_outputs == (False,) * len(layer.directions)


@pytest.mark.parametrize(
    ("value", "dtype", "exact"),
    [
        *((0.1, "float32", True), (1e30, "float32", True), (-1.5, "float32", True)),
        *((0.1, "float16", False), (1e30, "float16", False), (-1.5, "float16", True)),
        *((2.0**15, "float16", True), (2.0**16, "float16", False), (2049.0, "float16", False)),
        *((0.1, "bfloat16", False), (-1.5, "bfloat16", True), (257.0, "bfloat16", False)),
        *((2.0**100, "bfloat16", True), (float(1 + 2**-7), "bfloat16", True)),
    ],
)
def test_masked_value_that_no_number_has_is_noted(value: float, dtype: str, exact: bool) -> None:
    x = np.full((2, 3, 4), value, "float32")
    x[1, 2, 3] = 0
    notes = {}
    for name in ("float32", dtype):
        net = network(("Masking", {"mask_value": value}, {"computes_in": name}))
        ((note, topic),) = inspect_network(net).layers[0].notes
        assert (topic, f"{value:g}" in note) == ("use", True)
        notes[name] = note
    assert (notes[dtype] == notes["float32"]) is exact
    steps = net.nodes[-1].layer.mask([x], [None])
    assert steps.tolist() == ([[False] * 3, [False] * 2 + [True]] if exact else [[True] * 3] * 2)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention", "MultiHeadAttention"])
def test_attention_notes_what_hides_steps(kind: str, causal: bool, masked: bool) -> None:
    heads, sources = kind == "MultiHeadAttention", (Tap(int(masked)), Tap(0))
    products: Part = ("Dot", {"axes": 2}, {"sources": (Tap(0), Tap(0))})
    for given in (False, True)[: 1 + heads]:
        options = [("use_causal_mask", causal), *[("attention_mask", LAST_INPUT)] * given]
        call = {"sources": (*sources, Tap(2))[: 2 + given], "call_options": tuple(options)}
        net = network(MASKING, products, (kind, ATTENTION[1] if heads else {}, call))
        assert not net.unsupported
        notes = [note.topic for note in inspect_network(net).layers[-1].notes]
        assert notes == ["use"] * (causal + masked + given)


# --- Config of a layer ----------------------------------------------------------------------------


def config(*shapes: tuple[Any, ...], **options: Any) -> LayerConfig:
    """Return a config on inputs of these shapes; a text is a size that is open."""
    sizes = {part: None for shape in shapes for part in shape if isinstance(part, str)}
    dims = [
        tuple(Dim.named(p) if isinstance(p, str) else Dim.of(p) for p in ("N", *shape))
        for shape in shapes
    ]
    steps = dims[0][1] if len(dims[0]) > 2 else None
    return LayerConfig("l", "Own1D", options, dims, steps, True, "float32", Namer({}, sizes))


@pytest.mark.parametrize(
    ("axes", "rank", "expected"),
    [
        (1, 0, (-2,)),
        (-1, 0, (-1,)),
        ((2, 1), 0, (-2, -1)),
        ([-1, 2], 0, (-1,)),
        (1, 2, (-1,)),
        (3, 4, (-1,)),
        (0, 0, None),
        (-3, 0, None),
        (3, 0, None),
        (-4, 0, None),
        ((), 0, None),
        (None, 0, None),
        (True, 0, None),
        (1.0, 0, None),
        ((1, 0), 0, None),
    ],
)
def test_axes_count_from_the_last_one(axes: Any, rank: int, expected: Any) -> None:
    own = config((6, 4))
    if expected is None:
        with pytest.raises(UnsupportedError):
            own.axes(axes, rank)
        return
    assert own.axes(axes, rank) == expected
    if len(expected) == 1:
        assert own.axis(axes, rank) == expected[0]
    else:
        with pytest.raises(UnsupportedError):
            own.axis(axes, rank)


def test_other_options_are_unsupported() -> None:
    own = config((6, 4), a=1, b=[2], c=(2,), axis=[2], none=None)
    own.require(a=1, b=2, c=2, none=None, left_out=5)
    for wrong in ({"a": 2}, {"b": 1}, {"none": 1}, {"a": None}):
        with pytest.raises(UnsupportedError):
            own.require(**wrong)
    own.require_last_axis()
    config((6, 4)).require_last_axis()
    config((6, 4), axis=-1).require_last_axis()
    for axis in (1, [1, 2], [1], 3):
        with pytest.raises(UnsupportedError):
            config((6, 4), axis=axis).require_last_axis()


def test_number_of_axes_is_required() -> None:
    config((6, 4)).require_sequence()
    config((6, 4)).require_rank(1)
    config((6, 8, 4)).require_rank(2)
    replace(config((6, 4)), at_step=True, steps=None).require_rank(1)
    for own, spatial in ((config((4,)), 1), (config((6, 4)), 2), (config((6, 8, 4)), 1)):
        with pytest.raises(UnsupportedError):
            own.require_rank(spatial)
    with pytest.raises(UnsupportedError):
        replace(config((6, 4)), steps=None).require_rank(1)


@pytest.mark.parametrize(
    ("shapes", "others", "expected"),
    [
        ([(6, 4), (6, 4)], [], ()),
        ([(6, 4), (6, 1)], [], ((1, -1),)),
        ([(1, 4), (6, 1)], [], ((1, -1), (0, -2))),
        ([(1, 1), (1, 1)], [], ()),
        ([(6, 4), (1,)], [], ((1, -1),)),
        ([("T", 4), (1, 4)], [], ((1, -2),)),
        ([(6, 1)], [(4,)], ((0, -1),)),
        ([(6, 4)], [(1,)], ()),
        ([(1, 4)], [(6, 1)], ((0, -2),)),
    ],
)
def test_axes_of_length_1_meet_longer_ones(shapes: Any, others: Any, expected: Any) -> None:
    arrays = [tuple(map(Dim.of, shape)) for shape in others]
    assert config(*shapes).unit_axes(arrays) == expected


@pytest.mark.parametrize(
    ("x", "other", "expected"),
    [
        ((6, 4), (4,), (2, 2)),
        ((6, 4), (6, 1), (1, 1)),
        ((6, 6), (6, 1), (1, 2)),
        ((6, 4), (6, 4), None),
        ((6, 4), (1,), None),
        ((6, 6), (6,), (2, 2)),
        ((5, 6, 4), (6, 1), None),
        ((6, 5, 6), (5, 1), None),
        (("T", 4), ("T", 1), (1, None)),
        (("T", 4), (4,), (2, 2)),
        ((6, "D"), ("D",), (2, 2)),
        ((6, "D"), (6, 1), (1, None)),
        ((6, 4), ("S", 1), (1, None)),
    ],
)
def test_bias_axis_is_that_of_keras(x: Any, other: Any, expected: Any) -> None:
    own = config(x)
    shape = tuple(Dim.named(p) if isinstance(p, str) else Dim.of(p) for p in other)
    assert own.bias_axes(own.shapes[0], shape) == expected
    if expected is None or expected[0] == expected[1]:
        own.require_plain_add(own.shapes[0], shape)
    else:
        with pytest.raises(UnsupportedError):
            own.require_plain_add(own.shapes[0], shape)


def test_changed_time_axis_has_a_new_name() -> None:
    own = config((6, 8, "S", 4))
    assert str(own.new_length(1, lambda n: n - 1)) == "T'"
    assert str(own.new_length(2, lambda n: n - 1)) == "7"
    assert str(own.new_length(3, lambda n: n - 1)) == "T''"
    assert str(replace(own, at_step=True).new_length(1, lambda n: n - 1)) == "5"
    assert str(own.new_length(2, lambda n: n - 7)) == "1"
    with pytest.raises(UnsupportedError):
        own.new_length(2, lambda n: n - 8)


def test_sizes_may_be_equal_or_open() -> None:
    own = config((6, "S", "U", 4))
    six, s, u = Dim.of(6), Dim.named("S"), Dim.named("U")
    assert own.is_same_size(six, Dim.of(6))
    assert own.is_same_size(s, s)
    assert not own.is_same_size(s, u)
    assert not own.is_same_size(six, Dim.of(4))
    own.names.sizes["S"] = 6
    assert own.is_same_size(six, s)
    own.require_same_size(six, s)
    with pytest.raises(UnsupportedError):
        own.require_same_size(six, u)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0.0), (2, 2.0), (0.5, 0.5), (-0.5, None), (4e38, None), (True, "x"), ("1", "x")],
)
def test_option_is_a_number_of_float32(value: Any, expected: Any) -> None:
    own = config((4,), option=value)
    if isinstance(expected, float):
        assert own.number("option", 1.0) == expected
        assert own.number("other", 1.5) == 1.5
        return
    with pytest.raises(UnsupportedError if expected is None else ContradictionError):
        own.number("option", 1.0)


@pytest.mark.parametrize(
    ("value", "axes", "expected"),
    [
        (3, 2, (3, 3)),
        ([3, 4], 2, (3, 4)),
        ((3,), 1, (3,)),
        (3, 1, (3,)),
        ([3, 4, 5], 2, None),
        ([3, 0], 2, None),
        (0, 2, None),
        (2**63, 1, None),
        (1.0, 1, None),
        ("3", 1, None),
    ],
)
def test_option_is_a_size_for_each_axis(value: Any, axes: int, expected: Any) -> None:
    own = config((4,), size=value)
    if expected is None:
        with pytest.raises(ContradictionError):
            own.sizes("size", axes)
    else:
        assert own.sizes("size", axes) == expected
    assert own.sizes("other", axes, 2) == (2,) * axes


def test_size_in_a_config_is_required() -> None:
    assert size_in({"units": 3}, "units") == 3
    assert size_in({}, "units", 4) == 4
    for wrong in ({}, {"units": None}, {"units": [3, 4]}, {"units": -1}):
        with pytest.raises(ContradictionError):
            size_in(wrong, "units")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("tanh", "tanh"),
        (None, "linear"),
        ("swish", "silu"),
        ("softmax", "softmax"),
        ("glu", UnsupportedError),
        ("own", ContradictionError),
        ({"class_name": "function"}, UnsupportedError),
        (3, ContradictionError),
    ],
)
def test_activation_is_one_of_keras(value: Any, expected: Any) -> None:
    if isinstance(expected, str):
        assert activation_in({"activation": value}, "activation", "relu") == expected
        assert activation_in({}, "activation", expected) == expected
    else:
        with pytest.raises(expected):
            activation_in({"activation": value}, "activation", "relu")


def test_classes_of_keras_are_known_by_their_module() -> None:
    cases = [
        ({"class_name": "LSTM"}, True, False),
        ({"class_name": "LSTM", "module": "keras.layers"}, True, False),
        ({"class_name": "LSTM", "module": "keras_hub.layers"}, False, False),
        ({"class_name": "LSTM", "module": None}, False, False),
        ({"class_name": "LSTM", "registered_name": "LSTM"}, True, False),
        ({"class_name": "LSTM", "registered_name": "own>LSTM"}, False, False),
        ({"class_name": "Add", "module": "keras.src.ops.numpy"}, True, True),
        ({"class_name": "Add", "module": "keras.src.ops.numpy", "registered_name": "a"}, False, 0),
        ({"class_name": "Add", "config": {"name": "a"}}, True, True),
        ({"class_name": "Add", "config": {"trainable": True}}, True, False),
        ({"class_name": "SpatialDropout1D", "config": {"rate": 0.5}}, True, False),
        ({"class_name": "InputLayer", "config": {}}, True, False),
    ]
    for part, keras, is_one in cases:
        assert is_keras(part) is keras, part
        assert is_operation(part) is bool(is_one), part


def test_only_symbols_of_several_have_numbers() -> None:
    first = Namer({})
    assert [str(first.size("M", 4)), str(first.size("M", 5)), str(first.size("K", 2))] == [
        "M1",
        "M2",
        "K1",
    ]
    again = Namer(first.used)
    assert [str(again.size("M", 4)), str(again.size("M", 5)), str(again.size("K", 2))] == [
        "M1",
        "M2",
        "K",
    ]
    assert again.value(Dim.named("M1") * Dim.named("M2")) == 20
    assert again.value(Dim.named("P")) is None
    assert [str(again.primed()), str(again.primed())] == ["T'", "T''"]
    copied = again.copy()
    copied.size("M", 6)
    assert "M3" not in again.sizes
    assert again.used["M"] == 2
    again.compute({"T'": (Dim.named("M1"), lambda n: n + 1), "T''": (Dim.named("Q"), abs)})
    assert again.value(Dim.named("T'")) == 5
    assert again.value(Dim.named("T''")) is None


# --- Comparison with a model ----------------------------------------------------------------------


def test_weights_are_paired_by_name_and_in_order() -> None:
    net = network(rnn(), ("Dropout", {"rate": 0.5}), DENSE)
    lstm = (("kernel", (3, 16)), ("recurrent_kernel", (4, 16)), ("bias", (16,)))
    dense = (("bias", (2,)), ("kernel", (4, 2)))
    model = ModelStructure({"l1": lstm, "l3": dense}, {"l1": 128, "l3": 10}, 138)
    right = facts(net, model)
    assert [(fact.name, fact.symbols, fact.expected) for fact in right] == [
        ("l1/kernel", "(D, 4M)", (3, 16)),
        ("l1/recurrent_kernel", "(M, 4M)", (4, 16)),
        ("l1/bias", "(4M,)", (16,)),
        ("l3/kernel", "(M, K)", (4, 2)),
        ("l3/bias", "(K,)", (2,)),
        ("l1 parameters", "4M(D+M+1)", 128),
        ("l3 parameters", "K(M+1)", 10),
        ("count_params()", "4M(D+M+1) + K(M+1)", 138),
    ]
    assert all(fact.agrees for fact in right)
    swapped = (("kernel", (16, 3)), *lstm[2:], ("bias", (16,)))
    wrong = ModelStructure({"l1": swapped}, {"l1": 128, "l2": 1, "l3": 9}, 137)
    differences = [(f.name, f.expected, f.found) for f in facts(net, wrong) if not f.agrees]
    assert differences == [
        ("l1/kernel", (3, 16), (16, 3)),
        ("l1/recurrent_kernel", (4, 16), None),
        ("l1/bias", None, (16,)),
        ("l3/kernel", (4, 2), None),
        ("l3/bias", (2,), None),
        ("l2 parameters", 0, 1),
        ("l3 parameters", 10, 9),
        ("count_params()", 138, 137),
    ]
    (total,) = facts(network(("Flatten", {})), ModelStructure({}, {}, 0))
    assert (total.symbols, total.expected, total.agrees) == ("0", 0, True)


# --- Counts ---------------------------------------------------------------------------------------

#: The formula and number of all parameters, and those of the multiply-adds of seven samples.
COUNTS: dict[str, tuple[str, int, str, int]] = {
    "sequence": ("4M(D+M+1) + K(M+1)", 138, "4N·T·M(D+M) + N·T·M·K", 5040),
    "last": ("4M(D+M+1) + K(M+1)", 138, "4N·T·M(D+M) + N·M·K", 4760),
    "stack": (
        "4M1(D+M1+1) + 3M2(M1+M2+2) + K1(M2+1) + K2(K1+1)",
        311,
        "4N·T·M1(D+M1) + 3N·T·M2(M1+M2) + N·T·M2·K1 + N·T·K1·K2",
        10962,
    ),
    "both": ("6M(D+M+2) + K(2M+1)", 234, "6N·T·M(D+M) + 2N·T·M·K", 7728),
    "both, apart": ("6M(D+M+2)", 216, "6N·T·M(D+M)", 7056),
    "given states": (
        "4M1(D+M1+1) + 4M2(D+M2+1) + K(M2+1)",
        266,
        "4N·T·M1(D+M1) + 4N·T·M2(D+M2) + N·T·M2·K",
        9744,
    ),
    "called again": ("4M(D+M+1) + K(M+1)", 148, "4N·T·M(D+M) + 2N·T·M·K", 6048),
    "convolved": (
        "F(2D+1) + 4M(F+M+1) + K(M+1)",
        159,
        "2N·T'·D·F + 4N·T'·M(F+M) + N·T'·M·K",
        4830,
    ),
    "no recurrence": ("K(D+1)", 8, "N·T·D·K", 252),
}
#: Of each layer: name, sources, axes before and after, how often it is applied, and its own part
#: of both counts.
REPORTS: dict[str, list[tuple[str, str, str, str, int, int]]] = {
    "last": [
        ("l1", "x", "N T D -> N M", "T", 128, 4704),
        ("l2", "l1", "N M -> N K", "1", 10, 56),
    ],
    "given states": [
        ("l1", "x", "N T D -> N M1", "T", 128, 4704),
        ("l2", "x l1", "N T D -> N T M2", "T", 128, 4704),
        ("l3", "l2", "N T M2 -> N T K", "T", 10, 336),
    ],
    "added": [
        ("l1", "x", "N T D -> N T M", "T", 128, 4704),
        ("l2", "l1", "N T M -> N T M", "T", 0, 0),
        ("l3", "l1 l2", "N T M -> N T M", "T", 0, 0),
        ("l4", "l3", "N T M -> N T K", "T", 10, 336),
    ],
    "called again": [
        ("l1", "x", "N T D -> N T M", "T", 128, 4704),
        ("d", "l1", "N T M -> N T K", "2T", 20, 1344),
    ],
    "convolved": [
        ("l1", "x", "N T D -> N T' F", "1", 21, 630),
        ("l2", "l1", "N T' F -> N T' M", "T'", 128, 3920),
        ("l3", "l2", "N T' M -> N T' K", "T'", 10, 280),
    ],
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_products_are_counted(name: str) -> None:
    found = inspect_network(NETWORKS[name].with_sizes(N=7))
    counts = (found.formula, found.params, found.macs_formula, found.macs)
    assert counts == COUNTS[name]
    assert (found.trainable, found.bytes) == (found.params, 4 * COUNTS[name][1])
    assert found.agrees
    layers = found.layers
    assert sum(layer.params or 0 for layer in layers) == found.params
    assert all(layer.bytes == 4 * (layer.params or 0) for layer in layers)
    for layer in layers:
        shown = sum(weight.params or 0 for weight in layer.weights)
        assert shown == layer.params


@pytest.mark.parametrize("name", REPORTS)
def test_each_layer_has_its_own_counts(name: str) -> None:
    found = inspect_network(NETWORKS[name].with_sizes(N=7)).layers
    assert [
        (
            *(each.name, " ".join(each.sources)),
            f"{' '.join(each.input_dims)} -> {' '.join(each.output_dims)}",
            *(each.applications, each.params, each.macs),
        )
        for each in found
    ] == REPORTS[name]


def test_counts_of_open_sizes_are_unknown() -> None:
    found = inspect_network(NETWORKS["sequence"])
    assert (found.params, found.macs) == (138, None)
    assert found.layers[0].input_shape == (None, 6, 3)
    frozen = network(rnn(), (*DENSE, {"trainable": False}))
    assert inspect_network(frozen).trainable == 128
    partly = network(rnn(), (*DENSE, {"trainable_count": 2}))
    assert inspect_network(partly).trainable == 130
    own: Part = ("Own", {}, {"outputs": ((None, 6, 5),)})
    stored: Part = ("Own", {}, {"outputs": ((None, 6, 5),), "stored": (("k", (3, 4)),)})
    unknown = inspect_network(network(own, stored))
    found_counts = [(each.params, each.trainable_params) for each in unknown.layers]
    assert (found_counts, unknown.trainable) == ([(0, 0), (12, None)], None)
    widths = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
    for dtype, width in widths.items():
        assert inspect_network(NETWORKS["sequence"].with_dtype(dtype)).bytes == 138 * width
    normal = inspect_network(network(("BatchNormalization", {}), rnn()))
    assert [layer.trainable_params for layer in normal.layers] == [6, 128]
    assert normal.layers[0].params == 12


@pytest.mark.parametrize("kind", ["LayerNormalization", "PReLU", "GRU"])
def test_weights_of_open_sizes_have_formulas(kind: str) -> None:
    x = LayerCall("x", "InputLayer", {"batch_shape": (None, 6, None)})
    call = LayerCall("l", kind, {"units": 4}, (Tap(0),))
    (layer,) = inspect_network(assemble(LayerGraph((x, call), (Tap(1),)))).layers
    found = [(each.shape, each.formula, each.params) for each in layer.weights]
    assert (
        found
        == {
            "LayerNormalization": [((None,), "D", None)] * 2,
            "PReLU": [((6, None), "T·D", None)],
            "GRU": [((None, 12), "3D·M", None), ((4, 12), "3M·M", 48), ((2, 12), "6M", 24)],
        }[kind]
    )
    assert (layer.params, layer.bytes, layer.trainable_params) == (None, None, None)
    gates = [[gate.range for gate in each.gates] for each in layer.weights]
    assert gates == [[(0, 4), (4, 8), (8, 12)] if kind == "GRU" else [] for _ in layer.weights]


# --- Reports on layers ----------------------------------------------------------------------------

#: Symbol, shape and columns of each gate of the weights of each layer; bias rows behind "/".
WEIGHTS = {
    "last": "Wx (D, 4M) 3x16 ifco, Wh (M, 4M) 4x16 ifco, bh (4M) 16 ifco; W0 (M, K) 4x2, b0 (K) 2",
    "both, last": "Wx→ (D, 3M) 3x12 zrh, Wh→ (M, 3M) 4x12 zrh, bh→ (2, 3M) 2x12 "
    "zrh/input recurrent, Wx← (D, 3M) 3x12 zrh, Wh← (M, 3M) 4x12 zrh, bh← (2, 3M) 2x12 "
    "zrh/input recurrent; W0 (2M, K) 8x2, b0 (K) 2",
    "convolved": "Wc (2, D, F) 2x3x3, bc (F) 3; Wx (F, 4M) 3x16 ifco, Wh (M, 4M) 4x16 ifco, "
    "bh (4M) 16 ifco; W0 (M, K) 4x2, b0 (K) 2",
    "called again": "Wx (D, 4M) 3x16 ifco, Wh (M, 4M) 4x16 ifco, bh (4M) 16 ifco; W0 (M, K) 4x4, "
    "b0 (K) 4",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_have_shapes_and_gates(name: str) -> None:
    found = []
    for layer in inspect_network(NETWORKS[name].with_dtype("float64")).layers:
        texts = []
        for weight in layer.weights:
            text = f"{weight.symbol} ({', '.join(weight.dims)}) {'x'.join(map(str, weight.shape))}"
            text += f" {''.join(gate.name for gate in weight.gates)}" if weight.gates else ""
            texts.append(text + (f"/{' '.join(weight.rows)}" if weight.rows else ""))
            assert (weight.dtype, weight.params) == ("float64", math.prod(weight.shape))
            assert weight.bytes == 8 * math.prod(weight.shape)
            last = len(weight.shape) - 1
            ranges = [(gate.range, gate.axis) for gate in weight.gates]
            assert ranges == [((4 * i, 4 * i + 4), last) for i in range(len(ranges))]
        found.append(", ".join(texts))
    assert "; ".join(found) == WEIGHTS[name]


GRU_IN_SHAPES = "(7,3)·(3,12) + (12,) → 3 × (7,4)", "(7,4)·(4,12) + (12,) → 3 × (7,4)"
#: Equations of the last two layers: direction, name and text, and shapes behind "|"; "!" for one
#: that is evaluated once.
EQUATIONS: dict[str, list[str]] = {
    "last": ["! y_hat = h_{T-1} W0 + b0 | (7,4)·(4,2) + (2,) → (7,2)"],
    "last by index": ["! y_hat = h_{T-1} W0 + b0 | (7,4)·(4,2) + (2,) → (7,2)"],
    "sequence": ["y_hat_t = h_t W0 + b0 | (7,4)·(4,2) + (2,) → (7,2)"],
    "both, apart": [
        *(
            f"{n} {a} = {b} | {shapes}"
            for n, (arrow, before) in enumerate((("→", "{t-1}"), ("←", "{t+1}")))
            for a, b, shapes in (
                ("x_z x_r x_h", f"x_t Wx{arrow} + bx{arrow}", GRU_IN_SHAPES[0]),
                ("h_z h_r h_h", f"h{arrow}_{before} Wh{arrow} + bh{arrow}", GRU_IN_SHAPES[1]),
                (f"z{arrow}_t", "sigmoid(x_z + h_z)", ""),
                (f"r{arrow}_t", "sigmoid(x_r + h_r)", ""),
                (f"h~{arrow}_t", f"tanh(x_h + r{arrow}_t × h_h)", ""),
                (
                    f"h{arrow}_t",
                    f"z{arrow}_t × h{arrow}_{before} + (1 - z{arrow}_t) × h~{arrow}_t",
                    "",
                ),
            )
        ),
        "y_hat_t = h→_t + h←_t | ",
    ],
    "convolved": ["y_hat_t = h_t W0 + b0 | (7,4)·(4,2) + (2,) → (7,2)"],
    "given states": ["y_hat_t = h2_t W0 + b0 | (7,4)·(4,2) + (2,) → (7,2)"],
    "masked, both": ["! y_hat = h2 W0 + b0 | (7,8)·(8,2) + (2,) → (7,2)"],
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations_have_directions_and_shapes(name: str) -> None:
    layers = inspect_network(NETWORKS[name].with_sizes(N=7)).layers
    found = [
        f"{'! ' * each.once}{'' if each.direction is None else f'{each.direction} '}{each} | "
        f"{each.shapes}"
        for layer in layers
        for each in layer.equations
    ]
    assert found[-len(EQUATIONS[name]) :] == EQUATIONS[name]


def test_equal_recurrences_have_equal_patterns() -> None:
    layers = inspect_network(NETWORKS["stack"]).layers
    patterns = [[each.pattern for each in layer.equations] for layer in layers]
    assert patterns[0][0] == "z_i z_f z_c z_o = x_t Wx + h_{t-1} Wh + bh"
    assert patterns[0][-1] == "h_t = o_t × tanh(c_t)"
    assert patterns[2:] == [[""], [""]]
    (layer,) = inspect_network(network(both(), outputs=(Tap(1),))).layers
    *equations, joined = layer.equations
    assert [each.pattern for each in equations] == 2 * patterns[1]
    assert (joined.pattern, joined.direction, joined.once) == ("", None, False)
    assert layer.operations[-1].label == "h_t = concatenate(h→_t, h←_t)"
    bent = network(("Conv1D", {"filters": 5, "kernel_size": 2, "activation": "tanh"}))
    bent_equation = inspect_network(bent.with_sizes(N=7)).layers[0].equations[0]
    assert bent_equation.shapes == "windows((7,6,3))·(2,3,5) + (5,) → (7,5,5)"
    again = inspect_network(NETWORKS["called again"]).layers[1]
    assert list(map(str, again.equations)) == ["y0_t = h_t W0 + b0"]
    (last,) = inspect_network(network(both(seq=False))).layers
    assert str(last.equations[-1]).endswith("= concatenate(h→_{T-1}, h←_0)")
    assert last.equations[-1].once


def test_operations_have_shapes_and_products() -> None:
    layers = inspect_network(NETWORKS["convolved"].with_sizes(N=7)).layers
    found = [
        (each.label, each.symbol, each.operand_shapes, each.shape, each.macs_formula, each.macs)
        for layer in (layers[0], layers[2])
        for each in layer.operations
    ]
    assert found == [
        ("windows(x)", "windows", ((7, 6, 3),), (7, 5, 2, 3), "0", 0),
        ("… Wc", "·", ((7, 5, 2, 3), (2, 3, 3)), (7, 5, 3), "2N·T'·D·F", 630),
        ("u = … + bc", "+", ((7, 5, 3), (3,)), (7, 5, 3), "0", 0),
        ("h_t W0", "·", ((7, 4), (4, 2)), (7, 2), "N·M·K", 56),
        ("y_hat_t = … + b0", "+", ((7, 2), (2,)), (7, 2), "0", 0),
    ]
    assert layers[0].equations[0].shapes == "windows((7,6,3))·(2,3,3) + (3,) → (7,5,3)"
    assert layers[0].operations[0].operands == (("N", "T", "D"),)
    assert layers[0].operations[0].dims == ("N", "T'", "2", "D")
    assert [layer.macs_step for layer in layers] == [630, 7 * 4 * 4 * (3 + 4), 56]
    assert [(layer.input_dims, layer.output_dims) for layer in layers[:2]] == [
        (("N", "T", "D"), ("N", "T'", "F")),
        (("N", "T'", "F"), ("N", "T'", "M")),
    ]
    assert [(layer.input_shape, layer.output_shape) for layer in layers[:2]] == [
        ((7, 6, 3), (7, 5, 3)),
        ((7, 5, 3), (7, 5, 4)),
    ]


#: Of each layer what its notes on time, use and warnings name, without those on gates.
NOTES: dict[str, list[list[str]]] = {
    "sequence": [[], []],
    "reverse": [["time T-1"], []],
    "reverse, last": [["time T-1", "time h_0"], []],
    "both": [["time backward_g T-1"], []],
    "both, last": [["time backward_g T-1", "time h→_{T-1}, h←_0"], []],
    "given states": [[], ["use h2_{-1} = h1_{T-1}, c2_{-1} = c1_{T-1}"], []],
    "called again": [[], ["use 2"]],
    "dropped": [[], ["use 0.5"], []],
    "stateful": [["use stateful=True"], []],
    "masked": [["use 0"], ["use"], ["time T-1", "use", "time h2_0"], []],
    "zeroed": [["use 0"], ["use 0"], ["use"]],
}


@pytest.mark.parametrize("name", NOTES)
def test_notes_say_how_a_layer_is_called(name: str) -> None:
    layers = inspect_network(NETWORKS[name]).layers
    for layer, expected in zip(layers, NOTES[name], strict=True):
        notes = [note for note in layer.notes if note.topic != "gates"]
        assert [note.topic for note in notes] == [each.split()[0] for each in expected]
        for note, words in zip(notes, expected, strict=True):
            assert all(word in note.text for word in words.split()[1:])
        assert bool(len(layer.notes) - len(notes)) == (layer.type in ("LSTM", "Bidirectional"))


@pytest.mark.parametrize("reverse_first", [False, True])
def test_options_of_either_direction_are_told(reverse_first: bool) -> None:
    """Written out as a loop, only the one in reverse has zeros at the wrong steps."""

    def layer_of(*options: dict[str, Any]) -> Any:
        configs = [
            {"units": 4, "return_sequences": True, "go_backwards": number == (not reverse_first)}
            for number in (0, 1)
        ]
        first, second = (
            {"class_name": "LSTM", "config": {**config, **more}}
            for config, more in zip(configs, options, strict=True)
        )
        part = ("Bidirectional", {"layer": first, "backward_layer": second})
        return network(part).nodes[1].layer

    layer = layer_of({"dropout": 0.5}, {"recurrent_dropout": 0.25, "dropout": 0.5})
    notes = [note.split(":")[0] for note in layer.option_notes]
    assert notes == ["dropout=0.5", "recurrent_dropout=0.25"]
    for first in (False, True):
        layer = layer_of({"unroll": first}, {"unroll": not first})
        assert layer.zeroes_wrong_steps == (first == reverse_first)


#: Class, options, number of inputs (each x), and what inspect shows of the layer: label, shape
#: of the output, formula of its parameters, multiply-adds of a sample, equations.
SHOWN: list[tuple[str, dict[str, Any], int, str]] = [
    (
        "Dense",
        {"units": 2, "activation": "relu", "use_bias": False},
        1,
        "Dense(K) | 6x2 | D·K | 36 | y_hat_t = relu(x_t W0)",
    ),
    (
        "Conv1D",
        {"filters": 5, "kernel_size": 2, "padding": "causal", "activation": "tanh"},
        1,
        "Conv1D(F) | 6x5 | F(2D+1) | 180 | y_hat = tanh(windows(x) Wc + bc)",
    ),
    (
        "SeparableConv1D",
        {"filters": 5, "kernel_size": 2, "depth_multiplier": 2},
        1,
        "SeparableConv1D(F) | 5x5 | 2D·F+4D+F | 210 | y_hat = reshape(windows(x) Wd) Wp[0] + bc",
    ),
    (
        "DepthwiseConv1D",
        {"kernel_size": 2, "depth_multiplier": 2},
        1,
        "DepthwiseConv1D(2D) | 5x6 | 6D | 60 | y_hat = reshape(windows(x) Wc) + bc",
    ),
    (
        "Conv1DTranspose",
        {"filters": 5, "kernel_size": 2, "strides": 2},
        1,
        "Conv1DTranspose(F) | 12x5 | F(2D+1) | 360 | y_hat = windows(stretch(x)) Wc[::-1] + bc",
    ),
    (
        "LayerNormalization",
        {},
        1,
        "LayerNormalization | 6x3 | 2D | 0 | mean_t = mean(x_t); d_t = x_t - mean_t; var_t "
        "= mean(d_t × d_t); y_hat_t = x_t × (rsqrt(var_t + 0.001) × gamma) + beta - "
        "(mean_t × (rsqrt(var_t + 0.001) × gamma))",
    ),
    (
        "BatchNormalization",
        {"scale": False},
        1,
        "BatchNormalization | 6x3 | 3D | 0 | y_hat_t = x_t × rsqrt(var + 0.001) + beta - "
        "(mean × rsqrt(var + 0.001))",
    ),
    (
        "GroupNormalization",
        {"groups": 3},
        1,
        "GroupNormalization(G) | 6x3 | 2D | 0 | mean = mean(groups(x)); d = groups(x) - "
        "mean; var = mean(d × d); y_hat = x × (repeat(rsqrt(var + 0.001)) × gamma) + beta "
        "- (repeat(mean) × (repeat(rsqrt(var + 0.001)) × gamma))",
    ),
    (
        "RMSNormalization",
        {},
        1,
        "RMSNormalization | 6x3 | D | 0 | ms_t = mean(x_t × x_t); y_hat_t = (x_t × "
        "rsqrt(ms_t + 1e-06)) × scale",
    ),
    (
        "UnitNormalization",
        {},
        1,
        "UnitNormalization | 6x3 | 0 | 0 | y_hat_t = x_t × rsqrt(sum(x_t × x_t))",
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 5},
        2,
        "MultiHeadAttention(H) | 6x3 | 4D·H·P+3H·P+D | 1440 | q = x Wq + bq; k = x Wk + "
        "bk; v = x Wv + bv; scores = q kᵀ × 0.447214; attention = softmax(scores); y_hat = "
        "attention v Wo + bo",
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 5, "value_dim": 4, "use_bias": False},
        3,
        "MultiHeadAttention(H) | 6x3 | 2D·H(P1+P2) | 1296 | q = x Wq; k = x Wk; v = x Wv; "
        "scores = q kᵀ × 0.447214; attention = softmax(scores); y_hat = attention v Wo",
    ),
    (
        "Attention",
        {},
        2,
        "Attention | 6x3 | 0 | 216 | scores = x xᵀ; attention = softmax(scores); y_hat = "
        "attention x",
    ),
    (
        "Attention",
        {"use_scale": True, "score_mode": "concat"},
        2,
        "Attention | 6x3 | 2 | 108 | scores = sum(tanh((x[:, :, None] + x[:, None]) × "
        "scale)) × w; attention = softmax(scores); y_hat = attention x",
    ),
    (
        "AdditiveAttention",
        {},
        2,
        "AdditiveAttention | 6x3 | D | 108 | scores = sum(tanh(x[:, :, None] + x[:, None]) "
        "× scale); attention = softmax(scores); y_hat = attention x",
    ),
    (
        "EinsumDense",
        {"equation": "abc,cd->abd", "output_shape": [None, 5], "bias_axes": "d"},
        1,
        "EinsumDense(abc,cd->abd) | 6x5 | K(D+1) | 90 | y_hat = x We + be",
    ),
    (
        "TimeDistributed",
        {"layer": {"class_name": "Dense", "config": {"units": 5, "name": "i"}}},
        1,
        "TimeDistributed(Dense(K)) | 6x5 | K(D+1) | 90 | y_hat_t = x_t W0 + b0",
    ),
    ("GlobalAveragePooling1D", {}, 1, "GlobalAveragePooling1D | 3 | 0 | 0 | y_hat = mean(x)"),
    (
        "GlobalMaxPooling1D",
        {"keepdims": True},
        1,
        "GlobalMaxPooling1D | 1x3 | 0 | 0 | y_hat = max(x)[:, None]",
    ),
    ("MaxPooling1D", {"pool_size": 2}, 1, "MaxPooling1D | 3x3 | 0 | 0 | y_hat = max(windows(x))"),
    (
        "AveragePooling1D",
        {"pool_size": 2, "strides": 1, "padding": "same"},
        1,
        "AveragePooling1D | 6x3 | 0 | 0 | y_hat = mean(windows(x))",
    ),
    ("Flatten", {}, 1, "Flatten | 18 | 0 | 0 | y_hat = reshape(x)"),
    ("Reshape", {"target_shape": [2, 9]}, 1, "Reshape | 2x9 | 0 | 0 | y_hat = reshape(x)"),
    ("Permute", {"dims": [2, 1]}, 1, "Permute(2, 1) | 3x6 | 0 | 0 | y_hat = transpose(x)"),
    ("ZeroPadding1D", {"padding": [1, 2]}, 1, "ZeroPadding1D | 9x3 | 0 | 0 | y_hat = pad(x)"),
    ("Cropping1D", {"cropping": [1, 2]}, 1, "Cropping1D | 3x3 | 0 | 0 | y_hat = x[:, 1:-2]"),
    ("UpSampling1D", {"size": 3}, 1, "UpSampling1D | 18x3 | 0 | 0 | y_hat = repeat(x)"),
    ("Add", {}, 2, "Add | 6x3 | 0 | 0 | y_hat_t = x_t + x_t"),
    ("Multiply", {}, 2, "Multiply | 6x3 | 0 | 0 | y_hat_t = x_t × x_t"),
    ("Average", {}, 2, "Average | 6x3 | 0 | 0 | y_hat_t = (x_t + x_t) × 0.5"),
    ("Subtract", {}, 2, "Subtract | 6x3 | 0 | 0 | y_hat_t = x_t - x_t"),
    ("Maximum", {}, 2, "Maximum | 6x3 | 0 | 0 | y_hat_t = max(x_t, x_t)"),
    ("Minimum", {}, 2, "Minimum | 6x3 | 0 | 0 | y_hat_t = min(x_t, x_t)"),
    ("Concatenate", {}, 2, "Concatenate | 6x6 | 0 | 0 | y_hat_t = concatenate(x_t, x_t)"),
    (
        "Concatenate",
        {"axis": 1},
        2,
        "Concatenate(axis=-2) | 12x3 | 0 | 0 | y_hat = concatenate(x, x)",
    ),
    ("Dot", {"axes": 2}, 2, "Dot | 6x6 | 0 | 108 | y_hat = x xᵀ"),
    (
        "Dot",
        {"axes": [1, 1], "normalize": True},
        2,
        "Dot | 3x3 | 0 | 54 | y_hat = (x × rsqrt(sum(x × x)))ᵀ (x × rsqrt(sum(x × x)))",
    ),
    ("Softmax", {}, 1, "Softmax | 6x3 | 0 | 0 | y_hat_t = softmax(x_t)"),
    ("ReLU", {"max_value": 6.0}, 1, "ReLU(max_value=6) | 6x3 | 0 | 0 | y_hat_t = relu(x_t, max 6)"),
    (
        "LeakyReLU",
        {"negative_slope": 0.3},
        1,
        "LeakyReLU(negative_slope=0.3) | 6x3 | 0 | 0 | y_hat_t = leaky_relu(x_t, 0.3)",
    ),
    (
        "PReLU",
        {"shared_axes": [1]},
        1,
        "PReLU | 6x3 | D | 0 | y_hat_t = relu(x_t) - (alpha × relu(-x_t))",
    ),
    ("ELU", {"alpha": 2.0}, 1, "ELU(alpha=2) | 6x3 | 0 | 0 | y_hat_t = elu(x_t, 2)"),
    (
        "Activation",
        {"activation": "swish"},
        1,
        "Activation(silu) | 6x3 | 0 | 0 | y_hat_t = silu(x_t)",
    ),
    (
        "Rescaling",
        {"scale": 2.0, "offset": 1.0},
        1,
        "Rescaling(2) | 6x3 | 0 | 0 | y_hat_t = x_t × 2 + 1",
    ),
    ("Rescaling", {"scale": -0.5}, 1, "Rescaling(-0.5) | 6x3 | 0 | 0 | y_hat_t = x_t × -0.5"),
    (
        "Normalization",
        {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 2.0, 4.0]},
        1,
        "Normalization | 6x3 | 0 | 0 | y_hat_t = (x_t - [1 2 3]) / max(sqrt([1 2 4]), 1e-07)",
    ),
    ("GaussianNoise", {"stddev": 0.1}, 1, "GaussianNoise | 6x3 | 0 | 0 | y_hat_t = x_t"),
    ("SpatialDropout1D", {"rate": 0.1}, 1, "SpatialDropout1D | 6x3 | 0 | 0 | y_hat_t = x_t"),
    ("ActivityRegularization", {}, 1, "ActivityRegularization | 6x3 | 0 | 0 | y_hat_t = x_t"),
    ("Identity", {}, 1, "Identity | 6x3 | 0 | 0 | y_hat_t = x_t"),
]


@pytest.mark.parametrize("case", SHOWN, ids=[case[0] for case in SHOWN])
def test_layers_are_shown_with_equations(case: tuple[str, dict[str, Any], int, str]) -> None:
    kind, options, count, expected = case
    net = network((kind, options, {"sources": (Tap(0),) * count})).with_sizes(N=7)
    (layer,) = inspect_network(net).layers
    parts = (
        layer.label,
        "x".join(map(str, layer.output_shape[1:])),
        layer.formula,
        str((layer.macs or 0) // 7),
        "; ".join(map(str, layer.equations)),
    )
    assert " | ".join(parts) == expected
    assert layer.supported
    assert layer.output_shape[0] == 7
    assert all(name[0].isalpha() for name in net.sizes)


#: The layer forwards and the one backwards, label, formula, sizes and names of both directions.
PAIRS: list[tuple[Any, Any, str, str, list[int], list[str]]] = [
    (
        ("GRU", {"name": "g", "units": 4}),
        None,
        *("Bidirectional(GRU(M))", "6M(D+M+2)", [4], ["b/forward_g", "b/backward_g"]),
    ),
    (
        ("GRU", {"name": "forward_g", "units": 4, "reset_after": False}),
        ("GRU", {"name": "backward_h", "units": 4, "go_backwards": True, "use_bias": False}),
        *("Bidirectional(GRU(M))", "3M(2D+2M+1)", [4], ["b/forward_g", "b/backward_h"]),
    ),
    (
        ("LSTM", {"units": 4}),
        ("SimpleRNN", {"units": 5, "go_backwards": True}),
        "Bidirectional(LSTM(M1))",
        "4D·M1+D·M2+4M1·M1+M2·M2+4M1+M2",
        *([4, 5], ["b/forward_lstm", "b/backward_simplernn"]),
    ),
]


@pytest.mark.parametrize(
    ("first", "second", "label", "formula", "sizes", "names"), PAIRS, ids=["same", "own", "other"]
)
def test_directions_may_have_layers_of_their_own(
    first: Any, second: Any, label: str, formula: str, sizes: list[int], names: list[str]
) -> None:
    parts = [{"class_name": kind, "config": config} for kind, config in (first, second or first)]
    config: dict[str, Any] = {"layer": parts[0]} | ({"backward_layer": parts[1]} if second else {})
    net = network(("Bidirectional", config, {"name": "b"}))
    layer = net.nodes[-1].layer
    assert (layer.label, str(layer.count)) == (label, formula)
    assert [size for name, size in net.sizes.items() if name[0] == "M"] == sizes
    assert [d.name for d in layer.directions] == names
    assert [(d.index, d.reverse) for d in layer.directions] == [("→", False), ("←", True)]
    assert [d.cell.output for d in layer.directions] == [
        Dim.named(name) for name in (("M", "M") if len(sizes) == 1 else ("M1", "M2"))
    ]


@pytest.mark.parametrize(
    ("kind", "options", "sizes"),
    [
        ("ZeroPadding2D", {"padding": [[1, 0], [2, 1]]}, (4, 6)),
        ("Cropping2D", {"cropping": [[1, 0], [0, 1]]}, (2, 2)),
        ("UpSampling2D", {"size": [2, 3]}, (6, 9)),
    ],
)
def test_time_alone_gets_a_name_where_axes_change(kind: str, options: Any, sizes: Any) -> None:
    images: Part = ("Reshape", {"target_shape": [3, 3, 2]})
    net = network(images, (kind, options))
    assert dict(net.sizes) == {"N": None, "T": 6, "D": 3, "T'": sizes[0]}
    assert net.shape_numbers(net.node_shapes[-1].shapes[0]) == (None, *sizes, 2)


def test_recurrence_in_time_distributed_is_shown_whole() -> None:
    images: Part = ("Reshape", {"target_shape": [3, 2, 3]})
    lstm = {"class_name": "LSTM", "config": {"name": "i", "units": 5}}
    gru = {"class_name": "GRU", "config": {"name": "i", "units": 5, "return_sequences": True}}
    around = {"class_name": "Bidirectional", "config": {"name": "b", "layer": gru}}
    expected = [
        (
            lstm,
            ("TimeDistributed(LSTM(M))", "4M(M+4)", "12N·M(M+6)", ("tanh", "sigmoid")),
            ["Wx", "Wh", "bh"],
            ("z_i z_f z_c z_o = s_t Wx + h_{t-1} Wh + bh", "y_hat_t = h_t[:, -1]"),
        ),
        (
            around,
            (
                "TimeDistributed(Bidirectional(GRU(M)))",
                "6M(M+5)",
                "18N·M(M+6)",
                ("tanh", "sigmoid"),
            ),
            ["Wx→", "Wh→", "bh→", "Wx←", "Wh←", "bh←"],
            ("x_z x_r x_h = s_t Wx→ + bx→", "y_hat_t = concatenate(h→_t, h←_t)"),
        ),
    ]
    for part, facts_of, symbols, equations in expected:
        net = network(images, ("TimeDistributed", {"layer": part}))
        layer = inspect_network(net).layers[1]
        found = (layer.label, layer.formula, layer.macs_formula, layer.activations)
        assert found == facts_of
        assert [weight.symbol for weight in layer.weights] == symbols
        assert (str(layer.equations[0]), str(layer.equations[-1])) == equations
        assert [note.topic for note in layer.notes] == ["gates", "gates", "use"]
        masked = network(images, MASKING, ("TimeDistributed", {"layer": part}))
        assert [node.name for node in masked.unsupported] == ["l3"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout": 0.25},
        {"recurrent_dropout": 0.5},
        {"unroll": True},
        {"stateful": True},
        {"dropout": 0.5, "recurrent_dropout": 0.25, "unroll": True, "stateful": True},
    ],
)
def test_options_that_change_no_equation_have_notes(options: dict[str, Any]) -> None:
    off = {"dropout": 0.0, "recurrent_dropout": 0.0, "unroll": False, "stateful": False}
    (layer,) = inspect_network(network(rnn(**{**off, **options}), batch=2)).layers
    notes = [note.text for note in layer.notes if note.topic == "use"]
    assert [note.split("=")[0] for note in notes] == list(options)
