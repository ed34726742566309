"""Known mistakes of ports: each turns a hypothesis about a port into another one.

A family is a function that yields the mistakes of one kind. The families are listed here in the
order in which they are tried; each module of this package has those about its subject, and each
cell lists the mistakes in its own equation (:class:`rnnshapes.cells.cell.Variant`).
Sources: the documentation of torch.nn.LSTM and torch.nn.GRU, of ONNX's LSTM and GRU, and of
Keras 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, direction_of
from rnnshapes.port.mistakes import (
    approximations,
    axes,
    cell,
    clipping,
    direction,
    dropout,
    front_end,
    gates,
    head,
    indices,
    inputs,
    layer,
    layout,
    mask,
    quantity,
    restarts,
    rounding,
    stack,
    state,
    steps,
    weight_rounding,
)
from rnnshapes.port.mistakes.cell_changes import Arrays


def hypotheses(
    base: Hypothesis,
    *,
    after: str | None = None,
    rare: bool = False,
    in_head: bool | None = None,
    beside: Literal["all", "cells", ""] = "",
) -> Iterator[Hypothesis]:
    """Yield the hypothesis with one more mistake, of each family of which it has none yet.

    Args:
        base: The hypothesis.
        after: The name of a family: only mistakes of the families after it are added. Two
            mistakes are so combined in one order alone.
        rare: False for common mistakes, which all cells make alike, and every two of which are
            tried; true for rare mistakes, and for common ones that the cells of one layer or
            direction make, and no others.
        in_head: True for mistakes that leave all values before the head as they are, false for
            all others; None for both.
        beside: Whether the mistakes stand beside one that is made already: ``all`` of them, or
            those of ``cells``. Those of which there are many are left out then. A family of
            mistakes of cells may have another one in other cells, and in the same one if it is
            repeatable.
    """
    first = 0 if after is None else FAMILIES.index(after) + 1
    for family in _FAMILIES[first:]:
        if family.name in base.families and not (beside and family.changes):
            continue
        if in_head not in (None, family.in_head) or (beside and family.many):
            continue
        if beside == "cells" and not family.changes:
            continue
        scopes = _scopes(base) if rare and family.changes else []
        is_listed = rare == family.rare  # as mistakes that all cells make alike
        seen: set[tuple[str, frozenset[str]]] = set()
        again = family.name in base.families and not family.repeatable
        taken = base.touched if again else frozenset()
        for scope in (None, *scopes) if is_listed or scopes else ():
            for mistake, changed in family.variations(replace(base, scope=scope)):
                located = mistake
                if family.changes:
                    key = (mistake.text, changed.touched)
                    if key in seen or not changed.touched.isdisjoint(taken):
                        continue
                    seen.add(key)
                    located = _located(mistake, changed)
                is_new = not any(located.text == one.text for one in base.mistakes)
                if is_new and (scope is not None or is_listed):
                    yield changed.with_mistake(family.name, located)


def array_mistakes(base: Hypothesis, group: str) -> Iterator[tuple[Mistake, Arrays]]:
    """Yield each mistake about the arrays of one cell, and the arrays that it makes of them."""
    alone = replace(base, scope=frozenset([group]))
    expected = base.weights[group]
    for family in _FAMILIES:
        if family.changes == "arrays":
            for mistake, changed in family.variations(alone):
                made = changed.weights[group]
                arrays = {k: a for k, a in made.items() if not np.array_equal(a, expected[k])}
                yield _located(mistake, changed), arrays


def _scopes(hypothesis: Hypothesis) -> list[frozenset[str]]:
    """Return the groups of weights of each layer, and of each direction, but not all of them."""
    layers = {node.layer.name: node.layer.directions for node in hypothesis.network.recurrent}
    scopes = [frozenset(d.name for d in directions) for directions in layers.values()]
    every: frozenset[str] = frozenset().union(*scopes)
    scopes += [frozenset([name]) for name in sorted(every)]
    return [scope for scope in dict.fromkeys(scopes) if scope != every]


def _located(mistake: Mistake, changed: Hypothesis) -> Mistake:
    """Return a mistake of cells with the layer and the direction that make it, if one does."""
    layers = {node.layer.name: node.layer for node in changed.network.recurrent}
    groups = {
        name: [d.name for d in one.directions if d.name in changed.touched]
        for name, one in layers.items()
    }
    concerned = [name for name in layers if groups[name]]
    if len(concerned) != 1:
        return mistake
    label = name = concerned[0]
    where = mistake.where._replace(layer=name)
    if len(groups[name]) < len(layers[name].directions):
        (label,) = groups[name]
        where = where._replace(direction=direction_of(layers[name], label))
    alone = f", in {label} alone" if where.direction or len(layers) > 1 else ""
    return mistake._replace(where=where, text=f"{mistake.text}{alone}")


class Family(NamedTuple):
    """What mistakes are about: ``name``, and ``variations``, which yields them.

    Attributes:
        changes: ``cells`` if a cell makes them, alone or with all others, ``arrays`` if these
            change nothing but the weights of cells; otherwise empty.
        rare: Whether they are not tried together with every other mistake.
        in_head: Whether they leave all values before the head as they are.
        many: Whether there is one for each unit or number of an array. They are then tried alone.
        repeatable: Whether one cell can make two of them, of which neither undoes the other.
    """

    name: str
    variations: Callable[[Hypothesis], Variations]
    changes: Literal["cells", "arrays", ""] = ""
    rare: bool = False
    in_head: bool = False
    many: bool = False
    repeatable: bool = False


#: What mistakes are about, in the order in which a port makes them, and in which they are tried.
_FAMILIES: tuple[Family, ...] = (
    Family("quantity", quantity.other_quantities, in_head=True),
    # Before all that change nothing in the few steps of the first look.
    Family("unwritten ends", axes.unwritten_ends, rare=True, in_head=True),
    # A port reads a kernel before it splits it into gates.
    Family("kernel", layout.layouts, "arrays"),
    Family("interleaved", layout.interleaved, "arrays", rare=True),
    Family("axes of kernels", layout.other_axes, "arrays", rare=True),
    Family("gates", gates.gate_orders, "arrays"),
    Family("gates of arrays", gates.gate_orders_of_arrays, "arrays", rare=True, repeatable=True),
    Family("misread parts", indices.misread_parts, "arrays", rare=True, repeatable=True),
    Family("units", indices.misread_units, "arrays", rare=True, many=True),
    Family("short buffers", indices.short_buffers, "arrays", rare=True, many=True),
    Family("sums", cell.sums, "arrays", rare=True),
    # Before "cell", which may turn a bias of two rows into one row.
    Family("bias", cell.biases, "arrays"),
    Family("blocks of the bias", cell.bias_blocks, "arrays", rare=True),
    Family("rows", cell.bias_rows, "arrays", rare=True),
    Family("cell", cell.options, "cells"),
    Family("equation", cell.equations, "cells", rare=True, repeatable=True),
    Family("activation", cell.activations, "cells"),
    Family("recurrent_activation", cell.gate_activations, "cells"),
    Family("single activations", cell.single_activations, "cells", rare=True, repeatable=True),
    Family("wrong functions", cell.wrong_functions, "cells", rare=True, repeatable=True),
    Family("approximation", approximations.approximated_activations, rare=True),
    Family("states", state.other_states, "cells", rare=True, repeatable=True),
    Family("clipping", clipping.clipped, "cells", rare=True),
    Family("overwritten states", state.overwritten_states, "cells", rare=True),
    Family("rounded states", rounding.rounded_states, rare=True),
    Family("direction", direction.other_directions, rare=True),
    Family("pooled", steps.pooled_steps, rare=True),
    Family("stack", stack.other_stacks, rare=True),
    Family("head", head.heads, in_head=True),
    Family("other heads", head.other_heads, rare=True, in_head=True),
    Family("input of head", head.activated_inputs, rare=True, in_head=True),
    Family("decided outputs", head.decided_outputs, rare=True, in_head=True),
    Family("head layers", layer.head_layers, rare=True, in_head=True),
    Family("dropout", dropout.active_dropout, rare=True, in_head=True),
    Family("front ends", front_end.front_ends, rare=True),
    Family("earlier layers", layer.earlier_layers, rare=True),
    Family("mask", mask.ignored_masks),
    Family("other masks", mask.other_masks, rare=True),
    Family("shifted masks", mask.shifted_masks, rare=True),
    Family("masks alone", mask.masks_ignored_alone, rare=True),
    Family("lengths of samples", mask.other_lengths_of_samples, rare=True),
    Family("updated states", mask.states_updated_alone, rare=True),
    Family("zeroed outputs", mask.zeroed_outputs, rare=True),
    Family("zeroed states", mask.zeroed_states, rare=True),
    Family("input", inputs.permuted_features, rare=True),
    Family("numbers of x", inputs.changed_numbers, rare=True),
    Family("overrun features", inputs.overrun_features, rare=True),
    Family("time", steps.misplaced_time),
    Family("other steps", steps.other_steps, rare=True),
    Family("other outputs", steps.other_outputs, rare=True),
    Family("other lengths", steps.other_lengths, rare=True),
    Family("omitted steps", steps.omitted_steps, rare=True),
    Family("groups of steps", steps.regrouped_steps, rare=True),
    Family("other samples", axes.other_samples, rare=True),
    Family("restarts", restarts.states_set_to_0, rare=True),
    Family("unprocessed ends", restarts.unprocessed_ends, rare=True),
    Family("carried", state.carried_states),
    Family("states of samples", state.states_of_samples, rare=True),
    Family("carried runs", state.carried_runs, rare=True),
    Family("carried alone", state.carried_alone, rare=True),
    Family("axes", axes.swapped_axes),
    Family("reshaped axes", axes.reshaped_axes, rare=True),
    Family("order", axes.permuted_outputs, rare=True, in_head=True),
    Family("weights", weight_rounding.rounded_weights),
    Family("quantized", weight_rounding.quantized_weights, rare=True),
)
FAMILIES = tuple(family.name for family in _FAMILIES)
