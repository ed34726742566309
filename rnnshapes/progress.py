"""Progress of long work: whoever computes reports steps, whoever shows a bar listens.

A context variable joins the two, so that no function in between passes anything on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Receives how many steps are done, and of how many. The first never falls and ends at the
#: second, which stays the same.
Listener = Callable[[int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_work: ContextVar[_Work | None] = ContextVar("work", default=None)


class _Work:
    """A known number of steps, of which some are done."""

    def __init__(self, listener: Listener, total: int) -> None:
        self.listener, self.done, self.total = listener, 0, total

    def advance(self, steps: int) -> None:
        """Add steps that are done, up to the total."""
        done = min(self.done + steps, self.total)
        if done > self.done:
            self.listener(done, self.total)
        self.done = done


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with the progress of the work that begins inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def work(total: int) -> Iterator[None]:
    """Count the steps reported inside the block, of ``total``, and end at the total.

    Skipped steps count as done at the end of the block. Without a listener nothing is counted.
    """
    listener = _listener.get()
    if listener is None:
        yield
        return
    current = _Work(listener, total)
    token = _work.set(current)
    try:
        yield
        current.advance(total)
    finally:
        _work.reset(token)


def advance(steps: int) -> None:
    """Report steps that are done, each of one sample in one recurrence."""
    current = _work.get()
    if current is not None:
        current.advance(steps)
