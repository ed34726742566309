"""Layout of --help: examples first, then the options by subject, at any width."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import Any

from typer.core import TyperCommand, TyperGroup

from rnnshapes.cli import guesses
from rnnshapes.errors import InputError

#: Widest help, in characters.
_WIDEST = 80
#: Narrower help writes each explanation below its option, indented by so many characters.
_NARROW, _INDENT = 70, 2
#: Most characters of an option whose explanation begins on the same line.
_OPTION = 18
#: Heading of options where none has a panel.
_OTHER = "Options"


class _Layout:
    """Help in sections; the lines of ``epilog`` are the examples, to be copied."""

    epilog: str | None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, as wide as the terminal."""
        formatter.width = min(get_terminal_size().columns, _WIDEST)
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, then arguments and options by their panels."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")
        panels: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        params = self.get_params(ctx)  # type: ignore[attr-defined]
        for param in sorted(params, key=lambda param: param.param_type_name):  # arguments first
            if record := param.get_help_record(ctx):
                panel = getattr(param, "rich_help_panel", None)
                (panels.setdefault(panel, []) if panel else others).append(record)
        last = next(reversed(panels), _OTHER)
        panels[last] = [*panels.get(last, ()), *others]
        for panel, rows in panels.items():
            _write_rows(panel, rows, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: the examples stand above the options."""


class Command(_Layout, TyperCommand):
    """Command with this layout of its help."""


class Group(_Layout, TyperGroup):
    """Program with this layout of its help, which begins with the commands."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the examples and the options."""
        texts = {name: command.help or "" for name, command in self.commands.items()}
        rows = [(name, text.partition("\n")[0]) for name, text in texts.items()]
        _write_rows("Commands", rows, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command, or fail with what to write instead of an unknown one."""
        is_known = args[0] in self.commands or ctx.resilient_parsing
        if not is_known and (remedy := guesses.command_remedy(args[0], self.commands)):
            raise InputError(f"no such command {args[0]!r}: {remedy}")
        return super().resolve_command(ctx, args)


def _write_rows(heading: str, rows: list[tuple[str, str]], formatter: Any) -> None:
    with formatter.section(heading):
        formatter.write_dl(rows, col_max=_INDENT if formatter.width < _NARROW else _OPTION)
