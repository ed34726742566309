"""``verify --against``: the weights of a port, recovered from its own states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.port.recovery import equations
from tests.helpers.handmade import LAYERS, Port, explained, scaled, weights_of

#: Sizes that all differ, with more steps than numbers for each unit.
SIZES: dict[str, Any] = {"N": 5, "T": 9, "D": 2, "M": 3, "K": 1}
Arrays = dict[str, np.ndarray]


def ported(cell: str, change: Callable[[Arrays], Arrays], **options: Any) -> Any:
    """Return the result of a port with changed weights that gives all of its states."""
    sizes = {**SIZES, "cell": cell, **options.pop("sizes", {})}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, LAYERS[cell])
    found = Port(cell, **options).run({**weights, **change(weights)}, golden["x"])
    states = {key: found[key] for key in ("h", "c") if key in found}
    return rnnshapes.verify(**sizes, against=states)


def flat(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(kernel.T).reshape(kernel.shape)


def transposed(kernel: np.ndarray) -> np.ndarray:
    parts = np.split(kernel, kernel.shape[1] // len(kernel), axis=1)
    return np.concatenate([part.T for part in parts], axis=1)


def units_first(kernel: np.ndarray) -> np.ndarray:
    """A buffer (rows, gates, units), read as (units, rows, gates)."""
    m = SIZES["M"]
    parts = kernel.reshape(m, len(kernel), -1)
    return parts.transpose(1, 2, 0).reshape(kernel.shape)


def shifted_integers(kernel: np.ndarray) -> np.ndarray:
    """Integers from 0 to 255, of which one is 0."""
    scale = np.ptp(kernel) / 255
    zero = np.rint(-kernel.min() / scale)
    return (np.clip(np.rint(kernel / scale) + zero, 0, 255) - zero) * scale


def of_units(array: np.ndarray, order: list[int]) -> np.ndarray:
    """Return the columns of other units, in each gate."""
    blocks = array.reshape(-1, SIZES["M"])
    return blocks[:, order].reshape(array.shape)


def changed(key: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda weights: {key: function(weights[key]).astype("f")}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_layout_for_each_kernel_is_named(cell: str) -> None:
    result = ported(
        cell,
        lambda w: {
            "kernel": flat(w["kernel"]),
            "recurrent_kernel": transposed(w["recurrent_kernel"]),
        },
    )
    assert explained(result) == [("layout.flat_buffer", "layout.transposed")]
    (explanation,) = result.diagnosis.explanations
    arrays = [mistake.where.array for mistake in explanation.mistakes]
    assert arrays == ["kernel", "recurrent_kernel"]


@pytest.mark.parametrize(
    ("cell", "key", "function", "id_", "words"),
    [
        ("lstm", "kernel", units_first, "layout.flat_buffer", ("(units, rows, gates)",)),
        ("lstm", "recurrent_kernel", lambda a: a[[1, 0, 2]], "weights.permuted", ("1, 0, 2",)),
        ("gru", "bias", lambda a: 0.3 * a, "weights.scaled", ("bias", "0.3")),
        ("simple", "kernel", lambda a: np.rint(50 * a) / 50 + 1, "weights.other", ("kernel",)),
        ("lstm", "kernel", shifted_integers, "weights.quantized", ("uint8", "zero point")),
        ("simple", "kernel", lambda a: np.floor(64 * a) / 64, "weights.quantized", ("2^-6",)),
        ("gru", "bias", lambda a: of_units(a, [1, 2, 0]), "weights.permuted", ("2 for unit 1",)),
        ("gru", "kernel", lambda a: a * ([1, 1, 0] * 3), "weights.omitted", ("unit 2",)),
        ("gru", "bias", lambda a: a * (abs(a) > 0.12), "weights.pruned", ("bias",)),
        ("simple", "kernel", lambda a: np.clip(a, -0.3, 0.3), "weights.clipped", ("±0.3",)),
    ],
)
def test_what_one_array_has_is_said(
    cell: str, key: str, function: Any, id_: str, words: tuple[str, ...]
) -> None:
    result = ported(cell, changed(key, function))
    assert explained(result) == [(id_,)]
    (mistake,) = result.diagnosis.explanations[0].mistakes
    assert mistake.where.layer == LAYERS[cell]
    assert mistake.where.array == key
    assert [word for word in words if word not in mistake.text] == []
    assert result.verdict == ("inexact" if id_ == "weights.quantized" else "failed")


def test_exchanged_units_of_a_large_cell_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than 16 units, two are recovered."""
    monkeypatch.setattr(equations, "MOST_PRODUCTS", 7e5)
    order = [0, 2, 1, *range(3, 20)]
    change = changed("recurrent_kernel", lambda a: a[:, order])
    result = ported("simple", change, sizes={"T": 20, "M": 20})
    assert explained(result) == [("weights.permuted",)]


def test_one_smaller_number_is_not_clipped() -> None:
    """The largest one; another array is wrong, too."""

    def change(w: Arrays) -> Arrays:
        kernel = w["kernel"].copy()
        kernel[np.abs(kernel) == np.abs(kernel).max()] *= np.float32(0.9)
        return {"kernel": kernel, "bias": w["bias"] * np.float32(0.3)}

    result = ported("simple", change)
    assert explained(result) == [("weights.one_wrong", "weights.scaled")]


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_other_weights_are_measured(cell: str) -> None:
    rng = np.random.default_rng(1)
    result = ported(
        cell,
        lambda w: {k: (a * rng.uniform(0.97, 1.03, a.shape)).astype("f") for k, a in w.items()},
    )
    (mistake,) = result.diagnosis.explanations[0].mistakes
    assert mistake.id == "weights.other"
    assert {"(kernel)", "(recurrent_kernel)"} <= set(mistake.text.replace(",", "").split())
    percent = float(mistake.text.partition("off by ")[2].partition(" %")[0])
    assert 0.5 < percent < 3


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_weights_of_another_network_are_recovered(cell: str) -> None:
    """From a probe, in which they leave nothing of the expected numbers."""
    golden, other = (rnnshapes.golden(cell=cell, probe=True, seed=seed).arrays for seed in (0, 8))
    found = Port(cell).run(weights_of(other, LAYERS[cell]), golden["x"])
    states = {key: found[key] for key in ("h", "c") if key in found}
    result = rnnshapes.verify(cell=cell, probe=True, against=states)
    assert explained(result) == [("weights.other",)]


def test_no_weights_stand_for_another_equation() -> None:
    """The bias beside it is changed, too, so that no known mistake explains the port."""
    result = ported("gru", changed("bias", lambda a: a + 0.37), activation="relu")
    assert explained(result) == []
    assert result.diagnosis.too_few_steps is None


def other(w: Arrays) -> Arrays:
    """Return weights of which each is off by up to 3 %."""
    rng = np.random.default_rng(2)
    return {k: (a * rng.uniform(0.97, 1.03, a.shape)).astype("f") for k, a in w.items()}


def test_two_steps_are_said_to_be_few() -> None:
    result = ported("simple", other, sizes={"N": 4, "T": 2, "M": 5})
    assert explained(result) == []
    assert result.to_dict()["steps_needed"] > 8


def test_the_report_says_how_many_steps_are_needed() -> None:
    result = ported("lstm", other, sizes={"N": 1})
    assert explained(result) == []
    needed = result.to_dict()["steps_needed"]
    assert 9 < needed < 45
    assert f"{needed} steps" in str(result)
    enough = ported("lstm", other, sizes={"N": 1, "T": needed})
    assert explained(enough) == [("weights.other",)]
    assert enough.to_dict()["steps_needed"] is None


@pytest.mark.parametrize(
    ("cell", "key", "function", "place"),
    [
        ("lstm", "kernel", scaled(np.s_[:, 10], 0.0), ("o", None)),
        ("gru", "kernel", scaled(np.s_[1, 5], 0.3), ("r", 2)),
        ("lstm", "recurrent_kernel", scaled(np.s_[2, 7], 0.3), ("c", 1)),
        ("simple", "kernel", scaled(np.s_[0, 2], 0.3), (None, 2)),
    ],
)
def test_wrong_numbers_beside_another_mistake_are_located(
    cell: str, key: str, function: Any, place: tuple[Any, Any]
) -> None:
    """In the recovered array; the bias is scaled, too."""
    result = ported(
        cell,
        lambda w: {key: function(w[key]), "bias": np.float32(0.3) * w["bias"]},
    )
    (explanation,) = result.diagnosis.explanations
    found = {m.where.array: (m.where.gate, m.where.unit) for m in explanation.mistakes}
    assert found == {key: place, "bias": (None, None)}
