"""Options of the commands, as Typer reads them: each with its type, help and completion.

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

from rnnshapes.api.conversion import KERAS_ENDING, TARGETS
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.cli import guesses
from rnnshapes.cli.completion import joined, one_of
from rnnshapes.errors import InputError
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.network.sizes import DEFAULT_SIZES, SIZE_MEANINGS, check_size, index_range_text
from rnnshapes.ops.interface import ACTIVATIONS
from rnnshapes.render import schemas
from rnnshapes.render.view import INSPECT_PARTS, TRACE_PARTS, VERIFY_PARTS, View
from rnnshapes.session import NetworkOptions, check_seed

#: Sections of ``--help``.
_NETWORK, _DATA, _SHOWN, _OUTPUT = "Network", "Data", "What to show", "Output"
#: The layouts of weights in a golden file.
LAYOUTS = ("keras", "pytorch", "onnx")
#: The dtypes in which a port may compute.
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: What ``--show`` chooses from.
_SHOW = {
    "y": "y_hat at each step (default)",
    "h": "hidden states",
    "c": "cell states of an LSTM",
    "gates": "gates of an LSTM or a GRU",
    "all": "all of these",
}


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
    return wrapper


def _parameters(group: Any) -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=field.type)
        for field in fields(group)
    ]


def _size_option(name: str) -> object:
    def parse(text: str) -> int:
        return _size(name, text)

    text = f"Set the number of {SIZE_MEANINGS[name]} (default: {DEFAULT_SIZES[name]})."
    return _network_option(f"--{name}", f"-{name}", metavar="SIZE", help=text, parser=parse)


def _hidden_option() -> object:
    def parse(text: str) -> list[int]:
        return [_size("M", part) for part in text.split(",")]

    def flatten(value: Any) -> Any:
        return [size for sizes in value for size in sizes] if value else None

    return _network_option(
        "--M",
        "-M",
        metavar="SIZE",
        help=f"Set the number of {SIZE_MEANINGS['M']} "
        f"(default: {DEFAULT_SIZES['M']}; stacked: 6,4).",
        parser=parse,
        callback=flatten,
    )


def _size(name: str, text: str) -> int:
    try:
        return check_size(name, _integer(text))
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def _integer(text: str | int) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _seed(text: str | int) -> int:
    try:
        return check_seed(_integer(text))
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def _tolerance(text: str) -> float | None:
    from rnnshapes.port.inexact_verdict import check_tolerance

    try:
        return check_tolerance(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def _network_option(*flags: str, **more: Any) -> object:
    return typer.Option(*flags, rich_help_panel=_NETWORK, **more)


def _cell_name(text: str) -> str:
    for name, kind in BY_NAME.items():
        if text.lower() in (name, kind.class_name.lower()):
            return name
    remedy = guesses.cell_remedy(text) or f"use one of {', '.join(BY_NAME)}"
    raise typer.BadParameter(f"unknown cell {text!r}: {remedy}")


def _cells_with(option: str) -> str:
    """Return the names of the cells that have an option."""
    *names, last = (name for name, kind in BY_NAME.items() if option in kind.option_names())
    return f"{', '.join(names)} and {last}" if names else last


_MODEL_HELP = "Read .keras, .h5, .pt, .safetensors or .onnx; run no code."


def _check_model(path: Path | None) -> Path | None:
    if path is not None and (hint := guesses.model_remedy(str(path))):
        raise InputError(f"{path}: there is no such file; {hint}")
    return path


def _check_models(paths: list[Path] | None) -> list[Path]:
    return [path for path in paths or () if _check_model(path)]


@dataclass(frozen=True)
class SizeArguments:
    """Sizes and options of a network; ``None`` if not given."""

    N: Annotated[int | None, _size_option("N")] = None
    T: Annotated[int | None, _size_option("T")] = None
    D: Annotated[int | None, _size_option("D")] = None
    M: Annotated[list[int] | None, _hidden_option()] = None
    K: Annotated[int | None, _size_option("K")] = None
    cell: Annotated[
        str | None,
        _network_option(
            "--cell",
            metavar="CELL",
            help=f"Choose the cell: {', '.join(BY_NAME)}.",
            parser=_cell_name,
            autocompletion=one_of({name: kind.class_name for name, kind in BY_NAME.items()}),
        ),
    ] = None
    activation: Annotated[
        str | None,
        _network_option(
            "--activation",
            metavar="NAME",
            help="Set the activation of the state, by its name in Keras.",
            autocompletion=one_of(ACTIVATIONS),
        ),
    ] = None
    recurrent_activation: Annotated[
        str | None,
        _network_option(
            "--recurrent-activation",
            metavar="NAME",
            help=f"Set the activation of the gates of {_cells_with('recurrent_activation')}.",
            autocompletion=one_of(ACTIVATIONS),
        ),
    ] = None
    use_bias: Annotated[
        bool | None,
        _network_option(
            "--bias/--no-bias", help="Give the recurrent layers a bias (default), or none."
        ),
    ] = None
    reset_after: Annotated[
        bool | None,
        _network_option(
            "--reset-after/--no-reset-after",
            help=f"Apply the reset gate of {_cells_with('reset_after')} after Wh (default), "
            "or before.",
        ),
    ] = None
    bidirectional: Annotated[
        bool | None,
        _network_option(
            "--bidirectional/--one-direction",
            help="Process the sequence in both directions, or one (default).",
        ),
    ] = None
    merge_mode: Annotated[
        str | None,
        _network_option(
            "--merge-mode",
            metavar="MODE",
            help=f"Join both directions by {', '.join(MERGE_MODES)}.",
            autocompletion=one_of(MERGE_MODES),
        ),
    ] = None
    go_backwards: Annotated[
        bool | None,
        _network_option(
            "--go-backwards/--forwards",
            help="Process the sequence in reverse, or forwards (default).",
        ),
    ] = None
    return_sequences: Annotated[
        bool | None,
        _network_option(
            "--return-sequences/--last-only",
            help="Return the output at every step, or at the last (default).",
        ),
    ] = None

    @property
    def options(self) -> NetworkOptions:
        """Sizes and options, without the model."""
        names = NetworkOptions.__annotations__
        return cast("NetworkOptions", {name: getattr(self, name) for name in names})


def _model_argument(text: str) -> object:
    return typer.Argument(
        metavar="[MODEL]",
        parser=Path,
        help=text,
        rich_help_panel=_NETWORK,
        callback=_check_model,
    )


@dataclass(frozen=True)
class NetworkArguments(SizeArguments):
    """Network of a command line: a saved model, or sizes and options; ``None`` if not given."""

    model: Annotated[Path | None, _model_argument(_MODEL_HELP)] = None


@dataclass(frozen=True)
class KerasNetworkArguments(NetworkArguments):
    """Network of a command line, from Keras if it is a saved model."""

    model: Annotated[Path | None, _model_argument("Read .keras or .h5; run no code.")] = None


@dataclass(frozen=True)
class DataArguments:
    """Input of a network, and seed of what is random."""

    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="X",
            parser=Path,
            help="Read x, (N, T, D) or (T, D), from a .npy, .npz or .csv file.",
            rich_help_panel=_DATA,
        ),
    ] = None
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Use a short x that identifies every weight of a port.",
            rich_help_panel=_DATA,
        ),
    ] = False
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="SEED",
            parser=_seed,
            help="Set the seed of random weights and x (integer, default: 0).",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = 0

    @property
    def options(self) -> dict[str, Any]:
        """The options of a session."""
        return {"x": self.input, "seed": self.seed, "probe": self.probe}


@dataclass(frozen=True)
class SelectionArguments:
    """Part of a trace that is shown."""

    sample: Annotated[
        int,
        typer.Option(
            "--sample",
            metavar="SAMPLE",
            help="Show this sample, counted from 0 (default: 0).",
            show_default=False,
            rich_help_panel=_SHOWN,
        ),
    ] = 0
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            metavar="t",
            help="Show step t (counted from 0) in full, with every operation.",
            rich_help_panel=_SHOWN,
        ),
    ] = None
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            metavar="A:B",
            help="Show only steps A to B-1, such as 0:5 or -5:.",
            rich_help_panel=_SHOWN,
        ),
    ] = None
    show: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="NAMES",
            help=f"Show these quantities: {', '.join(_SHOW)} (default: y).",
            rich_help_panel=_SHOWN,
            autocompletion=joined(_SHOW),
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


@dataclass(frozen=True)
class GoldenArguments:
    """Golden file, and the form of its arrays."""

    golden: Annotated[
        Path | None,
        typer.Option(
            "--golden",
            metavar="FILE",
            parser=Path,
            help="Write reference values for your port (.npz, .json, .h).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="NAMES",
            help="Write only these golden arrays: weights, x, h, y_hat, …",
            rich_help_panel=_OUTPUT,
            autocompletion=joined({"weights": "all weights", "h": "hidden states", "y_hat": ""}),
        ),
    ] = None
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="LAYOUT",
            help="Set the layout of recurrent weights: keras, pytorch, onnx.",
            rich_help_panel=_OUTPUT,
            autocompletion=one_of(LAYOUTS),
        ),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="DTYPE",
            help="Set the dtype of all golden arrays: float32, float64.",
            rich_help_panel=_OUTPUT,
            autocompletion=one_of(("float32", "float64")),
        ),
    ] = None

    @property
    def form(self) -> dict[str, Any]:
        """Which arrays are written, their layout and dtype.

        Raises InputError where they are given without a golden file.
        """
        if self.golden is None:
            for name in ("only", "layout", "dtype"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} requires --golden")
            return {}
        only = None if self.only is None else [name.strip() for name in self.only.split(",")]
        return {"only": only, "layout": self.layout or LAYOUTS[0], "dtype": self.dtype}


TextFormat = Literal["table", "json", "csv", "markdown", "html", "svg"]
TraceFormat = Literal["table", "json", "csv", "markdown", "html", "svg", "npz"]


def _format_option(formats: object) -> object:
    names = ", ".join(get_args(formats))
    return typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"Choose {names}.",
        rich_help_panel=_OUTPUT,
        autocompletion=one_of(get_args(formats)),
    )


QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Suppress hints and status messages.",
        rich_help_panel=_OUTPUT,
    ),
]


@dataclass(frozen=True)
class OutputArguments:
    """Format of a result, one of ``formats``, and the files to write."""

    formats: ClassVar[tuple[str, ...]]

    format: str | None = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=Path,
            help="Write to FILE (atomically); its extension sets the format.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            parser=Path,
            help="Save a plot to FILE (.png, .svg, .pdf).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    quiet: QuietOption = False


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
        show_default=False,
        help=f"Show {', '.join(parts)}, joined by commas.",
        rich_help_panel=_SHOWN,
        autocompletion=joined(parts),
    )


InspectViewOption = Annotated[str, _view_option(INSPECT_PARTS)]
TraceViewOption = Annotated[str, _view_option(TRACE_PARTS)]
VerifyViewOption = Annotated[str, _view_option(VERIFY_PARTS)]
FollowOption = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Step through the trace on this terminal, with the keyboard.",
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
QuantizeOption = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="FORMAT",
        help="Show errors in fixed point: int8, int16, q3.12, …",
        rich_help_panel=_SHOWN,
        autocompletion=one_of(
            {
                "int8": "kernels, x and h in 8 bits",
                "int16": "kernels in 8 bits, x and h in 16",
                "int8-columns": "a scale for each column of a kernel",
                "int16-columns": "a scale for each column of a kernel",
                "q3.12": "every number in 16 bits",
            }
        ),
    ),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="PORT",
        parser=Path,
        help="Check your own implementation's y_hat or h (.npy, .npz, .csv, .json, .h), or the "
        "weights in a .pt, .safetensors or .onnx file, and diagnose mismatches.",
        rich_help_panel=_DATA,
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help=f"Set the dtype in which your implementation computes: {', '.join(DTYPES)} "
        "(default: that of its arrays).",
        rich_help_panel=_DATA,
        autocompletion=one_of(DTYPES),
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="NAME",
        help="Leave out an array of your implementation (repeatable).",
        rich_help_panel=_DATA,
    ),
]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        metavar="SHARE",
        parser=_tolerance,
        help="Accept errors up to this share of each unit's range.",
        rich_help_panel=_DATA,
    ),
]
NoKerasOption = Annotated[
    bool,
    typer.Option("--no-keras", help="Do not compare with Keras.", rich_help_panel=_SHOWN),
]
ModelsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[MODEL]...",
        parser=Path,
        help=f"{_MODEL_HELP} Several files give one row each.",
        rich_help_panel=_NETWORK,
        callback=_check_models,
    ),
]
ConvertedArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=Path,
        help="Read a saved model of Keras (with --like: a weight file); run no code.",
        rich_help_panel=_NETWORK,
        callback=_check_model,
    ),
]
FrameworkOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FRAMEWORK",
        help=f"Choose the framework: {', '.join(TARGETS)} (default: by the extension of FILE).",
        rich_help_panel=_OUTPUT,
        autocompletion=one_of({name: target.meaning for name, target in TARGETS.items()}),
    ),
]
_ENDINGS = f"{', '.join(each.ending for each in TARGETS.values())}; with --like {KERAS_ENDING}"
LikeOption = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="MODEL",
        parser=Path,
        help="Write the weights of a .pt, .safetensors or .onnx file for this .keras model.",
        rich_help_panel=_OUTPUT,
    ),
]
WeightsOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        parser=Path,
        help=f"Write to FILE ({_ENDINGS}), atomically.",
        rich_help_panel=_OUTPUT,
    ),
]
SchemaArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help=f"Choose the result: {', '.join(schemas.NAMES)}.",
        rich_help_panel=_OUTPUT,
        autocompletion=one_of(schemas.NAMES),
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
        raise InputError(f"--sample {sample}: must be {index_range_text('N', samples)}")
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
