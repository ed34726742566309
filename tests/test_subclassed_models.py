"""Live models that are classes: the calls of their layers are recorded."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnshapes
from rnnshapes import InputError, UnsupportedError, reference
from rnnshapes.load.live.keras_private import get_mask, operation_of
from rnnshapes.load.live.network import read_model
from rnnshapes.load.live.recorded_model import (
    RecordedModel,
    calls_layers,
    layers_inside,
    weights_outside,
)
from rnnshapes.reference.user_operations import UserCode
from rnnshapes.render.document import Table
from rnnshapes.render.documents import inspection
from rnnshapes.render.view import View
from tests.helpers.commands import mentioning
from tests.helpers.subclassed import (
    Attentive,
    ByNumbers,
    ByStep,
    Classifier,
    Counting,
    Deceiver,
    Feedback,
    LastStep,
    OtherMask,
    Shifted,
    Tagger,
    Translator,
    subclassed,
)

_STEPS = " ".join(f"get_item_{t}" for t in range(1, 6))
#: Names of all layers, the unsupported ones marked.
LAYERS = {
    Tagger: "embed encoder/gru encoder/dense concatenate encoder_1/gru encoder_1/dense mean out",
    Classifier: "lstm get_item subtract out ?add ?never ?own",
    Translator: "?scaled encoder decoder ?double out",
    ByStep: f"get_item dense {_STEPS} stack lstm",
    Feedback: "rnn out ?cell stack",
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_of_class_is_shown(kind: type[keras.Model]) -> None:
    model = subclassed(kind)
    result = rnnshapes.inspect(model)
    names = [f"{'' if layer.supported else '?'}{layer.name}" for layer in result.layers]
    assert " ".join(names) == LAYERS[kind]
    assert result.params == model.count_params()
    assert result.keras.agrees


@pytest.mark.parametrize(
    ("kind", "unsupported"),
    [(Tagger, []), (Translator, ["scaled", "double"]), (Feedback, ["cell", "cell:2"])],
)
def test_calls_of_layers_are_verified(kind: type[keras.Model], unsupported: list[str]) -> None:
    result = rnnshapes.verify(subclassed(kind), N=3)
    assert result.passed, result
    assert [text.split()[0] for text in result.unsupported] == unsupported


def test_weights_without_call_have_no_tensor() -> None:
    result = rnnshapes.inspect(subclassed(Classifier))
    tables = inspection.document(result, View(parts=frozenset({"steps"})))
    rows = [row for table in tables if isinstance(table, Table) for row in table.rows]
    assert rows
    assert all(row.cells[0] for row in rows)


def test_trace_of_class_equals_predict() -> None:
    """For another number of steps than that on which it was built."""
    model = subclassed(LastStep)
    x = np.random.default_rng(3).standard_normal((4, 9, 3))
    result = rnnshapes.trace(model, x=x, show="h")
    np.testing.assert_allclose(result.output, model.predict(x, verbose=0), atol=1e-5)
    assert result.layers[0].states["h"].shape == (4, 9, 5)
    assert rnnshapes.inspect(model).formula == "4M(D+M+1) + K(M+1)"


def test_operations_outside_keras_come_from_keras() -> None:
    """Such a row names its sources, and has the mask that a layer around it gives."""
    model = subclassed(Attentive)
    x = np.random.default_rng(3).standard_normal((3, 8, 3))
    x[1, 5:] = 0.0
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    assert [text.split()[0] for text in result.unsupported] == ["operations", "operations_1"]
    assert "gru: mask" in [check.name for check in result.checks]
    layers = {layer.name: layer for layer in rnnshapes.inspect(model).layers}
    for name, sources in (
        ("operations", ("mask", "shifted/dense")),
        ("operations_1", ("gru", "score")),
    ):
        assert (layers[name].type, layers[name].sources) == ("Operations", sources)
        assert any("keras.ops" in note.text for note in layers[name].notes)


def test_code_of_many_paths_has_its_sources() -> None:
    """There are 2 to the power of 60 of them."""

    class Doubling(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.dense = keras.layers.GRU(4, name="rnn"), keras.layers.Dense(2)

        def call(self, x):
            h = self.rnn(x)
            for _ in range(60):
                h = tf.tanh(h + h)
            return self.dense(h)

    model = Doubling()
    model(np.zeros((2, 6, 3), "float32"))
    _, operations, _ = rnnshapes.inspect(model).layers
    assert operations.sources == ("rnn",)


class Given(keras.Model):
    """A mask that is given once more, and a layer on numbers that do not follow from x."""

    def __init__(self) -> None:
        super().__init__()
        self.masking, self.rnn = (
            keras.layers.Masking(name="masking"),
            keras.layers.GRU(4, name="rnn"),
        )
        self.dense, self.other = (keras.layers.Dense(2, name=name) for name in ("dense", "other"))

    def call(self, x):
        h = self.masking(x)
        y = self.dense(self.rnn(h, mask=get_mask(h)))
        return tf.tanh(y) * self.other(tf.ones((1, 5)))


def test_tensors_of_code_have_the_layers_that_made_them() -> None:
    """What follows from nothing has the input; a mask is that of the layer that made it."""
    model = Given()
    model(np.ones((2, 6, 3), "float32"))
    layers = rnnshapes.inspect(model).layers
    assert [(layer.name, layer.supported, layer.sources) for layer in layers] == [
        ("masking", True, ("x",)),
        ("rnn", True, ("masking",)),
        ("dense", True, ("rnn",)),
        ("operations", False, ("x",)),
        ("other", True, ("operations",)),
        ("operations_1", False, ("dense", "other")),
    ]


@pytest.mark.parametrize("kind", [LastStep, Attentive])
def test_recording_leaves_model_unchanged(kind: type[keras.Model]) -> None:
    model = subclassed(kind)
    layers = model._flatten_layers()
    call = keras.layers.Layer.__call__
    before = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    rnnshapes.inspect(model)
    after = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    assert after == before
    assert keras.layers.Layer.__call__ is call


def test_weights_that_code_assigns_are_kept() -> None:
    """By the recording, and by each run in Keras."""
    model = subclassed(Counting)
    before = [weight.tolist() for weight in model.get_weights()]
    rnnshapes.inspect(model)
    assert [weight.tolist() for weight in model.get_weights()] == before
    assert rnnshapes.trace(model, N=2).keras is not None
    assert [weight.tolist() for weight in model.get_weights()] == before


def test_code_that_deceives_the_recording_fails() -> None:
    result = rnnshapes.verify(subclassed(Deceiver), N=2)
    assert [check.name for check in result.checks if not check.passed] == ["predict: own output"]


def test_steps_that_code_needs_are_fixed() -> None:
    with pytest.raises(InputError, match=mentioning("T", "6", "9")):
        rnnshapes.inspect(subclassed(ByStep), T=9)


def test_code_that_needs_numbers_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="ByNumbers"):
        rnnshapes.inspect(subclassed(ByNumbers))


def test_error_of_code_is_named() -> None:
    model = Returning()
    model(np.ones((3, 4), "float32"))
    model.result = lambda y: {}["a key that is missing"]
    with pytest.raises(UnsupportedError, match="a key that is missing"):
        rnnshapes.inspect(model)


def test_call_of_two_arguments_is_refused() -> None:
    class Decoder(keras.Model):
        def call(self, x, state):
            return x + state

    model = Decoder()
    model(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(UnsupportedError, match=mentioning("2", "x, state")):
        rnnshapes.inspect(model)


class Switching(keras.Model):
    """Either of two layers behind one of the user's, in which others are called."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = keras.layers.Dense(3), keras.layers.Dense(3)
        self.other.build((None, 7))
        self.shifted = Shifted()
        self.chosen = self.one

    def call(self, x):
        return tf.tanh(self.chosen(self.shifted(x)))


def test_code_calls_the_layers_that_were_recorded() -> None:
    model, x, y = Switching(), tf.ones((2, 6, 3)), tf.zeros((2, 6, 3))
    layers = [model.one, model.other, model.shifted, model.shifted.dense]
    code = UserCode(keras, model, layers, None, {})
    first = code.run([x])
    assert code.run([x]) is first
    assert [call.layer for call in first.calls] == [model.shifted, model.one]
    (shifted,) = first.calls[1].args
    assert shifted is first.calls[0].result
    used = code.used_tensors(first)
    assert [id(tensor) for tensor in used[::2]] == [id(x), id(shifted), id(first.result)]
    assert code.run([y]) is not first
    model.chosen = model.other
    with pytest.raises(ValueError, match="layers"):
        code.run([x])


def test_mask_that_a_layer_adds_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="mask"):
        rnnshapes.inspect(subclassed(OtherMask))


def test_class_that_was_never_called_is_refused() -> None:
    with pytest.raises(InputError, match=mentioning("Input((T, D))")):
        rnnshapes.inspect(LastStep())


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_layer_may_be_called_inputs_or_outputs(name: str) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = keras.layers.GRU(4, name="rnn")
            setattr(self, name, keras.layers.Dense(2, name="dense"))

        def call(self, x):
            return getattr(self, name)(self.rnn(x))

    model = Own()
    model(np.zeros((2, 6, 3), "float32"))
    assert [layer.name for layer in rnnshapes.inspect(model).layers] == ["rnn", "dense"]


def test_first_line_has_the_called_layers_alone() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.never = keras.layers.GRU(4), keras.layers.Dense(2)
            self.never.build((None, 7))

        def call(self, x):
            return self.rnn(x)

    model = Own()
    model(np.zeros((2, 6, 3), "float32"))
    first, _, others = repr(rnnshapes.inspect(model)).partition("\n")
    assert ["GRU" in first, "Dense" in first, "Dense" in others] == [True, False, True]


def test_weights_without_call_are_described() -> None:
    """Each as a layer, which may be frozen, in part or as a whole."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.rnn, self.never = (
                keras.layers.GRU(4, name="rnn"),
                keras.layers.Dense(2, name="never"),
            )
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.scale = self.add_weight(shape=(3, 5), name="scale")
            self.never.build((None, 7))
            self.norm.build((None, 6))
            self.never.trainable = False

        def call(self, x):
            return self.rnn(x)

    model = Own()
    model(np.zeros((2, 6, 3), "float32"))
    with reference.recorded(model) as found:
        network = read_model(found)
    described = {
        layer.name: (
            layer.type,
            layer.trainable,
            layer.trainable_count,
            [(w.name, tuple(map(network.count, w.dims))) for w in layer.weights],
        )
        for layer in network.uncalled
    }
    norm = [(name, (6,)) for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert described == {
        "never": ("Dense", False, 0, [("kernel", (7, 2)), ("bias", (2,))]),
        "norm": ("BatchNormalization", True, 12, norm),
        "own": (f"{__name__}.Own", True, 15, [("scale", (3, 5))]),
    }
    never, norm_reason, own = (layer.reason for layer in network.uncalled)
    assert never == norm_reason != own


class Words(keras.Model):
    """An Embedding and a recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = keras.layers.Embedding(9, 4), keras.layers.LSTM(5)

    def call(self, x):
        return self.rnn(self.embed(x))


class Returning(keras.Model):
    """A Dense layer whose output ``result`` turns into that of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.result = keras.layers.Dense(2), lambda y: y

    def call(self, x):
        return self.result(self.dense(x))


def test_indices_are_integers_at_open_steps() -> None:
    """However many the model was built on; features keep their number."""
    words, rows = Words(), Returning()
    words(np.ones((2, 6), "int32"))
    rows(np.ones((3, 4), "float32"))
    for model, dtype, axes in ((words, "int32", (None, None)), (rows, "float32", (None, 4))):
        with reference.recorded(model) as found:
            assert [(x.dtype, x.shape) for x in found.inputs] == [(dtype, axes)]


class Total(keras.Model):
    """The sum of all inputs; only x has to be given."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x, training, state=None, *more, **options):
        return self.dense(sum(keras.tree.flatten(x)))


ROWS = np.ones((3, 4), "float32")


@pytest.mark.parametrize(
    ("x", "names"),
    [
        (ROWS, ["x"]),
        ([ROWS, ROWS], ["x1", "x2"]),
        ({"q": ROWS, "p": ROWS}, ["p", "q"]),
        ({"p": [ROWS, ROWS]}, ["x1", "x2"]),
    ],
    ids=["array", "list", "dict", "nested"],
)
def test_inputs_of_a_class_have_names(x: Any, names: list[str]) -> None:
    model = Total()
    model(x, training=False)
    with reference.recorded(model) as found:
        assert [operation_of(tensor).name for tensor in found.inputs] == names
        assert found.shapes == ((3, 4),) * len(names)
        assert [tuple(tensor.shape) for tensor in found.outputs] == [(None, 2)]


def test_class_that_was_built_on_a_state_is_refused() -> None:
    class Fed(Total):
        def build(self, x_shape, state_shape):
            self.dense.build(x_shape)

    model = Fed()
    model(ROWS, state=keras.ops.ones((3, 4)), training=False)
    with pytest.raises(UnsupportedError, match="Fed"), reference.recorded(model):
        pass


def test_class_that_only_says_it_is_built_is_refused() -> None:
    class Told(Total):
        def __init__(self) -> None:
            super().__init__()
            self.built = True

    with pytest.raises(UnsupportedError, match="Told"), reference.recorded(Told()):
        pass


#: Outputs of a model, of which at least one does not follow from x.
OUTPUTS: dict[str, Any] = {
    "empty list": lambda y: [],
    "empty dict": lambda y: {},
    "none": lambda y: None,
    "y and a constant": lambda y: [y, np.ones(2)],
    "constant": lambda y: [np.ones(2)],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_ignore_x_are_unsupported(name: str) -> None:
    model = Returning()
    model(np.ones((3, 4), "float32"))
    model.result = OUTPUTS[name]
    with pytest.raises(UnsupportedError, match="Returning"), reference.recorded(model):
        pass


class Block(keras.layers.Layer):
    """A layer that calls two others, and has a weight of its own."""

    def __init__(self, rnn: keras.layers.Layer, name: str) -> None:
        super().__init__(name=name)
        self.rnn, self.dense = rnn, keras.layers.Dense(2, name="dense")
        self.scale = self.add_weight(shape=(4, 1), trainable=False, name="scale")

    def build(self, shape: tuple[int, ...]) -> None:
        self.rnn.build(shape)
        self.dense.build((None, 5))


class OwnDense(keras.layers.Dense):
    """A layer of Keras with another one in it."""

    def __init__(self) -> None:
        super().__init__(3, name="own")
        self.more = keras.layers.Dense(7, name="more")


class Blocks(keras.Model):
    """Two blocks of one name that share a recurrent layer, and a weight of its own."""

    def __init__(self) -> None:
        super().__init__(name="blocks")
        rnn = keras.layers.GRU(5, name="rnn")
        self.first, self.second = Block(rnn, "block"), Block(rnn, "block")
        self.own = OwnDense()
        self.shift = self.add_weight(shape=(6,), name="shift")


def test_layers_inside_others_have_their_names() -> None:
    """Each layer is listed once; those inside a layer of Keras are a part of it."""
    model = Blocks()
    for block in (model.first, model.second):
        block.build((None, 4, 3))
    model.own.more.build((None, 5))
    layers = layers_inside(model)
    blocks = ["block/rnn", "block/dense", "block", "block_1/dense", "block_1"]
    assert list(layers) == [*blocks, "own", "blocks"]
    assert layers["block_1"] is model.second
    assert layers["block"].rnn is layers["block/rnn"]
    called = [calls_layers(layer) for layer in layers.values()]
    assert called == [False, False, True, False, True, False, True]
    recorded = RecordedModel(model, (), (), None, (), layers)
    assert recorded.names[id(model.own)] == "own"
    left = list(weights_outside(recorded, [layers["block/rnn"], layers["block_1/dense"]]))
    assert [(one.name, one.own, one.count_params()) for one in left] == [
        ("block/dense", False, 5 * 2 + 2),
        ("block", True, 4),
        ("block_1", True, 4),
        ("own", False, 5 * 7 + 7),
        ("blocks", True, 6),
    ]
    assert [len(one.trainable_weights) for one in left] == [2, 0, 0, 2, 1]
    assert [[w.shape for w in one.get_weights()] for one in left[:2]] == [[(5, 2), (2,)], [(4, 1)]]
    assert list(weights_outside(recorded, [model])) == []
