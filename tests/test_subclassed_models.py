"""Live models that are classes: the calls of their layers are recorded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError
from tests.helpers.subclassed import (
    ByStep,
    Classifier,
    Deceiver,
    LastStep,
    Tagger,
    Translator,
    subclassed,
)

_STEPS = " ".join(f"get_item_{t}" for t in range(1, 6))
#: Names of all layers, the unsupported ones marked.
LAYERS = {
    Tagger: "embed encoder/both encoder/dense concatenate encoder_1/both encoder_1/dense mean out",
    Classifier: "lstm get_item subtract out ?add ?never ?own",
    Translator: "?scaled encoder decoder ?double out",
    ByStep: f"get_item dense {_STEPS} stack lstm",
}


@pytest.mark.parametrize("kind", LAYERS)
def test_calls_of_layers_are_verified(kind: type[keras.Model]) -> None:
    model = subclassed(kind)
    result = rnnshapes.inspect(model)
    names = [f"{'' if layer.supported else '?'}{layer.name}" for layer in result.layers]
    assert " ".join(names) == LAYERS[kind]
    assert result.params == model.count_params()
    assert result.keras.agrees
    verified = rnnshapes.verify(model, N=3)
    assert verified.passed, verified
    unsupported = [text.split()[0] for text in verified.unsupported]
    assert unsupported == [n[1:] for n in names if n[0] == "?" and n not in ("?never", "?own")]


def test_trace_of_class_equals_predict() -> None:
    """For another number of steps than that on which it was built."""
    model = subclassed(LastStep)
    x = np.random.default_rng(3).standard_normal((4, 9, 3))
    result = rnnshapes.trace(model, x=x, show="h")
    np.testing.assert_allclose(result.output, model.predict(x, verbose=0), atol=1e-5)
    assert result.layers[0].states["h"].shape == (4, 9, 5)
    assert rnnshapes.inspect(model).formula == "4M(D+M+1) + K(M+1)"


def test_recording_leaves_model_unchanged() -> None:
    model = subclassed(LastStep)
    layers = model._flatten_layers()
    before = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    rnnshapes.inspect(model)
    after = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    assert after == before


def test_code_that_deceives_the_recording_fails() -> None:
    result = rnnshapes.verify(subclassed(Deceiver), N=2)
    assert [check.name for check in result.checks if not check.passed] == ["predict: own output"]


def test_steps_that_code_needs_are_fixed() -> None:
    with pytest.raises(InputError, match="T is 6 in this model, not 9"):
        rnnshapes.inspect(subclassed(ByStep), T=9)


def test_class_that_was_never_called_is_refused() -> None:
    with pytest.raises(InputError, match="call it on an x"):
        rnnshapes.inspect(LastStep())
