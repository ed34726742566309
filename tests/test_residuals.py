"""What is compared of a network, and where it is wrong: with a run in NumPy in place of Keras's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

from rnnshapes.forward import numpy_run
from rnnshapes.forward.difference import Index
from rnnshapes.load.inputs import full_array
from rnnshapes.network import weights
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.structure import ModelStructure
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.session import open_session
from rnnshapes.verification.bounds import MISMATCH, Residual
from rnnshapes.verification.report import residual_check, structure_checks
from rnnshapes.verification.residuals import layer_residuals, network_step_errors
from rnnshapes.verification.unrolled import unrolled_residuals
from tests.helpers.handmade import SIZES
from tests.helpers.layer_calls import network as network_of
from tests.helpers.models import functional, model_of, randomized

Array = np.ndarray
#: Options of a network, by name; all others are models.
SPECS: dict[str, dict[str, Any]] = {
    "stack": {"cell": "lstm", "M": [4, 5]},
    "both": {"cell": "gru", "bidirectional": True},
    "both at every step": {"cell": "simple", "bidirectional": True, "return_sequences": True},
    "backwards": {"cell": "simple", "go_backwards": True, "return_sequences": True},
    "backwards to the end": {"cell": "gru", "go_backwards": True},
    "at every step": {"cell": "gru", "return_sequences": True},
}
#: Layers, one after the other.
LAYERS: dict[str, tuple[Any, ...]] = {
    "dropped": (
        ("Dropout", {"rate": 0.5}),
        ("SimpleRNN", {"units": 4}),
        ("Dropout", {"rate": 0.5}),
        ("Dense", {"units": 2}),
        ("Dropout", {"rate": 0.5}),
    ),
}
MODELS = [
    *("masked", "masked, backwards", "two outputs", "encoder, decoder", "unmerged"),
    *("states alone", "flattened", "sliced", "residual", "attending decoder"),
    *("last step, masked, added", "merged", "shared"),
]


@dataclass(frozen=True)
class Run:
    """A network, and what was computed of it, as if by Keras."""

    network: Network
    weights: Any
    xs: list[Array]
    outputs: ModelOutputs

    def residuals(self, dtype: str = "float64") -> dict[tuple[str, str], Residual]:
        network = self.network.with_dtype(dtype)
        found = [*layer_residuals(network, self.weights, self.xs, self.outputs)]
        named = {(layer, quantity): residual for layer, quantity, residual in found}
        assert len(named) == len(found)
        assert {residual.precision for residual in named.values()} == {dtype}
        return named

    def changed(self, kind: str, name: str, part: Any, array: Array) -> Run:
        """Return the run with another array in its place."""
        if kind == "outputs":
            old = self.outputs.outputs
            new: Any = tuple(array if i == part else o for i, o in enumerate(old))
        else:
            arrays: Mapping[str, Any] = getattr(self.outputs, kind)
            value: Any = array
            if kind in ("values", "each"):
                value = tuple(array if i == part else o for i, o in enumerate(arrays[name]))
            elif kind in ("states", "starts"):
                value = {**arrays[name], part: array}
            new = {**arrays, name: value}
        return replace(self, outputs=replace(self.outputs, **{kind: new}))


@functools.cache
def run_of(name: str) -> Run:
    if name in LAYERS:
        network, xs = network_of(*LAYERS[name]), [np.random.default_rng(3).normal(size=(4, 6, 3))]
        drawn = weights.draw(network, 3)
        return Run(network, drawn, xs, numpy_run.numpy_outputs(network, drawn, xs))
    spec = {**SIZES, **SPECS[name]} if name in SPECS else {"model": model_of(name), "N": 3}
    return computed(spec)


def computed(spec: dict[str, Any]) -> Run:
    with open_session(**spec) as session:
        network, drawn = session.network, session.weights()
        xs = [full_array(source) for source in session.sources]
    return Run(network, drawn, xs, numpy_run.numpy_outputs(network, drawn, xs))


def compared_arrays(run: Run) -> dict[tuple[str, str], tuple[str, str, Any, Array]]:
    """Return each array that is compared, by layer and quantity, with the place of the array."""
    found: dict[tuple[str, str], tuple[str, str, Any, Array]] = {}
    network, outputs = run.network, run.outputs
    returned = {tap.node for tap in network.outputs}
    for position, node in enumerate(network.nodes):
        if node.name in outputs.masks:
            found[node.name, "mask"] = ("masks", node.name, "", outputs.masks[node.name])
        if node in network.inputs:
            continue
        for scan, _ in node.scans:
            for key, array in outputs.states[scan].items():
                found[scan, f"{key} at every step"] = ("states", scan, key, array)
        final = network.node_shapes[position].final
        kind = "values"
        by_step = not isinstance(node.layer, RecurrentLayer) and not node.layer.last_step
        if by_step and final and node.name in outputs.each:
            kind = "each"
        for number, array in enumerate(getattr(outputs, kind)[node.name]):
            quantity = f"output {number}" if number else "output"
            if not isinstance(node.layer, RecurrentLayer) and not number:
                quantity = "y_hat" if position in returned else "output"
                timed = kind == "each" or array.ndim > 2
                quantity += " at every step" if timed else ""
            found[node.name, quantity] = (kind, node.name, number, array)
    several = len(outputs.outputs) > 1
    for number, array in enumerate(outputs.outputs):
        quantity = f"own output {number}" if several else "own output"
        found["predict", quantity] = ("outputs", "", number, array)
    return found


@pytest.mark.parametrize("name", [*SPECS, *MODELS, *LAYERS])
def test_every_number_of_a_run_is_compared(name: str) -> None:
    run = run_of(name)
    found = run.residuals()
    expected = {key: array.size for key, (*_, array) in compared_arrays(run).items()}
    starts = {key for key in found if key[1] == "initial state"}
    assert starts == {(scan, "initial state") for n in run.network.recurrent for scan, _ in n.scans}
    assert {key: found[key].compared for key in found if key not in starts} == expected
    for scan, quantity in starts:
        states = run.outputs.states[scan].values()
        assert found[scan, quantity].compared == sum(array[:, 0].size for array in states)
    assert all(residual.passed for residual in found.values())
    assert all(found[key].ratio == 0 for key in found if key[1] == "mask")


@pytest.mark.parametrize("name", [*SPECS, *MODELS, *LAYERS])
def test_a_wrong_number_has_its_place(name: str) -> None:
    """In each array, at the last sample, in the middle of time, at the last unit."""
    run = run_of(name)
    for key, (kind, layer, part, array) in compared_arrays(run).items():
        timed = array.ndim > 2 or kind == "masks"
        timed &= (layer, key[1]) != ("additive_attention", "output 1")  # compared by sample
        at = (len(array) - 1, *([array.shape[1] // 2] if timed else []))
        at += tuple(size - 1 for size in array.shape[len(at) :])
        wrong = array.copy()
        wrong[at] = not wrong[at] if kind == "masks" else wrong[at] + 7.0
        found = run.changed(kind, layer, part, wrong).residuals()[key]
        inner = array.shape[2 if timed else 1 :]
        unit = int(np.ravel_multi_index(at[2 if timed else 1 :], inner)) if inner else 0
        assert not found.passed, key
        if kind == "states":  # the next step starts from it
            assert found.index.sample == at[0]
            assert found.index.t in range(at[1] - 1, at[1] + 2)
            assert found.step_errors.ratio[at[1]] > 1
        else:
            assert found.index == Index(at[0], at[1] if timed else None, unit), key


def test_a_missing_or_other_mask_differs() -> None:
    run = run_of("masked")
    masks = dict(run.outputs.masks)
    mask = masks.pop("masking")
    missing = replace(run, outputs=replace(run.outputs, masks=masks))
    cut = run.changed("masks", "masking", "", mask[:, 1:])
    more = run.changed("masks", run.network.nodes[-1].name, "", mask)
    for wrong, layer in (
        (missing, "masking"),
        (cut, "masking"),
        (more, more.network.nodes[-1].name),
    ):
        found = wrong.residuals()[layer, "mask"]
        assert replace(found, precision="") == MISMATCH


def test_a_wrong_start_differs_at_its_step() -> None:
    run = run_of("encoder, decoder")
    ((name, states), *_) = run.outputs.starts.items()
    for key, array in states.items():
        wrong = array.copy()
        wrong[1, 2] += 7.0
        found = run.changed("starts", name, key, wrong).residuals()
        assert not found[name, "initial state"].passed
        assert found[name, "initial state"].index.sample == 1
        assert found[name, "initial state"].index.t == 0


@pytest.mark.parametrize("size", [1e-9, -1e-9])
def test_states_may_follow_from_another_x(size: float) -> None:
    """Within the difference of what both runs feed the layer with."""
    run = run_of("stack")
    x = run.outputs.values["lstm"][0]
    other = run.changed(
        "values", "lstm", 0, x + size * np.random.default_rng(0).uniform(0, 1, x.shape)
    )
    assert not other.residuals()["lstm_1", "h at every step"].passed
    known = replace(other, outputs=replace(other.outputs, origin_values=run.outputs.values))
    assert known.residuals()["lstm_1", "h at every step"].passed
    wrong = run.outputs.states["lstm_1"]["h"] + 1e-6
    wrong_states = known.changed("states", "lstm_1", "h", wrong)
    assert not wrong_states.residuals()["lstm_1", "h at every step"].passed


#: Of a network of ReLUs, which numbers are compared where sample 1 overflows at step 4 of 9:
#: the steps of samples, for quantities with time, and the samples for others.
OVERFLOWS: list[tuple[dict[str, Any], dict[tuple[str, str], int]]] = [
    (
        {"M": [5, 5]},
        {
            ("simple_rnn", "initial state"): 3 * 5,
            ("simple_rnn", "h at every step"): 22 * 5,
            ("simple_rnn", "output"): 22 * 5,
            ("simple_rnn_1", "initial state"): 3 * 5,
            ("simple_rnn_1", "h at every step"): 22 * 5,
            ("simple_rnn_1", "output"): 2 * 5,
            ("dense", "y_hat at every step"): 22 * 2,
            ("predict", "own output"): 2 * 2,
        },
    ),
    (
        {"return_sequences": True},
        {
            ("simple_rnn", "initial state"): 3 * 5,
            ("simple_rnn", "h at every step"): 22 * 5,
            ("simple_rnn", "output"): 22 * 5,
            ("dense", "y_hat at every step"): 22 * 2,
            ("predict", "own output"): 22 * 2,
        },
    ),
    (
        {"return_sequences": True, "go_backwards": True},
        {
            ("simple_rnn", "initial state"): 3 * 5,
            ("simple_rnn", "h at every step"): 22 * 5,
            ("simple_rnn", "output"): 22 * 5,
            ("dense", "y_hat at every step"): 22 * 2,
            ("predict", "own output"): 22 * 2,
        },
    ),
    (
        {"go_backwards": True},
        {
            ("simple_rnn", "initial state"): 3 * 5,
            ("simple_rnn", "h at every step"): 22 * 5,
            ("simple_rnn", "output"): 2 * 5,
            ("dense", "y_hat at every step"): 22 * 2,
            ("predict", "own output"): 2 * 2,
        },
    ),
    (
        {"bidirectional": True},
        {
            ("bidirectional/forward_simple_rnn", "initial state"): 3 * 5,
            ("bidirectional/forward_simple_rnn", "h at every step"): 22 * 5,
            ("bidirectional/backward_simple_rnn", "initial state"): 3 * 5,
            ("bidirectional/backward_simple_rnn", "h at every step"): 22 * 5,
            ("bidirectional", "output"): 2 * 10,
            ("dense", "y_hat at every step"): 18 * 2,
            ("predict", "own output"): 2 * 2,
        },
    ),
]


def finite(outputs: ModelOutputs) -> ModelOutputs:
    """Return the outputs with small numbers in place of all that has overflowed."""

    def small(array: Array) -> Array:
        return np.where(np.abs(array) > 1e30, 0.3, array)

    def all_small(arrays: Any) -> dict[str, tuple[Array, ...]]:
        return {
            name: parts if "input" in name else tuple(map(small, parts))
            for name, parts in arrays.items()
        }

    states = {
        name: {key: small(array) for key, array in arrays.items()}
        for name, arrays in outputs.states.items()
    }
    return replace(
        outputs,
        values=all_small(outputs.values),
        each=all_small(outputs.each),
        states=states,
        outputs=tuple(map(small, outputs.outputs)),
    )


@pytest.mark.parametrize(("spec", "expected"), OVERFLOWS)
@pytest.mark.parametrize("is_finite", [False, True])
def test_what_follows_an_overflow_is_left_out(spec: Any, expected: Any, is_finite: bool) -> None:
    """Whatever its numbers are."""
    x = np.random.default_rng(0).uniform(0.1, 1, (3, 9, 4)).astype("f")
    x[1, 4] = 3e38
    run = computed({**SIZES, **spec, "activation": "relu", "x": x})
    positive = {g: {k: np.abs(a) for k, a in arrays.items()} for g, arrays in run.weights.items()}
    outputs = numpy_run.numpy_outputs(run.network, positive, run.xs)
    outputs = finite(outputs) if is_finite else outputs
    found = replace(run, weights=positive, outputs=outputs).residuals("float32")
    assert {key: residual.compared for key, residual in found.items()} == expected
    assert all(residual.passed for residual in found.values())


@pytest.mark.parametrize("t", [0, 2, 5])
def test_a_sample_that_overflows_is_left_out_alone(t: int) -> None:
    """Of a layer that looks at all steps, and of all layers behind it."""
    run = run_of("flattened")
    x = np.array(run.xs[0])
    x[1, t] = 3e38
    large = {g: {k: 10 * a for k, a in arrays.items()} for g, arrays in run.weights.items()}
    outputs = numpy_run.numpy_outputs(run.network, large, [x])
    found = replace(run, weights=large, xs=[x], outputs=outputs).residuals("float32")
    arrays = compared_arrays(run)
    for key, residual in found.items():
        assert residual.passed
        if key[0] in ("flatten", "dense", "predict"):
            assert residual.compared == arrays[key][3].size * 2 // 3
        elif key[1] == "h at every step":
            assert residual.compared == arrays[key][3].size * (2 * 6 + t) // 18


def test_product_of_directions_may_overflow_alone() -> None:
    """Later steps of the layer behind it are not compared."""

    def graph(x: Any) -> Any:
        rnn = la.SimpleRNN(4, activation="relu", return_sequences=True, return_state=True)
        both = la.Bidirectional(rnn, merge_mode="mul", name="both")
        return la.GRU(2, name="last")(both(x)[0])

    x = np.random.default_rng(0).uniform(0.1, 1, (3, 6, 3)).astype("f")
    x[1, 4] = 1e25
    run = computed({"model": randomized(functional(graph)), "x": x})
    positive = {g: {k: np.abs(a) for k, a in arrays.items()} for g, arrays in run.weights.items()}
    found = numpy_run.numpy_outputs(run.network, positive, run.xs)
    joined, *states = found.values["both"]
    assert all(np.abs(state).max() < 1e38 < joined.max() for state in states)
    values = {**found.values, "both": (np.where(joined > 3e38, np.inf, joined), *states)}
    given = replace(run, weights=positive, outputs=replace(found, values=values))
    residuals = given.residuals("float32")
    assert residuals["last", "h at every step"].compared < 3 * 6 * 2
    assert all(residual.passed for residual in residuals.values())


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("stack", ["lstm.h", "lstm.c", "lstm_1.h", "lstm_1.c", "y_hat"]),
        ("both", [f"bidirectional/{way}_gru.h" for way in ("forward", "backward")] + ["y_hat"]),
        ("states alone", ["lstm.h", "lstm.c"]),
        ("flattened", ["lstm.h", "lstm.c"]),
        ("two outputs", ["lstm.h", "lstm.c", "y_hat"]),
    ],
)
def test_states_and_y_hat_have_step_errors(name: str, names: list[str]) -> None:
    """Of the first output, where that is not of a recurrence, and has steps."""
    run = run_of(name)
    network = run.network.with_dtype("float64")
    errors = network_step_errors(network, run.weights, run.xs, run.outputs)
    assert list(errors) == names
    residuals = run.residuals()
    head = network.nodes[network.outputs[0].node].name
    for key, found in errors.items():
        layer, _, state = key.rpartition(".")
        residual = residuals[layer or head, f"{state} at every step"]
        for part, expected in zip(found, residual.step_errors, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_what_overflows_at_once_is_not_compared() -> None:
    """Nothing behind it is, and it has no step errors."""
    spec = {**SIZES, "activation": "relu", "x": np.full((3, 9, 4), 3e38, "f")}
    run = computed(spec)
    assert network_step_errors(run.network, run.weights, run.xs, run.outputs) == {}
    found = {key: residual.compared for key, residual in run.residuals("float32").items()}
    quantities = ("initial state", "h at every step")
    assert found == {("simple_rnn", quantity): 0 for quantity in quantities}


# --- Unrolled steps -------------------------------------------------------------------------------


def unrolled(run: Run, called: Mapping[str, tuple[Array, ...]], steps: int) -> Any:
    found = unrolled_residuals(run.network, run.weights, run.outputs, called, steps)
    return {(layer, quantity): residual for layer, quantity, residual in found}


@functools.cache
def called_by(name: str, steps: int) -> dict[str, tuple[Array, ...]]:
    """Return what each recurrent layer gives for its own input's first steps."""
    run = run_of(name)
    first = [x[:, :steps] for x in run.xs]
    outputs = numpy_run.numpy_outputs(run.network, run.weights, first)
    return {node.name: outputs.values[node.name] for node in run.network.recurrent}


@pytest.mark.parametrize("name", [*SPECS, "states alone"])
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_first_steps_are_unrolled(name: str, steps: int) -> None:
    run, called = run_of(name), called_by(name, steps)
    assert called
    found = unrolled(run, called, steps)
    expected = {
        (layer, f"unrolled {number}" if number else "unrolled"): array.size
        for layer, arrays in called.items()
        for number, array in enumerate(arrays)
    }
    assert {key: residual.compared for key, residual in found.items()} == expected
    assert all(r.passed and r.precision == "float64" for r in found.values())
    for layer, arrays in called.items():
        for number, array in enumerate(arrays):
            wrong = array.copy()
            wrong[2, ..., 1] += 1e-6
            some = tuple(wrong if i == number else a for i, a in enumerate(arrays))
            key = layer, f"unrolled {number}" if number else "unrolled"
            residual = unrolled(run, {**called, layer: some}, steps)[key]
            assert not residual.passed
            assert (residual.index.sample, residual.index.unit) == (2, 1)


@pytest.mark.parametrize("cut", [np.s_[:1], np.s_[:, :-1], np.s_[..., 1:]])
def test_unrolled_outputs_of_other_shapes_differ(cut: Any) -> None:
    run, called = run_of("at every step"), called_by("at every step", 4)
    (arrays,) = called.values()
    for given in ({"gru": tuple(a[cut] for a in arrays)}, {}, {"gru": (*arrays, arrays[0])}):
        ((key, residual),) = unrolled(run, given, 4).items()
        assert key == ("gru", "unrolled")
        assert replace(residual, precision="") == MISMATCH
        assert residual.precision == "float64"


@pytest.mark.parametrize(
    ("name", "layers"),
    [("masked", []), ("encoder, decoder", ["encoder"]), ("stack", ["lstm", "lstm_1"])],
)
def test_masked_and_started_layers_are_not_unrolled(name: str, layers: list[str]) -> None:
    run = run_of(name)
    names = [layer for layer, _ in unrolled(run, {}, 4)]
    if name == "encoder, decoder":
        layers = [node.name for node in run.network.recurrent if not node.initial]
        assert len(layers) < len(run.network.recurrent)
    assert names == layers


# --- Checks ---------------------------------------------------------------------------------------


def test_checks_of_structure_tell_both_sides() -> None:
    network = from_sizes(cell="gru", T=5, D=3, M=4, K=2)
    arrays = {
        "gru": (("kernel", (3, 12)), ("recurrent_kernel", (4, 11)), ("more", (2,))),
        "dense": (("bias", (2,)), ("kernel", (4, 2))),
    }
    built = ModelStructure(arrays, {"gru": 108, "dense": 9}, 117, {"dense": True})
    found = [
        (check.name, check.passed, check.expected, check.found, check.layer)
        for check in structure_checks(network, built)
    ]
    first, last = "from t = 0 on", "no recurrence"
    assert found == [
        ("gru/kernel", True, "(D, 3M) = (3, 12)", "(3, 12)", ""),
        ("gru/recurrent_kernel", False, "(M, 3M) = (4, 12)", "(4, 11)", ""),
        ("gru/bias", False, "(2, 3M) = (2, 12)", "nothing", ""),
        ("gru/more", False, "nothing", "(2,)", ""),
        ("dense/kernel", True, "(M, K) = (4, 2)", "(4, 2)", ""),
        ("dense/bias", True, "(K,) = (2,)", "(2,)", ""),
        ("gru parameters", True, "3M(D+M+2) = 108", "108", ""),
        ("dense parameters", False, "K(M+1) = 10", "9", ""),
        ("count_params()", False, "3M(D+M+2) + K(M+1) = 118", "117", ""),
        ("gru: direction", False, first, last, "gru"),
    ]
    assert {check.compared for check in structure_checks(network, built)} == {1}
    both = from_sizes(bidirectional=True, M=4)
    ways = {f"bidirectional/{way}_simple_rnn": way == "backward" for way in ("forward", "backward")}
    given = replace(built, backwards=ways)
    directions = [check for check in structure_checks(both, given) if check.layer]
    assert [(check.layer, check.passed) for check in directions] == [(name, True) for name in ways]


#: A residual, and whether it compares anything.
CHECKED = [
    (Residual(1.0, Index(1, 2, 3), 6, precision="float32"), True),
    (Residual(1.5, Index(1, None, 3), 6, precision="float64"), True),
    (Residual(0.5, Index(1, 2, 3), 0), False),
]


@pytest.mark.parametrize(("residual", "is_compared"), CHECKED)
def test_checks_of_numbers_hold_their_residual(residual: Residual, is_compared: bool) -> None:
    check = residual_check("gru", "output", residual)
    assert (check.layer, check.quantity, check.name) == ("gru", "output", "gru: output")
    assert residual_check("gru", "output", residual, "float64").name == "gru: output, in float64"
    assert (check.passed, check.compared) == (residual.ratio == 1, residual.compared)
    assert check.precision == residual.precision
    there = (residual.ratio, residual.index) if is_compared else (None, None)
    assert (check.ratio, check.index) == there
    assert (str(residual.index) in check.detail) == is_compared == bool(check.detail)
    exact = replace(check, residual=None)
    assert (exact.ratio, exact.index, exact.precision, exact.detail) == (None, None, "", "")
