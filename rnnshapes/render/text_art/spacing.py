"""How much room the steps of a recurrence take in a drawing with characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rnnshapes.ops.dims import Dim
from rnnshapes.render.document import Sheet
from rnnshapes.render.text_art.canvas import clean, length
from rnnshapes.render.text_art.unrolled import Moment, Stage, at

#: The column in which everything flows down, and the first one right of it.
RAIL, FIRST = 2, 4


class Style(NamedTuple):
    """How roomy: how many steps are drawn, and whether arrows say what they hand on.

    ``pad`` is the space around a step's text, ``far`` says whether the arrow behind the steps
    that are left out has a name, too, ``start`` how much of the name of a given state is shown.
    """

    most: int
    pad: int = 0
    tight: bool = False
    named: bool = True
    far: bool = True
    start: int = 12

    def step_text(self, step: Dim) -> str:
        return f"t={step}" if self.tight else f"t = {step}"


#: From the widest to the narrowest; the first that fits is taken.
_STYLES = (
    *(Style(most, pad) for most in range(10, 2, -1) for pad in (1, 0)),
    *(Style(most, pad, far=False) for most in (4, 3) for pad in (1, 0)),
    *(Style(most, tight=True, far=False) for most in (3, 2)),
    *(Style(most, tight=True, named=False, far=False) for most in (3, 2)),
    Style(2, tight=True, named=False, far=False, start=3),
)


class Plan(NamedTuple):
    """Measures that all recurrences share, so that their steps stand one below the other.

    ``box`` is how wide a step is, ``gap`` the arrow between two, ``far`` the one behind what is
    left out; ``start`` and ``finish`` are the margins where states come from.
    """

    style: Style
    box: int = 0
    gap: int = 0
    far: int = 0
    start: int = 0
    finish: int = 0

    def columns(self, moments: Sequence[Moment | None]) -> list[int]:
        """Where the box of each moment begins; for ``None``, where the dots do."""
        found, column = [], FIRST + self.start
        for moment in moments:
            found.append(column)
            column += 3 + self.far if moment is None else self.box + self.gap
        return found

    def width(self, stage: Stage) -> int:
        moments = stage.shown(self.style.most)
        return self.columns(moments)[-1] + self.box + self.finish + 2


def plan_for(recurrent: Sequence[Stage], sheet: Sheet) -> Plan | None:
    """The roomiest plan in which every recurrence fits."""
    for style in _STYLES:
        plan = _measured(style, recurrent, sheet)
        if all(plan.width(stage) <= sheet.width for stage in recurrent):
            return plan
    return None


def _measured(style: Style, recurrent: Sequence[Stage], sheet: Sheet) -> Plan:
    def widest(texts: Iterable[str]) -> int:
        return max((length(clean(text, sheet)) for text in texts), default=0)

    moments = [(stage, m) for stage in recurrent for m in stage.shown(style.most) if m]
    handed = [
        (m.step, at(state.name, m.step))
        for stage, m in moments
        for lane in stage.lanes
        for state in lane.states
    ]
    near = widest(text for step, text in handed if str(step).isdigit())
    bare = 2 if style.tight else 3
    start = 2 if style.tight else 3
    lanes = [lane for stage in recurrent for lane in stage.lanes]

    def margin(*, reverse: bool) -> int:
        starts = [s for lane in lanes if lane.reverse == reverse for s in lane.starts]
        return min(widest(starts), style.start) + start if starts else 0

    return Plan(
        style,
        box=widest(style.step_text(m.step) for _, m in moments) + 2 + 2 * style.pad,
        gap=near + 3 if style.named else bare,
        far=widest(text for _, text in handed) + 3 if style.far else bare,
        start=margin(reverse=False),
        finish=margin(reverse=True),
    )
