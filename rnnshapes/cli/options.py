"""The options of the commands, as Typer reads them: each with its type and its help.

Annotations are objects here and not text, because fields of a group become parameters of a
command: see :func:`option_groups`.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast, get_args, get_type_hints

import typer

from rnnshapes.cells.registry import BY_NAME
from rnnshapes.errors import InputError
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.network.sizes import DEFAULT_SIZES, SIZE_MEANINGS, check_size
from rnnshapes.ops.interface import ACTIVATIONS
from rnnshapes.render.view import INSPECT_PARTS, TRACE_PARTS, VERIFY_PARTS, View
from rnnshapes.session import NetworkOptions

#: Panels of ``--help``.
_NETWORK, _DATA, _SHOWN, _OUTPUT = "Network", "Data", "What to show", "Output"


def option_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Let a command take groups of options as one parameter each.

    A parameter whose type is a dataclass of this module stands for the fields of that dataclass.
    Typer sees one option for each field; the command gets an instance of the dataclass.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(command)
    def wrapper(**options: Any) -> int:
        for name, group in groups.items():
            values = {field.name: options.pop(field.name) for field in fields(group)}
            options[name] = group(**values)
        return command(**options)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper


def _parameters(group: Any) -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=field.type)
        for field in fields(group)
    ]


def _size_option(name: str, more: str = "") -> object:
    def parse(text: str | int) -> int:
        try:
            return check_size(name, _integer(text))
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    text = f"Set the number of {SIZE_MEANINGS[name]} (default: {DEFAULT_SIZES[name]}){more}."
    return typer.Option(
        f"--{name}", parser=parse, metavar="SIZE", help=text, rich_help_panel=_NETWORK
    )


def _integer(text: str | int) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _network_option(flags: str, metavar: str | None, text: str, **more: Any) -> object:
    return typer.Option(flags, metavar=metavar, help=text, rich_help_panel=_NETWORK, **more)


def _cell_name(text: str) -> str:
    if (name := text.lower()) in BY_NAME:
        return name
    raise typer.BadParameter(f"unknown cell {text!r}: use one of {', '.join(BY_NAME)}")


def _cells_with(option: str) -> str:
    """Return the names of the cells that have an option."""
    *names, last = (name for name, kind in BY_NAME.items() if option in kind.option_names())
    return f"{', '.join(names)} and {last}" if names else last


@dataclass(frozen=True)
class NetworkArguments:
    """The network of a command line: a saved model, or sizes and options; ``None`` if not given."""

    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            readable=False,
            show_default=False,
            help="Saved model (.keras, .h5, .hdf5, .weights.h5). Read without executing any code "
            "in it.",
        ),
    ] = None
    N: Annotated[int | None, _size_option("N")] = None
    T: Annotated[int | None, _size_option("T")] = None
    D: Annotated[int | None, _size_option("D")] = None
    M: Annotated[
        list[int] | None, _size_option("M", "; repeat for each further recurrent layer")
    ] = None
    K: Annotated[int | None, _size_option("K")] = None
    cell: Annotated[
        str | None,
        _network_option(
            "--cell",
            "CELL",
            f"Choose the cell: {', '.join(BY_NAME)} (default: simple).",
            parser=_cell_name,
        ),
    ] = None
    activation: Annotated[
        str | None,
        _network_option(
            "--activation",
            "NAME",
            f"Set the activation (default: Keras's): {', '.join(ACTIVATIONS)}.",
        ),
    ] = None
    recurrent_activation: Annotated[
        str | None,
        _network_option(
            "--recurrent-activation",
            "NAME",
            f"Set the activation of the gates of {_cells_with('recurrent_activation')} "
            "(default: Keras's).",
        ),
    ] = None
    use_bias: Annotated[
        bool | None,
        _network_option(
            "--bias/--no-bias", None, "Use a bias in the recurrent layers (default), or none."
        ),
    ] = None
    reset_after: Annotated[
        bool | None,
        _network_option(
            "--reset-after/--no-reset-after",
            None,
            f"Apply the reset gate of {_cells_with('reset_after')} after the product h_{{t-1}} Wh "
            "(default), or before.",
        ),
    ] = None
    bidirectional: Annotated[
        bool | None,
        _network_option(
            "--bidirectional/--one-direction",
            None,
            "Process the sequence in both directions, or in one (default).",
        ),
    ] = None
    merge_mode: Annotated[
        str | None,
        _network_option(
            "--merge-mode",
            "MODE",
            f"Join both directions by {', '.join(MERGE_MODES)} (default: concat).",
        ),
    ] = None
    go_backwards: Annotated[
        bool | None,
        _network_option(
            "--go-backwards/--forwards",
            None,
            "Process the sequence in reverse, or forwards (default).",
        ),
    ] = None
    return_sequences: Annotated[
        bool | None,
        _network_option(
            "--return-sequences/--last-only",
            None,
            "Return the output at every step instead of the last (default).",
        ),
    ] = None

    @property
    def options(self) -> NetworkOptions:
        """Sizes and options, without the model."""
        names = NetworkOptions.__annotations__
        return cast("NetworkOptions", {name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class DataArguments:
    """The input of the network, and the seed of what is random."""

    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="X",
            readable=False,
            help="Read x, (N, T, D) or (T, D), from a .npy, .npz or .csv file (default: random).",
            rich_help_panel=_DATA,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="SEED",
            min=0,
            help="Set the seed of random weights and input.",
            rich_help_panel=_DATA,
        ),
    ] = 0


@dataclass(frozen=True)
class SelectionArguments:
    """What of a trace is shown."""

    sample: Annotated[
        int,
        typer.Option(
            "--sample",
            metavar="SAMPLE",
            help="Show sample number SAMPLE, counted from 0.",
            rich_help_panel=_SHOWN,
        ),
    ] = 0
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            metavar="T",
            help="Show time step T in full: every operation with its shapes and numbers.",
            rich_help_panel=_SHOWN,
        ),
    ] = None
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            metavar="A:B",
            help="Show only time steps A to B-1, such as 0:5 or -5:.",
            rich_help_panel=_SHOWN,
        ),
    ] = None
    show: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="y,h,c,gates",
            help="Show states and gates, too: some of y,h,c,gates, or all (default: y).",
            rich_help_panel=_SHOWN,
        ),
    ] = None
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Show only this recurrent layer.",
            rich_help_panel=_SHOWN,
        ),
    ] = None


TextFormat = Literal["table", "json", "csv", "markdown", "html", "svg"]
TraceFormat = Literal["table", "json", "csv", "markdown", "html", "svg", "npz"]


def _format_option(formats: object) -> object:
    names = ", ".join(get_args(formats))
    return typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"Choose the format (default: by FILE's ending, or table): {names}.",
        rich_help_panel=_OUTPUT,
    )


@dataclass(frozen=True)
class OutputArguments:
    """Where a result is written, and in which format: one of ``formats``."""

    formats: ClassVar[tuple[str, ...]]

    format: str | None = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            readable=False,
            help="Write to FILE (atomically).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            readable=False,
            help="Save a plot to FILE (.png, .svg or .pdf); requires pip install "
            "'rnnshapes[plot]'.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Suppress hints and status messages.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False


@dataclass(frozen=True)
class TextOutputArguments(OutputArguments):
    """Output of a command that writes text."""

    formats = get_args(TextFormat)
    format: Annotated[TextFormat | None, _format_option(TextFormat)] = None


@dataclass(frozen=True)
class TraceOutputArguments(OutputArguments):
    """Output of ``trace``, which also writes arrays."""

    formats = get_args(TraceFormat)
    format: Annotated[TraceFormat | None, _format_option(TraceFormat)] = None


def _view_option(parts: Mapping[str, str]) -> object:
    return typer.Option(
        "--view",
        metavar="VIEW",
        help=f"Choose what to show, joined by commas: {', '.join(parts)}.",
        rich_help_panel=_SHOWN,
    )


InspectViewOption = Annotated[str, _view_option(INSPECT_PARTS)]
TraceViewOption = Annotated[str, _view_option(TRACE_PARTS)]
VerifyViewOption = Annotated[str, _view_option(VERIFY_PARTS)]
FollowOption = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Step through the trace on this terminal, by keys.",
        rich_help_panel=_SHOWN,
    ),
]
DelayOption = Annotated[
    float | None,
    typer.Option(
        "--delay",
        metavar="SECONDS",
        help="Go to the next step every SECONDS (with --follow).",
        rich_help_panel=_SHOWN,
    ),
]
GoldenOption = Annotated[
    Path | None,
    typer.Option(
        "--golden",
        metavar="FILE",
        readable=False,
        help="Write reference values for your own implementation (a port) to a .npz, .json or .h "
        "(C) file: weights, input, every intermediate value.",
        rich_help_panel=_OUTPUT,
    ),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="PORT",
        readable=False,
        help="Compare your own implementation's y_hat or h (.npy, .npz, .csv, .json, .h), and "
        "diagnose mismatches.",
        rich_help_panel=_DATA,
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="Set the dtype in which your implementation computes (default: that of its arrays): "
        "float32, float64, float16, bfloat16.",
        rich_help_panel=_DATA,
    ),
]
NoKerasOption = Annotated[bool, typer.Option("--no-keras", help="Do not compare with Keras.")]
SchemaArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, help="Schema: inspect, trace, verify or golden."
    ),
]


def parse_view(samples: int, time_steps: int, sample: int, steps: str | None) -> View:
    """Return the view that ``--sample`` and ``--steps a:b`` ask for.

    Args:
        samples: How many samples there are.
        time_steps: How many time steps there are.
        sample: The number of the sample.
        steps: The steps as a slice in Python: ``0:5``, ``-5:``; None for all.

    Raises:
        InputError: The sample or a step does not exist.
    """
    if not 0 <= sample < samples:
        raise InputError(f"--sample {sample}: must be 0 to {samples - 1}, since N = {samples}")
    if steps is None:
        return View(sample)
    match = re.fullmatch(r"(-?\d{1,18}|):(-?\d{1,18}|)", steps)
    if match is None:
        raise InputError(f"--steps {steps}: expected a:b as in Python, for example 0:5 or -5:")
    start = _step(match[1], 0, time_steps)
    end = _step(match[2], time_steps, time_steps)
    if not 0 <= start < end <= time_steps:
        raise InputError(
            f"--steps {steps}: a must be below b, and both from 0 to T = {time_steps}, or "
            "negative, counted from the end"
        )
    return View(sample, start, end)


def _step(text: str, default: int, time_steps: int) -> int:
    """Return the step that a part of a slice stands for."""
    if not text:
        return default
    return int(text) + (time_steps if text.startswith("-") else 0)
