"""Models as classes, whose graph is in their own code."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as la

from tests.helpers.models import randomized


class Scaled(la.Layer):
    """A layer of the user's own with weights, one of them not trained."""

    def build(self, shape: tuple) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")
        self.table = self.add_weight(shape=(2, 3), name="table", trainable=False)

    def call(self, x: Any) -> Any:
        return x * self.scale


class Encoder(la.Layer):
    """A layer of the user's own that calls other layers, which have the same names in each."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.gru = la.GRU(units, return_sequences=True, name="gru")
        self.dense = la.Dense(units, activation="tanh", name="dense")

    def call(self, x: Any) -> Any:
        return self.dense(self.gru(x))


class Tagger(keras.Model):
    """Encoders in a list, Python control flow, and operations between layers."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.embedding = la.Embedding(20, 4, mask_zero=True, name="embed")
        self.encoders = [Encoder(units, name="encoder") for units in (3, 5)]
        self.drop, self.out = la.Dropout(0.4), la.Dense(2, name="out")

    def call(self, x: Any, training: bool = True) -> Any:
        h = self.embedding(x)
        for number, encoder in enumerate(self.encoders):
            h = encoder(h)
            if number == 0:
                h = keras.ops.concatenate([h, h], axis=-1)
        if training:
            h = self.drop(h, training=training)
        return {"tag": self.out(h), "mean": keras.ops.mean(h, axis=-1)}


class Classifier(keras.Model):
    """A layer that is called twice, one that is never called, and a weight of its own."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.lstm, self.out = la.LSTM(5, name="lstm"), la.Dense(2, name="out")
        self.never = la.Dense(7, name="never")
        self.never.build((None, 6))
        self.bias = self.add_weight(shape=(2,), name="own_bias")

    def call(self, x: Any) -> Any:
        forward, backward = self.lstm(x), self.lstm(x[:, ::-1])
        return self.out(forward - backward) + self.bias


class LastStep(keras.Model):
    """The last step alone, by indexing."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.lstm = la.LSTM(5, return_sequences=True, name="lstm")
        self.out = la.Dense(2, name="out")

    def call(self, x: Any) -> Any:
        return self.out(self.lstm(x)[:, -1])


class Translator(keras.Model):
    """Two inputs, states passed on, a layer of the user's own, and a Lambda."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.encoder = la.GRU(5, return_state=True, name="encoder")
        self.decoder = la.GRU(5, return_sequences=True, name="decoder")
        self.scaled = Scaled(name="scaled")
        self.double = la.Lambda(lambda v: v * 2.0, name="double")
        self.out = la.Dense(2, name="out")

    def call(self, inputs: Any) -> Any:
        source, target = inputs
        _, state = self.encoder(self.scaled(source))
        return self.out(self.double(self.decoder(target, initial_state=state)))


class ByStep(keras.Model):
    """A loop over the time steps, whose number its code needs."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.dense, self.lstm = la.Dense(4, name="dense"), la.LSTM(3, name="lstm")

    def call(self, x: Any) -> Any:
        steps = [self.dense(x[:, t]) for t in range(x.shape[1])]
        return self.lstm(keras.ops.stack(steps, axis=1))


class Feedback(keras.Model):
    """A cell that a recurrent layer runs over x, and that goes on from its own outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = la.LSTMCell(5, name="cell")
        self.rnn = la.RNN(self.cell, return_state=True, name="rnn")
        self.out = la.Dense(3, name="out")

    def call(self, x):
        last, *states = self.rnn(x)
        steps = [self.out(last)]
        for _ in range(2):
            last, states = self.cell(steps[-1], states=states)
            steps.append(self.out(last))
        return keras.ops.stack(steps, axis=1)


class Attentive(keras.Model):
    """Attention by functions of TensorFlow, in a layer of the user's own that keeps the mask."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.mask, self.encoder = la.Masking(name="mask"), Shifted(name="shifted")
        self.gru = la.GRU(5, return_sequences=True, name="gru")
        self.score, self.out = la.Dense(1, name="score"), la.Dense(2, name="out")

    def call(self, x: Any) -> Any:
        h = self.gru(self.encoder(self.mask(x)))
        weights = tf.nn.softmax(self.score(h), axis=1)
        return self.out(tf.reduce_sum(weights * h, axis=1))


class Shifted(la.Layer):
    """The output of a layer beside its own input, one step later."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        self.dense = la.Dense(4, name="dense")

    def call(self, x: Any) -> Any:
        return tf.concat([self.dense(x), tf.roll(x, 1, axis=1)], axis=-1)


class Counted(la.Layer):
    """It counts its calls, in a weight."""

    def build(self, shape: tuple) -> None:
        self.count = self.add_weight(shape=(), name="count")

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return x


class Counting(LastStep):
    """It counts its calls, as a layer in it does."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = Counted()
        self.calls = self.add_weight(shape=(), name="calls", trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return super().call(self.counted(x))


class Deceiver(LastStep):
    """It computes something else than it did when its calls were recorded."""

    def call(self, x: Any) -> Any:
        h = self.lstm(x)
        return self.out(h[:, -1] if isinstance(x, keras.KerasTensor) else h[:, 0])


class Masked(la.Layer):
    """It gives its mask to the last state of a recurrence, which has none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking, self.gru = True, la.GRU(4)

    def call(self, x: Any) -> Any:
        return self.gru(x)


class OtherMask(keras.Model):
    """A mask that comes from the layer around another one."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.mask, self.masked, self.out = la.Masking(), Masked(), la.Dense(2)

    def call(self, x: Any) -> Any:
        return self.out(self.masked(self.mask(x)))


class ByNumbers(LastStep):
    """Code that needs the numbers of a tensor."""

    def call(self, x: Any) -> Any:
        return self.out(self.lstm(x)[:, int(keras.ops.convert_to_numpy(x).max())])


#: Classes with the shapes of the arrays on which they are built.
SHAPES: dict[type[keras.Model], tuple[tuple[int, ...], ...]] = {
    Tagger: ((1, 6),),
    Classifier: ((1, 6, 3),),
    LastStep: ((1, 6, 3),),
    Translator: ((1, 6, 3), (1, 4, 2)),
    ByStep: ((1, 6, 3),),
    Feedback: ((1, 6, 3),),
    Attentive: ((1, 6, 3),),
    Counting: ((1, 6, 3),),
    ByNumbers: ((1, 6, 3),),
    OtherMask: ((1, 6, 3),),
    Deceiver: ((1, 6, 3),),
}


@functools.cache
def subclassed(kind: type[keras.Model]) -> keras.Model:
    """Return a built model of a class, with random weights: one for all tests."""
    model = kind()
    dtype = "int32" if kind is Tagger else "float32"
    arrays = [np.ones(shape, dtype) for shape in SHAPES[kind]]
    model(arrays[0] if len(arrays) == 1 else arrays)
    return randomized(model)
