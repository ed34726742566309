"""The proof in float32, in float64 and in short formats: right networks pass, wrong ones do not."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import reference
from rnnshapes.forward import numpy_run
from rnnshapes.load.live.network import read_model
from rnnshapes.network.structure import Engine
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.contraction import Contraction, einsum_sums_in_float16
from rnnshapes.ops.precision import PRECISIONS, TENSOR_FLOAT_32
from rnnshapes.verification import report, residuals
from tests.helpers import grid
from tests.helpers.cells import FORMS
from tests.helpers.covering import covering
from tests.helpers.files import saved
from tests.helpers.keras_runs import KerasRun, numeric_checks, run_model
from tests.helpers.models import MODELS, dtype_policy, functional, randomized, sequential
from tests.helpers.results import result_of

# --- Both precisions on a grid ------------------------------------------------------------------

SIZES = ((1, 1, 1, 1, 1), (3, 10, 4, 5, 2), (2, 50, 3, 32, 1), (1, 3, 2, 256, 2))


RIGHT = covering({"cell": FORMS, "sizes": SIZES, "radius": (0.0, 0.9, 4.0)}, strength=2)


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: "-".join(map(str, case.values())))
def test_correct_networks_pass_at_any_radius(case: dict[str, Any]) -> None:
    """Networks have from one unit to 256."""
    sizes = dict(zip("NTDMK", case["sizes"], strict=True))
    for found in grid.right(iter([grid.Case(case["radius"], **sizes, **case["cell"])])):
        assert found.compared > 0, found
        assert found.ratio <= 1, found


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e3])
def test_zeros_denormals_and_saturated_gates_pass(scale: float) -> None:
    for cell in FORMS:
        for found in grid.right(iter([grid.Case(scale=scale, N=2, T=7, D=3, M=6, **cell)])):
            assert found.empty == 0, found
            assert found.ratio <= 1, found


@pytest.mark.parametrize(
    ("cell", "bidirectional"), [*((cell, False) for cell in FORMS), (FORMS[-1], True)], ids=str
)
def test_every_structural_mutant_fails_in_both_precisions(cell: Any, bidirectional: bool) -> None:
    found = list(
        grid.wrong(grid.Case(N=3, T=4, D=5, M=5, K=5, bidirectional=bidirectional, **cell))
    )
    assert len(found) >= 24
    for one in found:
        assert one.ratio > 100, one


@pytest.mark.parametrize("cell", FORMS, ids=str)
def test_a_millionth_in_one_weight_fails(cell: Any) -> None:
    """Only float64 can see it."""
    case = grid.Case(N=3, T=7, D=4, M=6, K=2, **cell)
    for found in grid.nudged(case):
        assert found.ratio > 1, found
    assert any(found.ratio <= 1 for found in grid.nudged(case, dtype="float32"))


def test_wrong_numpy_loop_fails(small_run: KerasRun) -> None:
    run = small_run
    ours = numpy_run.numpy_outputs(run.network, run.weights, run.xs)
    for change, name in (
        (lambda h: np.roll(h, 1, axis=1), "simple_rnn: h at every step, in float64"),
        (lambda h: h * (1 + 1e-9), "simple_rnn: h at every step, in float64"),
    ):
        states = {"simple_rnn": {"h": change(ours.states["simple_rnn"]["h"])}}
        for engine in (run.keras.engine, Engine("3", "torch", "2")):
            wrong = replace(ours, states=states)
            checks = list(report.float64_checks(run.network, run.weights, run.xs, wrong, engine))
            assert name in names(checks)
            assert ("unrolled" in {check.quantity for check in checks}) == engine.float64
    wrong = replace(ours, outputs=(ours.outputs[0] * (1 + 1e-9),))
    checks = report.float64_checks(run.network, run.weights, run.xs, wrong, run.keras.engine)
    assert names(checks) == ["trace: output, in float64"]


def test_other_weights_in_keras_fail_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """A millionth in front of the recurrences, in them, between or behind them."""
    parts = (
        la.Dense(4, name="front"),
        la.GRU(5, return_sequences=True, name="gru"),
        la.LayerNormalization(name="between"),
        la.LSTM(3, name="lstm"),
        la.Dense(2, name="head"),
    )
    model = randomized(sequential(*parts, shape=(7, 6)))
    network = read_model(model).with_sizes(N=3)
    weights = reference.weights_of(model, network)
    xs = [np.random.default_rng(5).standard_normal((3, 7, 6))]
    ours = numpy_run.numpy_outputs(network, weights, xs)
    repeat, engine = reference.repeat_steps_and_layers, reference.engine()
    for part in (None, *parts):
        own = {key: a * (1 + 1e-6) for key, a in weights[part.name].items()} if part else {}
        other = {**weights, **({part.name: own} if part else {})}
        monkeypatch.setattr(
            reference,
            "repeat_steps_and_layers",
            lambda steps, network, weights, *more, other=other: repeat(
                steps, network, other, *more
            ),
        )
        found = names(report.float64_checks(network, weights, xs, ours, engine))
        layers = {name.partition(":")[0] for name in found} - {"trace"}
        assert layers == ({part.name} if part else set())


# --- Checks of their own ------------------------------------------------------------------------


def names(checks: Any) -> list[str]:
    """The names of the checks that fail."""
    return [check.name for check in checks if not check.passed]


def test_direction_other_than_keras_fails(small_run: KerasRun) -> None:
    built = replace(small_run.built, backwards={"simple_rnn": True})
    assert names(report.structure_checks(small_run.network, built)) == ["simple_rnn: direction"]
    found = next(c for c in report.structure_checks(small_run.network, built) if not c.passed)
    assert (found.expected, found.found) == ("from t = 0 on", "from the last t back")


def test_nonzero_initial_state_fails(small_run: KerasRun) -> None:
    starts = {"simple_rnn": {"h": np.full((4, 6), 1e-3, "float32")}}
    run = replace(small_run, keras=replace(small_run.keras, starts=starts))
    check = next(c for c in numeric_checks(run) if c.name == "simple_rnn: initial state")
    assert not check.passed
    assert check.compared == 4 * 6
    assert check.index.t == 0


def test_weight_off_by_one_ulp_fails(small_run: KerasRun) -> None:
    run, held = small_run, {name: dict(arrays) for name, arrays in small_run.weights.items()}
    (good,) = report.weight_checks(run.network, run.weights, held)
    assert good.passed
    assert good.compared == run.network.parameters
    held["dense"]["b"] = np.nextafter(held["dense"]["b"], np.float32(9))
    (bad,) = report.weight_checks(run.network, run.weights, held)
    assert not bad.passed
    assert bad.found == "not equal: dense/bias"


def test_checks_count_numbers_and_locate_the_worst() -> None:
    result = rnnshapes.verify(N=2, T=3, M=[4, 5], seed=1)
    for check in result.checks:
        assert check.compared > 0
        if check.ratio is not None:
            assert check.layer in (*(la.name for la in result.network.layers), "predict", "trace")
            assert check.index is not None
            assert check.detail.startswith("worst at sample")


# --- Short formats ------------------------------------------------------------------------------


SHORT = {
    "mixed_float16": (
        "stacked cells, both, masked", "normalized", "embedded", "encoder, decoder", "nested",
    ),
    "mixed_bfloat16": ("encoder, decoder", "convolved, same"),
    "float16": ("masked zeros", "normalized"),
}  # fmt: skip


#: Models that Keras compiles; others run eagerly.
COMPILED = (("mixed_float16", "normalized"), ("mixed_bfloat16", "convolved, same"))


@pytest.mark.parametrize(("policy", "name"), [(p, name) for p in SHORT for name in SHORT[p]])
def test_short_formats_pass(policy: str, name: str, request) -> None:
    """Each layer is checked with the unit roundoff of the format in which it computes."""
    if (policy, name) in COMPILED:
        request.getfixturevalue("compiled")
    with dtype_policy(policy):
        result = rnnshapes.verify(randomized(MODELS[name]()), N=2)
    assert result.passed, result
    short = policy.removeprefix("mixed_")
    assert {c.precision for c in result.checks} == {"", short, "float64"}


@pytest.mark.parametrize(
    ("policy", "cell"),
    [*(("mixed_float16", cell) for cell in FORMS), ("mixed_bfloat16", FORMS[-1])],
    ids=str,
)
def test_mutants_fail_in_short_formats(policy: str, cell: Any) -> None:
    from rnnshapes.port.hypothesis import Hypothesis
    from rnnshapes.port.mistakes.families import hypotheses

    kind = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}[cell["cell"]]
    options = {key: value for key, value in cell.items() if key != "cell"}
    layer = kind(6, dtype=policy, **options)
    run = run_model(randomized(sequential(layer, la.Dense(3, dtype="float32"))), N=5)
    assert not names(numeric_checks(run))
    base = Hypothesis(run.network, run.weights, tuple(run.xs), ())
    mutants = [one for one in hypotheses(base) if one.families[0] in ("gates", "kernel")]
    assert mutants
    for one in mutants:
        assert names(numeric_checks(replace(run, network=one.network, weights=one.weights))), (
            one.mistakes
        )


def test_float16_is_verified_until_it_overflows() -> None:
    layers = (
        la.SimpleRNN(6, activation="relu", return_sequences=True, dtype="mixed_float16"),
        la.GRU(4, dtype="mixed_float16"),
        la.Dense(2, dtype="float32"),
    )
    model = randomized(sequential(*layers, shape=(20, 3)))
    model.set_weights([8 * np.abs(w) for w in model.get_weights()])
    result = rnnshapes.verify(model, N=3)
    assert result.passed, result
    assert 0 < result.overflow < 20
    gru = [c for c in result.checks if c.layer == "gru" and c.precision == "float16"]
    assert all(check.compared > 0 for check in gru)


def test_later_outputs_are_left_out_after_an_overflow() -> None:
    def attend(x: Any) -> Any:
        h = la.SimpleRNN(3, activation="relu", return_sequences=True, dtype="mixed_float16")(x)
        attention = la.Attention(dtype="mixed_float16")
        return la.Flatten()(attention([h, h], return_attention_scores=True)[1])

    model = randomized(functional(attend, (4, 3)))
    model.set_weights([1e4 * np.abs(w) for w in model.get_weights()])
    result = rnnshapes.verify(model, x=np.ones((2, 4, 3)))
    assert all(check.passed for check in result.checks if check.layer == "attention")


@pytest.mark.parametrize(
    ("dtype", "value", "masked"),
    [
        ("float16", -1.1, 0),
        ("float16", 0.5, 2),
        ("float16", 2049.0, 0),  # bfloat16 lacks it too
        ("float16", 257.0, 2),  # bfloat16 lacks it, float16 does not
        ("bfloat16", 0.1, 0),
        ("bfloat16", 257.0, 0),
        ("bfloat16", 2.0**100, 2),  # float16 has no number so large
    ],
)
def test_masking_in_short_formats_compares_as_keras(dtype: str, value: float, masked: int) -> None:
    """x is rounded and mask_value is not: a value that the format lacks masks nothing."""
    layers = (la.Masking(value, dtype=f"mixed_{dtype}"), la.LSTM(4), la.Dense(2))
    model = randomized(sequential(*layers, shape=(6, 3)))
    x = np.random.default_rng(2).standard_normal((2, 6, 3)).astype("float32")
    x[:, 4:] = value
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    traced = rnnshapes.trace(model, x=x, keras=False)
    assert (~traced.layers[0].mask[0]).sum() == masked
    notes = [note.text for note in rnnshapes.inspect(model).layers[0].notes]
    assert any(f"{dtype} has no {value:g}" in note for note in notes) == (masked == 0)


def test_mask_value_beyond_float16_masks_nothing() -> None:
    model = sequential(la.Masking(2.0**16, dtype="mixed_float16"), la.LSTM(4), shape=(6, 3))
    assert any("float16" in note.text for note in rnnshapes.inspect(model).layers[0].notes)


def test_masked_embedding_in_short_format_passes() -> None:
    words = la.Embedding(7, 5, mask_zero=True, dtype="mixed_float16")
    model = sequential(words, la.LSTM(4, dtype="mixed_float16"), shape=(6,), dtype="int32")
    x = np.random.default_rng(2).integers(0, 7, (3, 6))
    result = rnnshapes.verify(randomized(model), x=x)
    assert result.passed, result


def test_dtype_behind_an_unsupported_operation_is_keras_own() -> None:
    def graph(x: Any) -> Any:
        h = la.LSTM(4, dtype="mixed_bfloat16")(x)
        return la.Dense(2, dtype="mixed_bfloat16")(h / (abs(keras.ops.sin(h)) + 0.5))

    model = randomized(functional(graph, (6, 3)))
    assert not all(layer.supported for layer in rnnshapes.inspect(model).layers)
    result = rnnshapes.verify(model, N=3)
    assert result.passed, result


def test_short_products_are_summed_in_float32() -> None:
    """Their bound hardly grows with the number of terms."""
    for name in ("float16", "bfloat16"):
        short = PRECISIONS[name]
        assert short.gamma(1000) < 1.2 * short.gamma(2)
    assert PRECISIONS["float16"].underflow(7) < 2 * PRECISIONS["float16"].tiny
    assert PRECISIONS["float32"].gamma(10) > 9 * PRECISIONS["float32"].unit_roundoff
    assert PRECISIONS["float32"].gamma(2**24) == np.inf


def test_layers_that_sum_in_float16_pass() -> None:
    """TensorFlow rounds each partial sum of these to float16."""

    def graph(x: Any) -> Any:
        x = la.Identity()(x)  # which rounds it to float16
        products = [
            la.DepthwiseConv1D(20, use_bias=False)(x),
            la.Conv1DTranspose(4, 3, use_bias=False)(x),
            la.EinsumDense("abc,bcd->ad", 5)(x),
            keras.ops.einsum("btd,btf->bdf", *keras.ops.split(x[..., :7], [3], axis=-1)),
        ]
        return [la.Flatten()(each) for each in products]

    with dtype_policy("float16"):
        model = functional(graph, (30, 40))
    model.set_weights([np.full(w.shape, 0.13) for w in model.weights])
    x = np.random.default_rng(2).uniform(0.5, 1.0, (9, 30, 40))
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result


#: Equations, how Keras computes them, and the size of each summed axis.
EINSUMS = {
    "ab,bc->ac": ("matmul", 300),
    "ab,cb->ac": ("matmul", 300),
    "ab,b->a": ("matmul", 300),
    "ab,bc->ca": ("einsum", 300),
    "abc,cd->adb": ("einsum", 300),
    "ntf,fk->ntk": ("matmul", 2100),
    "abc,dc->abd": ("matmul", 300),
    "ntf,fhd->nthd": ("matmul", 300),
    "ntf,hfd->nthd": ("matmul", 300),
    "ntf,hdf->nthd": ("matmul", 300),
    "nqhd,hdf->nqf": ("matmul", 17),
    "nqhd,hfd->nqf": ("matmul", 17),
    "nqhd,fhd->nqf": ("matmul", 17),
    "nkhd,nqhd->nhqk": ("matmul", 300),
    "nhqk,nkhd->nqhd": ("matmul", 300),
    "nqhd,nkhd->nhqk": ("matmul", 300),
    "abcd,abde->abce": ("matmul", 300),
    "abcd,abed->abce": ("matmul", 300),
    "abcd,acbe->adbe": ("matmul", 300),
    "abcde,aebf->adbcf": ("matmul", 300),
    "abcde,afce->acdbf": ("matmul", 300),
    "abc,bcd->ad": ("einsum", 17),
    "btd,btf->bdf": ("einsum", 2100),
    "abc,acd->abd": ("einsum", 300),
    "ab, bc -> ac": ("einsum", 300),
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_float16_bounds_follow_keras_einsum(equation: str, monkeypatch) -> None:
    """A bound that is too wide lets wrong numbers pass; where Keras calls MatMul, it is tight."""
    import tensorflow as tf

    function, length = EINSUMS[equation]
    called, einsum = [], tf.einsum
    monkeypatch.setattr(tf, "einsum", lambda *args: called.append(args) or einsum(*args))
    contraction = Contraction(equation.replace(" ", ""), einsum_sums_in_float16(equation))
    draws = np.random.default_rng(2)
    x, w = (
        draws.uniform(*ends, [length if a in contraction.summed else 3 for a in axes])
        for axes, ends in zip(contraction.letters, ((0.5, 1.0), (0.01, 0.02)), strict=False)
    )
    x, w = x.astype("float16"), w.astype("float16")
    ratio = _ratio(contraction, x, w, keras.ops.einsum(equation, x, w))
    assert bool(called) == (function == "einsum")
    assert (0.4 if function == "matmul" else 0.0) < ratio <= 1


def _ratio(contraction: Contraction, x: Any, w: Any, actual: Any) -> float:
    """Return the largest error of a product in float16, relative to its bound."""
    p = PRECISIONS["float16"]
    bounded = BoundedOps().contract(contraction, Bounded.exact(x, p), Bounded.exact(w, p))
    assert np.isfinite(bounded.error).all()
    return float((abs(np.asarray(actual, "float64") - bounded.value) / bounded.error).max())


@pytest.mark.parametrize("returned", [False, True])
def test_attention_sums_as_keras_does(returned: bool, monkeypatch) -> None:
    """Only ``dot_product_attention`` sums in float16, where Keras needs no attention weights."""
    contract, in_float16 = BoundedOps.contract, {}

    def record(self: Any, contraction: Contraction, left: Any, right: Any) -> Any:
        in_float16[contraction.subscripts] = contraction.sums_in_float16
        return contract(self, contraction, left, right)

    monkeypatch.setattr(BoundedOps, "contract", record)
    attend = la.MultiHeadAttention(2, 4, 5)
    with dtype_policy("float16"):
        model = functional(lambda x: attend(x, x, return_attention_scores=returned))
    assert rnnshapes.verify(randomized(model), N=2).passed
    assert in_float16 == {
        "ntf,fhd->nthd": False,
        "nqhd,nkhd->nhqk": not returned,
        "nhqk,nkhd->nqhd": not returned,
        "nqhd,hdf->nqf": False,
    }


@pytest.mark.parametrize(
    ("layer", "size", "factor"),
    [
        (la.EinsumDense, 2100, 1.0),
        (la.EinsumDense, 64, 1.03),
        (la.MultiHeadAttention, 256, 1.1),
    ],
)
def test_long_products_are_checked_in_float16(
    layer: Any, size: int, factor: float, monkeypatch
) -> None:
    real = layer.call

    @functools.wraps(real)
    def scaled(self: Any, *args: Any, **options: Any) -> Any:
        return real(self, *args, **options) * factor

    monkeypatch.setattr(layer, "call", scaled)
    with dtype_policy("float16"):
        if layer is la.EinsumDense:
            model = functional(la.EinsumDense("abc,cd->abd", (None, 4)), (3, size))
        else:
            attend = la.MultiHeadAttention(2, 4)
            model = functional(lambda x: attend(x, x), (3, size))
    model.set_weights([0.1 * w for w in randomized(model).get_weights()])
    x = np.random.default_rng(3).uniform(0.1, 0.2, (2, 3, size))
    checks = rnnshapes.verify(model, x=x).checks
    short = [check for check in checks if check.precision == "float16"]
    assert len(short) == 2
    assert all(check.compared for check in short)
    assert [check.passed for check in short] == [factor == 1.0] * 2


def test_earlier_calls_leave_no_size_open(compiled: None) -> None:
    """In the graph of a model that was called on other numbers of steps, T is open."""
    with dtype_policy("float16"):
        model = functional(la.EinsumDense("abc,cde->abde", (None, 2, 4)), (None, 256))
    model.set_weights([abs(w) for w in randomized(model).get_weights()])
    model.compile(jit_compile=False)  # XLA sums in float32
    for steps in (2, 4):
        model.predict(np.ones((2, steps, 256)), verbose=0)
    before = model.predict_function
    result = rnnshapes.verify(model, x=np.random.default_rng(3).uniform(0.1, 0.2, (2, 3, 256)))
    assert result.passed, result
    assert model.predict_function is before


@pytest.mark.parametrize("policy", ["float16", "float64", "mixed_bfloat16"])
def test_operations_compute_in_the_dtype_of_keras(policy: str, tmp_path: Path) -> None:
    def graph(x: Any) -> Any:
        h = la.LSTM(3, return_sequences=True)(x)
        short = keras.ops.cast(h, "float16")
        one = keras.ops.where(h > 0, 1.0, 0.0)
        return [x[..., :2] * 2.7, keras.ops.tanh(h), x * h, h + short, one - short, one * 0.3]

    with dtype_policy(policy):
        model = functional(graph)
    expected = {each.name: str(each.output.dtype) for each in model.operations}
    for source in (model, saved(model, tmp_path / "model.keras")):
        network = rnnshapes.inspect(source).network
        for node in network.nodes:
            if not node.layer.is_boolean:
                assert network.precision(node.layer) == expected[node.name], node.name


def test_operation_on_input_is_not_rounded() -> None:
    with dtype_policy("float16"):
        model = randomized(functional(lambda x: la.LSTM(4)(x[..., :2])))
    assert rnnshapes.verify(model, N=3).passed


def test_normalization_rounds_to_dtype_of_its_input() -> None:
    def graph(x: Any) -> Any:
        rounded = keras.ops.cast(la.LSTM(4, return_sequences=True)(x), "float16")
        return [la.LayerNormalization()(rounded), la.GroupNormalization(2)(rounded)]

    result = rnnshapes.verify(randomized(functional(graph)), N=3)
    assert result.passed, result


def test_each_addition_of_a_long_sum_rounds() -> None:
    with dtype_policy("float16"):
        model = functional(lambda x: la.Add()([la.Rescaling(s / 7)(x) for s in range(7, 17)]))
    result = rnnshapes.verify(model, x=np.random.default_rng(2).uniform(0, 1, (99, 6, 3)))
    assert result.passed, result


def test_numbers_are_rounded_to_short_formats() -> None:
    exact = Bounded.exact(np.array([0.1, 70000.0]), PRECISIONS["float16"])
    assert exact.value[0] == np.float16(0.1)
    assert np.isnan(exact.error[1])
    wide = Bounded.exact(np.array([0.1]), PRECISIONS["float64"]).cast(PRECISIONS["bfloat16"])
    assert wide.value[0] == 0.1
    assert 0.1 * 2**-8 < wide.error[0] < 0.1 * 2**-7
    assert wide.cast(PRECISIONS["float32"]).error[0] == wide.error[0]
    beyond = Bounded.exact(np.array([1e6]), PRECISIONS["float32"]).cast(PRECISIONS["float16"])
    assert np.isinf(beyond.error[0])


def test_tensor_float_32_has_its_own_bound(small_run: KerasRun) -> None:
    """Such a GPU rounds the factors of products to 11 bits."""
    engine = replace(small_run.keras.engine, tensor_float_32=True)
    run = replace(small_run, keras=replace(small_run.keras, engine=engine))
    narrow = {check.name: check.ratio for check in numeric_checks(small_run)}
    wide = {check.name: check.ratio for check in numeric_checks(run)}
    name = "simple_rnn: h at every step"
    assert wide[name] < narrow[name] / 50
    assert TENSOR_FLOAT_32.gamma(5) > 2 * 2**-11
    result = replace(result_of("verify"), engine=engine)
    assert "matrix products in TensorFloat-32" in repr(result)


@pytest.mark.parametrize(
    ("gpus", "on", "short"), [([], True, False), ([1], True, True), ([1], False, False)]
)
def test_tensor_float_32_needs_a_gpu(gpus: Any, on: bool, short: bool, monkeypatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "tensor_float_32_execution_enabled", lambda: on)
    assert reference.engine().tensor_float_32 == short
    assert Engine("1", "tensorflow", "2").tensor_float_32 is False


def test_residuals_name_their_precision() -> None:
    case = grid.Case(N=2, T=4, D=3, M=5)
    found = list(
        residuals.layer_residuals(
            case.network.with_dtype("float64"), case.weights, case.xs, case.keras_outputs("float64")
        )
    )
    assert {f.precision for _, _, f in found} == {"float64"}


# --- What a review has found --------------------------------------------------------------------


def test_other_orders_of_summation_pass(compiled: None) -> None:
    """The bound has no room where there is one unit."""
    result = rnnshapes.verify(N=200, T=300, D=1, M=1, K=1, activation="linear")
    assert result.passed, result


def test_softmax_error_is_at_most_1() -> None:
    z = np.array([[1e10, 0.0]])
    wide = Bounded(z, np.array([[400.0, 400.0]]), PRECISIONS["float32"]).activated("softmax")
    assert np.all(wide.error <= 1.001)
    unknown = Bounded(z, np.array([[np.nan, 0.0]]), PRECISIONS["float32"]).activated("softmax")
    assert np.isnan(unknown.error).all()
    model = randomized(sequential(la.GRU(8), la.Dense(5, activation="softmax")))
    weights = model.get_weights()
    weights[3] = weights[3] * 1e10
    model.set_weights(weights)
    assert rnnshapes.verify(model, N=9).passed


def test_overflow_of_merged_directions_is_skipped() -> None:
    both = la.Bidirectional(la.SimpleRNN(1, activation="relu"), merge_mode="mul")
    model = sequential(both, la.Dense(2), shape=(7, 1))
    ones = [np.ones(w.shape, "float32") for w in model.get_weights()]
    ones[1] = ones[4] = np.float32([[4e5]])
    model.set_weights(ones)
    result = rnnshapes.verify(model, x=np.ones((2, 7, 1)))
    assert result.passed, result
    judged = [c.name for c in result.checks if c.precision == "float32"]
    assert "bidirectional: output" not in judged
    assert not any(name.startswith("predict") for name in judged)


def test_cell_output_other_than_state_fails(monkeypatch) -> None:
    """A millionth is enough, which float32 cannot see."""
    real = la.LSTMCell.call

    @functools.wraps(real)
    def wrong(self: Any, *args: Any, **options: Any) -> Any:
        output, states = real(self, *args, **options)
        return output * (1 + 1e-6), states

    monkeypatch.setattr(la.LSTMCell, "call", wrong)
    failed = names(rnnshapes.verify(cell="lstm", N=2, T=3).checks)
    assert {"lstm: unrolled, in float64", "lstm: h at every step, in float64"} <= set(failed)


def test_directions_merged_otherwise_fail(monkeypatch) -> None:
    real = la.Bidirectional.call

    @functools.wraps(real)
    def wrong(self: Any, *args: Any, **options: Any) -> Any:
        return real(self, *args, **options) * (1 + 1e-6)

    monkeypatch.setattr(la.Bidirectional, "call", wrong)
    failed = names(rnnshapes.verify(cell="gru", bidirectional=True, N=2, T=3).checks)
    assert "bidirectional: unrolled, in float64" in failed


def test_output_of_another_shape_fails(small_run: KerasRun) -> None:
    outputs = (small_run.keras.outputs[0][:, :1],)
    run = replace(small_run, keras=replace(small_run.keras, outputs=outputs))
    assert names(numeric_checks(run)) == ["predict: own output"]


def test_random_state_is_left_unchanged() -> None:
    import random

    model = randomized(sequential(la.GRU(4), la.Dropout(0.5), la.Dense(2)))
    random.seed(7)
    state = random.getstate()
    rnnshapes.verify(model)  # it has a seed of its own
    rnnshapes.verify(T=3)
    assert random.getstate() == state


def test_time_distributed_rounds_its_input() -> None:
    """A normalization rounds to the dtype of its input, which is that of the layer around it."""
    with dtype_policy("mixed_bfloat16"):
        each = la.TimeDistributed(la.LayerNormalization())
        lstm = la.LSTM(4, return_sequences=True, dtype="float32")
        model = randomized(sequential(lstm, each, la.GRU(3), shape=(5, 3)))
    assert rnnshapes.verify(model, N=3).passed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_only_inexact_constants_have_an_error(dtype: str) -> None:
    precision = replace(PRECISIONS[dtype], exact_constants=False)
    for exact in (0.0, 3.0, -256.0, 0.5, 2.0**-10):
        assert Bounded.rounded(exact, precision).error == 0.0
    for rounded in (257.0, 0.1, -1 / 3, 1.7):
        error = precision.unit_roundoff * abs(rounded) + precision.tiny
        assert Bounded.rounded(rounded, precision).error == error
    assert Bounded.rounded(4 * precision.overflow_threshold, precision).error == np.inf
    tiny = precision.tiny / 4  # a power of two that the precision may not have
    assert Bounded.rounded(tiny, precision).error >= precision.tiny
    exact = replace(precision, exact_constants=True)
    fifth = float(np.float32(0.2))  # as TensorFlow has it
    more = Bounded.rounded(fifth, exact).error - Bounded.rounded(fifth, precision).error
    assert more == pytest.approx(abs(fifth - 0.2))
    assert Bounded.rounded(0.5, exact).error == 0.0
