"""Known mistakes of ports about axes: exchanged, permuted, or not written to their end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.screening import relative_distance

#: The output has its first two axes exchanged.
SWAPPED_OUTPUT = Mistake(
    "axes.output_swapped", "samples and time are exchanged: the port gives (T, N, …)"
)
#: Of so many samples or units, every one is compared with every other.
_MOST_SLICES = 2048
#: A sample of a port is right if it is nearer to the network than this share.
_NEAR = 0.02


# --- Samples, time and features -----------------------------------------------------------------


def swapped_axes(hypothesis: Hypothesis) -> Variations:
    """Take the first two axes of x, or of what the port gives, for each other."""
    x = hypothesis.sequences
    if x is None or len(x) == 1:
        return
    n, t = x.shape[:2]
    if t > 1:
        text = "samples and time are exchanged: x (N, T, D) is read as if it were (T, N, D)"
        mixed = np.swapaxes(x.reshape(t, n, -1), 0, 1).reshape(x.shape)
        yield Mistake("axes.input_swapped", text), replace(hypothesis, xs=(mixed,))
        text = "samples and time are exchanged: x (T, N, D) is read as if it were (N, T, D)"
        mixed = np.swapaxes(x, 0, 1).reshape(x.shape)
        yield Mistake("axes.input_swapped", text), replace(hypothesis, xs=(mixed,))
    if n == t and all(
        q.network_steps is not None and len(q.network_steps) == t for q in hypothesis.quantities
    ):
        yield SWAPPED_OUTPUT, hypothesis.map_quantities(lambda q: q.map(_samples_and_steps))
    yield from _loop_over_samples(hypothesis)


def _samples_and_steps(values: Array) -> Array:
    """Exchange the first two axes."""
    return np.swapaxes(values, 0, 1)


def _loop_over_samples(hypothesis: Hypothesis) -> Variations:
    """Loop over axis 0 of x, so that the steps are samples."""
    x = hypothesis.xs[0]
    steps = hypothesis.quantities[0].network_steps if hypothesis.quantities else None
    if not hypothesis.network.runs_in_blocks or steps is None:
        return
    if hypothesis.is_constant_over_samples or not all(
        q.network_steps is not None and np.array_equal(q.network_steps, steps)
        for q in hypothesis.quantities
    ):
        return
    samples = np.arange(len(x))
    changed = hypothesis.map_quantities(
        lambda q: replace(q.map(_samples_and_steps), network_steps=samples, steps=samples)
    )
    text = "the loop runs over the samples, axis 0 of x, as PyTorch's does without batch_first"
    mistake = Mistake("axes.loop_over_samples", text)
    yield mistake, replace(changed, xs=(_samples_and_steps(x[:, steps]),))


def reshaped_axes(hypothesis: Hypothesis) -> Variations:
    """Take a buffer of x, or of the output, for one whose axes are in another order."""
    x = hypothesis.sequences
    if x is None:
        return
    n, t = x.shape[:2]
    if x.ndim == 3 and min(x.shape[1:]) > 1:
        d = x.shape[2]
        for how, other, axes in (
            ("x (N, T, D) is read as (N, D, T)", x.reshape(n, d, t).swapaxes(1, 2), "(N, T, D)"),
            (
                "x is stored as (N, D, T), and read as (N, T, D)",
                x.swapaxes(1, 2).reshape(x.shape),
                "(N, D, T)",
            ),
        ):
            text, fix = (
                f"time and features are exchanged: {how}",
                f"index the buffer of x as {axes}",
            )
            mistake = Mistake("axes.features_swapped", text, Where(array="x"), fix)
            yield mistake, replace(hypothesis, xs=(other,))
    if n > 1 and t > 1 and all(q.values.shape[1] == t for q in hypothesis.quantities):
        text = "samples and time are exchanged: an output of (T, N, …) is read as (N, T, …)"
        fix = "output = output.reshape(T, N, -1).swapaxes(0, 1)"

        def read(values: Array) -> Array:
            return np.swapaxes(values.reshape(t, n, -1), 0, 1)

        mistake = Mistake("axes.output_reshaped", text, own_fix=fix)
        yield mistake, hypothesis.map_quantities(lambda q: q.map(read))
    if all(min(q.values.shape) > 1 for q in hypothesis.quantities):
        text = "the output is written column by column (Fortran order), and read row by row"
        fix = "output = output.reshape(output.shape[::-1]).T"

        def by_rows(values: Array) -> Array:
            return np.ascontiguousarray(values).reshape(-1).reshape(values.shape, order="F")

        mistake = Mistake("axes.output_reshaped", text, own_fix=fix)
        yield mistake, hypothesis.map_quantities(lambda q: q.map(by_rows))


# --- Order along an axis ------------------------------------------------------------------------


def other_samples(hypothesis: Hypothesis) -> Variations:
    """Give the output of the first or last sample for each, or that of the one before or after.

    A shift says nothing of one sample. If that is right, and there is but one other, one sample is
    given twice, and none is shifted.
    """
    x = hypothesis.sequences
    if x is None or len(x) == 1:
        return
    for which, sample in (("sample 0", x[:1]), ("the last sample", x[-1:])):
        mistake = Mistake("axes.sample_repeated", f"every sample reads x of {which}")
        yield mistake, replace(hypothesis, xs=(np.repeat(sample, len(x), axis=0),))
    if hypothesis.network.batch:
        return
    for source, port, network in (
        ("n - 1", slice(1, None), slice(None, -1)),
        ("n + 1", slice(None, -1), slice(1, None)),
    ):
        text = f"the port gives for sample n the values of sample {source}"
        part = hypothesis.of_samples(network)
        changed = replace(part, quantities=hypothesis.of_samples(port).quantities)
        if len(x) > 2 or relative_distance(part) > _NEAR:
            yield Mistake("axes.samples_shifted", text), changed


def permuted_outputs(hypothesis: Hypothesis) -> Variations:
    """Put the units or the samples of each quantity into the order of the nearest numbers."""
    ours = numpy_run.numpy_outputs(hypothesis.network, hypothesis.weights, hypothesis.xs)
    names = {0: ("axes.samples_permuted", "samples"), 2: ("axes.units_permuted", "units")}
    for axis, (id_, what) in names.items():
        orders = [
            _nearest(q.values, q.expected(hypothesis.network, ours), axis)
            for q in hypothesis.quantities
        ]
        quantities = tuple(
            quantity.map(partial(np.take, indices=order, axis=axis))
            for quantity, order in zip(hypothesis.quantities, orders, strict=True)
            if order is not None and len(set(order.tolist())) == len(order)
        )
        permuted = [o for o in orders if o is not None and (o != np.arange(len(o))).any()]
        if permuted and len(quantities) == len(orders):
            shown = ", ".join(map(str, permuted[0][:8]))
            text = f"the {what} are in another order: Keras's {what} are the port's {shown}"
            where = Where(array=hypothesis.quantities[0].key or hypothesis.quantities[0].name)
            yield Mistake(id_, text, where), replace(hypothesis, quantities=quantities)


def _nearest(values: Array, expected: Array, axis: int) -> Array | None:
    """Return the order in which the slices of ``values`` are nearest to those of ``expected``.

    Args:
        values: What the port gives, (N, L, units).
        expected: What the network gives, (N, L, units).
        axis: The axis along which the slices are compared.

    Returns:
        For each slice of ``expected`` the index of the nearest one; None if there are too many to
        compare each with each.
    """
    some, others = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (values, expected))
    if len(some) > _MOST_SLICES:
        return None
    squares = (some**2).sum(axis=1)[None] + (others**2).sum(axis=1)[:, None]
    nearest: Array = np.argmin(squares - 2 * others @ some.T, axis=1)
    return nearest


def unwritten_ends(hypothesis: Hypothesis) -> Variations:
    """Leave out the last number, step or sample of arrays that end in zeros."""
    ours = numpy_run.numpy_outputs(hypothesis.network, hypothesis.weights, hypothesis.xs)
    for what, at in (
        ("number", np.s_[-1:, -1:, -1:]),
        ("step", np.s_[:, -1:]),
        ("sample", np.s_[-1:]),
    ):
        quantities = []
        for q in hypothesis.quantities:
            expected = q.expected(hypothesis.network, ours)
            unwritten = q.values[at].size < q.values.size and not q.values[at].any()
            values, rounding = q.values.copy(), q.rounding.copy()
            if unwritten and expected[at].any():
                values[at], rounding[at] = expected[at], np.inf
            quantities.append(replace(q, values=values, rounding=rounding))
        if any(np.isinf(q.rounding).any() for q in quantities):
            text = f"the last {what} of the output is 0, as if it was never written"
            changed = replace(hypothesis, quantities=tuple(quantities))
            yield Mistake("axes.end_unwritten", text), changed
