"""The published JSON Schemas: every result has one, keeps to it, and nothing else does."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.forward import golden, quantized, tracing
from rnnshapes.forward.recurrence_steps import TracedStep
from rnnshapes.network import file_summary, summary
from rnnshapes.port.report import PortVerification
from rnnshapes.port.weight_files.comparison import WeightVerification
from rnnshapes.render import schemas
from rnnshapes.render.schemas import NAMES
from rnnshapes.result import Result
from rnnshapes.verification import report
from tests.helpers.files import repacked, saved
from tests.helpers.keras_runs import keras_run
from tests.helpers.models import model_of
from tests.helpers.results import as_json

RESULTS = (
    *(summary.Inspection, tracing.Trace, TracedStep, report.Verification),
    *(PortVerification, WeightVerification, golden.Golden, quantized.Quantization),
    file_summary.FileSummaries,
)
SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6}
FULL = "y,h,gates"


@functools.cache
def strict(name: str) -> jsonschema.Draft202012Validator:
    """A validator that refuses every key that the published schema does not describe.

    It also refuses an empty text where ``null`` stands for no text.
    """
    schema = copy.deepcopy(rnnshapes.schema(name))
    for part in parts(schema):
        if isinstance(part.get("type"), list) and {"string", "null"} <= set(part["type"]):
            part.setdefault("minLength", 1)
        if {"properties", "patternProperties"} & set(part) and "if" not in part:
            part.setdefault("additionalProperties", False)
    return jsonschema.Draft202012Validator(schema)


def check(result: Result) -> Any:
    """Return the result as JSON, in which every key is described."""
    record = as_json(result)
    strict(result.schema).validate(record)
    return record


def failing() -> report.Verification:
    """Keras's numbers against a weight that is another one."""
    run = keras_run(**SIZES)
    changed = {**run.weights, "dense": {**run.weights["dense"], "b0": np.ones(6, "float32")}}
    given = (run.network, changed, run.sources, run.built, run.weights, run.keras)
    return report.verify_network(*given)


def port(*, swapped: bool = False) -> PortVerification:
    """What a port gives that has another order of gates, or of axes."""
    found = rnnshapes.golden(cell="gru", **SIZES).arrays
    y_hat = found["y_hat"].swapaxes(0, 1) if swapped else found["y_hat"][:, ::-1]
    port = {"y_hat": y_hat, "other": np.ones(3)}
    return rnnshapes.verify(cell="gru", **SIZES, against=port, ignore=["other"])


def unexplained() -> PortVerification:
    """What a port gives in which one number is wrong, beside a mistake that is known."""
    y_hat = np.array(rnnshapes.golden(cell="lstm", go_backwards=True, **SIZES).arrays["y_hat"])
    y_hat[1, 4, 5] += 1e-2
    result: PortVerification = rnnshapes.verify(cell="lstm", **SIZES, against=y_hat)
    assert result.diagnosis is not None
    assert result.diagnosis.nearest
    return result


def with_nan() -> np.ndarray:
    """Input in which one number is not there."""
    x = np.random.default_rng(3).standard_normal((2, 5, 3))
    x[1, 2, 0] = np.nan
    return x


MADE: dict[str, Callable[[], Result]] = {
    "inspect": rnnshapes.inspect,
    "inspect, with Keras": lambda: rnnshapes.inspect(cell="gru", M=[4, 5], keras=True),
    "inspect, huge": lambda: rnnshapes.inspect(cell="lstm", M=10**12, bidirectional=True),
    "inspect, not built": lambda: rnnshapes.inspect(M=10**9, keras=True),
    "trace, all": lambda: rnnshapes.trace(**SIZES, cell="lstm", show="y,h,c,gates"),
    "trace, no Keras": lambda: rnnshapes.trace(**SIZES, cell="gru", show=FULL, keras=False),
    "trace, backwards": lambda: rnnshapes.trace(
        bidirectional=True, show="h", M=[4, 3], keras=False
    ),
    "trace, NaN": lambda: rnnshapes.trace(x=with_nan(), M=4, show="y,h"),
    "step": lambda: rnnshapes.trace(**SIZES, cell="lstm", keras=False).step(1, sample=1),
    "verify": lambda: rnnshapes.verify(**SIZES),
    "verify, failing": failing,
    "verify, NaN": lambda: rnnshapes.verify(x=with_nan(), M=4),
    "port": port,
    "port, swapped": lambda: port(swapped=True),
    "port, unexplained": unexplained,
    "golden": lambda: rnnshapes.golden(**SIZES, cell="gru"),
    "quantize": lambda: rnnshapes.quantize(**SIZES, cell="lstm", to="int8"),
    "quantize, q": lambda: rnnshapes.quantize(**SIZES, bidirectional=True, to="q1.6"),
    "golden, both": lambda: rnnshapes.golden(**SIZES, bidirectional=True, cell="lstm"),
}


@functools.cache
def made(name: str) -> Result:
    """Return the result of this name, computed once."""
    return MADE[name]()


def shortened(value: Any, name: str = "") -> Any:
    """Return a record with at most two entries in each list, of which the others say no more.

    Also with at most three arrays.
    """
    if isinstance(value, dict):
        keys = list(value)[: 3 if name == "arrays" else None]
        return {key: shortened(value[key], key) for key in keys}
    return [shortened(inner) for inner in value[:2]] if isinstance(value, list) else value


def test_similar_name_is_proposed() -> None:
    with pytest.raises(rnnshapes.InputError) as raised:
        rnnshapes.schema("goldn")
    assert str(raised.value).count("golden") == 2  # beside that in the list of all


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_and_describes_every_field(name: str) -> None:
    found = rnnshapes.schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"] == f"urn:rnnshapes:{name}:1"
    assert found["title"]
    assert found["description"]
    for part in parts(found):
        if "properties" in part and "if" not in part:
            assert set(part.get("required", ())) <= set(part["properties"])
        for field, said in part.get("properties", {}).items():
            target = found["$defs"].get(said.get("$ref", "").rpartition("/")[2], {})
            assert said.get("description", target.get("description")), field


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            yield from parts(inner)


def test_each_result_has_one_schema() -> None:
    every = {kind.schema for kind in Result.__subclasses__()}
    assert every == {kind.schema for kind in RESULTS} == {f"rnnshapes.{name}/1" for name in NAMES}
    for name in NAMES:
        assert rnnshapes.schema(name) == rnnshapes.schema(f"rnnshapes.{name}/1")
    files = [path.name for path in resources.files(schemas).iterdir()]
    assert {f for f in files if f.endswith(".json")} == {f"{name}.schema.json" for name in NAMES}


def test_results_are_frozen_and_display_themselves() -> None:
    for kind in RESULTS:
        assert kind.__repr__ is Result.__repr__
        with pytest.raises(FrozenInstanceError):
            object.__new__(kind).schema = ""  # type: ignore[misc]


@pytest.mark.parametrize("name", ["", "Inspect", "port", "rnnshapes.inspect/2", "../errors", None])
def test_unknown_schema_lists_the_names(name: Any) -> None:
    with pytest.raises(rnnshapes.InputError, match="inspect, trace, step, verify, golden"):
        rnnshapes.schema(name)


@pytest.mark.parametrize("name", MADE)
def test_results_are_valid(name: str) -> None:
    check(made(name))


#: Models whose results have all parts: masks, directions, stacks, several inputs and outputs.
MODELLED = (
    *("masked, both", "stacked cells, both, masked", "at each step", "normalized", "unmerged"),
    *("two outputs", "encoder, decoder, both", "given states", "called again", "heads"),
    *("states alone", "nested", "recurrent images", "functions", "embedded, masked", "float64"),
)


@pytest.mark.parametrize("name", MODELLED)
def test_results_of_models_are_valid(name: str) -> None:
    model = model_of(name)
    check(rnnshapes.inspect(model))
    check(rnnshapes.trace(model, N=2, show="y,h", keras=False))


def without_bias(file: h5py.File) -> None:
    """Of the Dense layer."""
    del file["layers/dense/vars/1"]


def test_results_of_files_are_valid(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((None, 3)), la.LSTM(5), la.Dense(2)])
    path = saved(model, tmp_path / "m.keras")
    assert check(rnnshapes.inspect(path))["file"]["agrees"] is True
    assert check(rnnshapes.inspect(path, values=True))["values"]
    assert check(rnnshapes.inspect(saved(model, tmp_path / "m.h5")))["sizes"]["T"] is None
    lost = repacked(path, tmp_path / "lost.keras", weights=h5py.File.clear)
    assert check(rnnshapes.inspect(lost))["file"]["built"] is False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(weights := tmp_path / "m.weights.h5")
    alone = check(rnnshapes.inspect(weights))["file"]
    assert (alone["built"], alone["agrees"], alone["differences"]) == (True, None, [])
    broken = repacked(path, tmp_path / "broken.keras", weights=without_bias)
    assert check(rnnshapes.inspect(broken))["file"]["agrees"] is False
    several = check(rnnshapes.inspect_files([path, lost, broken, tmp_path / "missing.keras"]))
    assert [file["agrees"] for file in several["files"]] == [True, None, False, None]
    assert [bool(file["error"]) for file in several["files"]] == [False, False, False, True]


#: Fields whose own fields have names from the data.
OF_DATA = {"arrays", "gates", "sizes", "options"}
#: What may be left out, by the name of the field.
OPTIONAL = {"mask", "h", "c", "h_keras", "c_keras", "float32", "float64", "sample", "t", "unit"}


CHANGED = ["inspect", "trace, all", "step", "verify", "port", "port, unexplained", "golden"]
CHANGED += ["quantize"]


@pytest.mark.parametrize("name", CHANGED)
def test_a_record_changed_anywhere_is_invalid(name: str) -> None:
    """A change drops a field, adds one that is not described, or changes a type."""
    result = made(name)
    record, validator = shortened(as_json(result)), strict(result.schema)
    assert validator.is_valid(record)
    changed = 0
    for path in places(record):
        for mutant in mutants(record, path):
            assert not validator.is_valid(mutant), path
            changed += 1
    assert changed > 50


@pytest.mark.parametrize("name", CHANGED)
def test_an_unknown_key_is_valid_anywhere(name: str) -> None:
    """Later versions may add keys, which readers ignore."""
    result = made(name)
    validator = jsonschema.Draft202012Validator(rnnshapes.schema(result.schema))
    record = shortened(as_json(result))
    assert validator.is_valid(record)
    paths = [path for path in places(record) if not OF_DATA & set(path[-1:])]
    objects = [path for path in paths if isinstance(at(record, path), dict)]
    assert objects
    for path in objects:
        changed = copy.deepcopy(record)
        at(changed, path)["unknown"] = []
        assert validator.is_valid(changed), path


def at(record: Any, path: tuple[Any, ...]) -> Any:
    """Return the part of a record at this path."""
    for key in path:
        record = record[key]
    return record


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part; of a list only to its first."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def mutants(record: Any, path: tuple[Any, ...]) -> Iterator[Any]:
    """The record with one change at this place."""

    def changed(value: Any, *, drop: bool = False) -> Any:
        made = copy.deepcopy([record])
        inner: Any = made
        for key in (0, *path)[:-1]:
            inner = inner[key]
        if drop:
            del inner[(0, *path)[-1]]
        else:
            inner[(0, *path)[-1]] = value
        return made[0]

    there = at(record, path)
    yield changed({"unknown": []})
    if isinstance(there, dict):
        yield changed({**there, "unknown": []})
    own = path and isinstance(path[-1], str) and path[-1] not in OPTIONAL
    if own and not OF_DATA & set(path[-2:-1]):
        yield changed(None, drop=True)
