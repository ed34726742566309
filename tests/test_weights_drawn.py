"""Weights in pictures are to scale, also those of which a part is left out."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

import rnnshapes
from rnnshapes.render import palette, plots
from rnnshapes.render.view import View

WHITE = "#ffffff"


def boxes(**spec: object) -> list[tuple[str, float, float]]:
    """Each rectangle of a picture: its colour, and how wide and high it is in inches."""
    made = plots.figure(rnnshapes.inspect(**spec))
    return [
        (to_hex(patch.get_facecolor()), patch.get_width(), patch.get_height())
        for patch in made.axes[0].patches
        if hasattr(patch, "get_width")
    ]


def test_gates_are_as_wide_as_they_have_columns() -> None:
    """Of one scale for all weights: (D, 4M), (M, 4M), (4M,) and (M, K)."""
    gates = [
        box for box in boxes(cell="lstm", D=3, M=6, K=2) if box[0] == palette.category(1).lower()
    ]
    widths, heights = zip(*[box[1:] for box in gates], strict=True)
    scale = widths[0] / 6
    assert widths == pytest.approx([6 * scale] * 3)
    assert heights == pytest.approx([3 * scale, 6 * scale, scale])


@pytest.mark.parametrize("size", [40, 400])
def test_what_does_not_fit_is_cut_at_a_gap(size: int) -> None:
    """A Dense layer of many outputs: what is shown of it is to the scale of the recurrence."""
    text = plots.svg(rnnshapes.inspect(M=6, K=size))
    gaps = [box for box in boxes(M=6, K=size) if box[0] == WHITE and box[1] < 0.1]
    assert len(gaps) == (2 if size == 400 else 0)
    assert (", cut" in text) == (size == 400)
    assert ("left out at the gap" in text) == (size == 400)
    plain = [box for box in boxes(M=6, K=size) if box[0] == palette.category(4).lower()]
    (_, Wx, _), (_, Wh, height), *_, (_, _, W0), (_, _, b0) = plain
    assert (Wx, height, W0, b0) == pytest.approx((Wh, Wh, Wh, Wh / 6))


@pytest.mark.parametrize("make", [rnnshapes.inspect, rnnshapes.trace, rnnshapes.verify])
def test_where_the_network_has_been_named_a_picture_does_not_name_it_again(make) -> None:
    """As on a page, whose heading it is."""
    result = make(T=4)
    whole, bare = (plots.svg(result, View(titled=titled)) for titled in (True, False))
    named = "Input((T, D)) → SimpleRNN(M) → Dense(K)"
    assert (named in whole, named in bare) == (True, False)
