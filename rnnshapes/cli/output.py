"""Where a command writes its result: standard output or a file, a picture, and messages."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnshapes.cli.options import OutputArguments
from rnnshapes.cli.streams import guard_stdout, is_terminal, write_stderr
from rnnshapes.errors import InputError
from rnnshapes.network.graph import Network
from rnnshapes.render import write_file
from rnnshapes.render.document import Document
from rnnshapes.render.view import View, parse_parts
from rnnshapes.result import Result

#: Formats for people; the others are for programs.
_FOR_PEOPLE = ("table", "markdown", "html", "svg")
#: States of more numbers than this are not computed for pictures alone.
_MAX_DRAWN = 2_000_000


@dataclass(frozen=True)
class OutputTarget:
    """Format and file of a result, ``None`` for standard output, and the file of a picture."""

    format: str
    path: Path | None
    plot: Path | None
    quiet: bool

    @property
    def is_screen(self) -> bool:
        """Whether tables go to standard output, where one can follow the other."""
        return self.format == "table" and self.path is None

    @property
    def is_for_people(self) -> bool:
        """Whether the format is for people, and not for programs."""
        return self.format in _FOR_PEOPLE

    @property
    def has_plots(self) -> bool:
        """Whether Matplotlib or a page draws the result."""
        return self.plot is not None or self.format == "html"

    @property
    def is_abridged(self) -> bool:
        """Whether the middle of long tables is left out."""
        return self.path is None and is_terminal(sys.stdout)

    def view(self, parts: str, known: Mapping[str, str]) -> View:
        """Return the view of ``--view``, as wide as the output.

        Raises:
            InputError: a part is unknown, or the format holds all of them.
        """
        from rnnshapes.render.formats import terminal

        chosen = parse_parts(parts, known)
        has_parts = {"summary", "values"} if self.format == "json" else {"summary"}
        if not self.is_for_people and chosen - has_parts:
            raise InputError(f"--view {parts} requires --format table, markdown, html or svg")
        if not self.is_screen:
            return View(parts=chosen)
        return View(parts=chosen, width=terminal.sheet(terminal.screen(sys.stdout)).width)

    def quantities(self, network: Network, requested: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a trace has to compute: what was requested, and h where it is drawn."""
        from rnnshapes.forward import tracing

        units = sum(size or 0 for name, size in network.sizes.items() if name[0] == "M")
        if not self.is_for_people or network.size("N") * network.max_steps * units > _MAX_DRAWN:
            return requested
        adds_states = "h" in tracing.all_parts(network) and "h" not in requested
        return (*requested, "h") if adds_states else requested

    def write(self, result: Result, view: View) -> None:
        """Write the result and its picture.

        Raises:
            InputError: one of them cannot be written.
        """
        if self.path is not None:
            write_file.write_file(result, self.format, view, self.path)
        else:
            with guard_stdout():
                write_file.write_text(result, self.format, view, sys.stdout)
                sys.stdout.flush()
        self.write_plot(result, view)

    def write_plot(self, result: Result, view: View) -> None:
        """Write the picture, if there is to be one."""
        if self.plot is None:
            return
        from rnnshapes.render import plots

        with write_file.writing(self.plot) as stream:
            plots.save(result, stream, self.plot.suffix[1:].lower(), view)

    def show(self, document: Document) -> bool:
        """Show a part of a result on standard output; return whether it still has a reader."""
        from rnnshapes.render.formats import terminal

        with guard_stdout() as stdout:
            terminal.draw(document, terminal.screen(sys.stdout))
            sys.stdout.flush()
        return not stdout.closed

    def write_status(self, text: str) -> None:
        """Write a status message to standard error, unless ``--quiet`` suppresses it."""
        if not self.quiet:
            write_stderr(text)

    def write_hint(self, hint: str) -> None:
        """Write what to try next: below a table, else on standard error if it is a terminal."""
        if self.quiet or not hint or not (self.is_screen or is_terminal(sys.stderr)):
            return
        from rnnshapes.render.formats import terminal

        stream = sys.stdout if self.is_screen else sys.stderr
        with guard_stdout():
            terminal.draw_hint(hint, terminal.screen(stream))
            stream.flush()


def output_target(
    options: OutputArguments, *sources: Path | None, golden: Path | None = None
) -> OutputTarget:
    """Return where a command writes, after checking that it can.

    Args:
        options: The output options of the command.
        *sources: Files that the command reads, and so must not overwrite.
        golden: The golden file that the command writes, too.

    Raises:
        InputError: one of the files cannot be written.
        CannotRunError: there is to be a picture, and Matplotlib is missing.
    """
    path, plot = options.output, options.plot
    format_name = write_file.format_for(options.format, path, options.formats)
    for source in sources:
        write_file.check_writable(path, source)
    write_file.check_golden(golden, path, *sources)
    if plot is not None:
        _check_plot(plot, path, sources)
        if golden is not None and write_file.same_file(plot, golden):
            raise InputError(f"{plot}: --plot and --golden must be two different files")
    return OutputTarget(format_name, path, plot, options.quiet)


def _check_plot(plot: Path, output: Path | None, sources: Sequence[Path | None]) -> None:
    from rnnshapes.render import plots

    if plot.suffix.lower() not in plots.ENDINGS:
        raise InputError(f"{plot}: a picture must end in {', '.join(plots.ENDINGS)}")
    for source in sources:
        write_file.check_writable(plot, source)
    if output is not None and write_file.same_file(plot, output):
        raise InputError(f"{plot}: --plot and --output must be two different files")
    plots.require_matplotlib()
