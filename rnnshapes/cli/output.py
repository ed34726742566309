"""Where a command's result goes: to the screen, into files, and what is said after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnshapes import render
from rnnshapes.cli.streams import pass_on, standard_output, watched
from rnnshapes.errors import InputError
from rnnshapes.network.graph import Network
from rnnshapes.render import write_file
from rnnshapes.render.document import Document
from rnnshapes.render.view import View
from rnnshapes.result import Result

#: Makes the line that proposes what to try next, from a result and the options as given.
Hint = Callable[[Any, Mapping[str, Any]], str]
#: Formats that a person reads, and not a program.
_FOR_PEOPLE = ("table", "markdown", "html", "svg")
#: Above so many numbers no states are computed for pictures alone.
_MOST_DRAWN = 2_000_000


@dataclass(frozen=True)
class Outlet:
    """A format and a file, or standard output; a file for a picture; and whether to say more."""

    form: str
    path: Path | None
    plot: Path | None
    quiet: bool

    @property
    def on_screen(self) -> bool:
        """Whether tables go to standard output, and so can come one after the other."""
        return self.form == "table" and self.path is None

    @property
    def for_people(self) -> bool:
        """Whether a person will look at the result, and not a program alone."""
        return self.form in _FOR_PEOPLE

    @property
    def draws(self) -> bool:
        """Whether a picture is drawn, into a file of its own or into a page."""
        return self.plot is not None or self.form == "html"

    @property
    def most_rows(self) -> int | None:
        """How many time steps are shown at most: on a terminal not all of them."""
        return render.MOST_ROWS if self.path is None and watched(sys.stdout) else None

    def wanted(self, network: Network, asked: tuple[str, ...]) -> tuple[str, ...]:
        """What of a trace is computed: for people h, too, to be drawn, if that is not much."""
        from rnnshapes.forward import tracing

        width = sum(size or 0 for name, size in network.sizes.items() if name[0] == "M")
        if not self.for_people or network.size("N") * network.max_steps * width > _MOST_DRAWN:
            return asked
        has_states = "h" in tracing.all_parts(network) and "h" not in asked
        return (*asked, "h") if has_states else asked

    def deliver(self, result: Result, view: View) -> None:
        """Write the result, and its picture. InputError if one of them cannot be written."""
        if self.path is not None:
            write_file.write_file(result, self.form, view, self.path)
        else:
            with standard_output():
                write_file.write_text(result, self.form, view, sys.stdout)
                sys.stdout.flush()
        self.draw_plot(result, view)

    def draw(self, document: Document) -> bool:
        """Show a part of a result on standard output, and tell whether anybody reads it."""
        from rnnshapes.render.formats import terminal

        with standard_output() as output:
            terminal.draw(document, terminal.screen(sys.stdout))
            sys.stdout.flush()
        return not output.closed

    def draw_plot(self, result: Result, view: View) -> None:
        """Write the picture, if one was asked for."""
        if self.plot is None:
            return
        from rnnshapes.render import plots

        with write_file.writing(self.plot) as stream:
            plots.save(result, stream, self.plot.suffix[1:].lower(), view)

    def say(self, text: str) -> None:
        """A line on standard error about what was done, which ``--quiet`` removes."""
        if not self.quiet:
            pass_on(text)

    def hint(self, after: Hint, result: Any, given: Mapping[str, Any]) -> None:
        """Propose what to try next: below a table, else on standard error if a person looks.

        ``after`` is the function of :mod:`rnnshapes.cli.next_command` for this result.
        """
        if self.quiet or not (self.on_screen or watched(sys.stderr)):
            return
        from rnnshapes.render.formats import terminal

        stream = sys.stdout if self.on_screen else sys.stderr
        with standard_output():
            terminal.draw_hint(after(result, given), terminal.screen(stream))
            stream.flush()


def outlet(given: Mapping[str, Any], formats: Sequence[str], *sources: Path | None) -> Outlet:
    """What the options of a command ask for, among them ``--golden``, known to be possible.

    ``sources`` are files that are read, and so are not to be overwritten. Raises InputError for
    what cannot be written, and CannotRunError where Matplotlib is missing.
    """
    path, plot = given["output"], given["plot"]
    form = write_file.format_for(given["format"], path, formats)
    for source in sources or (None,):
        write_file.check_writable(path, source)
    write_file.check_golden(given.get("golden"), path, *sources)
    if plot is not None:
        _check_plot(plot, path, sources)
    return Outlet(form, path, plot, given["quiet"])


def _check_plot(plot: Path, output: Path | None, sources: Sequence[Path | None]) -> None:
    from rnnshapes.render import plots

    if plot.suffix.lower() not in plots.FORMATS:
        endings = ", ".join(plots.FORMATS)
        raise InputError(f"{plot}: a picture ends in one of {endings}; give it such a name")
    for source in sources or (None,):
        write_file.check_writable(plot, source)
    if output is not None and write_file.same_file(plot, output):
        raise InputError(f"{plot}: is the output, too; give the picture another name")
    plots.require_matplotlib()
