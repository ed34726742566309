"""Weights of a PyTorch or ONNX file as those of a Keras network.

The layers are paired as in a comparison, but the network's own numbers do not matter. Where names
and positions leave a choice, the whole file is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.model import FileRecurrence, ForeignFile
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights, first_nan
from rnnshapes.ops.activations import Array
from rnnshapes.port.weight_files.comparison import WeightVerification, verify_weights
from rnnshapes.port.weight_files.matching import Matching, Other, Own, Recurrence


def to_keras(network: Network, weights: Weights, file: ForeignFile) -> Weights:
    """Return the weights of a network with the numbers of a file, in float64.

    Args:
        network: The network.
        weights: Its own weights; only their shapes are used.
        file: The file.

    Raises:
        InputError: The file lacks a weight, has it for a layer with other options, or does not say
            which layer it is of.
    """
    matching = Matching(network, weights, file, by_numbers=False)
    for text in (*_choices(matching), *_missing(matching)):
        raise InputError(f"{file.path}: {text}")
    taken = {name: dict(arrays) for name, arrays in weights.items()}
    for number, other in matching.layers.items():
        recurrence = matching.recurrences[number]
        for direction, name in enumerate(recurrence.directions):
            for key, values in _parts(recurrence, other, direction).items():
                taken[name][key + recurrence.suffix] = values
    for number, members in matching.members.items():
        group = matching.groups[number]
        for name, tensor in members.items():
            shape = group.arrays[name].shape
            ((_, values),) = matching.forms(tensor, shape, group.is_table)
            taken[group.name][group.keys[name]] = values
    if name := first_nan(network, taken):
        raise InputError(f"{file.path}: {name} holds NaN; train the model again")
    result = verify_weights(network, taken, file)
    if not result.passed:
        raise InputError(f"{file.path}: {_refusal(result)}")
    return taken


def open_options(network: Network, file: ForeignFile) -> Iterator[str]:
    """Yield what Keras computes by options that a file does not hold."""
    module = "ONNX node" if file.framework == "ONNX" else "PyTorch module"
    for layer in network.layers:
        epsilon, mode = (getattr(layer, name, None) for name in ("epsilon", "merge_mode"))
        if epsilon is not None:
            option = f"{layer.name}: Keras computes with epsilon={epsilon:g}"
            yield f"{option}; set it to that of the {module}"
        if file.framework == "ONNX":
            continue
        if mode not in ("concat", None):
            yield f"{layer.name}: Keras joins both directions by {mode}, PyTorch by concat"
        for cell in layer.cells[:1]:
            if cell.name == "simple":
                option = f"{layer.name}: Keras computes with {' '.join(cell.activations)}"
                yield f"{option}; set it to the nonlinearity of the {module}"


def added_biases(result: WeightVerification) -> Iterator[str]:
    """Yield which biases of a file were added, since Keras has one where the file has two."""
    for check in result.checks:
        if check.rule.startswith("sum of both biases"):
            names = " + ".join(check.arrays)
            yield f"{check.name} is {names}: Keras has one bias, so the two cannot be restored"


def _parts(recurrence: Recurrence, other: FileRecurrence, direction: int) -> dict[str, Array]:
    """Return the arrays of a direction in Keras's form, in float64."""
    parts, own = other.parts[direction], recurrence.arrays[direction]
    arrays = {key: parts[key].astype(np.float64) for key in ("Wx", "Wh")}
    if "bh" in own:
        zeros = np.zeros(own["bh"].shape[-1])
        bx, bh = (parts.get(key, zeros).astype(np.float64) for key in ("bx", "bh"))
        arrays["bh"] = np.stack([bx, bh]) if own["bh"].ndim == 2 else bx + bh
    return arrays


def _choices(matching: Matching) -> Iterator[str]:
    """Yield what the file leaves open: which layer an array is of, or how it is multiplied."""
    layers = matching.recurrences, matching.layers, matching.file_recurrences
    yield from _alike(matching, *layers, Recurrence.fits)
    groups = matching.groups, matching.others, matching.modules
    yield from _alike(matching, *groups, matching.has)
    for number, members in matching.members.items():
        group, module = matching.groups[number], matching.others.get(number)
        for name, tensor in members.items():
            values = group.arrays[name]
            if len(matching.orientations(tensor, values.shape, group.is_table)) > 1:
                yield f"it does not say whether {tensor.name} has to be transposed"
            fitting = [
                each.name
                for each in (() if module is None else module.tensors)
                if matching.fits(name, values, each)
                and matching.orientations(each, values.shape, group.is_table)
            ]
            if len(fitting) > 1:
                yield f"{' and '.join(fitting)} may each be {group.name}/{name}"


def _missing(matching: Matching) -> Iterator[str]:
    """Yield the weights that the file lacks."""
    for number, recurrence in enumerate(matching.recurrences):
        if number not in matching.layers:
            why = () if matching.file_recurrences else matching.file.contents.warnings
            reasons = "".join(f"; {warning}" for warning in why)
            yield f"it lacks the weights of {recurrence.layer}, a {recurrence.kind}{reasons}"
    for number, group in enumerate(matching.groups):
        for name, values in group.arrays.items():
            if name not in matching.members[number]:
                yield f"it lacks {group.name}/{name} {values.shape}"


def _alike(
    matching: Matching,
    own: Sequence[Own],
    pairs: Mapping[int, Other],
    others: Sequence[Other],
    fits: Callable[[Own, Other], bool],
) -> Iterator[str]:
    """Yield which layers of the file may each be the same layer of Keras."""
    open_pairs = {n: o for n, o in pairs.items() if not matching.is_named(own[n].layer, o.name)}
    named = [other for number, other in pairs.items() if number not in open_pairs]
    left = [other for other in others if not any(other is each for each in named)]
    choices = list(matching.unordered(own, pairs))
    for number in open_pairs:
        rivals = tuple(other for other in left if fits(own[number], other))
        peers = [n for n in open_pairs if fits(own[n], pairs[number])]
        choices += [rivals] if len(rivals) > len(peers) else []
    for rivals in choices:
        names = ", ".join(other.name for other in rivals)
        layers = ", ".join(dict.fromkeys(own[n].layer for n, o in pairs.items() if o in rivals))
        yield f"it does not say which of {names} is {layers}; give them the names of Keras's layers"


def _refusal(result: WeightVerification) -> str:
    """Return why weights cannot be carried, in one line."""
    check = next(check for check in result.checks if check.mistake is not None)
    assert check.mistake is not None
    remedy = f"; {check.mistake.fix}" if check.mistake.fix else ""
    return f"it cannot be converted: {check.name}: {check.mistake.text}{remedy}"
