"""Known mistakes of ports about which array is which quantity."""

from __future__ import annotations

from dataclasses import replace

from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations


def other_quantities(hypothesis: Hypothesis) -> Variations:
    """Take an array without a name for another quantity of the same shape, or h for c."""
    quantities = hypothesis.quantities
    if len(quantities) == 1:
        (quantity,) = quantities
        for other in quantity.alternatives:
            text = f"the array is not {quantity.text}, but {other.text}"
            yield Mistake("quantity.other", text), replace(hypothesis, quantities=(other,))
    yield from _swapped_states(hypothesis)


def _swapped_states(hypothesis: Hypothesis) -> Variations:
    """Take h for c, and c for h, of every LSTM of which the port gives both."""
    by_name = {(q.name, q.key): q for q in hypothesis.quantities}
    swapped = []
    for quantity in hypothesis.quantities:
        other = by_name.get((quantity.name, {"h": "c", "c": "h"}.get(quantity.key, "")))
        if quantity.key and (other is None or other.values.shape != quantity.values.shape):
            return
        swapped.append(quantity if other is None else replace(other, key=quantity.key))
    if any(quantity.key for quantity in swapped):
        mistake = Mistake("state.h_c_swapped", "h and c are exchanged in what the port gives")
        yield mistake, replace(hypothesis, quantities=tuple(swapped))
