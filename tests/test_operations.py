"""Operations of functional models: indexing, arithmetic, activations, reductions."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.saved.inbound_nodes import inbound_nodes
from rnnshapes.network.layers.attention import MultiHeadAttention
from rnnshapes.network.layers.base import Masks
from rnnshapes.network.layers.config import LayerConfig, Namer, Source
from rnnshapes.network.layers.einsum_dense import EinsumDense
from rnnshapes.network.layers.operations import Combination
from rnnshapes.ops.constant import Constant, constant_of
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import ELU, LeakyReLU
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.rearrangements import WHOLE, Selection
from tests.helpers.configs import read_config
from tests.helpers.files import repacked, saved
from tests.helpers.hostile_graphs import X, call, graph, tensor
from tests.helpers.keras_runs import failed, run_model, run_of, with_layer
from tests.helpers.models import (
    MODELS,
    cast_to_16_bits,
    dtype_policy,
    functional,
    randomized,
    sequential,
)

#: Another half, and another array, than the model has.
SECOND_HALF = Selection((WHOLE, slice(3, 6)), (None, Dim.of(3)))
OTHER_SCALE = Constant((0.5, -1.5, 2.0, 0.71), (4,), "float32")


def last_step_model(*, causal: bool = True, steps: int | None = 9) -> keras.Model:
    """A head on the last step of a sequence."""
    layer = la.LSTM(5, return_sequences=True)
    layer = layer if causal else la.Bidirectional(layer)
    key = np.s_[:, -1] if causal else np.s_[:, -1, :]
    return randomized(functional(lambda x: la.Dense(2)(layer(x)[key]), (steps, 3)))


def test_last_step_equals_return_sequences_false() -> None:
    model = last_step_model()
    twin = sequential(la.LSTM(5), la.Dense(2), shape=(9, 3))
    twin.set_weights(model.get_weights())
    one, other = (rnnshapes.trace(m, N=3, seed=2) for m in (model, twin))
    np.testing.assert_array_equal(one.y_hat, other.y_hat)
    np.testing.assert_array_equal(one.output, other.output)
    assert one.y_hat.shape == (3, 9, 2)
    results = [rnnshapes.inspect(m).to_dict()["layers"] for m in (model, twin)]
    equations = [[e for la in layers for e in la["equations"]] for layers in results]
    assert equations[0] == equations[1]


def test_last_step_of_both_directions_has_one_output() -> None:
    """The backward direction has only begun there: y_hat before the last step has no meaning."""
    model = last_step_model(causal=False)
    traced = rnnshapes.trace(model, N=3)
    assert traced.y_hat is None
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-5)
    assert rnnshapes.verify(model, N=3).passed


def test_last_step_of_matrices_is_a_matrix() -> None:
    def graph(x: Any, y: Any) -> Any:
        h = la.TimeDistributed(la.Reshape((2, 4)))(la.LSTM(8, return_sequences=True)(x))
        return la.Dense(3)(la.Concatenate(axis=1)([h[:, -1], la.Dense(4)(y)[:, -1]]))

    model = randomized(functional(graph, (6, 3), (7, 5, 2)))
    traced = rnnshapes.trace(model, N=3)
    assert traced.output.shape == (3, 7, 3)
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-5)
    assert rnnshapes.verify(model, N=3).passed


def test_names_of_sizes_survive_indexing() -> None:
    result = rnnshapes.inspect(last_step_model())
    assert [layer.output_dims for layer in result.layers] == [
        ("N", "T", "M"),
        ("N", "M"),
        ("N", "K"),
    ]
    assert result.layers[2].formula == "K(M+1)"


def test_last_axis_keeps_its_name_when_reshaped() -> None:
    def reshaped(x: Any) -> Any:
        h = la.LSTM(4, return_sequences=True)(x)
        return la.Dense(2)(keras.ops.reshape(h, (-1, 3, 2, 4)))

    result = rnnshapes.inspect(functional(reshaped, (6, 3)))
    assert result.layers[1].output_dims == ("N", "3", "2", "M")


def test_cut_time_axis_has_its_own_name() -> None:
    model = functional(lambda x: la.LSTM(4)(x[:, 2::2]), (None, 3))
    shapes = rnnshapes.inspect(model, N=1, T=9).layers[0]
    assert (shapes.output_dims, shapes.output_shape) == (("N", "T'", "D"), (1, 4, 3))
    with pytest.raises(InputError, match="T'"):
        rnnshapes.inspect(model, T=2)


def test_time_is_cut_behind_a_new_axis() -> None:
    model = functional(lambda x: la.Dense(2)(x[:, None, 2:]), (10, 4))
    assert rnnshapes.inspect(model, N=3).layers[0].output_shape == (3, 1, 8, 4)


def test_index_beyond_open_time_axis_is_refused() -> None:
    model = functional(lambda x: la.Dense(2)(la.LSTM(4, return_sequences=True)(x)[:, 5]), (None, 3))
    assert rnnshapes.verify(randomized(model), N=2, T=6).passed
    with pytest.raises(InputError, match=r"\[:, 5"):
        rnnshapes.trace(model, N=2, T=4, keras=False)


@pytest.mark.parametrize("name", ["sliced", "activated"])
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_operation_keeps_the_dtype(name: str, dtype: str, tmp_path: Path) -> None:
    """From the live model and from its file, each in one of the formats."""
    with dtype_policy(dtype):
        model = randomized(MODELS[name]())
    from_file = (name == "sliced") == (dtype == "mixed_float16")
    source = saved(model, tmp_path / "model.keras") if from_file else model
    result = rnnshapes.verify(source, N=2)
    assert result.passed, result


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[1:, 0],
        lambda x: x[None, :, 0],
        lambda x: x[::-1, 0],
    ],
)
def test_selected_samples_are_unsupported(make: Any) -> None:
    model = functional(lambda x: make(la.LSTM(4, return_sequences=True)(x)))
    assert [layer.supported for layer in rnnshapes.inspect(model).layers] == [True, False]


@pytest.mark.parametrize(
    "key",
    [
        ("x", None, True, 1.5, {}, [[0]], 2**80, [0] * 9, [{"class_name": "__slice__"}, 99]),
        (
            {"class_name": "__slice__", "config": {"start": "a", "stop": [], "step": None}},
            {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": 0}},
            {"class_name": "__slice__", "config": 3},
            [{"class_name": "__ellipsis__"}, {"class_name": "__ellipsis__"}],
            [{"class_name": "__slice__", "config": {}}, ["x", 0, 0]],
        ),
    ],
    ids=["values", "slices"],
)
def test_impossible_key_in_file_is_unsupported(key: tuple[Any, ...], tmp_path: Path) -> None:
    good = saved(sequential(la.LSTM(5), shape=(6, 3)), tmp_path / "good.keras")
    for number, value in enumerate(key):
        node = {"args": [tensor("x"), value], "kwargs": {}}
        part = {**call("GetItem", "g", node), "module": "keras.src.ops.numpy"}
        lstm = call("LSTM", "lstm", {"args": [tensor("x")], "kwargs": {}}, units=5)
        join = call("Flatten", "f", {"args": [[tensor("g"), tensor("lstm")]], "kwargs": {}})
        config = graph([X, part, lstm, join], "f")
        path = repacked(good, tmp_path / f"{number}.keras", config=lambda _, new=config: new)
        layers = {layer.name: layer.supported for layer in rnnshapes.inspect(path).layers}
        assert layers["lstm"]
        assert not layers["g"], value


@pytest.mark.parametrize("name", ["last step, masked, added", "repeated axes", "sliced"])
def test_another_index_fails(name: str) -> None:
    run = run_of(name)
    names = [la.name for la in run.network.layers if la.name.startswith("get_item")]
    found = names[0 if name == "last step, masked, added" else 2]
    other = {"selection": Selection((WHOLE, 1), (None, None)), "last_step": False}
    changed = with_layer(run.network, found, **other, stepwise=False)
    assert failed(replace(run, network=changed))


@pytest.mark.parametrize(
    ("name", "kind", "changes"),
    [
        ("calculated", "multiply", {"arguments": (Source(0), 0.70001)}),
        ("calculated", "subtract", {"arguments": (0.30001, Source(0))}),
        ("calculated", "subtract", {"arguments": (Source(0), 0.3)}),
        ("calculated", "multiply_1", {"keras_class": "Add"}),
        ("calculated", "add", {"keras_class": "Subtract"}),
        ("activated", "relu", {"activation": "softplus"}),
        ("activated", "silu", {"activation": "gelu"}),
        ("activated", "mean", {"keras_class": "Max"}),
        ("activated", "max", {"keras_class": "Mean"}),
        ("functions", "sqrt", {"keras_class": "Exp"}),
        ("functions", "square", {"keras_class": "Absolute"}),
        ("functions", "power", {"exponent": 2.001}),
        ("functions", "true_divide", {"arguments": (Source(0), 2.5001)}),
        ("functions", "divide", {"keras_class": "Multiply"}),
        ("functions", "maximum", {"keras_class": "Minimum"}),
        ("functions", "multiply", {"arguments": (Source(0), OTHER_SCALE)}),
        ("functions", "sum", {"keras_class": "Mean"}),
        ("functions", "min", {"keras_class": "Max"}),
        ("compared", "greater", {"arguments": (Source(0), -0.2)}),
        ("compared", "less_equal", {"keras_class": "Greater"}),
        ("compared", "less", {"arguments": (Source(1), Source(0))}),
        ("compared", "logical_or", {"keras_class": "LogicalAnd"}),
        ("compared", "logical_xor", {"keras_class": "LogicalOr"}),
        ("compared", "logical_not", {"keras_class": "Sqrt"}),
        ("compared", "where", {"arguments": (Source(0), Source(2), Source(1))}),
        ("compared", "clip", {"highest": 0.11}),
        (
            "compared",
            "matmul",
            {"arguments": (Constant((0.5,) * 36, (6, 6), "float32"), Source(0))},
        ),
        ("compared", "elu", {"function": ELU(0.51)}),
        ("functions", "max", {"keras_class": "Min"}),
        ("more activations", "softmax", {"axis": -1}),
        ("more activations", "leaky_relu", {"function": LeakyReLU(0.31)}),
        ("more activations", "gelu", {"activation": "gelu"}),
        ("moved", "flip", {"rearrangement": Selection((WHOLE,), (None,))}),
        (
            "moved",
            "split_1",
            {"selections": (Selection((WHOLE, slice(3, 6)), (None, Dim.of(3))),) * 2},
        ),
        ("moved", "matmul", {"contraction": Contraction("nba,nbc->nac")}),
    ],
)
def test_another_operation_fails(name: str, kind: str, changes: dict[str, Any]) -> None:
    run = run_of(name)
    changed = with_layer(run.network, kind, **changes)
    assert any(check.startswith(f"{kind}:") for check in failed(replace(run, network=changed)))


def test_casts_round_to_16_bits() -> None:
    model = randomized(functional(cast_to_16_bits))
    assert rnnshapes.verify(model, N=3).passed
    run = run_model(model, N=3)
    names = [la.name for la in run.network.layers if la.name.startswith("cast")]
    for name in (names[0], names[2]):
        changed = with_layer(run.network, name, casts_to="", computes_in="")
        assert any(check.startswith(name) for check in failed(replace(run, network=changed)))


def test_cast_drops_the_mask_unless_it_changes_nothing() -> None:
    """TensorFlow returns the tensor itself where it need not cast, and the mask is on it."""
    for dtype in ("float32", "float16"):
        model = randomized(
            functional(
                lambda x, to=dtype: la.Dense(2)(la.GRU(4)(keras.ops.cast(la.Masking()(x), to)))
            )
        )
        x = np.random.default_rng(3).standard_normal((3, 6, 3)).astype("float32")
        x[1, 2:5] = 0
        result = rnnshapes.verify(model, x=x)
        assert result.passed, result
        assert not result.unsupported


@pytest.mark.parametrize(
    "make",
    [
        lambda h, last: h * np.ones(5),  # of float64
        lambda h, last: 2.0**h,
        lambda h, last: keras.ops.celu(h, alpha=0.5),
        lambda h, last: keras.ops.mean(h > 0, axis=1, keepdims=True),
        lambda h, last: keras.ops.where(h > 0, 1, 0),
        lambda h, last: keras.ops.cast(h, "float64"),
        lambda h, last: keras.ops.einsum("btd,csd->bts", h, h),
    ],
)
def test_other_arguments_are_unsupported(make: Any) -> None:
    def graph(x: Any) -> Any:
        h = la.LSTM(5, return_sequences=True)(x)
        return la.Dense(2)(la.Flatten()(make(h, h[:, -1])))

    model = functional(graph)
    assert not all(layer.supported for layer in rnnshapes.inspect(model).layers)
    assert rnnshapes.verify(randomized(model), N=2).passed


@pytest.mark.parametrize(("dtype", "supported"), [("float16", True), ("float32", False)])
def test_arrays_must_not_widen_16_bits(dtype: str, supported: bool) -> None:
    numbers = np.linspace(1, 2, 5).astype(dtype)
    with dtype_policy("float16"):
        model = functional(lambda x: la.LSTM(5)(x) * numbers)
    assert all(layer.supported for layer in rnnshapes.inspect(model).layers) == supported


def test_einsum_needs_the_order_of_its_result() -> None:
    """Without it, TensorFlow computes (b, t, k), and Keras declares (b, k, t)."""
    kernel = np.random.default_rng(2).standard_normal((5, 3)).astype("float32")

    def graph(x: Any, subscripts: str) -> Any:
        return keras.ops.einsum(subscripts, la.GRU(5, return_sequences=True)(x), kernel)

    assert rnnshapes.verify(randomized(functional(lambda x: graph(x, "btd,dk->btk"))), N=2).passed
    with pytest.raises(UnsupportedError, match="einsum"):
        rnnshapes.verify(randomized(functional(lambda x: graph(x, "btd,dk"))), N=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda h: keras.ops.sum(h, axis=0, keepdims=True),
        lambda h: keras.ops.reshape(h, (-1, 5)),
        lambda h: keras.ops.concatenate([h, h], axis=0),
    ],
)
def test_mixed_samples_are_refused(make: Any) -> None:
    model = functional(lambda x: la.Dense(2)(make(la.LSTM(5, return_sequences=True)(x))))
    assert [layer.supported for layer in rnnshapes.inspect(model).layers] == [True, False, True]
    with pytest.raises(UnsupportedError, match="samples"):
        rnnshapes.verify(model, N=2)


def test_operation_with_impossible_operands_is_unsupported(tmp_path: Path) -> None:
    good = saved(sequential(la.LSTM(5), shape=(6, 3)), tmp_path / "good.keras")
    for number, operands in enumerate(([], [1, 2], [tensor("x"), 1e40], [tensor("x"), "1"])):
        parts = [
            {
                **call(kind, kind, {"args": operands, "kwargs": {}}),
                "module": "keras.src.ops.numpy",
            }
            for kind in ("Add", "Mean", "Tanh", "GetItem")
        ]
        lstm = call("LSTM", "lstm", {"args": [tensor("x")], "kwargs": {}}, units=5)
        ends = [tensor(part["name"]) for part in (*parts, lstm)]
        join = call("Flatten", "f", {"args": [ends], "kwargs": {}})
        config = graph([X, *parts, lstm, join], "f")
        path = repacked(good, tmp_path / f"{number}.keras", config=lambda _, new=config: new)
        layers = {layer.name: layer.supported for layer in rnnshapes.inspect(path).layers}
        assert layers["lstm"]
        assert not layers["Add"]
        assert not layers["GetItem"]


def layer_config(kind: str, shape: tuple[int, ...], *arguments: Any, **options: Any) -> LayerConfig:
    """Return the config of a layer on (N, *shape), where the last size has a symbol."""
    names = Namer({}, {"D": shape[-1]})
    dims = (Dim.named("N"), *map(Dim.of, shape[:-1]), Dim.named("D"))
    known: Any = {"steps": dims[1], "trainable": True, "dtype": "float32", "names": names}
    return LayerConfig(
        kind, kind, options, [dims], arguments=arguments, computes_in="float32", **known
    )


@pytest.mark.parametrize(
    ("shape", "sizes", "plain"),
    [
        ((3, 3), (3, 1), False),
        ((3, 3, 4), (3, 1), False),
        ((5, 3, 4), (3, 1), True),
        ((3, 4), (3, 1), True),
        ((3, 3), (3,), True),
        ((3, 3), (1, 1), True),
    ],
)
def test_array_is_added_along_the_axis_of_keras(shape, sizes, *, plain: bool) -> None:
    """Keras adds some arrays as a bias, along another axis than NumPy does."""
    array = Constant(tuple(map(float, range(math.prod(sizes)))), sizes, "float32")
    x = np.random.default_rng(3).standard_normal((2, *shape)).astype("float32")
    for kind in ("subtract", "add"):
        config = layer_config(f"keras.ops.{kind.title()}", shape, Source(0), array)
        layer = Combination.from_config(config)
        expected = getattr(keras.ops, kind)(x, array.array())
        np.testing.assert_array_equal(layer.call(NumpyOps(), [x], None, Masks()), expected)
        assert bool(layer.notes) == (kind == "add" and not plain)


@pytest.mark.parametrize("shape", [(6, None), (1, 6)])
def test_array_added_along_an_unknown_axis_is_unsupported(shape: Any) -> None:
    """Keras adds it along the last one, where that has 6 numbers."""
    array = Constant((1.0,) * 6, (6, 1), "float32")
    Combination.from_config(layer_config("keras.ops.Subtract", shape, Source(0), array))
    with pytest.raises(UnsupportedError):
        Combination.from_config(layer_config("keras.ops.Add", shape, Source(0), array))


@pytest.mark.parametrize(
    ("shape", "output", "axes", "plain"),
    [
        ((3, 2), (3, 3, 1), "de", False),
        ((5, 2), (5, 3, 1), "de", True),
        ((3, 2), (3, 3, 4), "d", False),
    ],
)
def test_bias_added_along_wrong_axis_is_unsupported(shape, output, axes, *, plain: bool) -> None:
    options = {"equation": "abc,cde->abde", "output_shape": output, "bias_axes": axes}
    with nullcontext() if plain else pytest.raises(UnsupportedError):
        EinsumDense.from_config(layer_config("EinsumDense", shape, **options))


@pytest.mark.parametrize(
    ("given", "supported"), [(Source(2), True), ([[True]], False), (1, False), (None, True)]
)
def test_attention_mask_must_be_a_tensor(given: Any, *, supported: bool) -> None:
    config = layer_config("MultiHeadAttention", (6, 4), num_heads=2, key_dim=3)
    query = config.shapes[0]
    mask = () if given is None else ((*query[:2], query[1]),)
    options = {"attention_mask": given}
    call = replace(config, shapes=[query, query, *mask], call_options=options)
    with nullcontext() if supported else pytest.raises(UnsupportedError):
        layer = MultiHeadAttention.from_config(call)
        assert layer.takes_mask == (given is not None)


@pytest.mark.parametrize(("steps", "heads", "plain"), [(3, 3, False), (3, 2, True), (3, 1, True)])
def test_as_many_heads_as_steps_are_unsupported(steps, heads, *, plain: bool) -> None:
    config = layer_config("MultiHeadAttention", (steps, 4), num_heads=heads, key_dim=1)
    with nullcontext() if plain else pytest.raises(UnsupportedError):
        MultiHeadAttention.from_config(replace(config, shapes=config.shapes * 2))


@pytest.mark.parametrize("name", ["cast", "swapaxes", "copy"])
def test_only_a_returned_tensor_keeps_the_mask(name: str) -> None:
    unchanged = {
        "cast": lambda x: keras.ops.cast(x, "float32"),
        "swapaxes": lambda x: keras.ops.swapaxes(x, 2, -1),
        "copy": keras.ops.copy,
    }[name]
    model = randomized(functional(lambda x: la.LSTM(4)(unchanged(la.Masking()(x)))))
    x = np.random.default_rng(1).standard_normal((3, 6, 3))
    x[1:, 3:] = 0
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    masked = [check.name for check in result.checks if check.name.endswith("mask")]
    assert len(masked) == (1 if name == "copy" else 2)


@pytest.mark.parametrize(
    ("dtype", "last", "beyond"),
    [
        ("int8", -128, -129),
        ("uint8", 255, -1),
        ("int32", 2**31 - 1, 1e400),
        ("int64", 2**63 - 1, int(1e39)),
        ("int16", 2, 2.5),
        ("float16", 65504.0, 65505),
        ("float32", float(np.finfo("float32").max), 1e39),
        ("float64", float(np.finfo("float64").max), 10**400),
    ],
)
def test_constants_fit_into_their_dtype(dtype: str, last: float, beyond: float) -> None:
    for number, fits in ((last, True), (beyond, False)):
        value = {"class_name": "__numpy__", "config": {"value": [number], "dtype": dtype}}
        node = {"args": [tensor("x"), value], "kwargs": {}}
        (inbound,) = inbound_nodes(call("Add", "g", node) | {"module": "keras.src.ops.numpy"})
        constant = inbound.arguments[1]
        assert isinstance(constant, Constant) == fits
        assert not fits or constant.array().tolist() == [number]


def test_impossible_constant_in_file_is_unsupported() -> None:
    value = {"class_name": "__numpy__", "config": {"value": [300], "dtype": "int8"}}
    node = {"args": [tensor("x"), value], "kwargs": {}}
    part = call("Add", "g", node) | {"module": "keras.src.ops.numpy"}
    (layer,) = read_config(graph([X, part], "g")).layers
    assert not layer.supported


@pytest.mark.parametrize(
    ("subscripts", "texts"),
    [
        ("ntkd,kdm->ntdm", ("a", "b")),
        ("nqd,nkd->nqk", ("a", "bᵀ")),
        ("nqhd,nkhd->nhqk", ("a", "bᵀ")),
        ("btd,btf->bdf", ("aᵀ", "b")),
        ("nba,ncb->nac", ("aᵀ", "bᵀ")),
        ("nb,ncb->nc", ("a", "bᵀ")),
        ("nba,nb->na", ("aᵀ", "b")),
        ("na,nb->nab", ("a", "b")),
    ],
)
def test_only_turned_matrices_have_a_sign(subscripts: str, texts: tuple[str, str]) -> None:
    assert Contraction(subscripts).texts("a", "b") == texts


#: Numbers in lists, their dtype, and the sizes of the array; None where they are none.
LISTS: list[tuple[Any, Any, tuple[int, ...] | None]] = [
    (1.5, "float32", ()),
    ([1, 2, 3], "int64", (3,)),
    ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "float64", (3, 2)),
    ([[[True]], [[False]]], "bool", (2, 1, 1)),
    ([[1.0, 2.0], [3.0]], "float32", None),
    ([[1.0], 2.0], "float32", None),
    ([1.0, [2.0]], "float32", None),
    ([], "float32", None),
    ([[], []], "float32", None),
    ([1, True], "int8", None),
    (["1"], "float32", None),
    (None, "float32", None),
    ([1.0], "complex64", None),
    ([1.0], None, None),
    ([1.5], "int8", None),
    ([0] * 10_000, "int8", (10_000,)),
    ([0] * 10_001, "int8", None),
]


@pytest.mark.parametrize(("value", "dtype", "sizes"), LISTS, ids=lambda each: str(each)[:30])
def test_only_regular_lists_are_constants(value: Any, dtype: Any, sizes: Any) -> None:
    found = constant_of(value, dtype)
    if sizes is None:
        assert found is None
        return
    assert (found.sizes, found.dtype, found.array().shape) == (sizes, dtype, sizes)
    np.testing.assert_array_equal(found.array(), np.array(value, dtype))
    assert found.array().dtype == dtype


def test_constants_are_written_by_their_first_numbers() -> None:
    texts = [
        str(constant_of(value, "float64")) for value in (0.5, [1.0], [1.0, 2.5, 3.0], [1.0] * 4)
    ]
    assert texts == ["0.5", "[1]", "[1 2.5 3]", "[1 1 …]"]
